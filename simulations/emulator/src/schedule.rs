//! When which server has something to do, and the one task that sees to it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;
use wva_simulations::time::Time;

use crate::server::Server;

/// The clock on the wall, as the engines' time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// The same, in seconds since 1970.
    start_unix_s: f64,
}

impl Clock {
    /// A clock that shows 0 now.
    pub fn start() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            start: Instant::now(),
            start_unix_s: since.map_or(0.0, |d| d.as_secs_f64()),
        }
    }

    /// A time in seconds since 1970.
    pub fn unix_seconds(&self, time: Time) -> f64 {
        self.start_unix_s + time.seconds()
    }

    /// The time now.
    pub fn now(&self) -> Time {
        let nanoseconds = self.start.elapsed().as_nanos();
        Time(u64::try_from(nanoseconds).unwrap_or(u64::MAX - 1))
    }

    fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_nanos(time.0)
    }
}

/// A server's next event. A server that finds an earlier one is queued again; the later entry then means nothing.
#[derive(Debug)]
struct Entry {
    at: Time,
    server: Arc<Server>,
}

/// Events of all servers of a process.
#[derive(Debug)]
pub struct Schedule {
    /// Its clock.
    pub clock: Clock,
    queue: Mutex<BinaryHeap<Reverse<Entry>>>,
    sooner: Notify,
}

impl Schedule {
    /// Without events.
    pub fn new() -> Self {
        Self {
            clock: Clock::start(),
            queue: Mutex::default(),
            sooner: Notify::new(),
        }
    }

    /// Has `server` woken at `at`.
    pub fn add(&self, at: Time, server: Arc<Server>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let first = queue.peek().is_none_or(|e| at < e.0.at);
        queue.push(Reverse(Entry { at, server }));
        drop(queue);
        if first {
            self.sooner.notify_one();
        }
    }

    /// Forgets all events.
    pub fn clear(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.clear();
    }

    /// Wakes servers at their events, for ever.
    pub async fn drive(&self) {
        let mut due = Vec::new();
        loop {
            let next = self.take_due(&mut due);
            for Entry { at, server } in due.drain(..) {
                server.wake(at);
            }
            match next {
                Some(at) if at <= self.clock.now() => tokio::task::yield_now().await,
                Some(at) => {
                    let sleep = tokio::time::sleep_until(self.clock.instant(at));
                    tokio::select! {
                        () = sleep => {}
                        () = self.sooner.notified() => {}
                    }
                }
                None => self.sooner.notified().await,
            }
        }
    }

    /// Moves what is due into `due`; the time of the next event after that.
    fn take_due(&self, due: &mut Vec<Entry>) -> Option<Time> {
        let now = self.clock.now();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.peek().is_some_and(|e| e.0.at <= now) {
            due.extend(queue.pop().map(|e| e.0));
        }
        queue.peek().map(|e| e.0.at)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}
