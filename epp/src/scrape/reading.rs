//! What one page says of its server.

use std::sync::Arc;

use wva_epp_core::endpoint::{CacheConfig, Engine, Lora, Metrics, Sent};

use super::dialect::{Entry, Field, Vocabulary};
use super::page::{self, Labels, Lines};

/// More requests than any server has, waiting or running.
const MOST_REQUESTS: f64 = 1e7;
/// Engines count a block as used before they give it: slightly more than all of the cache is possible.
const MOST_USAGE: f64 = 1.05;
/// More blocks or tokens of a block than any cache has.
const MOST_BLOCKS: f64 = 1e9;
/// Rejected numbers that are told of one page.
const MOST_TOLD: usize = 8;

/// A number that cannot be.
#[derive(Debug, Clone, PartialEq)]
pub struct Absurd {
    /// The metric's name.
    pub name: String,
    /// What it says.
    pub value: f64,
}

/// The numbers of one page.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Whose page it is.
    pub engine: Engine,
    /// Requests waiting; NaN for unknown.
    pub waiting: f64,
    /// Requests running; NaN for unknown.
    pub running: f64,
    /// Share of the KV cache in use; NaN for unknown.
    pub kv_usage: f64,
    /// Size of the KV cache.
    pub cache: Option<CacheConfig>,
    /// Adapters.
    pub lora: Option<Arc<Lora>>,
    /// Numbers that were left out.
    pub absurd: Vec<Absurd>,
}

impl Reading {
    /// The same for choosing, with the time of the answer and what had been sent by then.
    #[must_use]
    pub fn metrics(&self, at: f64, sent: Option<Sent>) -> Metrics {
        Metrics {
            at,
            waiting: self.waiting,
            running: self.running,
            kv_usage: self.kv_usage,
            sent,
            cache: self.cache,
            lora: self.lora.clone(),
        }
    }
}

/// One number, summed over the data-parallel engines that share a page.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    sum: f64,
    lines: u32,
    order: u8,
}

impl Column {
    fn add(&mut self, value: f64, order: u8) {
        if self.lines == 0 || order < self.order {
            *self = Self {
                sum: value,
                lines: 1,
                order,
            };
        } else if order == self.order {
            self.sum += value;
            self.lines += 1;
        }
    }

    fn sum(self) -> Option<f64> {
        (self.lines > 0).then_some(self.sum)
    }

    fn mean(self) -> Option<f64> {
        self.sum().map(|sum| sum / f64::from(self.lines))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    waiting: Column,
    running: Column,
    kv_usage: Column,
    block_tokens: Column,
    blocks: Column,
}

impl Tally {
    const fn known(&self) -> bool {
        self.waiting.lines + self.running.lines + self.kv_usage.lines > 0
    }
}

/// Reads the pages of one server, one after the other. Nothing is allocated for a page that says of adapters what the
/// one before said.
#[derive(Debug)]
pub struct PageReader {
    vocabulary: Arc<Vocabulary>,
    lines: Lines,
    page: Page,
    /// Adapters as last read, and the text that said so.
    lora: Option<(Vec<u8>, Arc<Lora>)>,
}

#[derive(Debug, Default)]
struct Page {
    tallies: [Tally; 5],
    absurd: Vec<Absurd>,
    /// The newest line about adapters, and its time.
    lora: Vec<u8>,
    lora_at: f64,
}

impl PageReader {
    /// A reader that looks for these names.
    #[must_use]
    pub fn new(vocabulary: Arc<Vocabulary>) -> Self {
        Self {
            vocabulary,
            lines: Lines::default(),
            page: Page::default(),
            lora: None,
        }
    }

    /// Forgets the page that was begun: the next piece is the first of another.
    pub fn start(&mut self) {
        self.lines.restart();
        self.page.tallies = Default::default();
        self.page.absurd.clear();
        self.page.lora.clear();
        self.page.lora_at = f64::NEG_INFINITY;
    }

    /// Reads the next piece of the page.
    pub fn feed(&mut self, piece: &[u8]) {
        let (vocabulary, page) = (&*self.vocabulary, &mut self.page);
        self.lines.feed(piece, |line| page.line(vocabulary, line));
    }

    /// What the page said, as `declared`'s where it has numbers of several engines; `None` where it has none of any.
    pub fn finish(&mut self, declared: Engine) -> Option<Reading> {
        let known = |engine: &Engine| self.page.tallies[place(*engine)].known();
        let engine = [declared].into_iter().chain(ENGINES).find(known)?;
        let tally = self.page.tallies[place(engine)];
        let lora = self.adapters();
        Some(Reading {
            engine,
            waiting: tally.waiting.sum().unwrap_or(f64::NAN),
            running: tally.running.sum().unwrap_or(f64::NAN),
            kv_usage: tally.kv_usage.mean().unwrap_or(f64::NAN),
            cache: tally.cache(),
            lora,
            absurd: std::mem::take(&mut self.page.absurd),
        })
    }

    /// Numbers that were left out of a page that had no others.
    #[must_use]
    pub fn absurd(&self) -> &[Absurd] {
        &self.page.absurd
    }

    fn adapters(&mut self) -> Option<Arc<Lora>> {
        if self.page.lora.is_empty() {
            return None;
        }
        if let Some((text, lora)) = &self.lora
            && *text == self.page.lora
        {
            return Some(Arc::clone(lora));
        }
        let (labels, _) = page::sample(&self.page.lora)?;
        let names = |label| {
            let list = labels.get(label).unwrap_or_default();
            list.split(',').map(str::trim).filter(|n| !n.is_empty())
        };
        let lora = Lora::new(
            labels.number("max_lora").unwrap_or(0),
            names("running_lora_adapters"),
            names("waiting_lora_adapters"),
        );
        let lora = Arc::new(lora);
        self.lora = Some((self.page.lora.clone(), Arc::clone(&lora)));
        Some(lora)
    }
}

const ENGINES: [Engine; 5] = [
    Engine::Vllm,
    Engine::Sglang,
    Engine::TrtLlmServe,
    Engine::TritonTrtLlm,
    Engine::Other,
];

const fn place(engine: Engine) -> usize {
    match engine {
        Engine::Vllm => 0,
        Engine::Sglang => 1,
        Engine::TrtLlmServe => 2,
        Engine::TritonTrtLlm => 3,
        Engine::Other => 4,
    }
}

impl Page {
    fn line(&mut self, vocabulary: &Vocabulary, line: &[u8]) {
        let Some((name, rest)) = page::name(line) else {
            return;
        };
        let mut sample = None;
        for entry in vocabulary.find(name) {
            let Some((labels, value)) = *sample.get_or_insert_with(|| page::sample(rest)) else {
                return;
            };
            if !entry.means(labels) {
                continue;
            }
            match entry.field {
                Field::Lora => self.newest_lora(rest, value),
                _ => self.number(entry, labels, value),
            }
        }
    }

    /// A server that has said different things says each with its time.
    fn newest_lora(&mut self, rest: &[u8], at: f64) {
        if at >= self.lora_at {
            self.lora_at = at;
            self.lora.clear();
            self.lora.extend_from_slice(rest);
        }
    }

    fn number(&mut self, entry: &Entry, labels: Labels<'_>, value: f64) {
        let most = match entry.field {
            Field::Waiting | Field::Running => MOST_REQUESTS,
            Field::KvUsage => MOST_USAGE,
            Field::BlockTokens | Field::Blocks => MOST_BLOCKS,
            // Says what it says in labels; its value is 1.
            Field::CacheInfo | Field::Lora => f64::INFINITY,
        };
        if !(0.0..=most).contains(&value) {
            if self.absurd.len() < MOST_TOLD {
                let name = entry.name().to_owned();
                self.absurd.push(Absurd { name, value });
            }
            return;
        }
        let tally = &mut self.tallies[place(entry.engine)];
        let order = entry.order;
        match entry.field {
            Field::Waiting => tally.waiting.add(value, order),
            Field::Running => tally.running.add(value, order),
            Field::KvUsage => tally.kv_usage.add(value, order),
            Field::BlockTokens => tally.block_tokens.add(value, order),
            Field::Blocks => tally.blocks.add(value, order),
            Field::CacheInfo => tally.cache_info(labels),
            Field::Lora => {}
        }
    }
}

impl Tally {
    /// An engine that is still measuring its memory says `None` for its blocks.
    fn cache_info(&mut self, labels: Labels<'_>) {
        let of = |names: [&str; 2]| names.into_iter().find_map(|n| labels.number(n));
        let size = of(["block_size", "page_size"]);
        if let (Some(size), Some(blocks)) = (size, of(["num_gpu_blocks", "num_pages"])) {
            self.block_tokens.add(f64::from(size), 0);
            self.blocks.add(f64::from(blocks), 0);
        }
    }

    fn cache(&self) -> Option<CacheConfig> {
        let (block_tokens, blocks) = (self.block_tokens.mean()?, self.blocks.sum()?);
        let whole = |x: f64| (1.0..=MOST_BLOCKS).contains(&x).then_some(x as u32);
        Some(CacheConfig {
            block_tokens: whole(block_tokens)?,
            blocks: whole(blocks)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(page: &str, declared: Engine) -> Option<Reading> {
        let mut reader = PageReader::new(Arc::default());
        reader.start();
        for piece in page.as_bytes().chunks(7) {
            reader.feed(piece);
        }
        reader.finish(declared)
    }

    #[test]
    fn vllm_with_two_engines_and_adapters() {
        let page = "# TYPE vllm:num_requests_running gauge\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0\n\
            vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 4.0\n\
            vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 1.0\n\
            vllm:gpu_cache_usage_perc{engine=\"0\"} 0.9\n\
            vllm:kv_cache_usage_perc{engine=\"0\"} 0.2\n\
            vllm:kv_cache_usage_perc{engine=\"1\"} 0.4\n\
            vllm:gpu_cache_usage_perc{engine=\"1\"} 0.9\n\
            vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"1000\",engine=\"0\"} 1.0\n\
            vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\",engine=\"1\"} 1.0\n\
            vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"new\",waiting_lora_adapters=\"\"} 1.7e9\n\
            vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"old,older\",waiting_lora_adapters=\"x\"} 1.6e9\n\
            vllm:time_to_first_token_seconds_bucket{le=\"0.001\"} 0.0\n";
        let reading = read(page, Engine::Vllm).expect("known");
        assert_eq!((reading.running, reading.waiting), (7.0, 1.0));
        assert!((reading.kv_usage - 0.3).abs() < 1e-12);
        let cache = reading.cache.expect("known");
        assert_eq!((cache.block_tokens, cache.blocks), (16, 1000));
        let lora = reading.lora.expect("known");
        assert_eq!(*lora, Lora::new(4, ["new"], []));
        assert_eq!(reading.absurd, []);
    }

    #[test]
    fn each_engine_by_its_own_names() {
        let sglang = "sglang:num_queue_reqs{tp_rank=\"0\"} 2\nsglang:num_queue_reqs{tp_rank=\"1\"} 2\n\
            sglang:num_running_reqs 5\nsglang:token_usage 0.5\n\
            sglang:cache_config_info{page_size=\"64\",num_pages=\"100\"} 1\n";
        let r = read(sglang, Engine::Sglang).expect("known");
        assert_eq!((r.waiting, r.running, r.kv_usage), (2.0, 5.0, 0.5));
        assert_eq!(r.cache.map(|c| c.tokens()), Some(6400.0));
        let trtllm = "trtllm_num_requests_waiting 1\ntrtllm_num_requests_running 2\ntrtllm_kv_cache_utilization 0.25\n\
            trtllm_kv_cache_tokens_per_block 32\ntrtllm_kv_cache_max_blocks 10\n";
        let r = read(trtllm, Engine::Vllm).expect("detected");
        assert_eq!(
            (r.engine, r.waiting, r.running),
            (Engine::TrtLlmServe, 1.0, 2.0)
        );
        assert_eq!(r.cache.map(|c| c.tokens()), Some(320.0));
        let triton = "nv_trt_llm_request_metrics{request_type=\"waiting\"} 6\n\
            nv_trt_llm_request_metrics{request_type=\"scheduled\"} 7\n\
            nv_trt_llm_request_metrics{request_type=\"max\"} 512\n\
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} 0.75\n\
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"tokens_per\"} 64\n\
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 20\n";
        let r = read(triton, Engine::Other).expect("detected");
        assert_eq!((r.waiting, r.running, r.kv_usage), (6.0, 7.0, 0.75));
        assert_eq!(r.cache.map(|c| c.tokens()), Some(1280.0));
        let both = format!("{trtllm}{triton}");
        assert_eq!(
            read(&both, Engine::TritonTrtLlm).map(|r| r.waiting),
            Some(6.0)
        );
    }

    #[test]
    fn absurd_numbers_are_named_and_left_out() {
        let page = "vllm:num_requests_running NaN\nvllm:num_requests_waiting -1\nvllm:kv_cache_usage_perc 1.01\n";
        let reading = read(page, Engine::Vllm).expect("known");
        assert!(reading.running.is_nan() && reading.waiting.is_nan());
        assert_eq!(reading.kv_usage, 1.01);
        let names: Vec<&str> = reading.absurd.iter().map(|a| &*a.name).collect();
        assert_eq!(
            names,
            ["vllm:num_requests_running", "vllm:num_requests_waiting"]
        );
        assert_eq!(reading.metrics(3.0, None).at, 3.0);
        assert_eq!(read("vllm:kv_cache_usage_perc 55\n", Engine::Vllm), None);
        assert_eq!(read("<html>\nup 1\n", Engine::Vllm), None);
    }

    #[test]
    fn the_next_page_remembers_nothing_but_adapters() {
        let mut reader = PageReader::new(Arc::default());
        let lora = "vllm:lora_requests_info{max_lora=\"1\",running_lora_adapters=\"a\"} 1\n";
        let mut page = |text: &str| {
            reader.start();
            reader.feed(text.as_bytes());
            reader.finish(Engine::Vllm).expect("known")
        };
        let first = page(&format!(
            "vllm:num_requests_running 3\n{lora}vllm:num_requests_wai"
        ));
        let second = page(&format!("vllm:num_requests_running 4\n{lora}"));
        assert_eq!((second.running, second.waiting.is_nan()), (4.0, true));
        let (first, second) = (first.lora.expect("said"), second.lora.expect("said"));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(page("vllm:num_requests_running 5\n").lora, None);
    }
}
