//! What a serving engine was started with, read from its command line.
//!
//! ```text
//! vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size=2 --max-num-seqs 128
//! python3 -m sglang.launch_server --model-path ... --tp 2 --max-running-requests 128
//! sh -c "vllm serve ... --gpu-memory-utilization 0.85"
//! ```
//! Flags are matched by name with `-` and `_` alike, in both spellings of values, and inside shell strings. What is not
//! there keeps the engine's default; what is there and cannot be read is a problem worth telling.

/// What was found on a command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineArgs {
    /// Model path or id.
    pub model: Option<String>,
    /// First name under which the model is served.
    pub served_name: Option<String>,
    /// Devices that share each layer.
    pub tensor_parallel: Option<u32>,
    /// Stages of the pipeline.
    pub pipeline_parallel: Option<u32>,
    /// Most sequences in a batch.
    pub max_num_seqs: Option<u32>,
    /// Token budget of an iteration.
    pub max_num_batched_tokens: Option<u32>,
    /// Share of the device memory in use.
    pub gpu_memory_utilization: Option<f64>,
    /// Weight format: `fp8`, `awq`, ...
    pub quantization: Option<String>,
    /// KV-cache format: `fp8`, ...
    pub kv_cache_dtype: Option<String>,
    /// Whether prefixes are cached.
    pub prefix_caching: Option<bool>,
    /// Port that is served on.
    pub port: Option<u16>,
    /// What could not be read.
    pub problems: Vec<String>,
}

impl EngineArgs {
    /// Reads a container's command and arguments.
    #[must_use]
    pub fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words: Vec<&str> = words
            .into_iter()
            .flat_map(str::split_whitespace)
            .map(|w| w.trim_matches(['"', '\'']))
            .take(MOST_WORDS)
            .collect();
        let mut args = Self::default();
        for (i, word) in words.iter().enumerate() {
            if *word == "serve" && i > 0 && words[i - 1].ends_with("vllm") {
                args.model = value_at(&words, i + 1).map(str::to_owned).or(args.model);
            }
            if let Some(flag) = word.strip_prefix("--") {
                let (name, value) = match flag.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (flag, value_at(&words, i + 1)),
                };
                args.take(&name.replace('_', "-"), value);
            }
        }
        args
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        match (name, value) {
            ("model" | "model-path" | "model-id", Some(v)) => self.model = Some(v.to_owned()),
            ("served-model-name" | "model-name", Some(v)) => self.served_name = Some(v.to_owned()),
            ("quantization", Some(v)) => self.quantization = Some(v.to_owned()),
            ("kv-cache-dtype", Some(v)) => self.kv_cache_dtype = Some(v.to_owned()),
            ("enable-prefix-caching", _) => self.prefix_caching = Some(true),
            ("no-enable-prefix-caching" | "disable-radix-cache", _) => {
                self.prefix_caching = Some(false);
            }
            (
                "gpu-memory-utilization"
                | "mem-fraction-static"
                | "kv-cache-free-gpu-memory-fraction",
                Some(v),
            ) => {
                let share = v.parse().ok().filter(|s: &f64| *s > 0.0 && *s <= 1.0);
                self.gpu_memory_utilization = self.understood(name, v, share);
            }
            ("tensor-parallel-size" | "tp" | "tp-size" | "tensor-parallel", Some(v)) => {
                self.tensor_parallel = self.understood(name, v, count(v));
            }
            ("pipeline-parallel-size" | "pp" | "pp-size", Some(v)) => {
                self.pipeline_parallel = self.understood(name, v, count(v));
            }
            ("max-num-seqs" | "max-running-requests" | "max-batch-size", Some(v)) => {
                self.max_num_seqs = self.understood(name, v, count(v));
            }
            ("max-num-batched-tokens" | "chunked-prefill-size" | "max-num-tokens", Some(v)) => {
                self.max_num_batched_tokens = self.understood(name, v, count(v));
            }
            ("port", Some(v)) => self.port = self.understood(name, v, v.parse().ok()),
            _ => {}
        }
    }

    fn understood<T>(&mut self, name: &str, value: &str, read: Option<T>) -> Option<T> {
        if read.is_none() {
            // A value that the shell fills in is no mistake, only unknown here.
            let value: String = value.chars().take(40).collect();
            self.problems.push(format!(
                "--{name} is `{value}`, which is not a number that can be read"
            ));
        }
        read
    }
}

/// Longest command line that is read, words.
const MOST_WORDS: usize = 2000;

fn value_at<'a>(words: &[&'a str], at: usize) -> Option<&'a str> {
    words.get(at).copied().filter(|w| !w.starts_with("--"))
}

/// A count above 0, with the suffixes that engines accept: `8k` is 8000, `8K` is 8192.
fn count(text: &str) -> Option<u32> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1e3),
        b'K' => (&text[..text.len() - 1], 1024.0),
        b'm' => (&text[..text.len() - 1], 1e6),
        b'M' => (&text[..text.len() - 1], 1024.0 * 1024.0),
        _ => (text, 1.0),
    };
    let value = digits.parse::<f64>().ok()? * factor;
    (1.0..=1e9).contains(&value).then_some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_read_in_every_spelling() {
        let plain = EngineArgs::read([
            "vllm",
            "serve",
            "meta-llama/Llama-3.1-8B-Instruct",
            "--tensor-parallel-size=2",
            "--max-num-seqs",
            "128",
            "--enable-prefix-caching",
            "--gpu_memory_utilization",
            "0.85",
        ]);
        let shell = EngineArgs::read([
            "/bin/sh",
            "-c",
            "exec vllm serve 'meta-llama/Llama-3.1-8B-Instruct' --tensor_parallel_size 2 --max-num-seqs=128 \
             --enable-prefix-caching --gpu-memory-utilization=0.85",
        ]);
        assert_eq!(plain, shell);
        assert_eq!(
            plain.model.as_deref(),
            Some("meta-llama/Llama-3.1-8B-Instruct")
        );
        assert_eq!(
            (plain.tensor_parallel, plain.max_num_seqs),
            (Some(2), Some(128))
        );
        assert_eq!(plain.prefix_caching, Some(true));
    }

    #[test]
    fn other_engines_have_other_names() {
        let sglang = EngineArgs::read([
            "--model-path",
            "m",
            "--tp",
            "4",
            "--chunked-prefill-size",
            "8K",
        ]);
        assert_eq!(
            (sglang.model.as_deref(), sglang.tensor_parallel),
            (Some("m"), Some(4))
        );
        assert_eq!(sglang.max_num_batched_tokens, Some(8192));
    }

    #[test]
    fn nonsense_is_told_and_ignored() {
        let odd = EngineArgs::read([
            "--max-num-seqs",
            "$(SEQS)",
            "--tp=-1",
            "--gpu-memory-utilization=7",
            "--model",
        ]);
        assert_eq!(
            (
                odd.max_num_seqs,
                odd.tensor_parallel,
                odd.gpu_memory_utilization
            ),
            (None, None, None)
        );
        assert_eq!(odd.problems.len(), 3);
        assert_eq!(odd.model, None);
    }
}
