//! Collects the series of one replica, from a page or from Prometheus, and adds them up over its engines.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use wva_optimizer::snapshot::{Histogram, SumCount};

use super::facts::{self, Lora};
use super::{Dialect, EngineReading, Facet, Field, Quantity, field, sglang, triton};
use crate::telemetry::exposition::{self, Census, LabelSet, Series, Syntax};

/// One number as it came.
#[derive(Debug, Clone, Copy)]
struct Entry {
    field: Field,
    /// Data-parallel engine, hashed.
    engine: u64,
    /// Of several reports of one engine only the lowest rank counts.
    rank: u32,
    le: f64,
    value: f64,
}

impl Entry {
    /// `None` for series that say nothing.
    fn of(mut field: Field, labels: &impl LabelSet, mut value: f64) -> Option<Self> {
        let le = match field.facet {
            Facet::Bucket => exposition::number(&labels.label("le")?)?,
            Facet::Value | Facet::Sum => f64::NAN,
        };
        let engine = |name| labels.label(name).map_or(0, |e| hash(&e));
        let (engine, rank) = match field.dialect {
            Dialect::Vllm => (engine("engine"), 0),
            Dialect::Sglang => (engine("dp_rank"), sglang::rank(labels)),
            Dialect::TrtLlm => (0, 0),
            Dialect::Triton => {
                field.quantity = triton::refine(field.quantity, labels)?;
                (0, triton::rank(labels)?)
            }
        };
        match field.quantity {
            Quantity::CacheInfo => {
                value = facts::kv_tokens(labels)?;
                field.quantity = Quantity::KvTokens;
                // SGLang reports the same capacity as a number of its own.
                field.legacy = field.dialect == Dialect::Sglang;
            }
            Quantity::ComputedTokens if labels.label("source")? != "local_compute" => return None,
            _ => {}
        }
        Some(Self {
            field,
            engine,
            rank,
            le,
            value,
        })
    }
}

/// Collects the series of one replica.
#[derive(Debug, Default)]
pub struct EngineReader {
    entries: Vec<Entry>,
    models: BTreeSet<String>,
    lora: Option<(f64, Lora)>,
    started_at: Option<f64>,
    series: u64,
    duplicates: u64,
}

/// Name under which Python servers report when their process started.
pub(crate) const STARTED_AT: &str = "process_start_time_seconds";

enum Wanted {
    Field(Field),
    StartedAt,
}

impl EngineReader {
    /// Reads a whole page. A series that comes twice is taken once, the first time.
    pub fn page(&mut self, page: &[u8], syntax: Syntax) -> Census {
        let mut seen: HashSet<(&str, &str)> = HashSet::with_capacity(512);
        let want = |name: &str| match field(name) {
            Some(field) => Some(Wanted::Field(field)),
            None => (name == STARTED_AT).then_some(Wanted::StartedAt),
        };
        let mut duplicates = 0;
        let census = exposition::read(page, syntax, want, |wanted, series: &Series<'_>| {
            if !seen.insert((series.name, series.labels.as_str())) {
                duplicates += 1;
            } else {
                match wanted {
                    Wanted::Field(field) => self.take(field, &series.labels, series.value),
                    Wanted::StartedAt => self.take_start(series.value),
                }
            }
        });
        self.duplicates += duplicates;
        census
    }

    /// Takes the start time of one of its processes: the newest counts.
    pub fn take_start(&mut self, value: f64) {
        if value.is_finite() && value > 0.0 {
            self.started_at = Some(self.started_at.map_or(value, |s| s.max(value)));
        }
    }

    /// Takes one series of the metric whose field is `field`.
    pub fn take(&mut self, field: Field, labels: &impl LabelSet, value: f64) {
        if field.quantity == Quantity::Lora {
            if self.lora.as_ref().is_none_or(|(at, _)| value >= *at) {
                self.lora = Some((value, Lora::of_labels(labels)));
            }
            return;
        }
        if field.quantity == Quantity::Running
            && let Some(model) = labels.label("model_name")
        {
            self.models.insert(model.into_owned());
        }
        if let Some(entry) = Entry::of(field, labels, value) {
            self.series += 1;
            self.entries.push(entry);
        }
    }

    /// What was collected; `None` when there was nothing of any known engine. `declared` is the engine by the pod's label: it
    /// decides where a page has metrics of several, and is overruled where the page has none of it.
    #[must_use]
    pub fn finish(mut self, declared: Option<Dialect>) -> Option<EngineReading> {
        let present: BTreeSet<Dialect> = self.entries.iter().map(|e| e.field.dialect).collect();
        let dialect = declared
            .filter(|d| present.contains(d))
            .or_else(|| present.first().copied())?;
        self.entries.retain(|e| e.field.dialect == dialect);
        let one = |q| self.total(q);
        let kv_tokens = one(Quantity::KvTokens)
            .or_else(|| Some(one(Quantity::KvBlocks)? * one(Quantity::BlockTokens)?))
            .filter(|t| t.is_finite() && *t > 0.0);
        let (engines, kv_usage) = self.over_engines(Quantity::KvUsage);
        Some(EngineReading {
            dialect,
            mismatch: declared.is_some_and(|d| d != dialect),
            engines: self.over_engines(Quantity::Running).0.max(engines).max(1),
            models: self.models.iter().cloned().collect(),
            running: one(Quantity::Running),
            waiting: one(Quantity::Waiting),
            kv_usage,
            kv_tokens,
            iterations: self.over_engines(Quantity::Iterations).1.unwrap_or(0.0),
            prompt_tokens: one(Quantity::PromptTokens)
                .unwrap_or_else(|| self.sum_count(Quantity::InputTokens).sum),
            computed_tokens: one(Quantity::ComputedTokens),
            cached_tokens: one(Quantity::CachedTokens),
            prefix_hits: one(Quantity::PrefixHits),
            prefix_queries: one(Quantity::PrefixQueries),
            generation_tokens: one(Quantity::GenerationTokens)
                .unwrap_or_else(|| self.sum_count(Quantity::OutputTokens).sum),
            finished: one(Quantity::Finished).map(|f| f + one(Quantity::Aborted).unwrap_or(0.0)),
            preemptions: one(Quantity::Preemptions).unwrap_or(0.0),
            gap: self.sum_count(Quantity::Gap),
            prefill: self.sum_count(Quantity::Prefill),
            queue: self.sum_count(Quantity::Queue),
            ttft: self.histogram(Quantity::Ttft),
            tpot: self.histogram(Quantity::Tpot),
            input_tokens: self.histogram(Quantity::InputTokens),
            output_tokens: self.histogram(Quantity::OutputTokens),
            lora: self.lora.as_ref().map(|(_, lora)| lora.clone()),
            started_at: self.started_at,
            series: self.series,
            duplicates: self.duplicates,
        })
    }

    /// Entries of `quantity` that count: names of the newest release, lowest rank of each engine.
    fn of(&self, quantity: Quantity) -> Vec<&Entry> {
        let mut of: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|e| e.field.quantity == quantity)
            .collect();
        if of.iter().any(|e| !e.field.legacy) {
            of.retain(|e| !e.field.legacy);
        }
        if of.iter().any(|e| e.rank > 0) {
            let mut lowest: BTreeMap<u64, u32> = BTreeMap::new();
            for e in &of {
                lowest
                    .entry(e.engine)
                    .and_modify(|r| *r = e.rank.min(*r))
                    .or_insert(e.rank);
            }
            of.retain(|e| lowest.get(&e.engine) == Some(&e.rank));
        }
        of
    }

    fn total(&self, quantity: Quantity) -> Option<f64> {
        let of = self.of(quantity);
        let mut values = of
            .iter()
            .filter(|e| e.field.facet == Facet::Value)
            .map(|e| e.value);
        let first = values.next()?;
        Some(values.fold(first, |a, b| a + b))
    }

    /// Number of engines that report `quantity`, and its mean over them. Means are for what engines have each of: a share
    /// of their cache, and iterations, which they go through side by side, so that tokens per iteration are those of all.
    fn over_engines(&self, quantity: Quantity) -> (u32, Option<f64>) {
        let of = self.of(quantity);
        let engines: BTreeSet<u64> = of.iter().map(|e| e.engine).collect();
        let count = u32::try_from(engines.len()).unwrap_or(u32::MAX);
        (count, self.total(quantity).map(|t| t / of.len() as f64))
    }

    fn sum_count(&self, quantity: Quantity) -> SumCount {
        let mut out = SumCount::default();
        for e in self.of(quantity) {
            match e.field.facet {
                Facet::Value => out.count += e.value,
                Facet::Sum => out.sum += e.value,
                Facet::Bucket => {}
            }
        }
        out
    }

    fn histogram(&self, quantity: Quantity) -> Histogram {
        let of = self.of(quantity);
        let buckets = of
            .iter()
            .filter(|e| e.field.facet == Facet::Bucket)
            .map(|e| (e.le, e.value));
        let SumCount { sum, count } = self.sum_count(quantity);
        histogram(buckets.collect(), count, sum)
    }
}

/// A histogram of buckets in any order; equal bounds are added up, +Inf gives the count where there is none.
pub(crate) fn histogram(mut buckets: Vec<(f64, f64)>, mut count: f64, sum: f64) -> Histogram {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut out = Histogram::default();
    let mut above = 0.0;
    for (le, value) in buckets {
        if le == f64::INFINITY {
            above += value;
        } else if le.is_finite() {
            if out.bounds.last() == Some(&le) {
                if let Some(last) = out.counts.last_mut() {
                    *last += value;
                }
            } else {
                out.bounds.push(le);
                out.counts.push(value);
            }
        }
    }
    if count == 0.0 {
        count = above;
    }
    (out.count, out.sum) = (count, sum);
    out
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}
