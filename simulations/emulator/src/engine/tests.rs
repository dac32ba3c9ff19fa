//! Simulated time: nothing here waits.

use std::task::{Context, Poll, Waker};

use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};

use super::*;

const MS: u64 = 1_000_000;

/// 1 ms an iteration plus 10 µs a token; the front end takes 2 ms.
fn engine(kv_tokens: u32) -> Engine {
    let law = IterationLaw {
        overhead_s: 1e-3,
        floor_s: 0.0,
        per_token_s: 1e-5,
        per_kv_token_s: 0.0,
        per_sequence_s: 0.0,
        per_chunk_context_s: 0.0,
        prefill_overhead_s: 0.0,
        front_end_s: 2e-3,
    };
    let limits = EngineLimits {
        token_budget: 8192.0,
        max_sequences: 64.0,
        kv_tokens: kv_tokens.into(),
    };
    Engine::new(EngineSpec {
        replica: ReplicaSpec {
            block_tokens: 16,
            ..ReplicaSpec::plain(ReplicaModel { law, limits })
        },
        max_model_len: kv_tokens,
        transfer_s_per_token: 1e-4,
    })
}

fn ask(input: u32, output: u32) -> Ask {
    Ask {
        input,
        output,
        reason: Reason::Length,
        blocks: Box::default(),
        transferred: false,
        streaming: true,
        lora: None,
        max_tokens: Some(output),
    }
}

/// Drives the engine as the driver does, from event to event; times at which each request had each of its tokens.
fn drive(engine: &mut Engine, until: Time, watched: &[Arc<Delivery>]) -> Vec<Vec<u64>> {
    let mut tokens = vec![Vec::new(); watched.len()];
    while engine.next() <= until && engine.next() < Time::NEVER {
        let now = engine.next();
        engine.advance(now);
        for (tokens, delivery) in tokens.iter_mut().zip(watched) {
            tokens.resize(delivery.peek().tokens as usize, now.0);
        }
    }
    tokens
}

const END: Time = Time(u64::MAX - 1);

fn about() -> About<'static> {
    About {
        model: "m",
        loras: &[],
        max_loras: 1,
        block_tokens: 16,
        blocks: 100,
        prefix_caching: true,
        sleep_level: 0,
        started_unix_s: 0.0,
        unix_s: 0.0,
    }
}

/// Value of a sample on the page.
fn value(page: &str, name: &str) -> f64 {
    let line = page.lines().find(|l| l.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("{name} is not on the page"));
    let (_, value) = line.rsplit_once(' ').expect("a value");
    value.parse().expect("a number")
}

#[test]
fn tokens_come_at_the_times_of_the_law() {
    let mut engine = engine(10_000);
    let (_, delivery) = engine.submit(Time(5 * MS), ask(100, 4));
    let tokens = drive(&mut engine, END, &[delivery]);
    // Front end 2 ms, prompt 1 + 1 ms, then 1.01 ms a token.
    let first = 5 * MS + 2 * MS + 2 * MS;
    let gap = 1_010_000;
    assert_eq!(
        tokens[0],
        [first, first + gap, first + 2 * gap, first + 3 * gap]
    );
    assert_eq!((engine.requests(), engine.next()), (0, Time::NEVER));
}

#[test]
fn a_late_driver_changes_no_latency_in_the_metrics() {
    let (mut prompt, mut late) = (engine(10_000), engine(10_000));
    let (_, a) = prompt.submit(Time(0), ask(100, 50));
    let (_, b) = late.submit(Time(0), ask(100, 50));
    drive(&mut prompt, END, &[a]);
    late.advance(Time(7 * MS));
    late.advance(Time(400 * MS));
    assert_eq!(b.peek().end, Some(End::Finished(Reason::Length)));
    let at = Time(500 * MS);
    let (a, b) = (prompt.page(at, &about()), late.page(at, &about()));
    for (a, b) in a.lines().zip(b.lines()) {
        let value = |line: &str| {
            line.rsplit_once(' ')
                .and_then(|(_, v)| v.parse::<f64>().ok())
        };
        let same = match (value(a), value(b)) {
            // Sums are of the same terms in another order.
            (Some(x), Some(y)) => (x - y).abs() < 1e-9,
            _ => a == b,
        };
        assert!(same, "{a} / {b}");
    }
}

#[test]
fn the_page_adds_up_in_mid_stream_and_at_the_end() {
    let mut engine = engine(10_000);
    for i in 0..5 {
        engine.submit(Time(i * MS), ask(100, 20));
    }
    engine.advance(Time(15 * MS));
    let page = engine.page(Time(15 * MS), &about());
    assert_eq!(value(&page, "vllm:num_requests_running"), 5.0);
    let generated = value(&page, "vllm:generation_tokens_total");
    assert!(generated > 5.0 && generated < 100.0);
    let gaps = value(&page, "vllm:inter_token_latency_seconds_count");
    let firsts = value(&page, "vllm:time_to_first_token_seconds_count");
    assert_eq!(generated, gaps + firsts);

    engine.advance(Time(1_000 * MS));
    let page = engine.page(Time(1_000 * MS), &about());
    for (name, expected) in [
        ("vllm:num_requests_running", 0.0),
        ("vllm:num_requests_waiting", 0.0),
        ("vllm:kv_cache_usage_perc", 0.0),
        (
            "vllm:request_success_total{engine=\"0\",finished_reason=\"length\"",
            5.0,
        ),
        ("vllm:prompt_tokens_total", 500.0),
        ("vllm:generation_tokens_total", 100.0),
        ("vllm:inter_token_latency_seconds_count", 95.0),
        ("vllm:time_per_output_token_seconds_count", 95.0),
        ("vllm:time_to_first_token_seconds_count", 5.0),
        ("vllm:e2e_request_latency_seconds_count", 5.0),
        ("vllm:request_prompt_tokens_sum", 500.0),
        ("vllm:request_generation_tokens_sum", 100.0),
        ("vllm:request_params_max_tokens_sum", 100.0),
        ("vllm:iteration_tokens_total_sum", 600.0),
    ] {
        assert_eq!(value(&page, name), expected, "{name}");
    }
    let sum = |name: &str| value(&page, &format!("vllm:{name}_seconds_sum"));
    let front_end = 5.0 * 2e-3;
    let whole = front_end + sum("request_queue_time") + sum("request_inference_time");
    assert!((sum("e2e_request_latency") - whole).abs() < 1e-6);
    let inference = sum("request_prefill_time") + sum("request_decode_time");
    assert!((sum("request_inference_time") - inference).abs() < 1e-6);
    assert!((sum("request_decode_time") - sum("inter_token_latency")).abs() < 1e-6);
}

#[test]
fn an_abort_frees_memory_wherever_the_request_is() {
    let mut engine = engine(1_000);
    let (decoding, _) = engine.submit(Time(0), ask(600, 100));
    engine.advance(Time(20 * MS));
    let (waiting, _) = engine.submit(Time(20 * MS), ask(600, 100));
    engine.advance(Time(30 * MS));
    let (in_front_end, _) = engine.submit(Time(30 * MS), ask(10, 10));
    let page = engine.page(Time(30 * MS), &about());
    assert_eq!(value(&page, "vllm:num_requests_waiting"), 1.0);
    assert!(value(&page, "vllm:kv_cache_usage_perc") > 0.6);

    engine.abort(Time(31 * MS), decoding);
    assert_eq!(engine.held(), 0);
    engine.advance(Time(40 * MS));
    assert!(engine.held() > 600, "the next one runs");
    engine.abort(Time(40 * MS), in_front_end);
    engine.abort(Time(40 * MS), waiting);
    engine.abort(Time(40 * MS), waiting);
    assert_eq!((engine.held(), engine.requests()), (0, 0));
    let page = engine.page(Time(50 * MS), &about());
    let aborted = "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\"";
    assert_eq!(value(&page, aborted), 3.0);
}

#[test]
fn a_key_of_an_ended_request_hits_no_later_one() {
    let mut engine = engine(1_000);
    let (old, _) = engine.submit(Time(0), ask(10, 1));
    engine.advance(Time(100 * MS));
    let (new, delivery) = engine.submit(Time(100 * MS), ask(10, 1));
    assert_eq!(old.slot, new.slot);
    engine.abort(Time(100 * MS), old);
    engine.advance(Time(200 * MS));
    assert_eq!(delivery.peek().end, Some(End::Finished(Reason::Length)));
}

#[test]
fn prefixes_are_found_again_until_the_memory_is_needed() {
    let mut engine = engine(1_000);
    let blocks: Box<[u64]> = (0..37).collect();
    let prompt = |blocks: &[u64]| Ask {
        blocks: blocks.into(),
        ..ask(600, 2)
    };
    let cached = |engine: &mut Engine, at: u64, ask: Ask| {
        let (_, delivery) = engine.submit(Time(at * MS), ask);
        engine.advance(Time((at + 100) * MS));
        delivery.peek().cached
    };
    assert_eq!(cached(&mut engine, 0, prompt(&blocks)), 0);
    assert_eq!(cached(&mut engine, 200, prompt(&blocks)), 37 * 16);
    let other: Box<[u64]> = (100..150).collect();
    let large = Ask {
        blocks: other,
        ..ask(900, 2)
    };
    assert_eq!(cached(&mut engine, 400, large), 0);
    assert!(
        cached(&mut engine, 600, prompt(&blocks)) < 100,
        "its tail was evicted"
    );
    let page = engine.page(Time(800 * MS), &about());
    assert_eq!(
        value(&page, "vllm:prefix_cache_queries_total"),
        600.0 * 3.0 + 900.0
    );
    assert!(value(&page, "vllm:prefix_cache_hits_total") >= 592.0);
    engine.clear(Time(800 * MS), End::Finished(Reason::Abort));
    assert_eq!(
        cached(&mut engine, 900, prompt(&blocks)),
        0,
        "a cleared engine forgets"
    );
}

#[test]
fn a_transferred_prompt_waits_for_the_link_instead_of_the_prefill() {
    let mut engine = engine(10_000);
    let decode = || Ask {
        transferred: true,
        ..ask(100, 1)
    };
    let (_, a) = engine.submit(Time(0), decode());
    let (_, b) = engine.submit(Time(0), decode());
    let page = engine.page(Time(3 * MS), &about());
    assert_eq!(
        value(&page, "vllm:num_requests_waiting"),
        2.0,
        "vLLM counts them"
    );
    let tokens = drive(&mut engine, END, &[Arc::clone(&a), b]);
    // Front end 2 ms, 10 ms on the link, one iteration with one token; the second comes over the link after the first.
    assert_eq!(tokens[0], [12 * MS + 1_010_000]);
    assert_eq!(tokens[1], [22 * MS + 1_010_000]);
    assert_eq!(a.peek().cached, 100);
}

#[test]
fn readers_are_woken_for_tokens_and_ends() {
    let mut engine = engine(10_000);
    let (_, delivery) = engine.submit(Time(0), ask(100, 3));
    let mut context = Context::from_waker(Waker::noop());
    assert!(delivery.poll_beyond(0, &mut context).is_pending());
    engine.advance(Time(4 * MS));
    let Poll::Ready(progress) = delivery.poll_beyond(0, &mut context) else {
        panic!("the first token is there");
    };
    assert_eq!((progress.tokens, progress.end), (1, None));
    assert!(delivery.poll_beyond(1, &mut context).is_pending());
    engine.clear(Time(5 * MS), End::Lost);
    let Poll::Ready(progress) = delivery.poll_beyond(1, &mut context) else {
        panic!("the end is told");
    };
    assert_eq!(progress.end, Some(End::Lost));
}

#[test]
fn without_a_stream_the_driver_sleeps_through_the_answer() {
    let mut engine = engine(10_000);
    let whole = Ask {
        streaming: false,
        ..ask(100, 1000)
    };
    engine.submit(Time(0), whole);
    let mut wakes = 0;
    while engine.next() < Time::NEVER {
        engine.advance(engine.next());
        wakes += 1;
    }
    assert!(wakes < 6, "{wakes} wakes for 1000 tokens");
}
