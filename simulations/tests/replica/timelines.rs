//! Timelines computed by hand, in nanoseconds.

use super::{Ask, ask, drive, limits, plain};

const BIG: u32 = 1_000_000;

#[test]
fn one_request_alone() {
    // Prefill of 100: 1000 + 100·10 + 100·1 + 100 + 0.01·100·50 + 500 µs = 2750 µs.
    // Decode reads 101, then 102: 1000 + 10 + 101 + 100 = 1211 µs, 1212 µs.
    let (times, c) = drive(plain(limits(8192, 8, BIG)), &[ask(7, 100, 3)]);
    assert_eq!(
        times,
        [(7 + 2_750_000, 7 + 2_750_000 + 1_211_000 + 1_212_000)]
    );
    assert_eq!(
        (
            c.iterations,
            c.prompt_tokens,
            c.generation_tokens,
            c.finished
        ),
        (3, 100, 3, 1)
    );
    assert!((c.gap.sum - 2.423e-3).abs() < 1e-12 && c.gap.count == 2.0);
    assert!((c.ttft.sum - 2.75e-3).abs() < 1e-12 && c.queue.sum == 0.0);
}

#[test]
fn one_output_token_ends_with_the_prefill() {
    let (times, c) = drive(plain(limits(8192, 8, BIG)), &[ask(0, 100, 1)]);
    assert_eq!(times, [(2_750_000, 2_750_000)]);
    assert_eq!(c.gap.count, 0.0);
}

#[test]
fn long_prompt_is_cut_into_chunks() {
    // Chunk of 64: 1000 + 640 + 64 + 100 + 0.01·64·32 + 500 = 2324.48 µs.
    // Rest of 36: 1000 + 360 + 100 + 100 + 0.01·36·(64 + 18) + 500 = 2089.52 µs.
    let (times, c) = drive(plain(limits(64, 8, BIG)), &[ask(0, 100, 1)]);
    assert_eq!(times[0].1, 2_324_480 + 2_089_520);
    assert_eq!(c.iterations, 2);
}

#[test]
fn an_arrival_waits_for_the_iteration_in_progress() {
    // First: prefill to 2750, decodes to 3961, 5173, ... The second arrives at 4000 and joins the iteration at 5173:
    // decode reads 103, prefill 10: 1000 + 11·10 + (103 + 10) + 2·100 + 0.01·10·5 + 500 = 1923.5 µs.
    let asks = [ask(0, 100, 50), ask(4_000_000, 10, 1)];
    let (times, c) = drive(plain(limits(8192, 8, BIG)), &asks);
    assert_eq!(times[1], (5_173_000 + 1_923_500, 5_173_000 + 1_923_500));
    assert!((c.queue.sum - 1.173e-3).abs() < 1e-12);
    // The first has 4 tokens by then; the 46 others come at 1000 + 10 + (100 + j) + 100, j = 4..50.
    let rest: u64 = (4..50).map(|j| 1_210_000 + j * 1_000).sum();
    assert_eq!(times[0].1, 5_173_000 + 1_923_500 + rest);
}

#[test]
fn requests_of_one_instant_share_an_iteration() {
    // Two prompts of 100: 1000 + 2000 + 200 + 200 + 2·0.01·100·50 + 500 = 4000 µs.
    let (times, _) = drive(
        plain(limits(8192, 8, BIG)),
        &[ask(5, 100, 1), ask(5, 100, 1)],
    );
    assert_eq!(times, [(4_000_005, 4_000_005); 2]);
}

#[test]
fn cached_tokens_are_read_but_not_computed() {
    // 20 of 100 computed: 1000 + 200 + 100 + 100 + 0.01·20·(80 + 10) + 500 = 1918 µs.
    let hit = Ask {
        hit: 80,
        ..ask(0, 100, 1)
    };
    let (times, c) = drive(plain(limits(8192, 8, BIG)), &[hit]);
    assert_eq!((times[0].0, c.prompt_tokens), (1_918_000, 20));
}

#[test]
fn without_prefix_caching_nothing_is_found() {
    let mut spec = plain(limits(8192, 8, BIG));
    spec.prefix_caching = false;
    let hit = Ask {
        hit: 80,
        ..ask(0, 100, 1)
    };
    assert_eq!(drive(spec, &[hit]).0[0].0, 2_750_000);
}

#[test]
fn a_transferred_prompt_costs_one_decode_step() {
    // 1000 + 10 + 100 + 100 = 1210 µs, then 1211 µs.
    let transferred = Ask {
        transferred: true,
        ..ask(0, 100, 2)
    };
    let (times, _) = drive(plain(limits(8192, 8, BIG)), &[transferred]);
    assert_eq!(times[0], (1_210_000, 2_421_000));
}

#[test]
fn a_prefill_replica_ends_with_the_prompt() {
    let mut spec = plain(limits(8192, 8, BIG));
    spec.prefill_only = true;
    let (times, c) = drive(spec, &[ask(0, 100, 50)]);
    assert_eq!(
        times[0],
        (u64::MAX, 2_750_000),
        "no first token is emitted here"
    );
    assert_eq!((c.generation_tokens, c.finished), (0, 1));
}

#[test]
fn running_sequences_are_bounded() {
    let (times, _) = drive(
        plain(limits(8192, 1, BIG)),
        &[ask(0, 100, 2), ask(1, 100, 1)],
    );
    assert_eq!(times[1].0, times[0].1 + 2_750_000);
}

#[test]
fn the_latest_arrival_is_preempted_and_recomputed() {
    // 30 + 30 tokens of prompt in 68: both decode until their contexts would exceed 68, then the later one gives way and
    // comes back, when the first has finished, with its whole context as prompt.
    let (times, c) = drive(
        plain(limits(8192, 8, 68)),
        &[ask(0, 30, 20), ask(0, 30, 20)],
    );
    assert_eq!(c.preemptions, 1);
    assert_eq!(c.finished, 2);
    // Prompts 60 + contexts 62, 64, 66, 68 read; the next would read 70. Five tokens each.
    let both: u64 = 1_000_000
        + 600_000
        + 60_000
        + 200_000
        + 9_000
        + 500_000
        + [62, 64, 66, 68]
            .iter()
            .map(|kv| 1_220_000 + kv * 1_000)
            .sum::<u64>();
    let alone: u64 = (35..50).map(|kv| 1_110_000 + kv * 1_000).sum();
    assert_eq!(times[0].1, both + alone);
    // Recompute 35: 1000 + 350 + 35 + 100 + 0.01·35·17.5 + 500 = 1991.125 µs emits the sixth token; 14 follow.
    let rest: u64 = (36..50).map(|kv| 1_110_000 + kv * 1_000).sum();
    assert_eq!(times[1].1, both + alone + 1_991_125 + rest);
    assert_eq!(c.prompt_tokens, 95);
}

#[test]
fn batch_work_is_preempted_before_earlier_interactive_work() {
    let mut spec = plain(limits(8192, 8, 68));
    (spec.batch_levels, spec.batch_chunk) = (1, 512);
    let batch = Ask {
        level: 1,
        ..ask(0, 30, 20)
    };
    let (times, c) = drive(spec, &[batch, ask(0, 30, 20)]);
    assert_eq!(c.preemptions, 1);
    assert!(times[1].1 < times[0].1);
}

#[test]
fn batch_prefill_is_bounded_per_iteration_and_comes_last() {
    let mut spec = plain(limits(8192, 8, BIG));
    (spec.batch_levels, spec.batch_chunk) = (1, 64);
    let batch = Ask {
        level: 1,
        ..ask(0, 128, 1)
    };
    // 64 of batch and 100 of interactive: 1000 + 1640 + 164 + 200 + 0.01·(64·32 + 100·50) + 500 = 3574.48 µs.
    let (times, c) = drive(spec, &[batch, ask(0, 100, 1)]);
    assert_eq!((times[1].1, c.iterations), (3_574_480, 2));
    assert!(times[0].1 > times[1].1);
}

#[test]
fn hashed_blocks_are_found_again_and_shared() {
    let spec = plain(limits(8192, 8, 4096));
    let with = |at, blocks: &[u64]| Ask {
        blocks: blocks.to_vec(),
        ..ask(at, 1100, 10)
    };
    let later = 1_000_000_000;
    let (_, c) = drive(
        spec,
        &[
            with(0, &[1, 2, 3]),
            with(later, &[1, 2, 4]),
            with(2 * later, &[1, 5, 6]),
        ],
    );
    assert_eq!(c.prompt_tokens, 1100 + (1100 - 1024) + (1100 - 512));
    // Four at once do not fit 4096 tokens one by one, but they do once the prefix is shared.
    let mut asks = vec![with(0, &[1, 2, 3])];
    asks.extend((0..8).map(|_| with(later, &[1, 2, 3])));
    let (times, c) = drive(spec, &asks);
    assert_eq!((c.prompt_tokens, c.preemptions), (1100 + 8 * 76, 0));
    assert!(
        times[1..].iter().all(|t| t.0 == times[1].0),
        "all were admitted at once"
    );
}

#[test]
fn idle_blocks_give_way_to_running_sequences() {
    let spec = plain(limits(8192, 8, 2000));
    let with = |at, blocks: &[u64]| Ask {
        blocks: blocks.to_vec(),
        ..ask(at, 1100, 10)
    };
    let later = 1_000_000_000;
    let (_, c) = drive(
        spec,
        &[
            with(0, &[1, 2]),
            with(later, &[3, 4]),
            with(2 * later, &[1, 2]),
        ],
    );
    assert_eq!(
        c.prompt_tokens,
        1100 + 1100 + (1100 - 512),
        "one of the two old blocks was evicted, the tail first"
    );
}
