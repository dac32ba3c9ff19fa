//! Pages of the engines other than vLLM.

use crate::pages::{E2E, GAP, Load, Page, TOKENS, TTFT};

/// SGLang with data-parallel ranks, each reported by two tensor ranks.
pub fn sglang(model: &str, ranks: &[Load]) -> String {
    let front = format!("model_name=\"{model}\"");
    let mut p = Page::default();
    type Of = fn(&Load) -> f64;
    let scalars: [(&str, Of); 5] = [
        ("sglang:num_running_reqs", |l| l.running),
        ("sglang:num_queue_reqs", |l| l.waiting),
        ("sglang:token_usage", |_| 0.25),
        ("sglang:max_total_num_tokens", |_| 400_000.0),
        ("sglang:num_retracted_requests_total", |_| 1.0),
    ];
    for (name, of) in scalars {
        p.head(name, "gauge");
        for (dp, load) in ranks.iter().enumerate() {
            for tp in [2 * dp + 1, 2 * dp] {
                let labels = format!(
                    "dp_rank=\"{dp}\",engine_type=\"unified\",{front},pp_rank=\"0\",tp_rank=\"{tp}\""
                );
                p.line(name, &labels, of(load));
            }
        }
    }
    p.gauge(
        "sglang:cache_config_info",
        &format!("{front},num_pages=\"9\",page_size=\"1\""),
        1.0,
    );
    let sum = |of: Of| ranks.iter().map(of).sum::<f64>();
    p.gauge(
        "sglang:prompt_tokens_total",
        &front,
        sum(|l| l.finished * l.input),
    );
    p.gauge(
        "sglang:cached_tokens_total",
        &format!("cache_source=\"device\",{front}"),
        sum(|l| l.finished * 100.0),
    );
    p.gauge(
        "sglang:generation_tokens_total",
        &front,
        sum(|l| l.finished * l.output),
    );
    p.gauge("sglang:num_requests_total", &front, sum(|l| l.finished));
    p.gauge("sglang:num_aborted_requests_total", &front, 5.0);
    p.histogram(
        "sglang:time_to_first_token_seconds",
        &front,
        TTFT,
        0.3,
        sum(|l| l.finished),
    );
    p.histogram(
        "sglang:inter_token_latency_seconds",
        &front,
        GAP,
        0.015,
        sum(|l| l.finished * 10.0),
    );
    p.histogram(
        "sglang:prompt_tokens_histogram",
        &front,
        TOKENS,
        1200.0,
        sum(|l| l.finished),
    );
    p.histogram(
        "sglang:generation_tokens_histogram",
        &front,
        TOKENS,
        240.0,
        sum(|l| l.finished),
    );
    p.0
}

/// TensorRT-LLM's own server.
pub fn trtllm(model: &str, load: &Load) -> String {
    let labels = format!("engine_type=\"trtllm\",model_name=\"{model}\"");
    let mut p = Page::default();
    p.gauge("trtllm_num_requests_running", &labels, load.running);
    p.gauge("trtllm_num_requests_waiting", &labels, load.waiting);
    p.gauge("trtllm_kv_cache_utilization", &labels, 0.5);
    p.gauge("trtllm_kv_cache_max_blocks", &labels, 1000.0);
    p.gauge("trtllm_kv_cache_tokens_per_block", &labels, 32.0);
    p.gauge(
        "trtllm_num_requests_completed_total",
        &labels,
        load.finished,
    );
    p.gauge(
        "trtllm_request_success_total",
        &format!("finished_reason=\"stop\",{labels}"),
        load.finished - 1.0,
    );
    p.histogram(
        "trtllm_time_to_first_token_seconds",
        &labels,
        TTFT,
        0.2,
        load.finished,
    );
    p.histogram(
        "trtllm_time_per_output_token_seconds",
        &labels,
        GAP,
        0.02,
        load.finished,
    );
    p.histogram(
        "trtllm_request_queue_time_seconds",
        &labels,
        E2E,
        0.1,
        load.finished,
    );
    p.0
}

/// Triton with the TensorRT-LLM backend and its ensemble.
pub fn triton(load: &Load) -> String {
    let llm = "model=\"tensorrt_llm\",version=\"1\"";
    let mut p = Page::default();
    p.head("nv_inference_request_success", "counter");
    for model in [
        "ensemble",
        "postprocessing",
        "preprocessing",
        "tensorrt_llm",
    ] {
        p.line(
            "nv_inference_request_success",
            &format!("model=\"{model}\",version=\"1\""),
            load.finished,
        );
    }
    p.head("nv_trt_llm_request_metrics", "gauge");
    for (kind, value) in [
        ("active", load.running + load.waiting),
        ("max", 512.0),
        ("scheduled", load.running),
        ("context", 1.0),
        ("waiting", load.waiting),
    ] {
        p.line(
            "nv_trt_llm_request_metrics",
            &format!("{llm},request_type=\"{kind}\""),
            value,
        );
    }
    p.head("nv_trt_llm_kv_cache_block_metrics", "gauge");
    for (kind, value) in [
        ("max", 4000.0),
        ("free", 3000.0),
        ("used", 1000.0),
        ("tokens_per", 64.0),
        ("fraction", 0.25),
    ] {
        p.line(
            "nv_trt_llm_kv_cache_block_metrics",
            &format!("kv_cache_block_type=\"{kind}\",{llm}"),
            value,
        );
    }
    p.head("nv_trt_llm_general_metrics", "gauge");
    p.line(
        "nv_trt_llm_general_metrics",
        &format!("general_type=\"timestamp\",{llm}"),
        1_700_000_000.0,
    );
    p.line(
        "nv_trt_llm_general_metrics",
        &format!("general_type=\"iteration_counter\",{llm}"),
        7777.0,
    );
    let bounds = &[10.0, 50.0, 100.0, 500.0, 1000.0];
    p.histogram(
        "nv_llm_input_token_len",
        &format!("{llm},response_metric_type=\"total_input_tokens\""),
        bounds,
        load.input,
        load.finished,
    );
    p.histogram(
        "nv_llm_output_token_len",
        &format!("{llm},response_metric_type=\"total_output_tokens\""),
        bounds,
        load.output,
        load.finished,
    );
    p.0
}
