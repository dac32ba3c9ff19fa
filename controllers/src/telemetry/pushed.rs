//! What endpoint pickers push: cumulative counters per stream, and samples of the engines they watch.
//!
//! A push carries the pusher's whole state, not a difference, so losing one loses nothing and repeating one changes
//! nothing. Its sequence number orders pushes of one incarnation of the pusher; an older one is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wva_optimizer::snapshot::StreamSample;

use super::engine::EngineReading;

/// Newest version of the format that is understood: the one that is written.
pub use wva_models::exchange::PUSH_VERSION as VERSION;

/// One push, the whole state of one pusher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// Version of the format.
    pub version: u32,
    /// Identity of the pusher: its pod's UID.
    pub pusher: String,
    /// Changes when the pusher restarts and its counters start at 0: its start time will do.
    pub incarnation: u64,
    /// Ascends with every push of one incarnation.
    pub sequence: u64,
    /// When it was made by the pusher's clock, seconds since the Unix epoch.
    pub at: f64,
    /// Offered traffic per (model, class), cumulative since the incarnation began.
    #[serde(default)]
    pub streams: Vec<StreamSample>,
    /// Engines that the pusher reads, by pod UID, with the time each was read.
    #[serde(default)]
    pub engines: BTreeMap<String, (f64, EngineReading)>,
    /// Time of the cycle whose fits it goes by; absent where it has read none.
    #[serde(default)]
    pub fits_at: Option<f64>,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accepted {
    /// Taken in.
    Taken,
    /// Already there: nothing changed.
    Repeated,
    /// Older than what is there: nothing changed.
    Outdated,
    /// Of a format not understood here, or without an identity.
    NotUnderstood,
    /// There are too many pushers already.
    Full,
}

/// The newest push of every pusher.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pushed {
    pushers: BTreeMap<String, (f64, Push)>,
}

/// Pushers remembered at most: a bound on what a stranger can make us hold.
const MOST_PUSHERS: usize = 256;
/// Pushers not heard of for this long are forgotten, seconds.
const FORGET_S: f64 = 900.0;

impl Pushed {
    /// Takes a push that arrived at `now`; idempotent.
    pub fn take(&mut self, push: Push, now: f64) -> Accepted {
        if push.version == 0 || push.version > VERSION || push.pusher.is_empty() {
            return Accepted::NotUnderstood;
        }
        match self.pushers.get(&push.pusher) {
            Some((_, held)) if held.incarnation > push.incarnation => return Accepted::Outdated,
            Some((_, held)) if held.incarnation == push.incarnation => {
                if held.sequence == push.sequence {
                    return Accepted::Repeated;
                }
                if held.sequence > push.sequence {
                    return Accepted::Outdated;
                }
            }
            Some(_) => {}
            None => {
                self.forget(now);
                if self.pushers.len() >= MOST_PUSHERS {
                    return Accepted::Full;
                }
            }
        }
        self.pushers.insert(push.pusher.clone(), (now, push));
        Accepted::Taken
    }

    /// Forgets pushers that have been silent for a quarter of an hour.
    pub fn forget(&mut self, now: f64) {
        self.pushers
            .retain(|_, (heard, _)| now - *heard <= FORGET_S);
    }

    /// The newest push of each pusher, with the time it arrived.
    pub fn newest(&self) -> impl Iterator<Item = (f64, &Push)> {
        self.pushers.values().map(|(heard, push)| (*heard, push))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(incarnation: u64, sequence: u64) -> Push {
        Push {
            version: VERSION,
            pusher: "epp-0".into(),
            incarnation,
            sequence,
            at: 0.0,
            streams: Vec::new(),
            engines: BTreeMap::new(),
            fits_at: None,
        }
    }

    #[test]
    fn takes_each_push_once_and_in_order() {
        let mut p = Pushed::default();
        assert_eq!(p.take(push(1, 5), 0.0), Accepted::Taken);
        let before = p.clone();
        assert_eq!(p.take(push(1, 5), 1.0), Accepted::Repeated);
        assert_eq!(p.take(push(1, 4), 1.0), Accepted::Outdated);
        assert_eq!(p.take(push(0, 9), 1.0), Accepted::Outdated);
        assert_eq!(p, before);
        assert_eq!(p.take(push(2, 1), 2.0), Accepted::Taken);
        assert_eq!(p.newest().next().unwrap().1.sequence, 1);
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let mut p = Pushed::default();
        for i in 0..1000 {
            let stranger = Push {
                pusher: format!("p{i}"),
                ..push(1, 1)
            };
            let got = p.take(stranger, 0.0);
            assert_eq!(got == Accepted::Taken, i < MOST_PUSHERS, "{i}");
        }
        assert_eq!(p.take(push(1, 1), FORGET_S + 1.0), Accepted::Taken);
        assert_eq!(p.newest().count(), 1);
        assert_eq!(
            p.take(
                Push {
                    version: 9,
                    ..push(1, 2)
                },
                0.0
            ),
            Accepted::NotUnderstood
        );
    }
}
