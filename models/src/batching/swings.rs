//! What makes the batch swing more, or less, than independent Poisson arrivals would: arrivals that cluster, prompts that
//! stall everyone at once, and prompts that pile up behind one's own.

use super::occupancy::Occupancy;
use super::prompt_work::PromptWork;
use crate::latency::{Arrivals, Load};

/// What stalls by prompts add to the peakedness of the batch. A residence of m iterations is a delay busy period: it ends
/// when mT₀ of decode time has passed besides the prefill that arrived meanwhile, hence has squared variation
/// λE[x²]/(mT(1−ρ)²), E[x²] being that of the compound counts; all sequences in the batch share it.
pub(super) fn stalling(work: &PromptWork<'_>, calm: &Occupancy, load: &Load<'_>) -> f64 {
    let batch = calm.mean_in_system;
    let stalls = work.stall_moments(batch);
    let squares = stalls.compound_second(dispersion(load.arrivals));
    let seconds = work.decode_seconds(batch) / calm.decode_share;
    let variation =
        load.rate * squares / (work.mean_decode.max(1.0) * seconds * calm.decode_share.powi(2));
    batch * variation.min(1.0)
}

/// Seconds by which a residence exceeds the mean iteration times its length, because prompts that arrived during one's own
/// prefill iteration wait when one begins to decode.
///
/// A residence that starts with prompt work W₀ waiting and leaves W₁ behind lasts (mT₀ + W₀ − W₁)/(1−ρ). Behind a
/// random iteration wait ρT̄ on average, behind one's own ρ times its length, in which one's own work x is and that of the
/// prompts that came in the iteration before, itself length-biased: its excess is E[x] + ρλE[x²]/(1−ρ²). Arrivals that
/// cluster add (I − 1)/2 more prompts, what a renewal process has more behind an arrival than behind any moment.
pub(super) fn catch_up(work: &PromptWork<'_>, calm: &Occupancy, load: &Load<'_>) -> f64 {
    if work.mean_decode < 1e-9 {
        return 0.0;
    }
    let batch = calm.mean_in_system;
    let idle = calm.decode_share.max(0.05);
    let filled = 1.0 - idle;
    let stalls = work.stall_moments(batch);
    let (mean, squares) = (stalls.mean, stalls.compound_second(1.0));
    let longer = mean + filled * load.rate * squares / (1.0 - filled * filled);
    let clustered = mean * (dispersion(load.arrivals) - 1.0) / 2.0;
    let residence = work.mean_decode * work.decode_seconds(batch) / idle;
    ((filled * longer + clustered) / idle).max(-filled * residence)
}

/// Hayward's peakedness z = 1 + (I − 1)·κ, κ = ∫F̄² / ∫F̄ over the decode length (½ when exponential): what bursty or
/// regular arrivals make of the variance of the batch.
pub(super) fn peakedness(work: &PromptWork<'_>, arrivals: Arrivals) -> f64 {
    let dispersion = dispersion(arrivals);
    let mut lengths: Vec<(f64, f64)> = work
        .shape
        .points()
        .iter()
        .map(|p| (p.output - 1.0, p.weight))
        .collect();
    lengths.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut above, mut at, mut squared, mut plain) = (1.0, 0.0, 0.0, 0.0);
    for (length, weight) in lengths {
        squared += above * above * (length - at);
        plain += above * (length - at);
        at = length;
        above = f64::max(above - weight, 0.0);
    }
    let kappa = if plain > 0.0 { squared / plain } else { 0.5 };
    // Equal gaps and equal lengths would make the batch constant; real gaps never are quite equal.
    (1.0 + (dispersion - 1.0) * kappa).max(0.05)
}

/// Index of dispersion of counts, over times that are long against a gap.
pub(super) fn dispersion(arrivals: Arrivals) -> f64 {
    match arrivals {
        Arrivals::Poisson => 1.0,
        Arrivals::Even => 0.0,
        Arrivals::Dispersion(i) if i.is_finite() => i.clamp(0.05, 1e3),
        Arrivals::Dispersion(_) => 1.0,
    }
}
