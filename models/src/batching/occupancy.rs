//! The slow layer: how many sequences are in the running batch.
//!
//! Every running sequence advances by one token per iteration, so the batch is a processor-sharing queue whose speed
//! depends on its size; its stationary law is of product form whatever the distribution of output lengths (insensitivity):
//! log p(k) − log p(k−1) = log(λ/μ(k)). Burstiness and balancing stretch or shrink the fluctuations: Hayward's peakedness
//! z turns into an exponent 1/z, and a pool of R balanced replicas into R/z, which keeps one integer grid for all cases.

use super::prompt_work::PromptWork;
use crate::iteration::EngineLimits;

/// One slice of the stationary law, as an arriving request sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// Sequences in the running batch.
    pub batch: f64,
    /// Probability.
    pub weight: f64,
    /// Requests ahead that wait for a place in the batch, and the batch's completion rate then; 0 when there is room.
    pub queued: f64,
    pub completion_rate: f64,
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
}

/// Largest share of the law that one node may stand for.
const COARSEST: f64 = 0.07;
/// Chain length beyond which a law that still rises counts as unstable.
const LONGEST: usize = 20_000;

impl Occupancy {
    /// Factor by which the standard deviation of a sum exceeds that of independent parts: batches swell while prompts
    /// stall them, so the swings of the batch (`drift`) and the stalls themselves (`stall`) come together.
    pub fn shared_swing(&self, drift: f64, stall: f64) -> f64 {
        let independent = drift * drift + stall * stall;
        if independent <= 0.0 {
            return 1.0;
        }
        (1.0 + 2.0 * self.stalled_share.sqrt() * drift * stall / independent).sqrt()
    }

    /// Solves the chain at `rate`; `sharpness` is R/z. `None` when the chain has no stationary law.
    pub fn solve(
        work: &PromptWork<'_>,
        limits: &EngineLimits,
        rate: f64,
        sharpness: f64,
    ) -> Option<Self> {
        let speed = Speed::new(work, limits, rate)?;
        let mut log_p = vec![0.0_f64];
        let (mut peak, mut k) = (0.0_f64, 0_usize);
        loop {
            k += 1;
            let step = (rate / speed.completions(k as f64)).ln() * sharpness;
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
        let mean_in_system = p.iter().enumerate().map(|(k, p)| k as f64 * p).sum::<f64>();
        let decode_share = work.decode_seconds(mean_in_system) / speed.iteration(mean_in_system);
        Some(Self {
            stalled_share: 0.0,
            decode_share: decode_share.min(1.0),
            elasticity: speed.elasticity(mean_in_system),
            nodes: nodes(&p, &speed),
            mean_in_system,
        })
    }
}

/// Merges neighbouring states into nodes: fine in the upper tail, whole integers while the batch is small.
fn nodes(p: &[f64], speed: &Speed) -> Vec<Node> {
    let mut out = Vec::with_capacity(32);
    let (mut weight, mut moment, mut above) = (0.0, 0.0, 1.0);
    for (k, &pk) in p.iter().enumerate() {
        weight += pk;
        moment += pk * k as f64;
        above -= pk;
        let target = COARSEST.min(0.004 + 0.4 * above.max(0.0));
        let last = k + 1 == p.len();
        if weight >= target || (k == 0 && weight > 1e-3) || (last && weight > 0.0) {
            out.push(speed.node(moment / weight, weight));
            (weight, moment) = (0.0, 0.0);
        }
    }
    out
}

/// Completion rates by number in system, interpolated between a few solved batch sizes.
struct Speed {
    /// (batch, mean iteration seconds), ascending.
    table: Vec<(f64, f64)>,
    mean_decode: f64,
    slots: f64,
    kv: f64,
    context: f64,
    context_sd: f64,
}

impl Speed {
    fn new(work: &PromptWork<'_>, limits: &EngineLimits, rate: f64) -> Option<Self> {
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
        Some(Self {
            table,
            mean_decode: work.mean_decode.max(1e-9),
            slots: limits.max_sequences,
            kv: limits.kv_tokens,
            context: work.context,
            context_sd: work.context_variance.sqrt(),
        })
    }

    fn iteration(&self, batch: f64) -> f64 {
        let i = self.table.partition_point(|&(b, _)| b < batch);
        match (i.checked_sub(1).map(|j| self.table[j]), self.table.get(i)) {
            (Some((b0, t0)), Some(&(b1, t1))) => t0 + (t1 - t0) * (batch - b0) / (b1 - b0),
            (None, Some(&(_, t))) | (Some((_, t)), None) => t,
            (None, None) => f64::INFINITY,
        }
    }

    /// Sequences that run when `k` are in the system: the slots, and as many as the KV cache holds, whose sum of
    /// contexts is close to normal.
    fn running(&self, k: f64) -> f64 {
        let most = k.min(self.slots);
        let surely =
            (self.kv - 3.0 * self.context_sd * (self.kv / self.context).sqrt()) / self.context;
        if most <= surely {
            return most;
        }
        let from = surely.max(0.0).floor();
        let mut running = from;
        let mut j = from + 1.0;
        while j <= most + 1e-9 {
            let fits =
                normal_cdf((self.kv - j * self.context) / (j.sqrt() * self.context_sd + 1e-9));
            running += fits;
            if fits < 1e-4 {
                break;
            }
            j += 1.0;
        }
        running.max(most.min(1.0))
    }

    fn completions(&self, k: f64) -> f64 {
        let running = self.running(k);
        running / (self.mean_decode * self.iteration(running))
    }

    fn elasticity(&self, batch: f64) -> f64 {
        let d = (batch * 0.05).max(0.5);
        let (low, high) = (
            self.iteration((batch - d).max(0.0)),
            self.iteration(batch + d),
        );
        (batch * (high - low) / (2.0 * d) / self.iteration(batch)).clamp(0.0, 0.95)
    }

    fn node(&self, k: f64, weight: f64) -> Node {
        let batch = if k < 1.0 { k } else { self.running(k) };
        let queued = if k - batch > 0.05 { k - batch } else { 0.0 };
        Node {
            batch,
            weight,
            queued,
            completion_rate: batch / (self.mean_decode * self.iteration(batch)),
        }
    }
}

/// Standard normal distribution function (logistic-type approximation, error below 2·10⁻⁴: Bowling et al. 2009).
fn normal_cdf(z: f64) -> f64 {
    1.0 / (1.0 + (-(1.5976 * z + 0.07056 * z * z * z)).exp())
}
