//! One monotone set of counters per (model, class), whoever counts and whoever comes or goes.
//!
//! ```text
//! origin A: 100 → 130 ┐
//! origin B: 900 → 910 ├─ growth 40 ─► side (e.g. engines) ─ chosen? ─► emitted counters (only ever grow)
//! origin C: gone      ┘
//! ```
//! Every side (pickers' pushes, pickers' pages, pickers in Prometheus, engines) is followed all the time. What each has counted
//! since the emitted counters last moved is kept, and when one of them is chosen its share is emitted: changing over,
//! also after a long silence, neither repeats nor loses more than the difference in their delay.
//!
//! When an origin is absent for a while, what it most likely counted is filled in at the mean rate of the others, and taken
//! off again when it comes back with its own figures.

use std::collections::{BTreeMap, BTreeSet};

use super::tally::Tally;

/// Arrivals per second of one origin that nothing real reaches.
const ABSURD_PER_S: f64 = 1e6;
/// Origins not heard of for this long are forgotten, seconds.
const FORGET_S: f64 = 900.0;

/// What an origin shows now.
#[derive(Debug, Clone)]
pub struct Showing {
    /// Its identity.
    pub origin: String,
    /// When it was read.
    pub at: f64,
    /// Its counters.
    pub tally: Tally,
    /// When it began to count, where it says so itself.
    pub started_at: Option<f64>,
    /// When it began to exist by the word of others.
    pub born: Option<f64>,
    /// How often its counters have leapt to where they go on from: what lies across a leap was not counted.
    pub leaps: u32,
}

/// What a side came to in one cycle.
#[derive(Debug, Clone, Default)]
pub struct Growth {
    /// What all origins counted since the last cycle.
    pub tally: Tally,
    /// Mean of the times at which they were read; `None` when none shows anything.
    pub at: Option<f64>,
    /// Origins that should show something and do not.
    pub absent: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Origin {
    tally: Option<Tally>,
    at: f64,
    started_at: Option<f64>,
    leaps: u32,
    /// Arrivals filled in while it was absent, and up to which time.
    filled: f64,
    filled_until: f64,
}

/// Counters of one side of one stream.
#[derive(Debug, Clone, Default)]
pub struct Side {
    origins: BTreeMap<String, Origin>,
    /// When this side was last looked at.
    looked: Option<f64>,
}

impl Side {
    /// Takes what the origins show at `now`; `expected` are those that should show something, and are filled in for while
    /// they do not.
    pub fn observe(&mut self, showing: &[Showing], expected: &[String], now: f64) -> Growth {
        let mut growth = Growth::default();
        let (mut times, mut counted, mut seconds) = (0.0, 0.0, 0.0);
        for shown in showing {
            let (grown, elapsed) = self.grow(shown);
            counted += grown.arrivals;
            seconds += elapsed;
            growth.tally.add(&grown);
            growth.tally.arrivals -= self.settle(&shown.origin, grown.arrivals, elapsed);
            times += shown.at;
        }
        let shown: BTreeSet<&str> = showing.iter().map(|s| s.origin.as_str()).collect();
        let absent = expected.iter().filter(|e| !shown.contains(e.as_str()));
        growth.absent = absent.cloned().collect();
        if !showing.is_empty() {
            // Where rates are alike, the sum of counts of different times is the count at their mean.
            let mean = times / showing.len() as f64;
            growth.at = Some(mean);
            let rate = if seconds > 0.0 {
                counted / seconds
            } else {
                0.0
            };
            for origin in &growth.absent {
                growth.tally.arrivals += self.fill(origin, rate, mean);
            }
        }
        self.origins.retain(|_, o| now - o.at <= FORGET_S);
        self.looked = Some(now);
        growth
    }

    /// What an origin has counted, and over how many seconds.
    fn grow(&mut self, shown: &Showing) -> (Tally, f64) {
        let looked = self.looked;
        let origin = self.origins.entry(shown.origin.clone()).or_default();
        let elapsed = shown.at - origin.at;
        let leapt = origin.leaps != shown.leaps;
        let grown = match &origin.tally {
            Some(_) if elapsed <= 0.0 => return (Tally::default(), 0.0),
            Some(before) => {
                let began = matches!((origin.started_at, shown.started_at), (Some(a), Some(b)) if b > a + 1.0);
                let grown = shown.tally.growth(before, began);
                let mut tally = shown.tally.clone();
                // What is running moves in and out of these counts at different moments: only a new high is an arrival.
                if !began && tally.arrivals >= before.arrivals / 2.0 {
                    tally.arrivals = tally.arrivals.max(before.arrivals);
                }
                origin.tally = Some(tally);
                grown
            }
            None => {
                origin.tally = Some(shown.tally.clone());
                // All that a newcomer shows has come since we last looked, if it began after that. Otherwise it is old.
                let began = shown.started_at.or(shown.born);
                let new = looked
                    .zip(began)
                    .is_some_and(|(l, b)| (l..=shown.at).contains(&b));
                if new {
                    shown.tally.clone()
                } else {
                    Tally::default()
                }
            }
        };
        if leapt {
            origin.tally = Some(shown.tally.clone());
            origin.leaps = shown.leaps;
        }
        origin.at = shown.at;
        origin.started_at = shown.started_at.or(origin.started_at);
        if leapt || grown.arrivals > ABSURD_PER_S * elapsed.clamp(1.0, FORGET_S) {
            return (Tally::default(), 0.0);
        }
        // A newcomer's history is no measure for others.
        (grown, if elapsed <= FORGET_S { elapsed } else { 0.0 })
    }

    /// Part of the `arrivals` that an origin brings which was filled in before.
    fn settle(&mut self, origin: &str, arrivals: f64, elapsed: f64) -> f64 {
        match self.origins.get_mut(origin) {
            Some(o) if elapsed > 0.0 => {
                o.filled_until = o.at;
                std::mem::take(&mut o.filled).min(arrivals)
            }
            _ => 0.0,
        }
    }

    /// Arrivals that an absent origin most likely had up to `until`, at `rate` per second.
    fn fill(&mut self, origin: &str, rate: f64, until: f64) -> f64 {
        let fresh = || Origin {
            at: until,
            filled_until: until,
            ..Origin::default()
        };
        let o = self.origins.entry(origin.to_owned()).or_insert_with(fresh);
        let seconds = (until - o.filled_until.max(o.at)).clamp(0.0, FORGET_S);
        if rate <= 0.0 {
            return 0.0;
        }
        o.filled_until = o.filled_until.max(until);
        o.filled += rate * seconds;
        rate * seconds
    }
}

/// The emitted counters of one stream, which has `N` sides.
#[derive(Debug, Clone)]
pub struct Emitted<const N: usize> {
    /// Counters so far; they only grow.
    pub total: Tally,
    /// The time that they speak of; it only grows.
    pub at: Option<f64>,
    /// What each side has counted since then.
    pending: [Tally; N],
}

impl<const N: usize> Default for Emitted<N> {
    fn default() -> Self {
        Self {
            total: Tally::default(),
            at: None,
            pending: std::array::from_fn(|_| Tally::default()),
        }
    }
}

impl<const N: usize> Emitted<N> {
    /// Forgets what a side has counted that is not emitted yet.
    pub fn forget(&mut self, side: usize) {
        self.pending[side] = Tally::default();
    }

    /// Takes what each side has counted; `chosen` is the side to believe and the time that its counts speak of. Where that
    /// is no later than what was emitted, or no side is chosen, all of it waits.
    pub fn take(&mut self, grown: &[Tally; N], chosen: Option<(usize, f64)>) {
        self.pending
            .iter_mut()
            .zip(grown)
            .for_each(|(p, g)| p.add(g));
        let Some((side, at)) = chosen else {
            return;
        };
        if self.at.is_none_or(|last| at > last) {
            self.total.add(&self.pending[side]);
            self.pending = std::array::from_fn(|_| Tally::default());
            self.at = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(origin: &str, at: f64, arrivals: f64) -> Showing {
        Showing {
            origin: origin.into(),
            at,
            tally: Tally {
                arrivals,
                ..Tally::default()
            },
            started_at: None,
            born: None,
            leaps: 0,
        }
    }

    fn arrivals(side: &mut Side, now: f64, showing: &[Showing], expected: &[&str]) -> f64 {
        let expected: Vec<String> = expected.iter().map(|&e| e.to_owned()).collect();
        side.observe(showing, &expected, now).tally.arrivals
    }

    #[test]
    fn a_pod_that_vanishes_takes_nothing_back_and_one_that_comes_brings_only_its_own() {
        let mut s = Side::default();
        assert_eq!(
            arrivals(
                &mut s,
                0.0,
                &[shows("a", 0.0, 1e6), shows("b", 0.0, 500.0)],
                &["a", "b"]
            ),
            0.0
        );
        assert_eq!(
            arrivals(&mut s, 10.0, &[shows("a", 10.0, 1e6 + 7.0)], &["a"]),
            7.0
        );
        // An old pod that was relabelled into the fleet brings no history.
        assert_eq!(
            arrivals(
                &mut s,
                20.0,
                &[shows("a", 20.0, 1e6 + 8.0), shows("old", 20.0, 9e5)],
                &["a", "old"]
            ),
            1.0
        );
        let fresh = Showing {
            started_at: Some(25.0),
            ..shows("new", 30.0, 12.0)
        };
        assert_eq!(
            arrivals(
                &mut s,
                30.0,
                &[shows("a", 30.0, 1e6 + 8.0), fresh],
                &["a", "new"]
            ),
            12.0
        );
    }

    #[test]
    fn a_leap_is_no_arrival() {
        let mut s = Side::default();
        let leapt = |at, arrivals| Showing {
            leaps: 1,
            ..shows("a", at, arrivals)
        };
        arrivals(&mut s, 0.0, &[shows("a", 0.0, 100.0)], &["a"]);
        assert_eq!(arrivals(&mut s, 9.0, &[leapt(9.0, 1e5)], &["a"]), 0.0);
        let goes_on = [leapt(12.0, 1e5 + 5.0)];
        assert_eq!(arrivals(&mut s, 12.0, &goes_on, &["a"]), 5.0);
    }

    #[test]
    fn restarts_count_from_zero_by_fall_or_by_start_time() {
        let mut s = Side::default();
        arrivals(&mut s, 0.0, &[shows("a", 0.0, 1000.0)], &["a"]);
        assert_eq!(
            arrivals(&mut s, 10.0, &[shows("a", 10.0, 20.0)], &["a"]),
            20.0
        );
        let started = |t: f64, at: f64, n: f64| Showing {
            started_at: Some(t),
            ..shows("a", at, n)
        };
        arrivals(&mut s, 20.0, &[started(1.0, 20.0, 25.0)], &["a"]);
        assert_eq!(
            arrivals(&mut s, 30.0, &[started(25.0, 30.0, 24.0)], &["a"]),
            24.0
        );
    }

    #[test]
    fn flicker_between_running_and_finished_is_no_arrival() {
        let mut s = Side::default();
        let mut total = 0.0;
        for (i, n) in [100.0, 110.0, 100.0, 110.0, 100.0, 111.0]
            .into_iter()
            .enumerate()
        {
            let t = i as f64 * 10.0;
            total += arrivals(&mut s, t, &[shows("a", t, n)], &["a"]);
        }
        assert_eq!(total, 11.0);
    }

    #[test]
    fn an_absent_pod_is_filled_in_and_settled_when_it_comes_back() {
        let mut s = Side::default();
        let both = ["a", "b"];
        arrivals(
            &mut s,
            0.0,
            &[shows("a", 0.0, 0.0), shows("b", 0.0, 0.0)],
            &both,
        );
        assert_eq!(
            arrivals(&mut s, 10.0, &[shows("a", 10.0, 50.0)], &both),
            100.0
        );
        assert_eq!(
            arrivals(&mut s, 20.0, &[shows("a", 20.0, 100.0)], &both),
            100.0
        );
        // b had 130 in truth, of which 100 were filled in.
        let back = arrivals(
            &mut s,
            30.0,
            &[shows("a", 30.0, 150.0), shows("b", 30.0, 130.0)],
            &both,
        );
        assert_eq!(back, 50.0 + 30.0);
    }

    #[test]
    fn absurd_leaps_count_nothing() {
        let mut s = Side::default();
        arrivals(&mut s, 0.0, &[shows("a", 0.0, 10.0)], &["a"]);
        assert_eq!(
            arrivals(&mut s, 10.0, &[shows("a", 10.0, 1e12)], &["a"]),
            0.0
        );
        assert_eq!(
            arrivals(&mut s, 20.0, &[shows("a", 20.0, 1e12 + 5.0)], &["a"]),
            5.0
        );
    }

    #[test]
    fn emitted_counters_wait_for_a_later_time_and_change_sides_without_a_gap() {
        let n = |arrivals| Tally {
            arrivals,
            ..Tally::default()
        };
        let mut e = Emitted::<2>::default();
        e.take(&[n(5.0), n(4.0)], Some((0, 10.0)));
        e.take(&[n(3.0), n(2.0)], Some((0, 8.0)));
        assert_eq!((e.total.arrivals, e.at), (5.0, Some(10.0)));
        e.take(&[n(0.0), n(1.0)], None);
        // The first side has fallen silent: the second has all that came since.
        e.take(&[n(0.0), n(6.0)], Some((1, 40.0)));
        assert_eq!((e.total.arrivals, e.at), (14.0, Some(40.0)));
        e.take(&[n(9.0), n(9.0)], Some((0, 50.0)));
        assert_eq!(e.total.arrivals, 23.0);
    }
}
