//! Flow control: who waits, for how long and in what order, when everything is full.
//!
//! ```text
//!  offer ─► band of its priority ─► queue of its flow ─┐
//!                                                      ├─ next (most important band; its flows in turn) ─► pick
//!  Gate: in flight < what the SLO allows ──────────────┘
//! ```
//! Waiting here instead of in an engine's queue keeps the choice open: when a place comes free, the most important
//! request takes it, on whichever endpoint that is. All of it is data and `now`; the server wakes the waiting, the
//! simulator steps through it.

mod band;
mod drain;
mod gate;
mod settings;
mod start_up;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::picker::{Refusal, RefusalKind};
use band::Band;
pub use drain::Drain;
pub use gate::{Gate, Permit};
pub use settings::{BandSettings, Fairness, FlowSettings, Ordering};
pub use start_up::StartUp;

/// A request that asks to be let through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// The caller's name for it, unique among those waiting.
    pub id: u64,
    /// Importance: the greatest goes first.
    pub priority: i32,
    /// Whose it is: flows of one priority share alike. A hash of the fairness id.
    pub flow: u64,
    /// Size of its body, bytes.
    pub bytes: u64,
    /// When its first token is due at the latest; `None` for no promise.
    pub deadline: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    arrival: Arrival,
    since: f64,
}

/// The last of a flow.
struct Last {
    id: u64,
    place: u64,
}

/// Share of the rate that is taken to be left to the less important when the more important take all of it: it will not
/// stay so for ever.
const LEAST_LEFT: f64 = 0.02;
/// Waits after which whoever is refused is told to come back, at most.
const MOST_WAITS: f64 = 4.0;

/// The queues.
#[derive(Debug, Clone)]
pub struct FlowControl {
    settings: FlowSettings,
    bands: BTreeMap<Reverse<i32>, Band>,
    /// Those waiting, in order of arrival.
    items: BTreeMap<u64, Item>,
    places: HashMap<u64, u64>,
    bytes: u64,
    arrivals: u64,
    endpoints: bool,
    /// When the pool last became empty or not so.
    regime_since: f64,
    /// How fast requests are let through.
    pub drain: Drain,
    /// How long an endpoint takes to start.
    pub start_up: StartUp,
}

impl FlowControl {
    /// Empty queues, in front of a pool that is taken to have endpoints.
    #[must_use]
    pub fn new(settings: FlowSettings, start_up: StartUp) -> Self {
        Self {
            settings,
            bands: BTreeMap::new(),
            items: BTreeMap::new(),
            places: HashMap::new(),
            bytes: 0,
            arrivals: 0,
            endpoints: true,
            regime_since: f64::NEG_INFINITY,
            drain: Drain::default(),
            start_up,
        }
    }

    /// Requests waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of those waiting.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waiting requests and their bytes by priority, most important first.
    pub fn by_priority(&self) -> impl Iterator<Item = (i32, usize, u64)> + '_ {
        self.bands
            .iter()
            .map(|(p, band)| (p.0, band.requests, band.bytes))
    }

    /// Tells whether the pool has endpoints. When that changes, everything that waits gets a fresh time to live, and the
    /// start-up clock starts or is read.
    pub fn set_endpoints(&mut self, any: bool, now: f64) {
        if any != self.endpoints {
            self.endpoints = any;
            self.regime_since = now;
        }
        if any {
            self.start_up.ready(now);
        } else if !self.is_empty() {
            self.start_up.wanted(now);
        }
    }

    /// Whether something waits for a pool without endpoints: the caller should have one started.
    #[must_use]
    pub fn wants_wake(&self) -> bool {
        !self.endpoints && !self.is_empty()
    }

    /// Seconds that a request of this priority would wait: those ahead of it over the rate at which requests go that are
    /// not more important, since more of those will come; or the rest of the start-up when there is no endpoint. `None`
    /// when nothing is known.
    #[must_use]
    pub fn wait(&self, priority: i32, now: f64) -> Option<f64> {
        let ahead = self.bands.iter().take_while(|(p, _)| p.0 >= priority);
        let ahead: usize = ahead.map(|(_, band)| band.requests).sum();
        let queue = self.spacing(priority, now);
        let queue = queue.map(|spacing| (ahead + 1) as f64 * spacing);
        if self.endpoints {
            return queue;
        }
        Some(self.start_up.remaining(now) + queue.unwrap_or(0.0))
    }

    /// Seconds between two requests that go, of this priority or less.
    fn spacing(&self, priority: i32, now: f64) -> Option<f64> {
        let before = self.bands.iter().take_while(|(p, _)| p.0 > priority);
        let before: f64 = before.filter_map(|(_, band)| band.drain.rate(now)).sum();
        let rate = self.drain.rate(now)?;
        Some(1.0 / (rate - before).max(LEAST_LEFT * rate))
    }

    /// A refusal that says when to come back: when those who wait now are served, and after others who were told so, as
    /// far apart as requests go, so that not all come back at once to a queue that is full again. At most [`MOST_WAITS`]
    /// times the wait, since not all do come back.
    fn refuse(&mut self, kind: RefusalKind, priority: i32, now: f64) -> Refusal {
        let (wait, spacing) = (self.wait(priority, now), self.spacing(priority, now));
        let retry_after = wait.map(|wait| {
            let band = self.bands.get_mut(&Reverse(priority));
            let Some((band, spacing)) = band.zip(spacing) else {
                return wait;
            };
            let at = (band.promised + spacing).clamp(now + wait, now + MOST_WAITS * wait);
            band.promised = at;
            at - now
        });
        Refusal { kind, retry_after }
    }

    /// Queues a request. Where there is no room, less important ones make some, or the last of a flow that has more waiting
    /// than this one's: their refusals are added to `shed`.
    ///
    /// # Errors
    /// [`Refusal`] with [`RefusalKind::QueueFull`] when there is no room, with [`RefusalKind::Infeasible`] when it could
    /// not start in time and the settings say to refuse such.
    pub fn offer(
        &mut self,
        arrival: Arrival,
        now: f64,
        shed: &mut Vec<(u64, Refusal)>,
    ) -> Result<(), Refusal> {
        let priority = arrival.priority;
        if self.places.contains_key(&arrival.id) {
            return Err(self.refuse(RefusalKind::QueueFull, priority, now));
        }
        let due = arrival.deadline.filter(|_| self.settings.refuse_late);
        let late = due
            .zip(self.wait(priority, now))
            .is_some_and(|(due, wait)| now + wait > due);
        if late {
            return Err(self.refuse(RefusalKind::Infeasible, priority, now));
        }
        let settings = self.settings.band(priority);
        let band = self
            .bands
            .entry(Reverse(priority))
            .or_insert_with(|| Band::new(settings));
        if !band.has_room(arrival.bytes) || !self.make_room(&arrival, now, shed) {
            let Some(last) = self.gives_way(&arrival) else {
                return Err(self.refuse(RefusalKind::QueueFull, priority, now));
            };
            self.take(last.place);
            let refusal = self.refuse(RefusalKind::QueueFull, priority, now);
            shed.push((last.id, refusal));
        }
        self.enter(arrival, now);
        Ok(())
    }

    fn enter(&mut self, arrival: Arrival, now: f64) {
        self.arrivals += 1;
        let place = self.arrivals;
        if let Some(band) = self.bands.get_mut(&Reverse(arrival.priority)) {
            band.push(&arrival, place);
        }
        self.bytes += arrival.bytes;
        self.places.insert(arrival.id, place);
        self.items.insert(
            place,
            Item {
                arrival,
                since: now,
            },
        );
        if !self.endpoints {
            self.start_up.wanted(now);
        }
    }

    /// Sheds less important requests, least important first, until the arrival fits; nobody if that would not do.
    fn make_room(&mut self, arrival: &Arrival, now: f64, shed: &mut Vec<(u64, Refusal)>) -> bool {
        let FlowSettings {
            max_requests,
            max_bytes,
            ..
        } = self.settings;
        let less = || {
            self.bands
                .iter()
                .filter(|(p, _)| p.0 < arrival.priority)
                .map(|(_, b)| b)
        };
        let requests: usize = less().map(|b| b.requests).sum();
        let bytes: u64 = less().map(|b| b.bytes).sum();
        if self.len() - requests >= max_requests || self.bytes - bytes + arrival.bytes > max_bytes {
            return false;
        }
        while self.len() >= max_requests || self.bytes + arrival.bytes > max_bytes {
            let least = self.bands.iter().rev().find(|(_, band)| band.requests > 0);
            let Some(place) = least.and_then(|(_, band)| band.sheds()) else {
                return false;
            };
            let Some(Arrival { id, priority, .. }) = self.take(place).map(|i| i.arrival) else {
                return false;
            };
            shed.push((id, self.refuse(RefusalKind::Shed, priority, now)));
        }
        true
    }

    /// Who makes room for a request of the same priority: the last of the flow that has most waiting, if that has more than
    /// the request's will have then. A queue that is full of one flow's requests would otherwise be closed to all others.
    fn gives_way(&self, arrival: &Arrival) -> Option<Last> {
        let band = self.bands.get(&Reverse(arrival.priority))?;
        let place = band.gives_way(arrival)?;
        let last = &self.items.get(&place)?.arrival;
        let fits = |bytes: u64, most| (bytes - last.bytes).saturating_add(arrival.bytes) <= most;
        let fits = fits(band.bytes, band.most_bytes()) && fits(self.bytes, self.settings.max_bytes);
        let id = last.id;
        fits.then_some(Last { id, place })
    }

    /// Takes one out of all tables.
    fn take(&mut self, place: u64) -> Option<Item> {
        let item = self.items.remove(&place)?;
        self.places.remove(&item.arrival.id);
        self.bytes -= item.arrival.bytes;
        if let Some(band) = self.bands.get_mut(&Reverse(item.arrival.priority)) {
            band.remove(&item.arrival, place);
        }
        Some(item)
    }

    /// The next request to let through, if `enter` gives it a place: the most important band's next flow's first.
    /// `enter` is told the priority.
    pub fn next<P>(&mut self, now: f64, enter: impl FnOnce(i32) -> Option<P>) -> Option<(u64, P)> {
        if !self.endpoints {
            return None;
        }
        let (priority, band) = self.bands.iter_mut().find(|(_, band)| band.requests > 0)?;
        let permit = enter(priority.0)?;
        let place = band.first()?;
        band.drain.went(now);
        let item = self.take(place)?;
        self.drain.went(now);
        Some((item.arrival.id, permit))
    }

    /// Takes out a request whose client has gone; whether it was waiting.
    pub fn cancel(&mut self, id: u64) -> bool {
        let place = self.places.get(&id).copied();
        place.and_then(|p| self.take(p)).is_some()
    }

    /// Takes out requests that have waited too long, and adds their refusals.
    pub fn expire(&mut self, now: f64, out: &mut Vec<(u64, Refusal)>) {
        let (ttl, kind) = if self.endpoints {
            (self.settings.ttl_s, RefusalKind::Expired)
        } else {
            let ttl = self
                .settings
                .ttl_empty_s
                .map(|t| t.max(self.start_up.patience()));
            (ttl, RefusalKind::ExpiredWithoutEndpoints)
        };
        let Some(ttl) = ttl else { return };
        while let Some((&place, item)) = self.items.first_key_value() {
            if now < item.since.max(self.regime_since) + ttl {
                return;
            }
            if let Some(Arrival { id, priority, .. }) = self.take(place).map(|i| i.arrival) {
                out.push((id, self.refuse(kind, priority, now)));
            }
        }
    }

    /// When [`FlowControl::expire`] will next find something; `None` for never.
    #[must_use]
    pub fn expires_at(&self) -> Option<f64> {
        let (_, first) = self.items.first_key_value()?;
        let ttl = if self.endpoints {
            self.settings.ttl_s
        } else {
            self.settings
                .ttl_empty_s
                .map(|t| t.max(self.start_up.patience()))
        };
        Some(first.since.max(self.regime_since) + ttl?)
    }
}
