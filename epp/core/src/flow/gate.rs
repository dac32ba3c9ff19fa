//! The gate: how many requests may be in flight, held to by those that are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

#[derive(Debug)]
struct Counts {
    inside: AtomicU32,
    limit: AtomicU32,
}

/// A number of places, shared by all clones. Entering takes one atomic step, so however many enter at once, never more
/// are inside than there are places.
#[derive(Debug, Clone)]
pub struct Gate {
    counts: Arc<Counts>,
}

/// A place. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "dropping it at once gives the place back"]
pub struct Permit {
    counts: Arc<Counts>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counts.inside.fetch_sub(1, AcqRel);
    }
}

impl Gate {
    /// A gate with so many places: the sum over the pool's endpoints of the requests at which each just meets its SLO.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        let counts = Counts {
            inside: AtomicU32::new(0),
            limit: AtomicU32::new(limit),
        };
        Self {
            counts: Arc::new(counts),
        }
    }

    /// Changes the number of places. With fewer than are taken, nobody enters until enough have left.
    pub fn set_limit(&self, limit: u32) {
        self.counts.limit.store(limit, Relaxed);
    }

    /// Places taken.
    #[must_use]
    pub fn inside(&self) -> u32 {
        self.counts.inside.load(Acquire)
    }

    /// Taken over all: 1 is full. 1 with no places.
    #[must_use]
    pub fn saturation(&self) -> f64 {
        let limit = self.counts.limit.load(Relaxed);
        if limit == 0 {
            1.0
        } else {
            f64::from(self.inside()) / f64::from(limit)
        }
    }

    /// Takes a place, if `share` (0 to 1) of all places are not taken: less than 1 keeps some for the more important.
    #[must_use]
    pub fn enter(&self, share: f64) -> Option<Permit> {
        let most = (f64::from(self.counts.limit.load(Relaxed)) * share.clamp(0.0, 1.0)) as u32;
        let one_more = |inside: u32| (inside < most).then(|| inside + 1);
        self.counts
            .inside
            .fetch_update(AcqRel, Acquire, one_more)
            .ok()?;
        Some(Permit {
            counts: Arc::clone(&self.counts),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let gate = Gate::new(2);
        let (a, b) = (gate.enter(1.0), gate.enter(1.0));
        assert!(a.is_some() && b.is_some() && gate.enter(1.0).is_none());
        assert_eq!(gate.saturation(), 1.0);
        drop(a);
        assert!(gate.enter(0.5).is_none(), "one of two is taken");
        assert!(gate.enter(1.0).is_some());
        gate.set_limit(0);
        assert!(gate.enter(1.0).is_none());
        drop(b);
        assert_eq!((gate.inside(), gate.saturation()), (0, 1.0));
    }

    #[test]
    fn never_more_inside_than_places_however_many_enter_at_once() {
        let gate = Gate::new(5);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..20_000 {
                        let permit = gate.enter(1.0);
                        assert!(gate.inside() <= 5);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(gate.inside(), 0);
    }
}
