//! What operators want of requests: how important they are, and which model they get.
//!
//! ```text
//!  InferenceObjective ────┐
//!  InferenceModelRewrite ─┴─ watch ──► Board ──► Objectives, one snapshot, read by requests without a lock
//! ```
//! A rewrite of the asked model comes before one of any model, then the older resource, then the earlier rule. All of
//! that is settled when the snapshot is made; a request looks a name up.

mod board;
mod watch;

use std::collections::HashMap;

pub use board::{Board, Source};
pub use watch::watch;

/// Models that a request may get, by weight.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Targets {
    /// Names, each with the sum of the weights up to it and with it.
    cumulative: Vec<(String, u64)>,
}

impl Targets {
    /// Names with their weights; names without one, or without a share, are never drawn.
    #[must_use]
    pub fn new(targets: impl IntoIterator<Item = (String, u32)>) -> Self {
        let mut sum = 0;
        let targets = targets.into_iter().filter(|(n, w)| !n.is_empty() && *w > 0);
        let cumulative = targets.map(|(name, weight)| {
            sum += u64::from(weight);
            (name, sum)
        });
        Self {
            cumulative: cumulative.collect(),
        }
    }

    /// Whether none can be drawn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cumulative.is_empty()
    }

    /// The one that `draw`, evenly from [0, 1), falls on.
    #[must_use]
    pub fn draw(&self, draw: f64) -> Option<&str> {
        let (last, sum) = self.cumulative.last()?;
        let point = draw.clamp(0.0, 1.0) * *sum as f64;
        let mut all = self.cumulative.iter();
        let drawn = all.find(|(_, up_to)| point < *up_to as f64);
        Some(drawn.map_or(last, |(name, _)| name))
    }
}

/// Priorities and rewrites, as one snapshot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Objectives {
    /// Priority by name of the objective.
    pub priorities: HashMap<String, i32>,
    /// What requests for a model get instead.
    pub exact: HashMap<String, Targets>,
    /// What all other requests get.
    pub any: Option<Targets>,
}

impl Objectives {
    /// The priority of an objective; `None` for one that nobody declared.
    #[must_use]
    pub fn priority(&self, objective: &str) -> Option<i32> {
        self.priorities.get(objective).copied()
    }

    /// The model that a request for `model` gets instead; `None` for the model itself. `draw` in [0, 1) decides between
    /// weighted targets.
    #[must_use]
    pub fn rewrite(&self, model: &str, draw: f64) -> Option<&str> {
        let targets = self.exact.get(model).or(self.any.as_ref())?;
        targets.draw(draw)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let targets = [("a", 90), ("none", 0), ("b", 10)];
        let targets = Targets::new(targets.map(|(n, w)| (n.to_owned(), w)));
        let drawn = (0..1000).map(|i| targets.draw(f64::from(i) / 1000.0));
        assert_eq!(drawn.filter(|d| *d == Some("a")).count(), 900);
        assert_eq!(
            (targets.draw(1.0), targets.draw(-3.0)),
            (Some("b"), Some("a"))
        );
        assert_eq!(Targets::new([("a".to_owned(), 0)]).draw(0.5), None);
    }

    #[test]
    fn the_asked_model_comes_before_any_model() {
        let one = |name: &str| Targets::new([(name.to_owned(), 1)]);
        let objectives = Objectives {
            exact: [("m".to_owned(), one("m-v2"))].into(),
            any: Some(one("fallback")),
            ..Objectives::default()
        };
        assert_eq!(objectives.rewrite("m", 0.5), Some("m-v2"));
        assert_eq!(objectives.rewrite("x", 0.5), Some("fallback"));
        assert_eq!(Objectives::default().rewrite("m", 0.5), None);
    }

    proptest! {
        #[test]
        fn a_name_without_weight_is_never_drawn(weights in prop::collection::vec(0_u32..5, 0..6), draw in 0.0..1.0_f64) {
            let names = weights.iter().enumerate().map(|(i, w)| (i.to_string(), *w));
            let drawn = Targets::new(names).draw(draw).map(|n| n.parse::<usize>().unwrap());
            match drawn {
                Some(i) => prop_assert!(weights[i] > 0),
                None => prop_assert!(weights.iter().all(|w| *w == 0)),
            }
        }
    }
}
