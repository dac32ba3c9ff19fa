//! What makes the batch swing more, or less, than independent Poisson arrivals would: arrivals that cluster, prompts that
//! stall everyone at once, and prompts that pile up behind one's own.

use super::occupancy::Occupancy;
use super::prompt_work::PromptWork;
use super::routed::Routed;
use crate::latency::{Arrivals, Load};

/// What stalls by prompts add to the peakedness of the batch. A residence of m iterations is a delay busy period: it ends
/// when mT₀ of decode time has passed besides the prefill that arrived meanwhile, hence has squared variation
/// mT₀λ₀E[B²]/(mT)² ([`Routed`]), which is λE[x²]/(mT(1−ρ)²) for a replica by itself; all sequences in the batch share it.
pub(super) fn stalling(work: &PromptWork<'_>, calm: &Occupancy, load: &Load<'_>) -> f64 {
    let batch = calm.mean_in_system;
    let stalls = work.stall_moments(batch);
    let squares = stalls.compound_second(dispersion(load.arrivals));
    let seconds = work.decode_seconds(batch) / calm.decode_share;
    let routed = Routed::new(load, calm.decode_share);
    let variation = routed.while_decoding * calm.decode_share * routed.busy_second(squares)
        / (work.mean_decode.max(1.0) * seconds);
    batch * variation.min(1.0)
}

/// Seconds by which a residence exceeds the mean iteration times its length, because what waits when one begins to decode
/// is not what waits at any moment.
///
/// A residence that starts with prompt work W₀ waiting and leaves W₁ behind lasts (mT₀ + W₀ − W₁)/(1−ρ). Behind a
/// random iteration wait ρT̄ on average. Behind one's own wait the prompts that came while the replica was busy with it,
/// ρ' times its length, ρ' being ρ for a replica by itself and less in a pool ([`Routed`]). That iteration holds one's own
/// work x and that of the prompts that came in the one before, itself length-biased: it is longer than T̄ by
/// E[x] + ρ'λ'E[x²]/(1−ρ'²). Arrivals that cluster add (I − 1)/2 more prompts, what a renewal process has more behind an
/// arrival than behind any moment.
pub(super) fn catch_up(work: &PromptWork<'_>, calm: &Occupancy, load: &Load<'_>) -> f64 {
    if work.mean_decode < 1e-9 {
        return 0.0;
    }
    let batch = calm.mean_in_system;
    let left = calm.decode_share.max(Routed::LEAST_DECODING);
    let filled = 1.0 - left;
    let routed = Routed::new(load, left);
    let behind = 1.0 - routed.idle;
    let stalls = work.stall_moments(batch);
    let (mean, squares) = (stalls.mean, stalls.compound_second(1.0));
    let iteration = work.decode_seconds(batch) / left;
    let longer = mean + behind * routed.while_busy * squares / (1.0 - behind * behind);
    let clustered = mean * (dispersion(load.arrivals) - 1.0) / 2.0 * routed.part;
    let residence = work.mean_decode * iteration;
    let waiting = behind * longer - (filled - behind) * iteration + clustered;
    (waiting / routed.idle).max(-filled * residence)
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
