//! What engines call the numbers that choosing needs.
//!
//! Every engine's names are looked for on every page, so that a page tells whose it is; the pod's label decides only where
//! a page has several. Histograms, and whatever else the autoscaler reads of the same pages, are passed over.

use wva_epp_core::config::Engines;
use wva_epp_core::endpoint::Engine;

use super::page::Labels;

/// Labels of pods that name their engine, in order of preference.
pub const ENGINE_LABELS: [&str; 2] = [
    "llm-d.ai/engine-type",
    "inference.networking.k8s.io/engine-type",
];

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Requests waiting.
    Waiting,
    /// Requests running.
    Running,
    /// Share of the KV cache in use.
    KvUsage,
    /// Block size and number of blocks, as labels.
    CacheInfo,
    /// Tokens of a block.
    BlockTokens,
    /// Number of blocks.
    Blocks,
    /// Adapters, as labels; the value is the time at which they were these.
    Lora,
}

/// One name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    name: Box<str>,
    /// Labels that a line must have to be meant.
    only: Vec<(Box<str>, Box<str>)>,
    /// Whose name it is.
    pub engine: Engine,
    /// What it says.
    pub field: Field,
    /// Of names for the same number the lowest wins: releases have exported old and new ones side by side.
    pub order: u8,
}

impl Entry {
    fn new(engine: Engine, field: Field, order: u8, name: &str) -> Self {
        Self {
            name: name.into(),
            only: Vec::new(),
            engine,
            field,
            order,
        }
    }

    /// Reads `name` or `name{label=value,…}`, values with or without quotes.
    fn of_specification(engine: Engine, field: Field, text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, labels) = match text.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (text, ""),
        };
        let mut entry = Self::new(engine, field, 0, name.trim());
        for pair in labels.split(',').filter(|p| !p.trim().is_empty()) {
            let (key, value) = pair.split_once('=')?;
            let value = value.trim().trim_matches('"');
            entry.only.push((key.trim().into(), value.into()));
        }
        (!entry.name.is_empty()).then_some(entry)
    }

    /// Whether a line with these labels is meant. SGLang's schedulers report the same batch once for each tensor and
    /// pipeline rank: the first of them speaks.
    #[must_use]
    pub fn means(&self, labels: Labels<'_>) -> bool {
        let follower = |rank| labels.number(rank).is_some_and(|r| r > 0);
        let spoken = self.engine == Engine::Sglang && (follower("tp_rank") || follower("pp_rank"));
        let mut only = self.only.iter();
        !spoken && only.all(|(key, value)| labels.get(key) == Some(&**value))
    }

    /// The metric's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A configured name that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("engine {engine}: {key} {text:?} is not a metric, as name or name{{label=value}}")]
pub struct NotAMetric {
    /// The engine, as configured.
    pub engine: String,
    /// Which of its metrics.
    pub key: String,
    /// What is written there.
    pub text: String,
}

/// All names that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    entries: Vec<Entry>,
    /// Bit n is set where a name has n bytes; the last bit stands for all that are longer.
    lengths: u64,
    label: Option<String>,
    default: Option<Engine>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::new(standard(), None, None)
    }
}

impl Vocabulary {
    fn new(entries: Vec<Entry>, label: Option<String>, default: Option<Engine>) -> Self {
        let lengths = entries.iter().fold(0, |bits, e| bits | bit(e.name.len()));
        Self {
            entries,
            lengths,
            label,
            default,
        }
    }

    /// The engines' usual names, with those replaced that the configuration gives.
    ///
    /// # Errors
    /// [`NotAMetric`].
    pub fn of(engines: &Engines) -> Result<Self, NotAMetric> {
        let mut entries = standard();
        for (engine, key, text) in &engines.names {
            let (owner, field) = (engine_of(engine), field_of(key));
            let refused = || NotAMetric {
                engine: engine.clone(),
                key: key.clone(),
                text: text.clone(),
            };
            let entry = field.and_then(|f| Entry::of_specification(owner, f, text));
            let entry = entry.ok_or_else(refused)?;
            entries.retain(|e| (e.engine, e.field) != (entry.engine, entry.field));
            entries.push(entry);
        }
        let default = engines.default.as_deref().map(engine_of);
        Ok(Self::new(entries, engines.label.clone(), default))
    }

    /// The engine that a pod's labels name; [`Engine::Vllm`] where neither they nor the configuration do.
    #[must_use]
    pub fn engine<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> Engine {
        let own = self.label.as_deref().and_then(&label);
        let named = own.or_else(|| ENGINE_LABELS.into_iter().find_map(&label));
        named.map_or(self.default.unwrap_or_default(), engine_of)
    }

    /// What a name may mean.
    pub fn find<'v, 'n: 'v>(&'v self, name: &'n [u8]) -> impl Iterator<Item = &'v Entry> {
        let known = self.lengths & bit(name.len()) != 0;
        let entries = if known { &*self.entries } else { &[] };
        entries.iter().filter(move |e| e.name.as_bytes() == name)
    }
}

const fn bit(length: usize) -> u64 {
    1 << if length < 63 { length } else { 63 }
}

/// The engine of a label's value or of a configuration.
#[must_use]
pub fn engine_of(name: &str) -> Engine {
    match name.trim().to_ascii_lowercase().as_str() {
        "vllm" => Engine::Vllm,
        "sglang" => Engine::Sglang,
        "trtllm" | "trtllm-serve" | "trt-llm" | "tensorrt-llm" => Engine::TrtLlmServe,
        "triton" | "triton-tensorrt-llm" | "triton-trtllm" => Engine::TritonTrtLlm,
        _ => Engine::Other,
    }
}

fn field_of(key: &str) -> Option<Field> {
    Some(match key {
        "queuedRequestsSpec" => Field::Waiting,
        "runningRequestsSpec" => Field::Running,
        "kvUsageSpec" => Field::KvUsage,
        "loraSpec" => Field::Lora,
        "cacheInfoSpec" => Field::CacheInfo,
        _ => return None,
    })
}

/// The names that engines use (sources: vLLM's and SGLang's documentation of production metrics, TensorRT-LLM's metrics
/// collector, the custom metrics of Triton's TensorRT-LLM backend).
fn standard() -> Vec<Entry> {
    use Field::{BlockTokens, Blocks, CacheInfo, KvUsage, Lora, Running, Waiting};
    let plain = [
        (Engine::Vllm, Waiting, 0, "vllm:num_requests_waiting"),
        (Engine::Vllm, Running, 0, "vllm:num_requests_running"),
        (Engine::Vllm, KvUsage, 0, "vllm:kv_cache_usage_perc"),
        (Engine::Vllm, KvUsage, 1, "vllm:gpu_cache_usage_perc"),
        (Engine::Vllm, CacheInfo, 0, "vllm:cache_config_info"),
        (Engine::Vllm, Lora, 0, "vllm:lora_requests_info"),
        (Engine::Sglang, Waiting, 0, "sglang:num_queue_reqs"),
        (Engine::Sglang, Running, 0, "sglang:num_running_reqs"),
        (Engine::Sglang, KvUsage, 0, "sglang:token_usage"),
        (Engine::Sglang, CacheInfo, 0, "sglang:cache_config_info"),
        (Engine::Sglang, Lora, 0, "sglang:lora_requests_info"),
        (
            Engine::TrtLlmServe,
            Waiting,
            0,
            "trtllm_num_requests_waiting",
        ),
        (
            Engine::TrtLlmServe,
            Running,
            0,
            "trtllm_num_requests_running",
        ),
        (
            Engine::TrtLlmServe,
            KvUsage,
            0,
            "trtllm_kv_cache_utilization",
        ),
        (
            Engine::TrtLlmServe,
            BlockTokens,
            0,
            "trtllm_kv_cache_tokens_per_block",
        ),
        (Engine::TrtLlmServe, Blocks, 0, "trtllm_kv_cache_max_blocks"),
    ];
    let triton = [
        (Waiting, "nv_trt_llm_request_metrics{request_type=waiting}"),
        (
            Running,
            "nv_trt_llm_request_metrics{request_type=scheduled}",
        ),
        (
            KvUsage,
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}",
        ),
        (
            BlockTokens,
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=tokens_per}",
        ),
        (
            Blocks,
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=max}",
        ),
    ];
    let plain = plain.into_iter();
    let triton = triton.into_iter().map(|(field, text)| {
        Entry::of_specification(Engine::TritonTrtLlm, field, text).expect("these are well formed")
    });
    plain
        .map(|(engine, field, order, name)| Entry::new(engine, field, order, name))
        .chain(triton)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::page;
    use super::*;

    fn fields(vocabulary: &Vocabulary, line: &str) -> Vec<Field> {
        let (name, rest) = page::name(line.as_bytes()).unwrap();
        let (labels, _) = page::sample(rest).unwrap();
        let found = vocabulary.find(name).filter(|e| e.means(labels));
        found.map(|e| e.field).collect()
    }

    #[test]
    fn one_name_may_mean_several_numbers() {
        let usual = Vocabulary::default();
        let of = |line| fields(&usual, line);
        let triton = "nv_trt_llm_request_metrics{model=\"tensorrt_llm\",request_type=\"waiting\",version=\"1\"} 3";
        assert_eq!(of(triton), [Field::Waiting]);
        assert_eq!(of("nv_trt_llm_request_metrics{request_type=\"max\"} 3"), []);
        assert_eq!(
            of("sglang:num_running_reqs{tp_rank=\"0\"} 3"),
            [Field::Running]
        );
        assert_eq!(of("sglang:num_running_reqs{tp_rank=\"1\"} 3"), []);
        assert_eq!(of("vllm:num_requests_runnink 3"), []);
    }

    #[test]
    fn configured_names_replace_the_usual_ones_of_their_engine() {
        let names = [
            ("vllm", "queuedRequestsSpec", "mine_waiting{kind=\"a\"}"),
            ("own", "runningRequestsSpec", "own_running"),
        ];
        let names = names.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        let engines = Engines {
            label: Some("engine".to_owned()),
            default: Some("sglang".to_owned()),
            names: names.to_vec(),
        };
        let vocabulary = Vocabulary::of(&engines).unwrap();
        let of = |line| fields(&vocabulary, line);
        assert_eq!(of("mine_waiting{kind=\"a\"} 1"), [Field::Waiting]);
        assert_eq!(of("mine_waiting{kind=\"b\"} 1"), []);
        assert_eq!(of("vllm:num_requests_waiting 1"), []);
        assert_eq!(of("own_running 1"), [Field::Running]);
        let engine =
            |key: &'static str, value| vocabulary.engine(move |k| (k == key).then_some(value));
        assert_eq!(engine("engine", "vllm"), Engine::Vllm);
        assert_eq!(
            engine("llm-d.ai/engine-type", "triton"),
            Engine::TritonTrtLlm
        );
        assert_eq!(engine("none", ""), Engine::Sglang);
        let wrong = vec![("vllm".to_owned(), "loraSpec".to_owned(), "a{b".to_owned())];
        let wrong = Vocabulary::of(&Engines {
            names: wrong,
            ..engines
        })
        .unwrap_err();
        assert!(wrong.to_string().contains("loraSpec \"a{b\""), "{wrong}");
    }
}
