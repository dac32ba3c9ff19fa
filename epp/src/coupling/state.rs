//! How long to go by what the controller said last, and how it stands with it.
//!
//! ```text
//!  none ─► fresh ─► kept (not heard) ─ 60 s ─► unmarked ─ keep ─► fallback
//! ```
//! Pure: time comes as an argument, what is to be done goes out as events, each once.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::link::Trouble;

/// Time after which nobody counts as leaving any more, seconds: who was marked and stays would idle.
pub const MARKS_S: f64 = 60.0;

/// How it stands with the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// There is none, or it has said nothing yet: the servers' own metrics decide.
    #[default]
    None,
    /// It is heard.
    Fresh,
    /// It is not heard: its last word counts.
    Kept,
    /// It was not heard for so long that nobody counts as leaving any more.
    Unmarked,
    /// It was not heard for so long that the servers' own metrics decide again.
    Fallback,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Fresh,
        Self::Kept,
        Self::Unmarked,
        Self::Fallback,
    ];

    /// Its stable name, in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fresh => "fresh",
            Self::Kept => "kept",
            Self::Unmarked => "unmarked",
            Self::Fallback => "fallback",
        }
    }
}

/// What is to be done, or told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is heard, for the first time or again.
    Reached,
    /// It is not heard any more, and why.
    Lost(String),
    /// Nobody is to count as leaving.
    ForgetLeaving,
    /// Laws are to be forgotten.
    ForgetLaws,
}

/// What was heard, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    phase: Phase,
    heard: f64,
    keep: f64,
    /// Whether it was told of as reached, or as not; `None` before the first attempt.
    told: Option<bool>,
    /// The controller's time of what was learned last, and ours.
    learned: Option<(f64, f64)>,
}

impl State {
    /// Nothing heard by `now`; laws are kept for `keep` seconds.
    #[must_use]
    pub const fn new(now: f64, keep: f64) -> Self {
        Self {
            phase: Phase::None,
            heard: now,
            keep,
            told: None,
            learned: None,
        }
    }

    /// How it stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The controller's time of what counts; `None` where nothing of it counts in full.
    #[must_use]
    pub fn fits_at(&self) -> Option<f64> {
        let counts = matches!(self.phase, Phase::Fresh | Phase::Kept);
        self.learned.filter(|_| counts).map(|(at, _)| at)
    }

    /// When something was learned last.
    #[must_use]
    pub fn learned_at(&self) -> Option<f64> {
        self.learned.map(|(_, now)| now)
    }

    /// It answered, but has nothing to say yet. What it said before is judged as if it had not.
    pub fn heard(&mut self, now: f64) -> Vec<Event> {
        let mut events = self.reached();
        events.extend(self.age(now));
        events
    }

    /// It said what it believes as of `at`.
    pub fn learned(&mut self, at: f64, now: f64) -> Vec<Event> {
        let events = self.reached();
        self.phase = Phase::Fresh;
        self.heard = now;
        self.learned = Some((at, now));
        events
    }

    /// It did not answer.
    pub fn failed(&mut self, why: String, now: f64) -> Vec<Event> {
        let mut events = Vec::new();
        if self.told.replace(false) != Some(false) {
            events.push(Event::Lost(why));
        }
        events.extend(self.age(now));
        events
    }

    fn reached(&mut self) -> Vec<Event> {
        match self.told.replace(true) {
            Some(true) => Vec::new(),
            _ => vec![Event::Reached],
        }
    }

    fn age(&mut self, now: f64) -> Vec<Event> {
        let (silent, mut events) = (now - self.heard, Vec::new());
        if self.phase == Phase::Fresh {
            self.phase = Phase::Kept;
        }
        if self.phase == Phase::Kept && silent > MARKS_S.min(self.keep) {
            self.phase = Phase::Unmarked;
            events.push(Event::ForgetLeaving);
        }
        if self.phase == Phase::Unmarked && silent > self.keep {
            self.phase = Phase::Fallback;
            events.push(Event::ForgetLaws);
        }
        events
    }
}

/// The same for metrics: written by the coupling, read by whoever asks.
#[derive(Debug, Default)]
pub struct Status {
    phase: Mutex<(Phase, Option<f64>)>,
    pushes: AtomicU64,
    failures: AtomicU64,
}

impl Status {
    pub(super) fn is(&self, phase: Phase, learned_at: Option<f64>) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = (phase, learned_at);
    }

    pub(super) fn pushed(&self, trouble: Option<&Trouble>) {
        let counter = match trouble {
            None => &self.pushes,
            Some(_) => &self.failures,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// How it stands, and when something was learned last.
    #[must_use]
    pub fn phase(&self) -> (Phase, Option<f64>) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rounds that went well, and that did not.
    #[must_use]
    pub fn rounds(&self) -> (u64, u64) {
        (self.pushes.load(Relaxed), self.failures.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_given_up_in_steps_and_told_once() {
        let mut state = State::new(0.0, 600.0);
        assert_eq!(state.learned(90.0, 1.0), [Event::Reached]);
        assert_eq!((state.phase(), state.fits_at()), (Phase::Fresh, Some(90.0)));
        assert_eq!(state.learned(92.0, 3.0), []);
        let why = || "refused".to_owned();
        assert_eq!(state.failed(why(), 5.0), [Event::Lost(why())]);
        assert_eq!(state.failed(why(), 50.0), []);
        assert_eq!((state.phase(), state.fits_at()), (Phase::Kept, Some(92.0)));
        assert_eq!(state.failed(why(), 64.0), [Event::ForgetLeaving]);
        assert_eq!((state.phase(), state.fits_at()), (Phase::Unmarked, None));
        assert_eq!(state.failed(why(), 600.0), []);
        assert_eq!(state.failed(why(), 604.0), [Event::ForgetLaws]);
        assert_eq!(state.failed(why(), 9999.0), []);
        assert_eq!(state.phase(), Phase::Fallback);
        assert_eq!(state.learned(1.0, 10_000.0), [Event::Reached]);
        assert_eq!(state.phase(), Phase::Fresh);
    }

    #[test]
    fn one_that_answers_and_says_nothing_is_reached_but_not_believed() {
        let mut state = State::new(0.0, 100.0);
        assert_eq!(state.heard(1.0), [Event::Reached]);
        assert_eq!((state.phase(), state.fits_at()), (Phase::None, None));
        state.learned(5.0, 2.0);
        assert_eq!(state.heard(63.0), [Event::ForgetLeaving]);
        assert_eq!(state.heard(103.0), [Event::ForgetLaws]);
    }

    #[test]
    fn laws_that_are_kept_shortly_take_the_marks_with_them() {
        let mut state = State::new(0.0, 10.0);
        state.learned(5.0, 0.0);
        let all = [
            Event::Lost("x".into()),
            Event::ForgetLeaving,
            Event::ForgetLaws,
        ];
        assert_eq!(state.failed("x".into(), 11.0), all);
    }
}
