//! What to tell a HorizontalPodAutoscaler so that it lands on the desired replicas in spite of its tolerance.
//!
//! With an External metric and `AverageValue: "1"` the HPA does this with the metric's total `v` and the target's
//! `status.replicas` S (`GetExternalPerPodMetricReplicas` in Kubernetes' `pkg/controller/podautoscaler`):
//!
//! ```text
//! r = v / S;   1 − t ≤ r ≤ 1 + t  ⇒  keep S;   otherwise  ⇒  ⌈v⌉
//! ```
//! `v` counts in thousandths, t is 0.1 unless `behavior.*.tolerance` says otherwise and the cluster kept it. What that
//! permits, for desired replicas D:
//!
//! - **Up.** A value that moves anything exceeds S(1 + t), so the result is at least ⌊S(1 + t)⌋ + 1. D beyond that is
//!   reached exactly by v = D; a smaller D (20 → 21 at 0.1) cannot be reached by *any* value, and the least overshoot
//!   is ⌊S(1 + t)⌋ + 1 (23). More is safe and fewer is not, so we overshoot; from there D is often reached downwards.
//! - **Down.** Every v in (D − 1, D] rounds up to D, so v may be lowered below S(1 − t) without asking for fewer than D:
//!   exact whenever D − 0.999 < S(1 − t). Otherwise (20 → 19 at 0.1) nothing that moves the HPA stops short of going
//!   below D, so S stays: dearer by less than t · S replicas, never below what is needed.
//! - Tolerance 0: v = D, always exact. From S = 0 the ratio is not finite and v = D is taken as it is.
//!
//! Changing the target value helps nothing: v and the target enter only as their quotient. In every case the state
//! reached is a fixed point of the same value, so an HPA that syncs twice before the next cycle moves once.

use serde::Serialize;

/// A quantity in thousandths, as Kubernetes metric quantities count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Milli(pub u64);

impl Milli {
    /// `n` whole units.
    #[must_use]
    pub const fn whole(n: u32) -> Self {
        Self(n as u64 * 1000)
    }

    /// The value as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl std::fmt::Display for Milli {
    /// The canonical Kubernetes quantity: `21`, `20699m`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}", self.0 / 1000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

/// The value to publish so that an HPA with `AverageValue: "1"` and at most this tolerance goes from `current` to
/// `desired` replicas, or as near as it can without going below `desired`; see the module. A tolerance that is not a
/// number of at least 0 counts as 0.
#[must_use]
pub fn value_for_hpa(current: u32, desired: u32, tolerance: f64) -> Milli {
    let exact = Milli::whole(desired);
    if current == desired || moves(current, exact, tolerance) {
        return exact;
    }
    if desired > current {
        least_upward(current, tolerance)
    } else {
        greatest_downward(current, desired, tolerance).unwrap_or(exact)
    }
}

/// Whether an HPA at `current` replicas changes them for this value, rather than finding it within its tolerance. Its own floating-point expressions, term by term, so
/// that values on the edge of the tolerance are judged as it judges them.
#[must_use]
pub fn moves(current: u32, value: Milli, tolerance: f64) -> bool {
    let tolerance = if tolerance >= 0.0 { tolerance } else { 0.0 };
    let ratio = value.0 as f64 / (1000.0 * f64::from(current));
    !(1.0 - tolerance <= ratio && ratio <= 1.0 + tolerance)
}

fn least_upward(current: u32, tolerance: f64) -> Milli {
    // Rounding may put the product on either side of the edge that `moves` sees, by far less than one replica.
    let edge = (f64::from(current) * (1.0 + tolerance)).floor();
    let edge = edge.min(f64::from(u32::MAX - 2)) as u32;
    let first = Milli::whole(edge);
    if moves(current, first, tolerance) {
        first
    } else {
        Milli::whole(edge + 1)
    }
}

fn greatest_downward(current: u32, desired: u32, tolerance: f64) -> Option<Milli> {
    let floor = Milli::whole(desired).0.checked_sub(999)?;
    let edge = (f64::from(current) * 1000.0 * (1.0 - tolerance)).ceil();
    let edge = (edge.max(0.0) as u64).min(Milli::whole(desired).0);
    (edge.saturating_sub(2)..=edge)
        .rev()
        .map(Milli)
        .find(|&value| value.0 >= floor && moves(current, value, tolerance))
}
