//! What holds of every choice, and the values of the formulas.

use std::collections::BTreeMap;

use crate::common::{address, endpoint, idle, model, picker, slots};
use proptest::prelude::*;
use wva_epp_core::choose::{By, Choose};
use wva_epp_core::endpoint::{CacheConfig, Metrics, ROLE_LABEL};
use wva_epp_core::filter::{Filter, PrefixAffinity};
use wva_epp_core::picker::{Picker, RefusalKind};
use wva_epp_core::pool::{Directory, Pool};
use wva_epp_core::request::{Request, Targets};
use wva_epp_core::router::Router;
use wva_epp_core::saturation::Detector;
use wva_epp_core::scorer::{LatencyWeights, Scorer};

fn scorers() -> Vec<Scorer> {
    let text = str::to_owned;
    vec![
        Scorer::Queue,
        Scorer::Running,
        Scorer::KvUsage,
        Scorer::LoadAware { threshold: 128.0 },
        Scorer::Prefix,
        Scorer::Lora,
        Scorer::ActiveRequests { idle: 1, busy: 0.5 },
        Scorer::TokenLoad { threshold: 4096.0 },
        Scorer::NoHitLru,
        Scorer::Session { header: text("s") },
        Scorer::Latency(LatencyWeights::default()),
        Scorer::Slo,
        Scorer::ContextLength {
            label: text("range"),
        },
        Scorer::HeaderLabel {
            header: text("zone"),
            label: text("zone"),
        },
    ]
}

fn filters() -> Vec<Filter> {
    let affinity = PrefixAffinity {
        threshold: 0.5,
        explore: 0.1,
        penalty_s: 1.0,
        tokens_per_s: 1e4,
        predict: true,
    };
    vec![
        Filter::PrefixAffinity(affinity),
        Filter::SloTier { explore: 0.1 },
        Filter::NotSaturated(Detector::default()),
        Filter::NotSaturated(Detector::SloConcurrency {
            default: 3.0,
            headroom: 0.0,
        }),
        Filter::Session {
            header: "s".to_owned(),
        },
    ]
}

#[derive(Debug, Clone)]
struct Pod {
    waiting: f64,
    running: f64,
    kv_usage: f64,
    scraped: bool,
    modelled: bool,
    draining: bool,
}

fn pod() -> impl Strategy<Value = Pod> {
    (
        -1.0..300.0,
        0.0..300.0,
        -0.1..1.2,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(waiting, running, kv_usage, scraped, modelled, draining)| Pod {
                waiting,
                running,
                kv_usage,
                scraped,
                modelled,
                draining,
            },
        )
}

fn pool(pods: &[Pod]) -> (Directory, Pool) {
    let mut directory = Directory::new();
    directory.set_model(1, Some(model(1.0)));
    for (i, pod) in pods.iter().enumerate() {
        let mut endpoint = endpoint(i);
        endpoint.variant = pod.modelled.then_some(1);
        endpoint.draining = pod.draining;
        endpoint
            .labels
            .insert("range".to_owned(), format!("{}-4096", i * 100));
        directory.apply(endpoint);
        if pod.scraped {
            let Pod {
                waiting,
                running,
                kv_usage,
                ..
            } = *pod;
            let cache = Some(CacheConfig {
                block_tokens: 16,
                blocks: 1000,
            });
            let metrics = Metrics {
                waiting,
                running,
                kv_usage,
                cache,
                ..Metrics::default()
            };
            directory.observe(&address(i), &metrics);
        }
    }
    let pool = directory.pool();
    (directory, pool)
}

proptest! {
    #[test]
    fn picks_are_ready_endpoints_and_counts_return_to_nothing(
        pods in proptest::collection::vec(pod(), 1..40),
        which in proptest::collection::vec(any::<bool>(), 19),
        by in prop_oneof![Just(By::MaxScore), Just(By::Random), Just(By::WeightedRandom)],
        prompts in proptest::collection::vec((0.0..9000.0, 0_usize..40, 0.01..2.0), 1..30),
        gone in 0_usize..40,
    ) {
        let (mut directory, mut pool) = pool(&pods);
        let mut picker = picker(vec![]);
        let profile = &mut picker.profiles[0];
        profile.scorers = scorers().into_iter().zip(&which).filter(|(_, on)| **on).map(|(s, _)| (s, 1.5)).collect();
        profile.filters = filters().into_iter().zip(&which[14..]).filter(|(_, on)| **on).map(|(f, _)| f).collect();
        profile.choose = Choose { by, most: 3 };
        let mut state = picker.state(11);
        let chain: Vec<u64> = (1..40).collect();
        let mut flights = Vec::new();
        for (i, (prompt_tokens, blocks, ttft)) in prompts.iter().enumerate() {
            if i == 10 && directory.remove(&address(gone)) {
                pool = directory.pool();
            }
            let targets = Targets { ttft: Some(*ttft), tpot: Some(ttft / 20.0) };
            let request = Request { prompt_tokens: *prompt_tokens, chain: &chain[..*blocks.min(&39)], targets, ..Request::default() };
            let Ok(choice) = picker.pick(&pool, &request, &mut state, i as f64) else {
                prop_assert!(pool.is_empty());
                continue;
            };
            let picks = std::iter::once(choice.primary).chain(choice.fallbacks.iter().copied());
            let picks: Vec<_> = picks.collect();
            prop_assert!(picks.iter().all(|s| pool.endpoint(*s).is_some()));
            prop_assert!((1..picks.len()).all(|i| !picks[..i].contains(&picks[i])), "all different");
            prop_assert!(choice.cached_tokens >= 0.0 && choice.cached_tokens <= *prompt_tokens);
            flights.push(choice.flight);
            if i % 3 == 0 {
                state.inflight.answered(&choice.flight);
            }
        }
        flights.iter().for_each(|f| state.inflight.ended(f));
        prop_assert_eq!(state.inflight.requests(), 0);
        for slot in slots(&pool) {
            let load = state.inflight.load(slot);
            prop_assert_eq!((load.requests, load.pending, load.tokens), (0, 0, 0.0));
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_choices(pods in proptest::collection::vec(pod(), 1..20), seed in any::<u64>()) {
        let (_, pool) = pool(&pods);
        for router in Router::ALL {
            let picker = router.picker();
            let choices = |mut state: wva_epp_core::State| -> Vec<_> {
                let pick = |i| picker.pick(&pool, &Request::default(), &mut state, f64::from(i)).map(|c| c.primary);
                (0..20).map(pick).collect()
            };
            prop_assert_eq!(choices(picker.state(seed)), choices(picker.state(seed)));
        }
    }
}

/// Who is picked how often of 1,000, when every pick has long ended before the next.
fn shares(picker: &Picker, pool: &Pool, request: &Request<'_>) -> BTreeMap<usize, usize> {
    let (mut state, mut counts) = (picker.state(3), BTreeMap::new());
    for i in 0..1000 {
        let choice = picker
            .pick(pool, request, &mut state, f64::from(i) * 100.0)
            .expect("an endpoint");
        state.inflight.ended(&choice.flight);
        *counts.entry(choice.primary.index()).or_insert(0) += 1;
    }
    counts
}

/// Two variants, the second three times as slow; endpoint 0 of the first, 1 of the second.
fn two_speeds() -> (Directory, Pool) {
    let (mut directory, _) = idle(0);
    directory.set_model(0, Some(model(1.0)));
    directory.set_model(1, Some(model(3.0)));
    for i in 0..2 {
        let mut endpoint = endpoint(i);
        endpoint.variant = Some(i as u32);
        directory.apply(endpoint);
        directory.observe(&address(i), &Metrics::default());
    }
    let pool = directory.pool();
    (directory, pool)
}

#[test]
fn the_slo_decides_between_fast_and_slow() {
    let (_, pool) = two_speeds();
    let request = Request {
        prompt_tokens: 1000.0,
        output_tokens: 100.0,
        ..Request::default()
    };
    let all_to = |picker: &Picker, request: &Request<'_>, to: usize| {
        assert_eq!(shares(picker, &pool, request), BTreeMap::from([(to, 1000)]));
    };
    let slo = Router::Slo.picker();
    all_to(&slo, &request, 0);
    // Bin packing: where both meet the bounds, the one with less room.
    let latency = picker(vec![Scorer::Latency(LatencyWeights::default())]);
    let loose = Request {
        targets: Targets {
            ttft: Some(1.0),
            tpot: Some(0.2),
        },
        ..request
    };
    all_to(&latency, &loose, 1);
    let tight = Request {
        targets: Targets {
            ttft: Some(0.07),
            tpot: Some(0.02),
        },
        ..request
    };
    all_to(&latency, &tight, 0);
    all_to(&latency, &request, 0);
    let hopeless = Request {
        targets: Targets {
            ttft: Some(0.001),
            tpot: None,
        },
        priority: -1,
        ..request
    };
    all_to(&slo, &hopeless, 0);
    let strict = Picker {
        refuse_hopeless: true,
        ..slo
    };
    let refusal = strict
        .pick(&pool, &hopeless, &mut strict.state(1), 0.0)
        .unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Infeasible);
}

#[test]
fn a_burst_is_shared_in_proportion_to_speed() {
    let (_, pool) = two_speeds();
    let slo = Router::Slo.picker();
    let mut state = slo.state(1);
    let request = Request {
        prompt_tokens: 2000.0,
        output_tokens: 10.0,
        ..Request::default()
    };
    for _ in 0..100 {
        slo.pick(&pool, &request, &mut state, 0.0).unwrap();
    }
    let slots = slots(&pool);
    let fast = state.inflight.load(slots[0]).requests;
    assert!((65..=85).contains(&fast), "three of four: {fast}");
}

#[test]
fn scrapes_are_corrected_by_what_was_sent_since() {
    let (mut directory, pool) = idle(2);
    let queue = picker(vec![Scorer::Queue]);
    let mut state = queue.state(1);
    for _ in 0..10 {
        queue
            .pick(&pool, &Request::default(), &mut state, 0.0)
            .unwrap();
    }
    // The scrapes say nothing of what was sent, so the count of all that was sent starts to matter with the first
    // scrape that carries one.
    let slots = slots(&pool);
    for (i, slot) in slots.iter().enumerate() {
        let sent = Some(state.inflight.sent(*slot));
        directory.observe(
            &address(i),
            &Metrics {
                waiting: [4.0, 0.0][i],
                sent,
                ..Metrics::default()
            },
        );
    }
    let pool = directory.pool();
    let before: Vec<_> = slots
        .iter()
        .map(|s| state.inflight.load(*s).requests)
        .collect();
    for _ in 0..6 {
        queue
            .pick(&pool, &Request::default(), &mut state, 0.0)
            .unwrap();
    }
    let sent = |i: usize| state.inflight.load(slots[i]).requests - before[i];
    assert_eq!((sent(0), sent(1)), (1, 5), "4 and 0 waiting become 5 and 5");
}

#[test]
fn a_router_picks_a_pair_among_prefill_and_decode_servers() {
    let mut directory = Directory::new();
    for (i, role) in ["prefill", "prefill", "decode", "decode"]
        .iter()
        .enumerate()
    {
        let mut endpoint = endpoint(i);
        endpoint
            .labels
            .insert(ROLE_LABEL.to_owned(), (*role).to_owned());
        directory.apply(endpoint);
        directory.observe(&address(i), &Metrics::default());
    }
    let pool = directory.pool();
    for router in Router::ALL {
        let picker = router.disaggregated();
        let mut state = picker.state(3);
        for _ in 0..20 {
            let choice = picker
                .pick(&pool, &Request::default(), &mut state, 0.0)
                .unwrap();
            assert!(choice.prefill.is_some_and(|p| p.index() < 2) && choice.primary.index() >= 2);
        }
    }
}

#[test]
fn saturation_is_of_each_by_its_own_measure() {
    let (mut directory, _) = two_speeds();
    let mut fast = model(1.0);
    fast.feasible = Some(8.0);
    directory.set_model(0, Some(fast));
    let pool = directory.pool();
    let mut slo = Router::Slo.picker();
    slo.detector = Detector::SloConcurrency {
        default: 2.0,
        headroom: 0.0,
    };
    let mut state = slo.state(1);
    assert_eq!(slo.saturation(&pool, &mut state, 0.0), 0.0);
    for _ in 0..5 {
        slo.pick(&pool, &Request::default(), &mut state, 0.0)
            .unwrap();
    }
    assert_eq!(slo.saturation(&pool, &mut state, 0.0), 0.5);
    slo.detector = Detector::default();
    directory.observe(
        &address(0),
        &Metrics {
            waiting: 10.0,
            kv_usage: 0.4,
            ..Metrics::default()
        },
    );
    let pool = directory.pool();
    assert_eq!(
        slo.saturation(&pool, &mut state, 0.0),
        1.0,
        "the mean of 2 and 0"
    );
    assert_eq!(slo.saturation(&pool, &mut state, 99.0), 1.0, "all too old");
    assert_eq!(
        slo.saturation(&Directory::new().pool(), &mut state, 0.0),
        1.0
    );
}
