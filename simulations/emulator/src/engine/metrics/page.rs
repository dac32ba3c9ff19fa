//! The metrics page.

use wva_simulations::histogram::{ITL_BOUNDS, LogHistogram};

use super::{Metrics, REASONS};
use crate::exposition::Exposition;

/// States of `vllm:engine_sleep_state`.
const SLEEP_STATES: [&str; 3] = ["awake", "weights_offloaded", "discard_all"];

/// What a page says of the server rather than of its requests.
#[derive(Debug)]
pub struct About<'a> {
    /// First served name.
    pub model: &'a str,
    /// Adapters, in the order that requests refer to.
    pub loras: &'a [String],
    /// Adapters that fit into a batch.
    pub max_loras: u32,
    /// Tokens of a KV block.
    pub block_tokens: u32,
    /// KV blocks.
    pub blocks: u64,
    /// Whether prefixes are kept.
    pub prefix_caching: bool,
    /// 0 awake, 1 weights in host memory, 2 everything discarded.
    pub sleep_level: u8,
    /// Start of the server, seconds since 1970.
    pub started_unix_s: f64,
    /// Seconds since 1970.
    pub unix_s: f64,
}

/// How the engine stands.
#[derive(Debug)]
pub struct State {
    pub running: usize,
    pub waiting: usize,
    pub kv_usage: f64,
    pub running_loras: Vec<usize>,
    pub waiting_loras: Vec<usize>,
}

impl Metrics {
    /// The page.
    pub fn page(&self, about: &About<'_>, state: &State, gaps: &LogHistogram) -> String {
        let mut page = Exposition::new(about.model);
        self.gauges(&mut page, about, state);
        self.counters(&mut page);
        self.histograms(&mut page, gaps);
        configuration(&mut page, about, state);
        page.finish()
    }

    fn gauges(&self, page: &mut Exposition, about: &About<'_>, state: &State) {
        page.gauge(
            "vllm:num_requests_running",
            "Number of requests in model execution batches.",
            state.running as f64,
        );
        page.gauge(
            "vllm:num_requests_waiting",
            "Number of requests waiting to be processed.",
            state.waiting as f64,
        );
        page.gauge(
            "vllm:kv_cache_usage_perc",
            "KV-cache usage. 1 means 100 percent usage.",
            state.kv_usage,
        );
        page.family("vllm:engine_sleep_state", "gauge", "Engine sleep state.");
        for (level, name) in SLEEP_STATES.iter().enumerate() {
            let is = f64::from(u8::from(level == usize::from(about.sleep_level)));
            page.sample("vllm:engine_sleep_state", Some(("sleep_state", name)), is);
        }
    }

    fn counters(&self, page: &mut Exposition) {
        for (name, help, value) in [
            (
                "prefix_cache_queries",
                "Prefix cache queries, in queried tokens.",
                self.prefix_queries,
            ),
            (
                "prefix_cache_hits",
                "Prefix cache hits, in cached tokens.",
                self.prefix_hits,
            ),
            (
                "external_prefix_cache_queries",
                "Queries of KV caches of other servers, in tokens.",
                self.external_queries,
            ),
            (
                "external_prefix_cache_hits",
                "Tokens whose KV cache came from other servers.",
                self.external_hits,
            ),
            (
                "num_preemptions",
                "Cumulative number of preemptions.",
                self.preemptions,
            ),
            (
                "prompt_tokens",
                "Number of prefill tokens processed.",
                self.prompt_tokens,
            ),
            (
                "generation_tokens",
                "Number of generation tokens processed.",
                self.generation_tokens,
            ),
        ] {
            page.counter(&format!("vllm:{name}_total"), help, value);
        }
        let name = "vllm:request_success_total";
        page.family(
            name,
            "counter",
            "Count of requests processed, by how they ended.",
        );
        for (reason, &count) in REASONS.iter().zip(&self.ended) {
            page.sample(name, Some(("finished_reason", reason)), count as f64);
        }
    }

    fn histograms(&self, page: &mut Exposition, gaps: &LogHistogram) {
        let itl: Vec<(f64, u64)> = ITL_BOUNDS.iter().map(|&b| (b, gaps.at_most(b))).collect();
        // The second is the name before vLLM 0.11, which still has both.
        for name in [
            "vllm:inter_token_latency_seconds",
            "vllm:time_per_output_token_seconds",
        ] {
            let help = "Histogram of inter-token latency in seconds.";
            page.cumulative(name, help, &itl, gaps.count(), gaps.sum());
        }
        for (name, help, histogram) in [
            (
                "time_to_first_token_seconds",
                "Time to first token in seconds.",
                &self.ttft,
            ),
            (
                "request_time_per_output_token_seconds",
                "Mean time per output token of a request in seconds.",
                &self.per_token,
            ),
            (
                "e2e_request_latency_seconds",
                "End-to-end request latency in seconds.",
                &self.e2e,
            ),
            (
                "request_queue_time_seconds",
                "Time a request waited in seconds.",
                &self.queue,
            ),
            (
                "request_inference_time_seconds",
                "Time a request ran in seconds.",
                &self.inference,
            ),
            (
                "request_prefill_time_seconds",
                "Time a request's prompt took in seconds.",
                &self.prefill,
            ),
            (
                "request_decode_time_seconds",
                "Time a request decoded in seconds.",
                &self.decode,
            ),
            (
                "request_prompt_tokens",
                "Prompt tokens of a request.",
                &self.prompt,
            ),
            (
                "request_generation_tokens",
                "Output tokens of a request.",
                &self.generation,
            ),
            (
                "request_max_num_generation_tokens",
                "Most output tokens of a request's sequences.",
                &self.generation,
            ),
            (
                "request_params_max_tokens",
                "The max_tokens parameter of requests.",
                &self.max_tokens,
            ),
            (
                "iteration_tokens_total",
                "Tokens per engine step.",
                &self.iteration_tokens,
            ),
        ] {
            page.histogram(&format!("vllm:{name}"), help, histogram);
        }
    }
}

/// What does not change, and adapters.
fn configuration(page: &mut Exposition, about: &About<'_>, state: &State) {
    let name = "vllm:cache_config_info";
    page.family(name, "gauge", "Information of the LLMEngine CacheConfig");
    let caching = if about.prefix_caching {
        "True"
    } else {
        "False"
    };
    let labels = [
        ("block_size", &*about.block_tokens.to_string()),
        ("cache_dtype", "auto"),
        ("enable_prefix_caching", caching),
        ("engine", "0"),
        ("num_gpu_blocks", &*about.blocks.to_string()),
    ];
    page.info(name, &labels, 1.0);
    let name = "process_start_time_seconds";
    page.family(
        name,
        "gauge",
        "Start time of the process since unix epoch in seconds.",
    );
    page.info(name, &[], about.started_unix_s);
    if about.loras.is_empty() {
        return;
    }
    let name = "vllm:lora_requests_info";
    page.family(name, "gauge", "Running stats on lora requests.");
    let names = |places: &[usize]| {
        let names: Vec<&str> = places
            .iter()
            .filter_map(|&p| about.loras.get(p).map(String::as_str))
            .collect();
        names.join(",")
    };
    let labels = [
        ("max_lora", &*about.max_loras.to_string()),
        ("running_lora_adapters", &*names(&state.running_loras)),
        ("waiting_lora_adapters", &*names(&state.waiting_loras)),
    ];
    page.info(name, &labels, about.unix_s);
}
