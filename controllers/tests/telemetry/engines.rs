//! What each engine's page comes to.

use proptest::prelude::*;
use wva_controllers::telemetry::engine::{Dialect, EngineReading, field};
use wva_controllers::telemetry::exposition::{Census, Syntax, read};

use crate::other_pages;
use crate::pages::{self, LOAD, Load};

fn reading(page: &str, declared: Option<Dialect>) -> EngineReading {
    let (reading, census) = EngineReading::of_pages([(page.as_bytes(), Syntax::Text)], declared);
    assert_eq!(census.malformed, 0);
    reading.unwrap()
}

#[test]
fn vllm_v1() {
    let page = pages::vllm("llama", &[LOAD]);
    let r = reading(&page, None);
    assert_eq!(
        (r.dialect, r.engines, r.mismatch),
        (Dialect::Vllm, 1, false)
    );
    assert_eq!(r.models, ["llama"]);
    assert_eq!(
        (r.running, r.waiting, r.finished),
        (Some(12.0), Some(3.0), Some(1000.0))
    );
    assert_eq!(r.kv_usage, Some(0.3));
    assert_eq!(r.kv_tokens, Some(16.0 * 27_000.0));
    assert_eq!(r.iterations, 10_000.0);
    assert_eq!((r.prompt_tokens, r.generation_tokens), (1.2e6, 2.4e5));
    assert_eq!((r.prefix_hits, r.prefix_queries), (Some(3e5), Some(1.2e6)));
    assert_eq!(r.gap.count, 239_000.0);
    assert!((r.prefill.sum - 120.0).abs() < 1e-9 && (r.queue.sum - 50.0).abs() < 1e-9);
    assert_eq!(r.ttft.bounds.len(), 22);
    assert_eq!(
        (r.ttft.counts[7], r.ttft.counts[8], r.ttft.count),
        (0.0, 1000.0, 1000.0)
    );
    assert_eq!(
        (r.input_tokens.sum, r.output_tokens.count, r.tpot.count),
        (1.2e6, 1000.0, 1000.0)
    );
    let lora = r.lora.clone().unwrap();
    assert_eq!(
        (lora.max, lora.running),
        (Some(4), vec!["sql".to_owned(), "chat".to_owned()])
    );
    assert_eq!(r.started_at, Some(1_700_000_000.25));
    assert_eq!(r.seen_requests(), 1015.0);
}

#[test]
fn data_parallel_engines_are_added_up_on_one_page_or_several() {
    let other = Load {
        running: 4.0,
        ..LOAD
    };
    let together = reading(&pages::vllm("m", &[LOAD, other]), None);
    let (one, two) = (pages::vllm("m", &[LOAD]), pages::vllm("m", &[other]));
    let pages = [one.as_bytes(), two.as_bytes()].map(|p| (p, Syntax::Text));
    let apart = EngineReading::of_pages(pages, None).0.unwrap();
    for r in [together, apart] {
        assert_eq!(
            (r.engines, r.running, r.finished),
            (2, Some(16.0), Some(2000.0))
        );
        assert_eq!((r.kv_usage, r.kv_tokens), (Some(0.2), Some(864_000.0)));
        // Side by side: each went through 10,000 iterations, and so did the replica.
        assert_eq!((r.iterations, r.generation_tokens), (10_000.0, 4.8e5));
        assert_eq!((r.ttft.count, r.ttft.counts[8]), (2000.0, 2000.0));
    }
}

#[test]
fn vllm_v0_names_are_understood_and_newer_ones_win() {
    let page = pages::vllm_v0("llama", &LOAD);
    let r = reading(&page, None);
    assert_eq!(
        (r.kv_usage, r.waiting, r.preemptions),
        (Some(0.3), Some(4.0), 7.0)
    );
    assert!((r.gap.sum / r.gap.count - 0.03).abs() < 1e-12);
    assert!((r.queue.sum / r.queue.count - 0.4).abs() < 1e-12);
    assert_eq!((r.prefix_hits, r.iterations), (None, 0.0));
    let both = page + &pages::vllm("llama", &[LOAD]).replace("num_requests", "ignored");
    let r = reading(&both, None);
    assert_eq!(r.kv_usage, Some(0.3));
    assert_eq!(r.gap.count, 239_000.0);
}

#[test]
fn sglang_counts_each_rank_once() {
    let r = reading(&other_pages::sglang("m", &[LOAD, LOAD]), None);
    assert_eq!((r.dialect, r.engines), (Dialect::Sglang, 2));
    assert_eq!(
        (r.running, r.waiting, r.kv_usage),
        (Some(24.0), Some(6.0), Some(0.25))
    );
    assert_eq!((r.kv_tokens, r.preemptions), (Some(800_000.0), 2.0));
    assert_eq!(
        (r.finished, r.cached_tokens),
        (Some(2005.0), Some(200_000.0))
    );
    assert_eq!((r.gap.count, r.input_tokens.count), (20_000.0, 2000.0));
}

#[test]
fn trtllm_and_triton() {
    let r = reading(&other_pages::trtllm("m", &LOAD), None);
    assert_eq!(
        (r.dialect, r.kv_tokens, r.finished),
        (Dialect::TrtLlm, Some(32_000.0), Some(1000.0))
    );
    assert_eq!((r.gap.count, r.tpot.count), (0.0, 1000.0));
    let r = reading(&other_pages::triton(&LOAD), None);
    assert_eq!((r.dialect, r.engines), (Dialect::Triton, 1));
    assert_eq!(
        (r.running, r.waiting, r.kv_usage),
        (Some(12.0), Some(3.0), Some(0.25))
    );
    assert_eq!(
        (r.kv_tokens, r.finished, r.iterations),
        (Some(256_000.0), Some(1000.0), 7777.0)
    );
    assert_eq!((r.prompt_tokens, r.input_tokens.count), (1.2e6, 1000.0));
}

#[test]
fn the_label_decides_between_engines_but_not_against_the_page() {
    let both = other_pages::triton(&LOAD) + &pages::vllm("m", &[LOAD]);
    assert_eq!(
        reading(&both, Some(Dialect::Triton)).dialect,
        Dialect::Triton
    );
    assert_eq!(reading(&both, None).dialect, Dialect::Vllm);
    let r = reading(&pages::vllm("m", &[LOAD]), Some(Dialect::Sglang));
    assert_eq!((r.dialect, r.mismatch), (Dialect::Vllm, true));
    let nothing = EngineReading::of_pages([(&b"go_goroutines 7\n"[..], Syntax::Text)], None).0;
    assert!(nothing.is_none());
}

#[test]
fn a_series_that_comes_twice_counts_once() {
    let page = pages::vllm("m", &[LOAD]);
    let r = reading(&format!("{page}{page}"), None);
    assert_eq!((r.running, r.ttft.count), (Some(12.0), 1000.0));
    assert_eq!(r.duplicates, r.series + 2);
}

#[test]
fn all_names_that_are_asked_of_prometheus_are_read() {
    for dialect in Dialect::ALL {
        let asked = dialect.names().iter().chain(dialect.bucket_names());
        for name in asked.chain([&dialect.heartbeat()]) {
            assert_eq!(field(name).map(|f| f.dialect), Some(dialect), "{name}");
        }
        assert_eq!(Dialect::of_label(dialect.as_str()), Some(dialect));
    }
}

proptest! {
    #[test]
    fn no_page_makes_it_panic(page in proptest::collection::vec(any::<u8>(), 0..400), open in any::<bool>()) {
        let syntax = if open { Syntax::OpenMetrics } else { Syntax::Text };
        let _ = EngineReading::of_pages([(page.as_slice(), syntax)], None);
    }

    #[test]
    fn no_damage_makes_it_panic_or_invent(at in 0_usize..54_000, with in any::<u8>(), cut in 0_usize..54_000) {
        let mut page = pages::vllm("m", &[LOAD]).into_bytes();
        let len = page.len();
        page[at % len] = with;
        page.truncate(cut % len);
        let (reading, census) = EngineReading::of_pages([(page.as_slice(), Syntax::Text)], None);
        prop_assert!(census.malformed <= 3, "{census:?}");
        prop_assert!(reading.is_none_or(|r| r.engines <= 2));
    }

    #[test]
    fn labels_come_back_as_they_were_written(value in "[^\\x00]{0,20}", number in any::<f64>()) {
        let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let page = format!("m{{a=\"1\",b=\"{written}\"}} {number:e}\n");
        let mut got = Vec::new();
        let census = read(page.as_bytes(), Syntax::Text, Some, |_, s| {
            got.push((s.labels.pairs().nth(1).unwrap().1.into_owned(), s.value));
        });
        prop_assert_eq!(census, Census { samples: 1, read: 1, ..Census::default() });
        prop_assert_eq!(&got[0].0, &value);
        prop_assert!(got[0].1 == number || number.is_nan());
    }
}
