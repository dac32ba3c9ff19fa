//! The slow layer: how many sequences are in the running batch.
//!
//! Every running sequence advances by one token per iteration, so the batch is a processor-sharing queue whose speed
//! depends on its size; its stationary law is of product form whatever the distribution of output lengths (insensitivity):
//! log p(k) − log p(k−1) = log(λ/μ(k)). Burstiness and balancing stretch or shrink the fluctuations: Hayward's peakedness
//! z turns into an exponent 1/z, and a pool of R balanced replicas into R/z, which keeps one integer grid for all cases.

use statrs::function::erf::erfc;

use super::prompt_work::PromptWork;
use crate::iteration::EngineLimits;

/// One slice of the stationary law, as an arriving request sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// Sequences in the running batch.
    pub batch: f64,
    /// Probability.
    pub weight: f64,
    /// Requests that wait for a place in the batch on average, and the batch's completion rate.
    pub queued: f64,
    pub completion_rate: f64,
    /// Probability that the next request finds no place (contexts vary, so the KV cache is full at times), and the
    /// completions that make room for it then.
    pub full: f64,
    pub room: f64,
}

/// Stationary law of the running batch.
#[derive(Debug, Clone)]
pub(super) struct Occupancy {
    pub nodes: Vec<Node>,
    /// Mean running sequences plus waiting requests.
    pub mean_in_system: f64,
    /// Iteration seconds and its elasticity at the mean batch.
    pub elasticity: f64,
    /// Share of time that decode alone would take at the mean batch, 1 − ρ of prefill.
    pub decode_share: f64,
    /// Share of the batch's variance that stalls by prompts cause.
    pub stalled_share: f64,
    /// Variance of the batch over that under Poisson arrivals and undisturbed decode.
    pub peakedness: f64,
    /// Seconds that a residence lasts beyond its number of mean iterations.
    pub catch_up: f64,
}

/// Largest share of the law that one node may stand for.
const COARSEST: f64 = 0.07;
/// Chain length beyond which a law that still rises counts as unstable.
const LONGEST: usize = 20_000;

impl Occupancy {
    /// Factor by which the standard deviation of a sum exceeds that of independent parts: batches swell while prompts
    /// stall them, so the swings of the batch (`drift`) and the stalls themselves (`stall`) come together; those of its
    /// contexts (`contexts`) do not.
    pub fn shared_swing(&self, drift: f64, contexts: f64, stall: f64, newcomers: f64) -> f64 {
        let independent = drift * drift + contexts * contexts + stall * stall;
        if independent <= 0.0 {
            return 1.0;
        }
        let correlation = (self.stalled_share.sqrt() + newcomers).min(1.0);
        (1.0 + 2.0 * correlation * drift * stall / independent).sqrt()
    }
}

/// Completion rates by number in system, interpolated between a few solved batch sizes.
pub(super) struct Speed<'a> {
    work: &'a PromptWork<'a>,
    /// (batch, mean iteration seconds), ascending.
    table: Vec<(f64, f64)>,
    slots: f64,
    kv_tokens: f64,
    /// Sequences that fit the KV cache for all that their contexts vary.
    surely: f64,
    /// Expected number of sequences that fit when 1, 2, … more are there.
    fitting: Vec<f64>,
}

impl<'a> Speed<'a> {
    /// Solves iteration times at `rate`; `None` when prompts alone fill an empty replica.
    pub fn new(work: &'a PromptWork<'a>, limits: &EngineLimits, rate: f64) -> Option<Self> {
        let most = limits
            .max_sequences
            .min(limits.kv_tokens / work.context)
            .max(1.0)
            + 1.0;
        let mut table = Vec::with_capacity(40);
        let mut batch = 0.0_f64;
        loop {
            match work.mean_iteration(batch, rate) {
                Some(t) => table.push((batch, t)),
                None if table.is_empty() => return None,
                None => break,
            }
            if batch >= most {
                break;
            }
            batch = (batch + 1.0).max((batch * 1.2).ceil()).min(most);
        }
        let surely = surely_fitting(work, limits);
        Some(Self {
            work,
            table,
            slots: limits.max_sequences,
            kv_tokens: limits.kv_tokens,
            surely,
            fitting: fitting(work, limits, surely),
        })
    }

    /// The chain at `rate` with residences `catch_up` seconds longer than their iterations; `sharpness` is R/z. `None`
    /// when it has no stationary law.
    pub fn occupancy(&self, rate: f64, sharpness: f64, catch_up: f64) -> Option<Occupancy> {
        let p = self.law(rate, sharpness, catch_up)?;
        let mean_in_system = p.iter().enumerate().map(|(k, p)| k as f64 * p).sum::<f64>();
        Some(Occupancy {
            catch_up,
            peakedness: 1.0,
            stalled_share: 0.0,
            decode_share: self.decode_share(mean_in_system),
            elasticity: self.elasticity(mean_in_system),
            nodes: self.nodes(&p, catch_up),
            mean_in_system,
        })
    }

    /// Probabilities of 0, 1, 2, … in system.
    fn law(&self, rate: f64, sharpness: f64, catch_up: f64) -> Option<Vec<f64>> {
        let mut log_p = vec![0.0_f64];
        let (mut peak, mut k) = (0.0_f64, 0_usize);
        loop {
            k += 1;
            let step = (rate / self.completions(k as f64, catch_up)).ln() * sharpness;
            let next = log_p[k - 1] + step;
            peak = peak.max(next);
            log_p.push(next);
            if next < peak - 30.0 {
                break;
            }
            if k >= LONGEST || !next.is_finite() {
                return None;
            }
        }
        let mut p: Vec<f64> = log_p.iter().map(|l| (l - peak).exp()).collect();
        let total: f64 = p.iter().sum();
        p.iter_mut().for_each(|x| *x /= total);
        Some(p)
    }

    /// Merges neighbouring states into nodes: fine in the upper tail, whole integers while the batch is small.
    fn nodes(&self, p: &[f64], catch_up: f64) -> Vec<Node> {
        let mut out = Vec::with_capacity(32);
        let (mut weight, mut moment, mut above) = (0.0, 0.0, 1.0);
        for (k, &pk) in p.iter().enumerate() {
            weight += pk;
            moment += pk * k as f64;
            above -= pk;
            let target = COARSEST.min(0.004 + 0.4 * above.max(0.0));
            let last = k + 1 == p.len();
            if weight >= target || (k == 0 && weight > 1e-3) || (last && weight > 0.0) {
                out.push(self.node(moment / weight, weight, catch_up));
                (weight, moment) = (0.0, 0.0);
            }
        }
        out
    }

    fn iteration(&self, batch: f64) -> f64 {
        let i = self.table.partition_point(|&(b, _)| b < batch);
        match (i.checked_sub(1).map(|j| self.table[j]), self.table.get(i)) {
            (Some((b0, t0)), Some(&(b1, t1))) => t0 + (t1 - t0) * (batch - b0) / (b1 - b0),
            (None, Some(&(_, t))) | (Some((_, t)), None) => t,
            (None, None) => f64::INFINITY,
        }
    }

    /// Sequences that run when `k` are in the system: the slots, and as many as the KV cache holds.
    fn running(&self, k: f64) -> f64 {
        let most = k.min(self.slots);
        if most <= self.surely {
            return most;
        }
        let beyond = ((most - self.surely) as usize).min(self.fitting.len());
        let running = beyond
            .checked_sub(1)
            .map_or(self.surely, |i| self.fitting[i]);
        running.max(most.min(1.0))
    }

    /// Probability that one more than `k` finds no place, and the completions that make room for it then: one slot, or as
    /// many contexts as are too many on average, their sum being close to normal (the mean excess is φ(z)/(1 − Φ(z)) − z).
    fn crowding(&self, k: f64) -> (f64, f64) {
        let next = k + 1.0;
        if next <= self.surely {
            return (0.0, 0.0);
        }
        if next > self.slots {
            return (1.0, 1.0);
        }
        let context = self.work.context;
        let spread = (self.work.context_variance * next).sqrt() + 1e-9;
        let z = (self.kv_tokens - next * context) / spread;
        // Not `normal_cdf`: the excess divides by the tail, which must be right itself.
        let full = 0.5 * erfc(z * std::f64::consts::FRAC_1_SQRT_2);
        let density = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let excess = spread * (density / full.max(1e-300) - z);
        (full, (excess / context).max(1.0))
    }

    fn completions(&self, k: f64, catch_up: f64) -> f64 {
        let running = self.running(k);
        let iterations = self.work.mean_decode.max(1e-9);
        let least = iterations * self.work.decode_seconds(running);
        running / (iterations * self.iteration(running) + catch_up).max(least)
    }

    /// Share of time that decode alone would take with `batch` running.
    fn decode_share(&self, batch: f64) -> f64 {
        (self.work.decode_seconds(batch) / self.iteration(batch)).min(1.0)
    }

    fn elasticity(&self, batch: f64) -> f64 {
        let d = (batch * 0.05).max(0.5);
        let (low, high) = (
            self.iteration((batch - d).max(0.0)),
            self.iteration(batch + d),
        );
        (batch * (high - low) / (2.0 * d) / self.iteration(batch)).clamp(0.0, 0.95)
    }

    fn node(&self, k: f64, weight: f64, catch_up: f64) -> Node {
        let batch = if k < 1.0 { k } else { self.running(k) };
        let queued = if k - batch > 0.05 { k - batch } else { 0.0 };
        let (full, room) = self.crowding(k);
        Node {
            batch,
            weight,
            queued,
            completion_rate: self.completions(batch, catch_up),
            full,
            room,
        }
    }
}

/// Sequences whose sum of contexts, which is close to normal, fits the KV cache within three standard deviations.
fn surely_fitting(work: &PromptWork<'_>, limits: &EngineLimits) -> f64 {
    let spread = (work.context_variance * limits.kv_tokens / work.context).sqrt();
    ((limits.kv_tokens - 3.0 * spread) / work.context)
        .floor()
        .clamp(0.0, limits.max_sequences)
}

/// Expected number that runs when 1, 2, … more than `surely` are there, as far as it grows.
fn fitting(work: &PromptWork<'_>, limits: &EngineLimits, surely: f64) -> Vec<f64> {
    let deviation = work.context_variance.sqrt();
    let mut running = surely;
    let more = (1..LONGEST).map(|j| surely + j as f64);
    more.take_while(|&j| j <= limits.max_sequences)
        .map(|j| {
            let over = (j * work.context - limits.kv_tokens) / (j.sqrt() * deviation + 1e-9);
            normal_cdf(-over)
        })
        .take_while(|&fits| fits > 1e-4)
        .map(|fits| {
            running += fits;
            running
        })
        .collect()
}

/// Standard normal distribution function (logistic-type approximation, error below 2·10⁻⁴: Bowling et al. 2009).
pub(super) fn normal_cdf(z: f64) -> f64 {
    1.0 / (1.0 + (-(1.5976 * z + 0.07056 * z * z * z)).exp())
}
