//! Metrics pages as the engines write them, made from the documented names.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::fmt::Write;

pub const TOKENS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0,
    50000.0, 100_000.0, 131_072.0,
];
pub const TTFT: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];
pub const GAP: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];
pub const E2E: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];

/// A page in the making.
#[derive(Default)]
pub struct Page(pub String);

impl Page {
    pub fn head(&mut self, name: &str, kind: &str) {
        let _ = writeln!(
            self.0,
            "# HELP {name} What the engine says of its {name} in one line of text.\n# TYPE {name} {kind}"
        );
    }

    pub fn line(&mut self, name: &str, labels: &str, value: f64) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value:?}");
    }

    pub fn gauge(&mut self, name: &str, labels: &str, value: f64) {
        self.head(name, "gauge");
        self.line(name, labels, value);
    }

    /// `count` observations of `value` each.
    pub fn histogram(&mut self, name: &str, labels: &str, bounds: &[f64], value: f64, count: f64) {
        self.head(name, "histogram");
        self.buckets(name, labels, bounds, value, count);
    }

    pub fn buckets(&mut self, name: &str, labels: &str, bounds: &[f64], value: f64, count: f64) {
        self.line(&format!("{name}_sum"), labels, value * count);
        for le in bounds {
            let below = if value <= *le { count } else { 0.0 };
            self.line(
                &format!("{name}_bucket"),
                &format!("{labels},le=\"{le:?}\""),
                below,
            );
        }
        self.line(
            &format!("{name}_bucket"),
            &format!("{labels},le=\"+Inf\""),
            count,
        );
        self.line(&format!("{name}_count"), labels, count);
    }
}

/// What a page should say.
#[derive(Clone, Copy)]
pub struct Load {
    pub running: f64,
    pub waiting: f64,
    pub finished: f64,
    pub input: f64,
    pub output: f64,
}

pub const LOAD: Load = Load {
    running: 12.0,
    waiting: 3.0,
    finished: 1000.0,
    input: 1200.0,
    output: 240.0,
};

/// vLLM V1 with one engine per entry of `engines`.
pub fn vllm(model: &str, engines: &[Load]) -> String {
    let mut p = Page::default();
    p.gauge("process_start_time_seconds", "", 1_700_000_000.25);
    p.head("python_gc_objects_collected_total", "counter");
    for generation in 0..3 {
        p.line(
            "python_gc_objects_collected_total",
            &format!("generation=\"{generation}\""),
            17_000.0,
        );
    }
    let labels = |e: usize| format!("engine=\"{e}\",model_name=\"{model}\"");
    type Of = fn(&Load) -> f64;
    let gauges: [(&str, Of); 3] = [
        ("vllm:num_requests_running", |l| l.running),
        ("vllm:num_requests_waiting", |l| l.waiting),
        ("vllm:kv_cache_usage_perc", |l| l.running / 40.0),
    ];
    for (name, of) in gauges {
        p.head(name, "gauge");
        for (e, load) in engines.iter().enumerate() {
            p.line(name, &labels(e), of(load));
        }
    }
    let counters: [(&str, Of); 5] = [
        ("vllm:prefix_cache_queries_total", |l| l.finished * l.input),
        ("vllm:prefix_cache_hits_total", |l| {
            l.finished * l.input / 4.0
        }),
        ("vllm:num_preemptions_total", |_| 2.0),
        ("vllm:prompt_tokens_total", |l| l.finished * l.input),
        ("vllm:generation_tokens_total", |l| l.finished * l.output),
    ];
    for (name, of) in counters {
        p.head(name, "counter");
        for (e, load) in engines.iter().enumerate() {
            p.line(name, &labels(e), of(load));
            p.line(
                &name.replace("_total", "_created"),
                &labels(e),
                1_700_000_001.0,
            );
        }
    }
    p.head("vllm:request_success_total", "counter");
    for (e, load) in engines.iter().enumerate() {
        for (reason, share) in [("stop", 0.75), ("length", 0.25), ("abort", 0.0)] {
            let labels = format!("{},finished_reason=\"{reason}\"", labels(e));
            p.line("vllm:request_success_total", &labels, load.finished * share);
        }
    }
    for (name, bounds, of, per) in [
        (
            "vllm:time_to_first_token_seconds",
            TTFT,
            (|_| 0.2) as Of,
            (|l| l.finished) as Of,
        ),
        (
            "vllm:inter_token_latency_seconds",
            GAP,
            |_| 0.02,
            |l| l.finished * (l.output - 1.0),
        ),
        (
            "vllm:request_time_per_output_token_seconds",
            GAP,
            |_| 0.02,
            |l| l.finished,
        ),
        (
            "vllm:e2e_request_latency_seconds",
            E2E,
            |_| 5.0,
            |l| l.finished,
        ),
        (
            "vllm:request_queue_time_seconds",
            E2E,
            |_| 0.05,
            |l| l.finished,
        ),
        (
            "vllm:request_inference_time_seconds",
            E2E,
            |_| 4.9,
            |l| l.finished,
        ),
        (
            "vllm:request_prefill_time_seconds",
            E2E,
            |_| 0.12,
            |l| l.finished,
        ),
        (
            "vllm:request_decode_time_seconds",
            E2E,
            |_| 4.8,
            |l| l.finished,
        ),
        (
            "vllm:request_prompt_tokens",
            TOKENS,
            |l| l.input,
            |l| l.finished,
        ),
        (
            "vllm:request_generation_tokens",
            TOKENS,
            |l| l.output,
            |l| l.finished,
        ),
        (
            "vllm:iteration_tokens_total",
            &[
                1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
                16384.0,
            ],
            |_| 30.0,
            |l| l.finished * 10.0,
        ),
        (
            "vllm:request_max_num_generation_tokens",
            TOKENS,
            |l| l.output,
            |l| l.finished,
        ),
        (
            "vllm:request_params_max_tokens",
            TOKENS,
            |_| 1000.0,
            |l| l.finished,
        ),
        (
            "vllm:request_params_n",
            &[1.0, 2.0, 5.0, 10.0, 20.0],
            |_| 1.0,
            |l| l.finished,
        ),
        (
            "vllm:request_prefill_kv_computed_tokens",
            TOKENS,
            |l| l.input,
            |l| l.finished,
        ),
    ] {
        p.head(name, "histogram");
        for (e, load) in engines.iter().enumerate() {
            p.buckets(name, &labels(e), bounds, of(load), per(load));
        }
    }
    p.head("vllm:cache_config_info", "gauge");
    for e in 0..engines.len() {
        p.line(
            "vllm:cache_config_info",
            &format!("block_size=\"16\",cache_dtype=\"auto\",calculate_kv_scales=\"False\",cpu_offload_gb=\"0\",enable_prefix_caching=\"True\",engine=\"{e}\",gpu_memory_utilization=\"0.9\",num_cpu_blocks=\"None\",num_gpu_blocks=\"27000\",swap_space=\"4\""),
            1.0,
        );
    }
    p.gauge(
        "vllm:lora_requests_info",
        "max_lora=\"4\",running_lora_adapters=\"sql,chat\",waiting_lora_adapters=\"\"",
        1_700_000_100.0,
    );
    for handler in [
        "/v1/chat/completions",
        "/v1/completions",
        "/health",
        "/metrics",
    ] {
        let bounds = &[0.1, 0.5, 1.0][..];
        let labels = format!("handler=\"{handler}\",method=\"POST\"");
        p.histogram("http_request_duration_seconds", &labels, bounds, 0.2, 100.0);
        let highr = [
            0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5,
            5.0, 7.5, 10.0, 30.0, 60.0,
        ];
        p.histogram(
            "http_request_duration_highr_seconds",
            &labels,
            &highr,
            0.2,
            100.0,
        );
    }
    p.0
}

/// vLLM V0: other names, no engine label, gauges in place of prefix counters.
pub fn vllm_v0(model: &str, load: &Load) -> String {
    let labels = format!("model_name=\"{model}\"");
    let mut p = Page::default();
    p.gauge("vllm:num_requests_running", &labels, load.running);
    p.gauge("vllm:num_requests_waiting", &labels, load.waiting);
    p.gauge("vllm:num_requests_swapped", &labels, 1.0);
    p.gauge("vllm:gpu_cache_usage_perc", &labels, 0.3);
    p.gauge("vllm:cpu_cache_usage_perc", &labels, 0.0);
    p.gauge("vllm:gpu_prefix_cache_hit_rate", &labels, -1.0);
    p.gauge(
        "vllm:prompt_tokens_total",
        &labels,
        load.finished * load.input,
    );
    p.gauge(
        "vllm:generation_tokens_total",
        &labels,
        load.finished * load.output,
    );
    p.gauge("vllm:num_preemptions_total", &labels, 7.0);
    p.gauge(
        "vllm:request_success_total",
        &format!("finished_reason=\"stop\",{labels}"),
        load.finished,
    );
    p.histogram(
        "vllm:time_to_first_token_seconds",
        &labels,
        TTFT,
        0.2,
        load.finished,
    );
    p.histogram(
        "vllm:time_per_output_token_seconds",
        &labels,
        GAP,
        0.03,
        load.finished * 10.0,
    );
    p.histogram(
        "vllm:time_in_queue_requests",
        &labels,
        E2E,
        0.4,
        load.finished,
    );
    p.histogram(
        "vllm:request_prompt_tokens",
        &labels,
        TOKENS,
        load.input,
        load.finished,
    );
    p.histogram(
        "vllm:request_generation_tokens",
        &labels,
        TOKENS,
        load.output,
        load.finished,
    );
    p.0
}
