//! Inter-token latency: gaps over tokens, their mean over one request, and the end-to-end time they add up to.
//!
//! A request's own ITL averages over its residence, so it varies less than single gaps do. Two things remain: the batch
//! drifts slowly (relaxation time τ; an average over D keeps the share v(D/τ) of the variance, as for an
//! Ornstein–Uhlenbeck process), and prompts that arrive meanwhile stall it (a compound Poisson number of stalls, whose
//! effect grows as the replica fills; skewed, hence a Pearson III law).

use super::occupancy::Occupancy;
use super::prefill_queue::Sampled;
use super::prompt_work::PromptWork;

/// A weighted sample of (output tokens, mean gap seconds).
pub(super) type RequestGap = (f64, f64, f64);

/// Gaps over tokens as weighted samples (seconds, weight).
pub(super) fn gaps_over_tokens(occupancy: &Occupancy, sampled: &[Sampled]) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for (node, seen) in occupancy.nodes.iter().zip(sampled) {
        let elapsed = seen.mixed.iter().sum::<f64>() + seen.decode_only * seen.decode_seconds;
        let per_iteration = node.weight * node.batch / elapsed.max(1e-12);
        if per_iteration <= 0.0 {
            continue;
        }
        out.push((
            seen.decode_seconds,
            per_iteration * seen.decode_only.max(1e-9),
        ));
        out.extend(seen.mixed.iter().map(|&t| (t, per_iteration)));
    }
    out
}

/// Mean gap of one request over requests, as weighted (output tokens, seconds, weight).
pub(super) fn gaps_over_requests(
    work: &PromptWork<'_>,
    occupancy: &Occupancy,
    sampled: &[Sampled],
    rate: f64,
    smooth: f64,
) -> Vec<RequestGap> {
    // Mean iteration and tokens produced per second at each node, from the samples.
    let slow: Vec<(f64, f64, f64)> = occupancy
        .nodes
        .iter()
        .zip(sampled)
        .filter(|(n, _)| n.batch > 0.0)
        .map(|(n, s)| {
            let iterations = s.mixed.len() as f64 + s.decode_only;
            let elapsed = s.mixed.iter().sum::<f64>() + s.decode_only * s.decode_seconds;
            let mean = elapsed / iterations.max(1.0);
            (mean, s.decode_seconds, n.weight * n.batch / mean)
        })
        .collect();
    let total: f64 = slow.iter().map(|s| s.2).sum();
    let grand = slow.iter().map(|s| s.0 * s.2).sum::<f64>() / total.max(1e-300);
    let drift = (slow
        .iter()
        .map(|s| (s.0 - grand).powi(2) * s.2)
        .sum::<f64>()
        / total.max(1e-300))
    .sqrt();
    let batch = occupancy.mean_in_system.max(1.0);
    let stalls = Stalls::new(work, batch, rate * smooth, occupancy.decode_share);
    let relaxation = relaxation_tokens(work) * grand / (1.0 - occupancy.elasticity);
    let mut out = Vec::new();
    for (output, weight) in output_groups(work) {
        let gaps = output - 1.0;
        let kept = averaged(gaps * grand / relaxation).sqrt();
        let together = occupancy.shared_swing(kept * drift, stalls.of_mean_gap(gaps, grand).0);
        for &(mean, base, w) in &slow {
            let centre = grand + together * kept * (mean - grand);
            let (deviation, skew) = stalls.of_mean_gap(gaps, centre);
            for &(z, share) in &NORMAL_STRATA {
                let t = centre + together * deviation * pearson3_score(skew, z);
                out.push((output, t.max(base.min(centre)), weight * w / total * share));
            }
        }
    }
    out
}

/// Moments of the stalls that prompts cause to a sequence. Its residence of m iterations is a delay busy period of an
/// M/G/1 queue that starts with mT₀ of work: variance mT₀λE[x²]/(1−ρ)³, third central moment
/// mT₀(λE[x³]/(1−ρ)⁴ + 3λ²E[x²]²/(1−ρ)⁵) (Kleinrock, Queueing Systems I, §5.8–5.10).
struct Stalls {
    second: f64,
    third: f64,
    decode_share: f64,
}

impl Stalls {
    fn new(work: &PromptWork<'_>, batch: f64, rate: f64, decode_share: f64) -> Self {
        let left = decode_share.max(0.05);
        let squares = rate * work.shape.mean_of(|p| work.stall(batch, p).powi(2));
        let cubes = rate * work.shape.mean_of(|p| work.stall(batch, p).powi(3));
        Self {
            second: squares / left.powi(3),
            third: cubes / left.powi(4) + 3.0 * squares * squares / left.powi(5),
            decode_share: left,
        }
    }

    /// Standard deviation (seconds) and skewness of the mean of `gaps` gaps of mean length `mean`.
    fn of_mean_gap(&self, gaps: f64, mean: f64) -> (f64, f64) {
        let initial = gaps * mean * self.decode_share;
        let variance = initial * self.second;
        if variance <= 0.0 {
            return (0.0, 0.0);
        }
        (
            variance.sqrt() / gaps,
            initial * self.third / variance.powf(1.5),
        )
    }
}

/// Correlation time of the batch in iterations: mean residual decode length, E[m²]/(2E[m]).
fn relaxation_tokens(work: &PromptWork<'_>) -> f64 {
    let second = work.shape.mean_of(|p| (p.output - 1.0).powi(2));
    (second / (2.0 * work.mean_decode.max(1e-9))).max(1.0)
}

/// Share of an Ornstein–Uhlenbeck process's variance that its average over `x` relaxation times keeps.
fn averaged(x: f64) -> f64 {
    if x < 1e-3 {
        1.0
    } else {
        2.0 * (x - 1.0 + (-x).exp()) / (x * x)
    }
}

/// Output lengths in groups of at most an eighth, finer in the upper tail: (mean, weight); single-token outputs have no gap.
fn output_groups(work: &PromptWork<'_>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = work
        .shape
        .points()
        .iter()
        .filter(|p| p.output > 1.5)
        .map(|p| (p.output, p.weight))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = points.iter().map(|p| p.1).sum();
    let mut out: Vec<(f64, f64)> = Vec::with_capacity(9);
    let (mut weight, mut moment, mut above) = (0.0, 0.0, total);
    for (i, &(m, w)) in points.iter().enumerate() {
        weight += w;
        moment += w * m;
        above -= w;
        if weight >= total * 0.125_f64.min(0.004 + 0.4 * above.max(0.0) / total)
            || i + 1 == points.len()
        {
            out.push((moment / weight, weight / total));
            (weight, moment) = (0.0, 0.0);
        }
    }
    out
}

/// Normal quantiles with the share of probability each stands for, finer in the upper tail.
const NORMAL_STRATA: [(f64, f64); 12] = [
    (-1.755, 0.10),
    (-1.045, 0.10),
    (-0.539, 0.20),
    (0.0, 0.20),
    (0.539, 0.20),
    (0.935, 0.05),
    (1.150, 0.05),
    (1.440, 0.04),
    (1.750, 0.03),
    (2.054, 0.015),
    (2.40, 0.01),
    (2.88, 0.005),
];

/// Standard score of a Pearson III (shifted gamma) law of this skewness at normal score `z` (Wilson and Hilferty 1931).
fn pearson3_score(skew: f64, z: f64) -> f64 {
    let s = skew.min(4.0);
    if s < 1e-3 {
        return z;
    }
    2.0 / s * ((1.0 + s * z / 6.0 - s * s / 36.0).max(0.0).powi(3) - 1.0)
}

/// Quantile, relative to the mean, of a gamma law of this shape at normal score `z` (Wilson and Hilferty 1931).
pub(super) fn gamma_quantile(shape: f64, z: f64) -> f64 {
    let k = shape.max(0.05);
    (1.0 - 1.0 / (9.0 * k) + z / (3.0 * k.sqrt()))
        .max(0.0)
        .powi(3)
}
