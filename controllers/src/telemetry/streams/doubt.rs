//! Whether a router's count can be true: what it says it has sent on, held against what came of it.
//!
//! ```text
//! believed ── claims far more than the engines got ──► doubted ── still so after a while ──► contradicted
//!    ▲                                                    │                                       │
//!    └───────────── the engines confirm it ◄──────────────┴── a while in which it agrees ◄────────┘
//! ```
//! What waits in flow control or was refused was never sent on, and what waits in an engine is counted by the engine: an
//! overload is no contradiction. Engines are read at other moments than routers, so a sudden burst is doubted for a look
//! or two, in which the model is held and nothing is lost; then it counts in full. A contradicted router is not believed
//! at all: the engines count, as they do where there is no router.

use super::super::ledger::{Showing, Side};

/// Multiple of what the engines got that no retries and no delay explain.
pub(super) const FAR: f64 = 10.0;
/// Requests that may be on their way.
pub(super) const SLACK: f64 = 50.0;

/// What becomes of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Belief {
    /// It counts.
    #[default]
    Believed,
    /// It waits for the engines' word.
    Doubted,
    /// It does not count.
    Contradicted,
}

/// The routers of one source, about one model.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    sent: Side,
    belief: Belief,
    /// Since when it is doubted.
    doubted: f64,
    /// Since when, sent on, and got by the engines.
    window: Option<(f64, f64, f64)>,
}

impl Doubt {
    /// Takes what the routers show to have sent on, and how many requests the engines got since the last look, or could have
    /// got at most; `None` where none serves. A doubt lasts `patience` seconds.
    pub fn look(&mut self, sent: &[Showing], got: Option<f64>, patience: f64, now: f64) -> Belief {
        let sent = self.sent.observe(sent, &[], now).tally.arrivals.max(0.0);
        let Some(got) = got else {
            self.window = None;
            self.belief = Belief::Believed;
            return self.belief;
        };
        let (since, claimed, admitted) = self.window.unwrap_or((now, 0.0, 0.0));
        let (claimed, admitted) = (claimed + sent, admitted + got);
        self.window = Some((since, claimed, admitted));
        let far = claimed > FAR * admitted + SLACK;
        let over = now - since >= patience;
        let before = self.belief;
        self.belief = match before {
            Belief::Believed if far => {
                self.doubted = now;
                Belief::Doubted
            }
            Belief::Doubted if !far => Belief::Believed,
            Belief::Doubted if now - self.doubted >= patience => Belief::Contradicted,
            Belief::Contradicted if over && !far => Belief::Believed,
            same => same,
        };
        if self.belief != Belief::Doubted && (over || self.belief != before) {
            self.window = None;
        }
        self.belief
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tally::Tally;
    use super::*;

    const PATIENCE: f64 = 30.0;

    /// A router and its engines, looked at each ten seconds.
    #[derive(Default)]
    struct World {
        doubt: Doubt,
        now: f64,
        sent: f64,
    }

    impl World {
        fn look(&mut self, sent: f64, got: Option<f64>) -> Belief {
            self.now += 10.0;
            self.sent += sent;
            let showing = Showing {
                origin: "picker".into(),
                at: self.now,
                tally: Tally {
                    arrivals: self.sent,
                    ..Tally::default()
                },
                started_at: None,
                born: None,
                leaps: 0,
            };
            self.doubt.look(&[showing], got, PATIENCE, self.now)
        }
    }

    #[test]
    fn what_the_engines_confirm_is_believed_however_sudden() {
        let mut world = World::default();
        for _ in 0..20 {
            assert_eq!(world.look(30.0, Some(29.0)), Belief::Believed);
        }
        // The router was read after the burst, the engines before.
        assert_eq!(world.look(5000.0, Some(30.0)), Belief::Doubted);
        assert_eq!(world.look(5000.0, Some(5000.0)), Belief::Believed);
        assert_eq!(world.look(5000.0, Some(5000.0)), Belief::Believed);
    }

    #[test]
    fn a_lie_that_lasts_counts_for_nothing_until_it_ends() {
        let mut world = World::default();
        for _ in 0..5 {
            world.look(30.0, Some(30.0));
        }
        let beliefs: Vec<Belief> = (0..40).map(|_| world.look(30_000.0, Some(30.0))).collect();
        let (doubted, rest) = beliefs.split_at(3);
        assert!(doubted.iter().all(|b| *b == Belief::Doubted), "{beliefs:?}");
        assert!(
            rest.iter().all(|b| *b == Belief::Contradicted),
            "{beliefs:?}"
        );
        let after: Vec<Belief> = (0..10).map(|_| world.look(30.0, Some(30.0))).collect();
        assert_eq!(after.last(), Some(&Belief::Believed));
        let first = after.iter().position(|b| *b == Belief::Believed);
        assert!(first.is_some_and(|i| i <= 7), "{after:?}");
    }

    #[test]
    fn without_anybody_who_serves_there_is_nothing_to_compare() {
        let mut world = World::default();
        for _ in 0..5 {
            assert_eq!(world.look(1e6, None), Belief::Believed);
        }
    }
}
