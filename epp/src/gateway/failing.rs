//! Servers that lately could not be reached, or said that they do not serve.
//!
//! A server that is down has the shortest queue of all, so that every request would be sent to it first. One that fails
//! is left out for a second, and for twice as long each time it fails again after that, until it answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wva_epp_core::endpoint::Slot;
use wva_epp_core::pool::Pool;

/// Seconds for which a server is left out at first, and at most.
const FIRST_S: f64 = 1.0;
const MOST_S: f64 = 30.0;

/// Servers that failed. Times are in seconds of the process's clock.
#[derive(Debug, Default)]
pub(super) struct Failing {
    known: Mutex<HashMap<SocketAddr, Failure>>,
    number: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    until: f64,
    pause: f64,
}

impl Failing {
    fn known(&self) -> MutexGuard<'_, HashMap<SocketAddr, Failure>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a server failed; true where it is left out from now on.
    pub(super) fn failed(&self, server: SocketAddr, now: f64) -> bool {
        let mut known = self.known();
        let before = known.get(&server).copied();
        if before.is_some_and(|b| now < b.until) {
            // One of many that were on their way already.
            return false;
        }
        let pause = before.map_or(FIRST_S, |b| (2.0 * b.pause).min(MOST_S));
        let until = now + pause;
        known.insert(server, Failure { until, pause });
        self.number.store(known.len(), Relaxed);
        true
    }

    /// Notes that a server answered.
    pub(super) fn answered(&self, server: &SocketAddr) {
        if self.number.load(Relaxed) > 0 {
            let mut known = self.known();
            known.remove(server);
            self.number.store(known.len(), Relaxed);
        }
    }

    /// The places of those to leave out. Servers that are no longer in the pool are forgotten.
    pub(super) fn places(&self, pool: &Pool, now: f64) -> Vec<Slot> {
        if self.number.load(Relaxed) == 0 {
            return Vec::new();
        }
        let mut known = self.known();
        known.retain(|server, _| pool.slot(server).is_some());
        self.number.store(known.len(), Relaxed);
        let out = known.iter().filter(|(_, failure)| now < failure.until);
        out.filter_map(|(server, _)| pool.slot(server)).collect()
    }
}

#[cfg(test)]
mod tests {
    use wva_epp_core::endpoint::Endpoint;
    use wva_epp_core::pool::Directory;

    use super::*;

    fn server(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 8000))
    }

    #[test]
    fn a_server_is_left_out_longer_each_time_and_back_when_it_answers() {
        let mut directory = Directory::default();
        directory.apply(Endpoint::new(server(1), "", "a"));
        directory.apply(Endpoint::new(server(2), "", "b"));
        let (pool, failing) = (directory.pool(), Failing::default());
        let slot = pool.slot(&server(1)).unwrap();
        let out = |now| failing.places(&pool, now);
        assert_eq!(out(0.0), []);
        assert!(failing.failed(server(1), 10.0) && !failing.failed(server(1), 10.9));
        assert_eq!((out(10.9), out(11.0)), (vec![slot], vec![]));
        assert!(failing.failed(server(1), 11.0));
        assert_eq!((out(12.9), out(13.0)), (vec![slot], vec![]));
        for i in 0..20 {
            failing.failed(server(1), 100.0 * f64::from(i + 1));
        }
        assert_eq!((out(2029.0), out(2030.0)), (vec![slot], vec![]));
        failing.answered(&server(1));
        assert!(failing.failed(server(1), 3000.0));
        assert_eq!((out(3000.5), out(3001.0)), (vec![slot], vec![]));
    }

    #[test]
    fn servers_that_are_gone_are_forgotten() {
        let failing = Failing::default();
        failing.failed(server(1), 0.0);
        assert_eq!(failing.places(&Pool::default(), 0.5), []);
        assert!(failing.known().is_empty());
    }
}
