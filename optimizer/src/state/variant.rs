//! What is remembered of one variant: its fitted law, its start-up time, and whether its accelerator has run out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wva_models::catalogue::Catalogue;
use wva_models::fit::{
    EngineCounters, EngineWindow, Fitted, OnlineFit, PhysicalFloor, PriorSpread,
};
use wva_models::model::Precision;
use wva_models::variant::Variant;
use wva_models::windows::FadingSum;

use super::prompts::Prompts;
use super::sorting::Sorting;
use super::stream::SHAPE_HALF_LIFE_S;
use crate::snapshot::{ReplicaSample, VariantSample};

/// Weight of the newest start-up time in the learned one.
const NEWEST_START_UP: f64 = 0.3;
/// Shortest window that the fit takes in, seconds.
const LEAST_WINDOW_S: f64 = 5.0;

/// Memory of one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantState {
    fit: OnlineFit,
    kv_tokens: f64,
    counters: BTreeMap<u64, EngineCounters>,
    /// Tokens generated of late, faded as the shapes of streams are.
    #[serde(default = "nothing_generated")]
    generated: FadingSum,
    /// How the prompts that it gets compare with all of its model's.
    #[serde(default)]
    pub sorting: Sorting,
    /// Whether the last plan did without it because nothing sorts the prompts by length.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
    /// Learned time from asking for a replica to its first request, seconds.
    pub start_up: f64,
}

impl VariantState {
    /// Only the catalogue's belief.
    #[must_use]
    pub fn new(catalogue: &Catalogue, variant: &Variant) -> Self {
        let replica = catalogue.replica_model(variant);
        let spread = if variant.law.is_some() {
            PriorSpread::measured()
        } else {
            PriorSpread::default()
        };
        Self {
            fit: OnlineFit::new(
                &replica.law,
                &spread,
                physical_floor(catalogue, variant),
                replica.limits.token_budget,
            ),
            kv_tokens: replica.limits.kv_tokens,
            counters: BTreeMap::new(),
            generated: nothing_generated(),
            sorting: Sorting::default(),
            left_out: false,
            start_up: variant.start_up.get(),
        }
    }

    /// Takes a sample of the variant at `at`, seconds; `prompts` is what is known of the prompts that its model gets, and
    /// `alone` says that no other variant serves it.
    pub fn observe(
        &mut self,
        at: f64,
        sample: &VariantSample,
        prompts: Option<&Prompts>,
        alone: bool,
    ) {
        for &seconds in sample
            .start_ups
            .iter()
            .filter(|s| s.is_finite() && **s > 0.0)
        {
            // Slower start-ups count at once, faster ones gradually: being late is what hurts.
            let step = if seconds > self.start_up {
                0.5
            } else {
                NEWEST_START_UP
            };
            self.start_up += step * (seconds.min(3600.0) - self.start_up);
        }
        let known = prompts.map(|p| (p.cv_of_shortest(self.sorting.share()), p.cached));
        let windows: Vec<EngineWindow> = sample
            .replicas
            .iter()
            .filter_map(|r| self.window(r))
            .map(|window| match known {
                Some((cv, cached_tokens)) => EngineWindow {
                    prompt_cv: Some(cv),
                    cached_tokens,
                    ..window
                },
                None => window,
            })
            .collect();
        let alive: Vec<u64> = sample.replicas.iter().map(|r| r.id).collect();
        if !alive.is_empty() {
            self.counters.retain(|id, _| alive.contains(id));
        }
        // Who gets all prompts gets those of any length, whatever the router does.
        let mean = prompts.filter(|_| !alone).map(|p| p.mean - p.cached);
        self.sorting.observe(at, &windows, mean);
        if !windows.is_empty() {
            self.fit.update(&windows);
        }
    }

    /// The law as fitted so far.
    #[must_use]
    pub fn fitted(&self) -> Fitted {
        self.fit.fitted()
    }

    /// Tokens generated of late, faded as the shapes of streams are.
    #[must_use]
    pub fn generated(&self) -> f64 {
        self.generated.value()
    }

    fn window(&mut self, sample: &ReplicaSample) -> Option<EngineWindow> {
        let after = EngineCounters {
            at: sample.at,
            iterations: sample.iterations,
            prompt_tokens: sample.prompt_tokens,
            generation_tokens: sample.generation_tokens,
            preemptions: sample.preemptions,
            gap: (sample.gap.sum, sample.gap.count),
            prefill: (sample.prefill.sum, sample.prefill.count),
            queue: (sample.queue.sum, sample.queue.count),
            ttft: (sample.ttft.sum, sample.ttft.count),
            running: sample.running,
            kv_tokens: sample.kv_usage * self.kv_tokens,
        };
        if !after.at.is_finite() {
            return None;
        }
        let before = *self.counters.entry(sample.id).or_insert(after);
        if after.at > before.at && after.at - before.at < LEAST_WINDOW_S {
            return None;
        }
        self.counters.insert(sample.id, after);
        let generated = after.generation_tokens - before.generation_tokens;
        self.generated.add(after.at, generated);
        EngineWindow::between(&before, &after)
    }
}

const fn nothing_generated() -> FadingSum {
    FadingSum::new(SHAPE_HALF_LIFE_S)
}

/// Peak figures of the devices: no fit may beat them.
fn physical_floor(catalogue: &Catalogue, variant: &Variant) -> PhysicalFloor {
    let (Some(model), Some(device)) = (
        catalogue.model(&variant.model),
        catalogue.accelerator(&variant.accelerator),
    ) else {
        return PhysicalFloor::default();
    };
    let devices = f64::from(variant.tensor_parallel.max(1));
    let bandwidth = device.bandwidth_tb_s * 1e12 * devices;
    let flops = match variant.engine.precision {
        Precision::Fp8 => device.fp8_tflops.unwrap_or(device.bf16_tflops),
        Precision::Bf16 | Precision::Int4 => device.bf16_tflops,
    } * 1e12
        * devices;
    PhysicalFloor {
        floor_s: model.active_parameters() * variant.engine.precision.bytes() / bandwidth,
        per_token_s: 2.0 * model.active_parameters() / flops,
        per_kv_token_s: model.kv_bytes_per_token(variant.engine.kv_precision) / bandwidth,
    }
}

#[cfg(test)]
mod tests {
    use super::super::prompts::tests::shaped;
    use super::*;
    use crate::snapshot::{ReplicaSample, SumCount};
    use wva_models::fit::OperatingPoint;
    use wva_models::iteration::IterationLaw;
    use wva_models::shape::RequestShape;

    /// Adds to a replica's counters what 15 s under `law` bring, in which prompts of this mean come at random.
    fn add_window(
        replica: &mut ReplicaSample,
        law: &IterationLaw,
        (prompt, prompt_cv): (f64, f64),
    ) {
        const BUDGET: f64 = 1024.0;
        let mut point = OperatingPoint {
            batch: 4.0,
            kv_tokens: 4.0 * 5_000.0,
            prompt,
            prompts_per_iteration: 0.0,
            prompts_per_second: 0.3,
            cached: 0.0,
            prompt_cv,
            even: false,
        };
        for _ in 0..50 {
            point.prompts_per_iteration = point.prompts_per_second * point.gap(law, BUDGET);
        }
        let (gap, prefill) = (point.gap(law, BUDGET), point.prefill(law, BUDGET));
        let add = |to: &mut SumCount, mean: f64, count: f64| {
            to.sum += mean * count;
            to.count += count;
        };
        let prompts = 15.0 * point.prompts_per_second;
        let gaps = 15.0 * point.batch / gap;
        replica.at += 15.0;
        replica.running = point.batch;
        replica.kv_usage = point.kv_tokens / 161_679.0;
        replica.iterations += 15.0 / gap;
        replica.prompt_tokens += prompts * prompt;
        replica.generation_tokens += gaps;
        add(&mut replica.gap, gap, gaps);
        add(&mut replica.prefill, prefill, prompts);
        add(&mut replica.queue, 0.0, prompts);
        add(&mut replica.ttft, prefill + law.front_end_s, prompts);
    }

    #[test]
    fn a_device_that_gets_short_prompts_is_not_taken_for_fast_with_long_ones() {
        const L4: &str = "
variants:
  - name: l4
    model: llama-3.1-8b
    accelerator: L4
    engine: {precision: fp8, kv_precision: fp8, max_num_batched_tokens: 1024}
";
        let catalogue = Catalogue::parse(L4, "test").expect("a catalogue");
        let variant = &catalogue.variants[0];
        let law = catalogue.replica_model(variant).law;
        let shape = RequestShape::lognormal((12_000.0, 1.3), (340.0, 0.7), None).expect("a shape");
        let prompts = shaped(&shape);
        // A router that sorts sends it the shortest ones, 5,000 tokens in the mean.
        let cv = prompts.cv_of_shortest(5.0 / 12.0);
        let mut state = VariantState::new(&catalogue, variant);
        let mut replica = ReplicaSample::default();
        for mean in [3_000.0, 5_000.0, 7_000.0].into_iter().cycle().take(240) {
            add_window(&mut replica, &law, (mean, cv));
            let sample = VariantSample {
                replicas: vec![replica.clone()],
                ..VariantSample::default()
            };
            state.observe(replica.at, &sample, Some(&prompts), false);
        }
        let found = state.fitted().law.per_chunk_context_s / law.per_chunk_context_s;
        assert!((found - 1.0).abs() < 0.1, "{found}");
    }
}
