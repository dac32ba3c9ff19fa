//! What a choice costs: by scorers and endpoints, and by length of prompt.

#[path = "../tests/choice/common.rs"]
mod common;

use common::{address, endpoint, model};
use divan::{Bencher, black_box};
use wva_epp_core::config::Config;
use wva_epp_core::endpoint::{CacheConfig, Metrics};
use wva_epp_core::picker::Picker;
use wva_epp_core::pool::{Directory, Pool};
use wva_epp_core::predict::{Ask, Queue, Work};
use wva_epp_core::prefix::Chain;
use wva_epp_core::request::{Request, Targets};
use wva_epp_core::router::Router;

fn main() {
    divan::main();
}

fn busy(count: usize) -> Pool {
    let mut directory = Directory::new();
    directory.set_model(0, Some(model(1.0)));
    for i in 0..count {
        let mut endpoint = endpoint(i);
        endpoint.variant = Some(0);
        directory.apply(endpoint);
        let metrics = Metrics {
            waiting: (i % 7) as f64,
            running: (i % 50) as f64,
            kv_usage: (i % 90) as f64 / 100.0,
            cache: Some(CacheConfig {
                block_tokens: 16,
                blocks: 27_312,
            }),
            ..Metrics::default()
        };
        directory.observe(&address(i), &metrics);
    }
    directory.pool()
}

fn chain(tokens: usize) -> Chain {
    let mut chain = Chain::new("m", "", 64, 2048);
    chain.push(&vec![7; tokens * 4]);
    chain
}

fn pick(bencher: Bencher<'_, '_>, picker: &Picker, count: usize) {
    let (pool, mut state, chain) = (busy(count), picker.state(1), chain(500));
    let targets = Targets {
        ttft: Some(1.0),
        tpot: Some(0.05),
    };
    let request = Request {
        prompt_tokens: 500.0,
        chain: chain.hashes(),
        targets,
        ..Request::default()
    };
    bencher.bench_local(|| {
        let choice = picker
            .pick(&pool, black_box(&request), &mut state, 0.0)
            .expect("an endpoint");
        state.inflight.ended(&choice.flight);
        choice
    });
}

#[divan::bench(args = [10, 100, 1000, 10_000])]
fn default_scorers(bencher: Bencher<'_, '_>, count: usize) {
    pick(bencher, &Config::standard().picker, count);
}

#[divan::bench(args = [10, 100, 1000, 10_000])]
fn slo_router(bencher: Bencher<'_, '_>, count: usize) {
    pick(bencher, &Router::Slo.picker(), count);
}

#[divan::bench]
fn predict_one(bencher: Bencher<'_, '_>) {
    let model = model(1.0);
    let work = Work {
        running: 20.0,
        waiting: 2.0,
        kv_tokens: 24_000.0,
        backlog: 3000.0,
        queue: Queue::default(),
        prefill_share: 0.2,
    };
    let ask = Ask {
        uncached: 700.0,
        cached: 64.0,
        output: 0.0,
    };
    bencher.bench(|| model.predict(black_box(&work), black_box(&ask)));
}

/// Hashing a prompt of 100,000 tokens.
#[divan::bench]
fn hash_long_prompt(bencher: Bencher<'_, '_>) {
    let prompt = vec![7_u8; 400_000];
    bencher.bench(|| {
        let mut chain = Chain::new("m", "", 64, 2048);
        chain.push(black_box(&prompt));
        chain
    });
}

/// Who holds how much of a prompt of 100,000 tokens, when everybody holds as much of it as fits.
#[divan::bench(args = [100, 10_000])]
fn look_up_long_prompt(bencher: Bencher<'_, '_>, count: usize) {
    let (pool, chain) = (busy(count), chain(100_000));
    let mut state = Router::Prefix.picker().state(1);
    state.prefix.follow(&pool);
    pool.slots()
        .for_each(|s| state.prefix.touch(s, chain.hashes()));
    let mut matched = Vec::new();
    bencher.bench_local(|| {
        state
            .prefix
            .matched(black_box(chain.hashes()), &mut matched)
    });
}

/// Noting that an endpoint was sent one.
#[divan::bench]
fn touch_long_prompt(bencher: Bencher<'_, '_>) {
    let (pool, chain) = (busy(100), chain(100_000));
    let mut state = Router::Prefix.picker().state(1);
    state.prefix.follow(&pool);
    let slot = pool.slots().next().expect("a slot");
    bencher.bench_local(|| state.prefix.touch(slot, black_box(chain.hashes())));
}

/// A new snapshot after a scrape.
#[divan::bench(args = [100, 10_000])]
fn snapshot(bencher: Bencher<'_, '_>, count: usize) {
    let mut directory = Directory::new();
    (0..count).for_each(|i| {
        directory.apply(endpoint(i));
    });
    bencher.bench_local(|| {
        directory.observe(&address(0), &Metrics::default());
        directory.pool()
    });
}
