//! Inter-token latency: gaps over tokens, their mean over one request, and the end-to-end time they add up to.
//!
//! A request's own ITL averages over its residence, so it varies less than single gaps do. Two things remain: the batch
//! drifts slowly (relaxation time τ; an average over D keeps the share v(D/τ) of the variance, as for an
//! Ornstein–Uhlenbeck process), and prompts that come meanwhile stall it. How much depends on how many come:
//! - few, behind short answers or among long prompts: each request of the sampled layer is followed to its last token, so
//!   a short answer between two long prompts is what it is, and no mean exceeds the longest iteration;
//! - many: a compound Poisson number of stalls, skewed, hence a Pearson III law. Sampled, its tail would need a hundred
//!   times the arrivals: those that share a batch share their stalls, too.
//!
//! The batch's contexts drift as slowly as its size does, since both change with the sequences in it; so their variance
//! adds to that of the drift. Among prompts of 6,000 tokens it is half of it and more.
//!
//! Batches swell while prompts stall them: drift and stalls come together, and their spread is widened accordingly.

use super::occupancy::Occupancy;
use super::prefill_queue::Sampled;
use super::prompt_work::PromptWork;
use super::routed::Routed;
use super::swings::dispersion;
use crate::latency::{Distribution, Load};

/// Mean gaps of requests of about one output length.
pub(super) struct OutputGroup {
    /// Ordinals of its shape points.
    pub points: Vec<usize>,
    /// Mean output tokens, and the share of these requests among those with more than one output token.
    output: f64,
    share: f64,
    /// Mean gaps of requests in seconds, weighted.
    pub gaps: Vec<(f64, f64)>,
}

/// Gaps over tokens as weighted samples (seconds, weight).
pub(super) fn gaps_over_tokens<'a>(
    work: &PromptWork<'_>,
    occupancy: &'a Occupancy,
    sampled: &'a [Sampled],
) -> impl Iterator<Item = (f64, f64)> + 'a {
    let decodes = work.mean_decode > 0.0;
    let nodes = occupancy.nodes.iter().zip(sampled);
    nodes
        .filter(move |(n, _)| decodes && n.batch > 0.0)
        .flat_map(|(node, seen)| {
            let per_iteration = node.weight * node.batch / seen.seconds().max(1e-12);
            let plain = (
                seen.decode_seconds,
                per_iteration * seen.decode_only.max(1e-9),
            );
            let mixed = seen.mixed.iter().map(move |&t| (t, per_iteration));
            mixed.chain([plain])
        })
}

/// Mean gap of one request over requests, by output length.
pub(super) fn gaps_over_requests(
    work: &PromptWork<'_>,
    occupancy: &Occupancy,
    sampled: &[Sampled],
    load: &Load<'_>,
) -> Vec<OutputGroup> {
    let nodes = SeenNode::of(occupancy, sampled);
    let total: f64 = nodes.iter().map(|n| n.tokens).sum::<f64>().max(1e-300);
    let share = |n: &SeenNode<'_>| n.tokens / total;
    let grand: f64 = nodes.iter().map(|n| share(n) * n.iteration).sum();
    let drift = nodes
        .iter()
        .map(|n| share(n) * (n.iteration - grand).powi(2));
    let drift = drift.sum::<f64>().sqrt();
    let contexts = context_swing(
        work,
        occupancy,
        nodes.iter().map(|n| share(n) * n.batch).sum(),
    );
    let widened = (drift * drift + contexts * contexts).sqrt() / drift.max(1e-12);
    let stalls = Stalls::new(work, occupancy, load);
    let relaxation = relaxation_tokens(work) * grand / (1.0 - occupancy.elasticity);
    let mut groups = output_groups(work);
    let mut group_of = vec![0; work.shape.points().len()];
    let mut swings = Vec::with_capacity(groups.len());
    for (g, group) in groups.iter().enumerate() {
        group.points.iter().for_each(|&i| group_of[i] = g);
        let gaps = group.output - 1.0;
        let kept = averaged(gaps * grand / relaxation).sqrt();
        let residences = gaps / work.mean_decode.max(1e-9);
        let together = occupancy.shared_swing(
            kept * drift,
            kept * contexts,
            stalls.of_mean_gap(gaps, grand).0,
            stalls.arrivals_share * newcomers(residences, occupancy.peakedness) / kept,
        );
        let prompts = load.rate * gaps * grand;
        swings.push(Swing {
            grand,
            kept: kept * widened,
            together,
            followed: ((MANY - prompts) / (MANY - FEW)).clamp(0.0, 1.0),
        });
    }
    for node in &nodes {
        let weight = share(node) / node.seen.stalls.len().max(1) as f64;
        for stall in &node.seen.stalls {
            let group = group_of[stall.point];
            let swing = &swings[group];
            if swing.followed > 0.0 {
                let gap = swing.stalled(node, stall.seconds);
                groups[group].gaps.push((gap, weight * swing.followed));
            }
        }
        let modelled = groups.iter_mut().zip(&swings);
        for (group, swing) in modelled.filter(|(_, swing)| swing.followed < 1.0) {
            let gaps = group.output - 1.0;
            let centre = swing.centre(node) + occupancy.catch_up / gaps;
            let (deviation, skew) = stalls.of_mean_gap(gaps, centre);
            let weight = share(node) * group.share * (1.0 - swing.followed);
            for &(z, stratum) in &NORMAL_STRATA {
                let gap = centre + swing.together * deviation * pearson3_score(skew, z);
                let least = node.seen.decode_seconds.min(centre);
                group.gaps.push((gap.max(least), weight * stratum));
            }
        }
    }
    // Of a length that was never sampled to its end nothing is known but the mean.
    for group in groups.iter_mut().filter(|g| g.gaps.is_empty()) {
        group.gaps.push((grand, group.share));
    }
    groups
}

/// Standard deviation of the mean iteration, seconds, from which contexts happen to be in the batch: each of `batch`
/// sequences has its own read, and what that lengthens iterations lets more prompts into them.
fn context_swing(work: &PromptWork<'_>, occupancy: &Occupancy, batch: f64) -> f64 {
    let decode = work.law.per_kv_token_s * (batch * work.context_variance).sqrt();
    decode / occupancy.decode_share.max(Routed::LEAST_DECODING)
}

/// Prompts per residence up to which requests are followed, and from which their stalls are a Pearson III law.
const FEW: f64 = 6.0;
const MANY: f64 = 16.0;

/// How the mean gaps of one output length spread.
struct Swing {
    /// Mean iteration over all slices, seconds.
    grand: f64,
    /// What an average over such a residence keeps of the batch's drift, widened by that of its contexts.
    kept: f64,
    /// How much wider drift and stalls spread because they come together.
    together: f64,
    /// Share of the sampled requests in the law; the rest is Pearson's.
    followed: f64,
}

impl Swing {
    /// Mean gap of requests that meet such a slice when they begin.
    fn centre(&self, node: &SeenNode<'_>) -> f64 {
        self.grand + self.together * self.kept * (node.iteration - self.grand)
    }

    /// Mean gap of a sampled request that prompts stalled by `stall` seconds an iteration.
    fn stalled(&self, node: &SeenNode<'_>, stall: f64) -> f64 {
        let plain = node.seen.decode_seconds;
        let own = plain + stall;
        let gap = self.centre(node) + self.together * (own - node.iteration);
        let longest = node.longest.max(own).max(self.grand);
        gap.clamp(plain.min(self.grand), longest)
    }
}

/// A slice of the batch's law with what sampling it showed.
struct SeenNode<'a> {
    seen: &'a Sampled,
    /// Mean and longest iteration, seconds.
    iteration: f64,
    longest: f64,
    /// Sequences in the running batch.
    batch: f64,
    /// Tokens produced per second, times the probability of the slice.
    tokens: f64,
}

impl<'a> SeenNode<'a> {
    /// Those with a batch that decodes.
    fn of(occupancy: &Occupancy, sampled: &'a [Sampled]) -> Vec<Self> {
        let nodes = occupancy.nodes.iter().zip(sampled);
        let decoding = nodes.filter(|(node, _)| node.batch > 0.0);
        decoding
            .map(|(node, seen)| {
                let iterations = seen.mixed.len() as f64 + seen.decode_only;
                let iteration = seen.seconds() / iterations.max(1.0);
                Self {
                    seen,
                    iteration,
                    batch: node.batch,
                    longest: seen.mixed.iter().copied().fold(0.0, f64::max),
                    tokens: node.weight * node.batch / iteration,
                }
            })
            .collect()
    }
}

/// Correlation of the requests that arrive during a residence with the average of the batch over it, for unit index of
/// dispersion and an average that keeps the whole variance: an arrival at u adds E[min(d − u, L)]/d to that average (in
/// mean residences, L exponential), and the batch has `peakedness` times the variance of Poisson.
fn newcomers(d: f64, peakedness: f64) -> f64 {
    let added = 0.5 * d * averaged(d);
    added / (peakedness * d.max(1e-9)).sqrt()
}

/// End-to-end latency: TTFT plus the request's own gaps, the two taken as independent: each output length meets each
/// stratum of its gaps with some quantile of TTFT, evenly spread over all of them.
pub(super) fn end_to_end(
    work: &PromptWork<'_>,
    ttft: &Distribution,
    groups: Vec<OutputGroup>,
) -> Distribution {
    const STRATA: u32 = 24;
    let points = work.shape.points();
    let mut out = Vec::with_capacity((points.len() + 2) * STRATA as usize);
    let mut add = |tokens: f64, gap: &Distribution, weight: f64| {
        for i in 0..STRATA {
            let first = ttft.quantile((super::GOLDEN * (out.len() + 1) as f64).fract());
            let own = (tokens - 1.0) * gap.quantile((f64::from(i) + 0.5) / f64::from(STRATA));
            out.push((first + own, weight / f64::from(STRATA)));
        }
    };
    for p in points.iter().filter(|p| p.output <= 1.5) {
        add(1.0, &Distribution::constant(0.0), p.weight);
    }
    for group in groups {
        let gap = Distribution::from_weighted(group.gaps);
        for &i in &group.points {
            add(points[i].output, &gap, points[i].weight);
        }
    }
    Distribution::gathered(out.into_iter())
}

/// Moments of the stalls that prompts cause to a sequence. Its residence of m iterations is a delay busy period that
/// starts with mT₀ of work: variance mT₀λ₀E[B²], third central moment mT₀λ₀E[B³], with λ₀ the rate at which prompts come
/// while the replica decodes only and B the busy period that such a prompt begins ([`Routed`]).
struct Stalls {
    /// What of the stalls' standard deviation goes with the number of prompts, times that of their number.
    arrivals_share: f64,
    second: f64,
    third: f64,
    decode_share: f64,
}

impl Stalls {
    fn new(work: &PromptWork<'_>, occupancy: &Occupancy, load: &Load<'_>) -> Self {
        let dispersion = dispersion(load.arrivals);
        let decode_share = occupancy.decode_share;
        let moments = work.stall_moments(occupancy.mean_in_system.max(1.0));
        let square = moments.compound_second(dispersion);
        let routed = Routed::new(load, decode_share);
        Self {
            arrivals_share: dispersion * moments.mean / square.sqrt().max(1e-300),
            second: routed.while_decoding * routed.busy_second(square),
            third: routed.while_decoding
                * routed.busy_third(square, moments.compound_third(dispersion)),
            decode_share: decode_share.max(Routed::LEAST_DECODING),
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

/// Output lengths in groups of at most an eighth, finer in the upper tail; single-token outputs have no gap.
fn output_groups(work: &PromptWork<'_>) -> Vec<OutputGroup> {
    let points = work.shape.points();
    let mut order: Vec<usize> = (0..points.len())
        .filter(|&i| points[i].output > 1.5)
        .collect();
    order.sort_by(|&a, &b| points[a].output.total_cmp(&points[b].output));
    let total: f64 = order.iter().map(|&i| points[i].weight).sum();
    let mut out: Vec<OutputGroup> = Vec::with_capacity(16);
    let (mut weight, mut moment, mut above) = (0.0, 0.0, total);
    let mut from = 0;
    for (at, &i) in order.iter().enumerate() {
        let p = &points[i];
        weight += p.weight;
        moment += p.weight * p.output;
        above -= p.weight;
        let target = 0.125_f64.min(0.004 + 0.4 * above.max(0.0) / total);
        if weight >= total * target || at + 1 == order.len() {
            out.push(OutputGroup {
                points: order[from..=at].to_vec(),
                output: moment / weight,
                share: weight / total,
                gaps: Vec::new(),
            });
            (weight, moment, from) = (0.0, 0.0, at + 1);
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
pub(crate) fn gamma_quantile(shape: f64, z: f64) -> f64 {
    let k = shape.max(0.05);
    (1.0 - 1.0 / (9.0 * k) + z / (3.0 * k.sqrt()))
        .max(0.0)
        .powi(3)
}
