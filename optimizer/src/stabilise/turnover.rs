//! Turnover: when a plan moves a model from one variant to another, the old replicas stay until the new ones serve.
//!
//! What is missing of the growing variants is expressed in requests per second, and the shrinking variants keep as many
//! replicas as carry it. So the old fleet goes step by step as the new one becomes ready, and a variant that grows for
//! good with demand does not hold the others forever.

use wva_models::variant::Role;

use crate::decision::Reason;

/// One variant of a model in turnover.
#[derive(Debug, Clone, PartialEq)]
pub struct Turnover {
    /// What its replicas do.
    pub role: Role,
    /// Requests/s of the model's traffic that one replica carries, more than 0; only ratios matter.
    pub capacity: f64,
    /// Replicas asked for.
    pub current: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas that the plan wants.
    pub planned: u32,
    /// Target so far; raised here where replicas are kept.
    pub target: u32,
}

/// Raises the targets of variants that shrink while others of the same model are not yet ready to replace them; returns
/// the reason (`awaiting-replacement`) for each variant that is held.
///
/// Targets never exceed what is asked for already, so nothing is bought for the time of the change.
pub fn keep_until_replaced(variants: &mut [Turnover]) -> Vec<Option<Reason>> {
    let (prefill, decode, both) = missing(variants);
    let mut left = [prefill + both, decode + both, both + prefill.max(decode)];
    let mut reasons = vec![None; variants.len()];
    for (variant, reason) in variants.iter_mut().zip(&mut reasons) {
        if variant.target >= variant.current || variant.capacity <= 0.0 {
            continue;
        }
        let left = &mut left[slot(variant.role)];
        // What the target already keeps beyond the plan carries part of it.
        let beyond = f64::from(variant.target.saturating_sub(variant.planned)) * variant.capacity;
        let more = ((*left - beyond).max(0.0) / variant.capacity - ROUNDING).ceil();
        let kept = more.min(f64::from(variant.current - variant.target)) as u32;
        *left = (*left - beyond - f64::from(kept) * variant.capacity).max(0.0);
        if kept > 0 {
            *reason = Some(Reason {
                code: "awaiting-replacement".into(),
                text: format!("{kept} replicas stay until the variants that replace them serve"),
            });
            variant.target += kept;
        }
    }
    reasons
}

/// A missing capacity that exceeds whole replicas by this is arithmetic.
const ROUNDING: f64 = 1e-9;

/// Requests/s that growing variants do not carry yet: (prefill, decode, both).
fn missing(variants: &[Turnover]) -> (f64, f64, f64) {
    let mut sums = [0.0; 3];
    for v in variants.iter().filter(|v| v.capacity > 0.0) {
        sums[slot(v.role)] += f64::from(v.planned.saturating_sub(v.ready)) * v.capacity;
    }
    (sums[0], sums[1], sums[2])
}

fn slot(role: Role) -> usize {
    match role {
        Role::Prefill => 0,
        Role::Decode => 1,
        Role::Both => 2,
    }
}
