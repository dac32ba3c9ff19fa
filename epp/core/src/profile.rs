//! A profile: filters, then weighted scorers, then a picker.

use crate::choose::Choose;
use crate::endpoint::Slot;
use crate::filter::Filter;
use crate::round::{Round, Scratch};
use crate::scorer::{Scorer, clamp01};
use rand::rngs::Xoshiro256PlusPlus;

/// A way of choosing endpoints for one stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Conditions, in order.
    pub filters: Vec<Filter>,
    /// Scorers with their weights.
    pub scorers: Vec<(Scorer, f64)>,
    /// Who is taken.
    pub choose: Choose,
}

impl Profile {
    /// Chooses among `scratch.base`; the chosen are in `scratch.best`, best first. The best, if any.
    pub(crate) fn run(
        &self,
        round: &Round<'_>,
        scratch: &mut Scratch,
        random: &mut Xoshiro256PlusPlus,
    ) -> Option<Slot> {
        let Scratch {
            base,
            left,
            total,
            score,
            columns,
            best,
            ..
        } = scratch;
        left.clear();
        left.extend_from_slice(base);
        for filter in &self.filters {
            filter.apply(round, left, random);
        }
        total.clear();
        total.resize(left.len(), 0.0);
        for (scorer, weight) in &self.scorers {
            scorer.score(round, left, columns, score);
            for (total, score) in total.iter_mut().zip(score.iter()) {
                *total += weight * clamp01(*score);
            }
        }
        self.choose.choose(left, total, random, best);
        best.first().map(|b| b.2)
    }

    /// Whether it asks who holds the prompt's prefix.
    #[must_use]
    pub fn needs_prefix(&self) -> bool {
        self.filters.iter().any(Filter::needs_prefix)
            || self.scorers.iter().any(|(s, _)| s.needs_prefix())
    }

    /// The request headers it looks at.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let filters = self.filters.iter().filter_map(Filter::header);
        filters.chain(self.scorers.iter().filter_map(|(s, _)| s.header()))
    }
}
