//! What all requests read and few write: endpoints, requests in flight, prefixes, objectives.
//!
//! ```text
//!  discovery ── update ──► Directory ── publish ──► Pool ──► requests (no lock)
//!  scrapes ──── observe ──►  (lock)     (at most each 20 ms)
//!  requests ─── state ───► in flight, prefixes (a lock for microseconds)
//! ```
//! A scrape writes a few numbers into the directory and marks it; the copy that requests see is made at most every
//! [`PUBLISH_EVERY`], however many scrapes there were. With 10,000 endpoints scraped each second that is one copy of
//! 600 kB for 200 scrapes, not 200 copies. A new or lost endpoint is seen at once.
//!
//! No clock here: times are arguments, in seconds of the process's [`crate::clock::Clock`].

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;
use wva_epp_core::State;
use wva_epp_core::endpoint::Metrics;
use wva_epp_core::picker::Picker;
use wva_epp_core::pool::{Directory, Pool};

use crate::coupling::belief::Beliefs;
use crate::coupling::state::Status;
use crate::objectives::Objectives;

/// How often scraped numbers become visible to requests.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// The directory, and whether it holds numbers that requests do not see yet.
#[derive(Debug, Default)]
struct Writer {
    directory: Directory,
    unseen: bool,
}

/// What all parts of the picker share. One for a pool; hold it in an [`Arc`].
#[derive(Debug)]
pub struct Store {
    picker: Picker,
    pool: ArcSwap<Pool>,
    objectives: ArcSwap<Objectives>,
    writer: Mutex<Writer>,
    state: Mutex<State>,
    members: watch::Sender<u64>,
    controller: Status,
    synced: AtomicBool,
    leading: AtomicBool,
    draining: AtomicBool,
}

impl Store {
    /// An empty pool for this picker: not synced, leading, not draining. `seed` decides between equals.
    #[must_use]
    pub fn new(picker: Picker, seed: u64) -> Self {
        Self {
            state: Mutex::new(picker.state(seed)),
            picker,
            pool: ArcSwap::default(),
            objectives: ArcSwap::default(),
            writer: Mutex::default(),
            members: watch::Sender::new(0),
            controller: Status::default(),
            synced: AtomicBool::new(false),
            leading: AtomicBool::new(true),
            draining: AtomicBool::new(false),
        }
    }

    /// The choice.
    #[must_use]
    pub const fn picker(&self) -> &Picker {
        &self.picker
    }

    /// The endpoints of now, to read without a lock for as short as one request is decided.
    #[must_use]
    pub fn pool(&self) -> Guard<Arc<Pool>> {
        self.pool.load()
    }

    /// Requests in flight and prefixes: to be held for one choice.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere left counts at most off by one request.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes endpoints or models; requests see it when this returns, and those who watch [`Store::members`] are told.
    /// Many changes in one call cost one copy.
    pub fn update<R>(&self, change: impl FnOnce(&mut Directory) -> R) -> R {
        let mut writer = self.writer();
        let result = change(&mut writer.directory);
        self.show(&mut writer);
        drop(writer);
        self.members.send_modify(|version| *version += 1);
        result
    }

    /// Takes over what the controller believes, which replaces what it believed before; whether others leave now.
    pub fn believe(&self, beliefs: Beliefs) -> bool {
        let mut writer = self.writer();
        let known = writer.directory.models();
        let numbers = (0..).zip(known).map(|(n, m)| (n, *m));
        let now = |number: u32| beliefs.models.get(&number).copied();
        let gone = numbers.filter(|(n, m)| m.is_some() && now(*n).is_none());
        let mut changes: Vec<_> = gone.map(|(number, _)| (number, None)).collect();
        let known = |number: u32| known.get(number as usize).copied().flatten();
        let models = beliefs.models.iter().map(|(n, m)| (*n, Some(*m)));
        changes.extend(models.filter(|(number, model)| known(*number) != *model));
        let others = writer.directory.set_leaving(beliefs.leaving);
        let paths = writer.directory.set_paths(beliefs.paths);
        if others || paths || !changes.is_empty() {
            for (number, model) in changes {
                writer.directory.set_model(number, model);
            }
            self.show(&mut writer);
            drop(writer);
            self.members.send_modify(|version| *version += 1);
        }
        others
    }

    /// Nobody leaves any more, as far as is known.
    pub fn forget_leaving(&self) {
        self.update(|directory| directory.set_leaving(HashSet::new()));
    }

    /// Forgets the models of all variants, and shares of paths.
    pub fn forget_models(&self) {
        self.update(|directory| {
            directory.set_paths(Vec::new());
            let numbers = 0..directory.models().len();
            numbers.for_each(|number| directory.set_model(number as u32, None));
        });
    }

    /// How it stands with the controller.
    #[must_use]
    pub const fn controller(&self) -> &Status {
        &self.controller
    }

    /// Notes a scrape; whether the address is known. Requests see it after the next [`Store::publish`]. Where the
    /// metrics do not say what had been sent by then, they are taken to include everything sent so far.
    pub fn observe(&self, address: &SocketAddr, metrics: &Metrics) -> bool {
        let mut writer = self.writer();
        let Some(slot) = writer.directory.slot(address) else {
            return false;
        };
        let known = if metrics.sent.is_some() {
            writer.directory.observe(address, metrics)
        } else {
            let sent = Some(self.state().inflight.sent(slot));
            let metrics = Metrics {
                sent,
                ..metrics.clone()
            };
            writer.directory.observe(address, &metrics)
        };
        writer.unseen |= known;
        known
    }

    /// Lets requests see the scrapes so far; whether there was anything new. To be called every [`PUBLISH_EVERY`].
    pub fn publish(&self) -> bool {
        let mut writer = self.writer();
        let new = writer.unseen;
        if new {
            self.show(&mut writer);
        }
        new
    }

    fn show(&self, writer: &mut Writer) {
        writer.unseen = false;
        self.pool.store(Arc::new(writer.directory.pool()));
    }

    /// A number that changes whenever endpoints come, go or change. Who scrapes waits for it, and then reads
    /// [`Store::pool`].
    #[must_use]
    pub fn members(&self) -> watch::Receiver<u64> {
        self.members.subscribe()
    }

    /// Priorities and rewrites of now.
    #[must_use]
    pub fn objectives(&self) -> Guard<Arc<Objectives>> {
        self.objectives.load()
    }

    /// Replaces priorities and rewrites.
    pub fn set_objectives(&self, objectives: Objectives) {
        self.objectives.store(Arc::new(objectives));
    }

    /// Says that the first complete list of endpoints has been read, empty or not.
    pub fn set_synced(&self) {
        self.synced.store(true, Relaxed);
    }

    /// Whether a complete list of endpoints has been read: before that, nobody can tell where a request may go.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced.load(Relaxed)
    }

    /// Says whether this replica may answer: false for one that stands by.
    pub fn set_leading(&self, leading: bool) {
        self.leading.store(leading, Relaxed);
    }

    /// Says that the process is about to end: it finishes what it has and wants no more.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether requests should be sent here: synced, leading, not draining.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_synced() && self.leading.load(Relaxed) && !self.draining.load(Relaxed)
    }
}

/// Publishes scrapes every [`PUBLISH_EVERY`], for as long as it is polled.
pub async fn publish(store: Arc<Store>) {
    let mut ticks = tokio::time::interval(PUBLISH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        store.publish();
    }
}

#[cfg(test)]
mod tests {
    use wva_epp_core::config::Config;
    use wva_epp_core::endpoint::Endpoint;
    use wva_epp_core::request::Request;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 8000))
    }

    fn store() -> Store {
        let store = Store::new(Config::standard().picker, 1);
        store.update(|d| {
            d.apply(Endpoint::new(address(1), "ns", "a"));
            d.apply(Endpoint::new(address(2), "ns", "b"))
        });
        store
    }

    #[test]
    fn members_are_seen_at_once_and_scrapes_when_published() {
        let store = store();
        let mut members = store.members();
        members.mark_unchanged();
        let at_last = |store: &Store| {
            let pool = store.pool();
            pool.slot(&address(1)).and_then(|slot| pool.age(slot, 5.0))
        };
        assert_eq!((store.pool().len(), at_last(&store)), (2, None));
        let metrics = Metrics {
            at: 3.0,
            ..Metrics::default()
        };
        assert!(store.observe(&address(1), &metrics) && !store.observe(&address(9), &metrics));
        assert_eq!(at_last(&store), None);
        assert!(store.publish() && !store.publish());
        assert_eq!(at_last(&store), Some(2.0));
        assert!(!members.has_changed().unwrap());
        store.update(|d| d.remove(&address(1)));
        assert!(members.has_changed().unwrap());
        assert_eq!(store.pool().len(), 1);
    }

    #[test]
    fn a_scrape_is_corrected_by_what_is_sent_after_it() {
        let store = store();
        let busy = |waiting: f64| Metrics {
            waiting,
            ..Metrics::default()
        };
        let pick = || {
            let (pool, mut state) = (store.pool(), store.state());
            let choice = store
                .picker()
                .pick(&pool, &Request::default(), &mut state, 0.0);
            let slot = choice.unwrap().primary;
            pool.endpoint(slot).unwrap().pod.clone()
        };
        store.observe(&address(1), &busy(0.0));
        store.observe(&address(2), &busy(1.5));
        store.publish();
        // The third would make the first one's queue the longer.
        assert_eq!([pick(), pick(), pick()], ["a", "a", "b"]);
    }

    #[test]
    fn ready_is_synced_leading_and_not_draining() {
        let store = store();
        assert!(!store.is_ready());
        store.set_synced();
        assert!(store.is_ready());
        store.set_leading(false);
        assert!(!store.is_ready());
        store.set_leading(true);
        store.drain();
        assert!(!store.is_ready());
    }
}
