//! Pickers: from scores to endpoints.
//!
//! All of them draw a key for each candidate and take the greatest: its score, a random number, or a random number raised
//! to the inverse of its score (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006), which makes
//! the first taken be drawn in proportion to the scores, the second so among the rest, and so on. Ties are drawn by lot.

use rand::{Rng, RngExt};

use crate::endpoint::Slot;

/// How endpoints are taken by score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// The greatest score.
    #[default]
    MaxScore,
    /// Chance, all alike.
    Random,
    /// Chance in proportion to the score.
    WeightedRandom,
}

/// A picker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choose {
    /// How.
    pub by: By,
    /// How many at most: the first gets the request, the others are its fallbacks.
    pub most: usize,
}

impl Default for Choose {
    fn default() -> Self {
        Self {
            by: By::MaxScore,
            most: 1,
        }
    }
}

impl Choose {
    /// Writes the chosen, best first.
    pub(crate) fn choose(
        self,
        candidates: &[Slot],
        totals: &[f64],
        random: &mut impl Rng,
        best: &mut Vec<(f64, u64, Slot)>,
    ) {
        best.clear();
        let most = self.most.max(1);
        let all_zero = self.by == By::WeightedRandom && totals.iter().all(|t| *t <= 0.0);
        for (&slot, &total) in candidates.iter().zip(totals) {
            let key = match self.by {
                By::MaxScore => total,
                By::Random => 0.0,
                By::WeightedRandom if all_zero => 0.0,
                By::WeightedRandom if total <= 0.0 => f64::NEG_INFINITY,
                // ln u / w orders like u^(1/w).
                By::WeightedRandom => (1.0 - random.random::<f64>()).ln() / total,
            };
            let full = best.len() == most;
            if full && best.last().is_some_and(|worst| key < worst.0) {
                continue;
            }
            let entry = (key, random.next_u64(), slot);
            let place = best.partition_point(|b| (b.0, b.1) > (entry.0, entry.1));
            if place < most {
                best.truncate(most - 1);
                best.insert(place, entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::*;

    fn draws(choose: Choose, totals: &[f64], draws: usize) -> Vec<Vec<u32>> {
        let slots: Vec<Slot> = (0..totals.len() as u32).map(Slot).collect();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut best = Vec::new();
        let draw = |_| {
            choose.choose(&slots, totals, &mut random, &mut best);
            best.iter().map(|b| b.2.0).collect()
        };
        (0..draws).map(draw).collect()
    }

    fn shares(all: &[Vec<u32>], of: usize) -> Vec<f64> {
        let count = |i: u32| all.iter().filter(|d| d[0] == i).count() as f64 / all.len() as f64;
        (0..of as u32).map(count).collect()
    }

    #[test]
    fn max_score_takes_the_best_and_then_the_next() {
        let choose = Choose {
            by: By::MaxScore,
            most: 3,
        };
        assert_eq!(draws(choose, &[0.1, 0.9, 0.5, 0.7], 1)[0], [1, 3, 2]);
        assert_eq!(draws(choose, &[0.1, 0.9], 1)[0], [1, 0]);
        assert!(draws(choose, &[], 1)[0].is_empty());
    }

    #[test]
    fn ties_are_drawn_by_lot() {
        let choose = Choose::default();
        let share = shares(&draws(choose, &[0.5, 0.5, 0.2, 0.5], 3000), 4);
        assert_eq!(share[2], 0.0);
        for i in [0, 1, 3] {
            assert!((share[i] - 1.0 / 3.0).abs() < 0.04, "{share:?}");
        }
    }

    #[test]
    fn weights_are_proportions() {
        let choose = Choose {
            by: By::WeightedRandom,
            most: 1,
        };
        let share = shares(&draws(choose, &[1.0, 3.0, 0.0, 4.0], 8000), 4);
        for (share, expected) in share.iter().zip([0.125, 0.375, 0.0, 0.5]) {
            assert!((share - expected).abs() < 0.025, "{share}");
        }
        let share = shares(&draws(choose, &[0.0, 0.0], 2000), 2);
        assert!((share[0] - 0.5).abs() < 0.05);
        let share = shares(
            &draws(
                Choose {
                    by: By::Random,
                    most: 1,
                },
                &[9.0, 1.0],
                2000,
            ),
            2,
        );
        assert!((share[0] - 0.5).abs() < 0.05);
    }
}
