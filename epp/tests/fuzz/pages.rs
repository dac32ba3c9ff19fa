//! Metrics pages. The first byte is the number of bytes after it that say how the page comes in pieces.

use std::sync::Arc;

use wva_epp::scrape::reading::{PageReader, Reading};
use wva_epp_core::endpoint::Engine;

use crate::engine::{fuzz, pieces, seen, size};

const WORDS: [&[u8]; 24] = [
    b"vllm:num_requests_waiting",
    b"vllm:num_requests_running",
    b"vllm:kv_cache_usage_perc",
    b"vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"4\"} 1\n",
    b"vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"a,b\",waiting_lora_adapters=\"c\"} 1\n",
    b"sglang:num_queue_reqs",
    b"sglang:token_usage",
    b"trtllm_num_requests_waiting",
    b"trtllm_kv_cache_max_blocks",
    b"nv_trt_llm_request_metrics{request_type=\"waiting\"} ",
    b"nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} ",
    b"{engine=\"0\"}",
    b"{a=\"\\\"}\"}",
    b" NaN\n",
    b" +Inf\n",
    b" -1\n",
    b" 1e308\n",
    b" 0.5\n",
    b" 3 1690000000000\n",
    b"# HELP x y\n",
    b"# EOF\n",
    b"\r\n",
    b"\"",
    b"\\",
];

const ENGINES: [Engine; 5] = [
    Engine::Vllm,
    Engine::Sglang,
    Engine::TrtLlmServe,
    Engine::TritonTrtLlm,
    Engine::Other,
];

#[test]
fn pages() {
    fuzz("page", &WORDS, |input| {
        let (first, rest) = input.split_first().unwrap_or((&0, &[]));
        let (cuts, page) = rest.split_at(usize::from(*first % 16).min(rest.len()));
        let mut reader = PageReader::new(Arc::default());
        let mut read = |pieces: &mut dyn Iterator<Item = &[u8]>, engine| {
            reader.start();
            pieces.for_each(|piece| reader.feed(piece));
            let reading = reader.finish(engine);
            (reading, reader.absurd().len())
        };
        let all = ENGINES.map(|engine| {
            let (whole, absurd) = read(&mut std::iter::once(page), engine);
            let (cut, _) = read(&mut pieces(page, cuts), engine);
            // NaN is unknown, and equals nothing.
            assert_eq!(
                format!("{whole:?}"),
                format!("{cut:?}"),
                "pieces made a difference"
            );
            assert!(absurd <= 8);
            whole.map(|reading| told(&reading))
        });
        seen((all, cuts.len()))
    });
}

fn told(reading: &Reading) -> impl std::hash::Hash + use<> {
    let metrics = reading.metrics(1.0, None);
    for number in [metrics.waiting, metrics.running] {
        assert!(
            number.is_nan() || (0.0..=1e12).contains(&number),
            "{number}"
        );
    }
    let usage = metrics.kv_usage;
    assert!(
        usage.is_nan() || (0.0..=1.05 + 1e-9).contains(&usage),
        "{usage}"
    );
    let known = [metrics.waiting, metrics.running, usage].map(|x| (x.is_nan(), x == 0.0));
    let lora = reading
        .lora
        .as_ref()
        .map(|lora| size(format!("{lora:?}").len()));
    (
        format!("{:?}", reading.engine),
        known,
        reading
            .cache
            .map(|c| (size(c.blocks as usize), size(c.block_tokens as usize))),
        lora,
        reading.absurd.len(),
    )
}
