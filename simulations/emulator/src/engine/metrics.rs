//! vLLM's metrics of one engine: its names, labels and bucket bounds (vLLM 0.11, `vllm/v1/metrics/loggers.py`).

use wva_simulations::histogram::{ITL_BOUNDS, LogHistogram, TTFT_BOUNDS};
use wva_simulations::replica::Counters;
use wva_simulations::sequence::Sequence;
use wva_simulations::time::Time;

use crate::delivery::Reason;
use crate::exposition::{Exposition, Histogram};

/// Bounds of the latencies of whole requests and their phases, seconds.
const REQUEST_BOUNDS: [f64; 21] = [
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];
const ITERATION_BOUNDS: [f64; 13] = [
    1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
];
/// Values of `finished_reason`, in the order of the counters.
const REASONS: [&str; 4] = ["stop", "length", "abort", "error"];
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

/// A request at its end.
#[derive(Debug)]
pub struct Finished<'a> {
    pub sequence: &'a Sequence,
    pub received: Time,
    pub at: Time,
    pub reason: Reason,
    pub max_tokens: Option<u32>,
}

/// Counts since the server started.
#[derive(Debug)]
pub struct Metrics {
    prompt_tokens: u64,
    generation_tokens: u64,
    preemptions: u64,
    prefix_queries: u64,
    prefix_hits: u64,
    external_queries: u64,
    external_hits: u64,
    ended: [u64; 4],
    iteration_tokens: Histogram,
    ttft: Histogram,
    per_token: Histogram,
    e2e: Histogram,
    queue: Histogram,
    inference: Histogram,
    prefill: Histogram,
    decode: Histogram,
    prompt: Histogram,
    generation: Histogram,
    max_tokens: Histogram,
}

impl Metrics {
    pub fn new(max_model_len: u32) -> Self {
        let request = || Histogram::new(&REQUEST_BOUNDS);
        let tokens = || Histogram::of_tokens(max_model_len);
        Self {
            prompt_tokens: 0,
            generation_tokens: 0,
            preemptions: 0,
            prefix_queries: 0,
            prefix_hits: 0,
            external_queries: 0,
            external_hits: 0,
            ended: [0; 4],
            iteration_tokens: Histogram::new(&ITERATION_BOUNDS),
            ttft: Histogram::new(&TTFT_BOUNDS),
            per_token: Histogram::new(&ITL_BOUNDS),
            e2e: request(),
            queue: request(),
            inference: request(),
            prefill: request(),
            decode: request(),
            prompt: tokens(),
            generation: tokens(),
            max_tokens: tokens(),
        }
    }

    /// Iterations ended between two readings of the replica's counters, all with the same number of tokens: either one
    /// iteration, or a stretch that only decoded.
    pub fn iterations(&mut self, before: &Counters, after: &Counters) {
        let iterations = after.iterations - before.iterations;
        let generated = after.generation_tokens - before.generation_tokens;
        let computed = after.prompt_tokens - before.prompt_tokens;
        self.generation_tokens += generated;
        self.preemptions += after.preemptions - before.preemptions;
        if iterations > 0 {
            let each = (generated + computed) as f64 / iterations as f64;
            self.iteration_tokens.record(each, iterations);
        }
    }

    /// A prompt is done. `external` are the tokens that came over the link.
    pub fn first_token(&mut self, ttft: f64, input: u32, hit: u32, external: Option<u32>) {
        self.ttft.record(ttft, 1);
        self.prompt_tokens += u64::from(input);
        self.prefix_queries += u64::from(input);
        self.prefix_hits += u64::from(hit);
        let external = u64::from(external.unwrap_or(0));
        self.external_queries += external;
        self.external_hits += external;
    }

    /// A request ended.
    pub fn ended(&mut self, reason: Reason) {
        let place = REASONS.iter().position(|r| *r == reason.name());
        self.ended[place.unwrap_or(REASONS.len() - 1)] += 1;
    }

    /// A request ended with its answer.
    pub fn finished(&mut self, request: &Finished<'_>) {
        self.ended(request.reason);
        let (s, at) = (request.sequence, request.at);
        let decode = (at - s.first).seconds();
        self.e2e.record((at - request.received).seconds(), 1);
        self.queue.record((s.scheduled - s.queued).seconds(), 1);
        self.inference.record((at - s.scheduled).seconds(), 1);
        self.prefill.record((s.first - s.scheduled).seconds(), 1);
        self.decode.record(decode, 1);
        self.prompt.record(s.input.into(), 1);
        self.generation.record(s.output.into(), 1);
        if s.output > 1 {
            self.per_token.record(decode / f64::from(s.output - 1), 1);
        }
        if let Some(most) = request.max_tokens {
            self.max_tokens.record(most.into(), 1);
        }
    }

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
