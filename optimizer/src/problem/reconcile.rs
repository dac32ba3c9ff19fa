//! Contradictory bounds as named outcomes: a node that dies can leave less stock than the minimums ask for, and the
//! rest of the fleet must still be planned.

use super::Problem;

/// A minimum that had to give way.
#[derive(Debug, Clone, PartialEq)]
pub struct Contradiction {
    /// Ordinal of the variant.
    pub variant: usize,
    /// Minimum that was asked for.
    pub asked: u32,
    /// Minimum that fits.
    pub kept: u32,
    /// Name of what it collided with: a limit, or `max`.
    pub with: String,
}

impl Problem {
    /// The problem with minimums lowered until they fit under the maximums and the limits, and what was lowered.
    ///
    /// Under a limit that is too small every minimum keeps the same fraction, rounded down; what rounding leaves goes
    /// to the first variants that fit. Ordinals out of range are left for [`Problem::validate`] to report.
    #[must_use]
    pub fn reconcile(mut self) -> (Self, Vec<Contradiction>) {
        let asked: Vec<u32> = self.variants.iter().map(|v| v.min).collect();
        let mut with: Vec<Option<String>> = vec![None; asked.len()];
        for (variant, cause) in self.variants.iter_mut().zip(&mut with) {
            if variant.min > variant.max {
                variant.min = variant.max;
                *cause = Some("max".into());
            }
        }
        for l in 0..self.limits.len() {
            for v in self.shrink_minimums(l) {
                with[v] = Some(self.limits[l].name.clone());
            }
        }
        let lowered = with
            .into_iter()
            .enumerate()
            .filter_map(|(variant, with)| {
                Some(Contradiction {
                    variant,
                    asked: asked[variant],
                    kept: self.variants[variant].min,
                    with: with?,
                })
            })
            .collect();
        (self, lowered)
    }

    /// Lowers minimums until they fit under limit `l`; returns the variants lowered.
    fn shrink_minimums(&mut self, l: usize) -> Vec<usize> {
        let limit = &self.limits[l];
        let used = self.minimum_use(limit);
        if used <= limit.at_most * (1.0 + 1e-9) {
            return Vec::new();
        }
        let keep = limit.at_most / used;
        let users: Vec<(usize, f64)> = limit
            .replicas
            .iter()
            .copied()
            .filter(|&(v, c)| v < self.variants.len() && c > 0.0)
            .collect();
        let before: Vec<u32> = self.variants.iter().map(|v| v.min).collect();
        let mut room = limit.at_most;
        for &(v, c) in &users {
            let kept = (f64::from(before[v]) * keep).floor();
            self.variants[v].min = kept as u32;
            room -= c * kept;
        }
        for &(v, c) in &users {
            let back = (room / c)
                .floor()
                .min(f64::from(before[v] - self.variants[v].min));
            if back >= 1.0 {
                self.variants[v].min += back as u32;
                room -= c * back;
            }
        }
        users
            .iter()
            .map(|&(v, _)| v)
            .filter(|&v| self.variants[v].min < before[v])
            .collect()
    }
}
