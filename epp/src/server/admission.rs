//! Who may be sent to a server now, who waits, and who is refused.
//!
//! ```text
//!  enter ─► nobody waits, not full ──────────────────────► Place ─► pick … end ─┐
//!      └──► FlowControl (a lock) ─► Waiting ─ granted ───► Place               │
//!                      ▲                                                        │
//!                      └── dispatch: a place given back, endpoints, scrapes ◄───┘
//! ```
//! While there is room, entering takes one atomic step besides the look at the pool. Only those who wait share a lock.
//! Whoever gives a place back hands it on at once, so nothing polls for it; a task looks after what time brings: too long
//! waits, endpoints that have started, scrapes that show room.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::{Notify, oneshot};
use wva_epp_core::flow::{Arrival, FlowControl, FlowSettings, Gate, Permit, StartUp};
use wva_epp_core::picker::{Refusal, RefusalKind};
use wva_epp_core::pool::Pool;
use wva_epp_core::saturation::Detector;

use super::refusal::Refused;
use crate::clock::Clock;
use crate::store::{PUBLISH_EVERY, Store};

/// A request that asks to be let through, without the name that it gets here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// Importance.
    pub priority: i32,
    /// Hash of whose it is.
    pub flow: u64,
    /// Size of its body.
    pub bytes: u64,
    /// When its first token is due, if that is promised.
    pub deadline: Option<f64>,
}

struct Queue {
    flow: FlowControl,
    senders: HashMap<u64, oneshot::Sender<Result<Place, Refusal>>>,
    last_id: u64,
}

/// The entrance. Without flow control everyone is let in, but those of negative priority while the pool is full.
pub struct Admission {
    store: Arc<Store>,
    clock: Clock,
    gate: Gate,
    queue: Option<Mutex<Queue>>,
    waiting: AtomicUsize,
    /// Let in and not picked for yet: the pool does not show them.
    fresh: AtomicUsize,
    news: Notify,
}

/// What came of asking.
pub enum Entry {
    /// Let in.
    In(Place),
    /// To be waited for.
    Wait(Waiting),
}

impl Admission {
    /// An entrance with flow control, if there are settings for it.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        clock: Clock,
        flow: Option<FlowSettings>,
        start_up: StartUp,
    ) -> Arc<Self> {
        let queue = flow.map(|settings| Queue {
            flow: FlowControl::new(settings, start_up),
            senders: HashMap::new(),
            last_id: 0,
        });
        Arc::new(Self {
            gate: Gate::new(limit(store.picker().detector, &store.pool())),
            store,
            clock,
            queue: queue.map(Mutex::new),
            waiting: AtomicUsize::new(0),
            fresh: AtomicUsize::new(0),
            news: Notify::new(),
        })
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Acquire)
    }

    /// Waiting requests and their bytes by priority; whether they wait for an endpoint to start.
    #[must_use]
    pub fn held(&self) -> (Vec<(i32, usize, u64)>, bool) {
        self.lock().map_or_else(
            || (Vec::new(), false),
            |queue| (queue.flow.by_priority().collect(), queue.flow.wants_wake()),
        )
    }

    /// Says how long an endpoint takes to start, as others have learned.
    pub fn expect_start_up(&self, seconds: f64) {
        if let Some(mut queue) = self.lock() {
            queue.flow.start_up.expect(seconds);
        }
    }

    /// Load of the pool over its capacity.
    #[must_use]
    pub fn saturation(&self, now: f64) -> f64 {
        let pool = self.store.pool();
        let mut state = self.store.state();
        self.store.picker().saturation(&pool, &mut state, now)
    }

    fn lock(&self) -> Option<MutexGuard<'_, Queue>> {
        let queue = self.queue.as_ref()?;
        Some(queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks to be let in.
    ///
    /// # Errors
    /// [`Refusal`] of what may neither enter nor wait.
    pub fn enter(self: &Arc<Self>, asked: Asked, now: f64) -> Result<Entry, Refusal> {
        let empty = self.store.pool().is_empty();
        if self.queue.is_none() {
            let full = asked.priority < 0 && !empty && self.saturation(now) >= 1.0;
            return match full {
                true => Err(Refusal::of(RefusalKind::Saturated)),
                false => Ok(Entry::In(Place::free())),
            };
        }
        if self.waiting() == 0
            && !empty
            && let Some(permit) = self.permit(now)
        {
            return Ok(Entry::In(self.place(permit)));
        }
        let waiting = self.queue_up(asked, now, !empty)?;
        // A place may have been given back before this one was in the queue.
        self.dispatch(now);
        self.news.notify_one();
        Ok(Entry::Wait(waiting))
    }

    fn queue_up(
        self: &Arc<Self>,
        asked: Asked,
        now: f64,
        endpoints: bool,
    ) -> Result<Waiting, Refusal> {
        let mut shed = Vec::new();
        let (sender, receiver) = oneshot::channel();
        let offered = match self.lock() {
            None => Err(Refusal::of(RefusalKind::QueueFull)),
            Some(mut queue) => {
                queue.flow.set_endpoints(endpoints, now);
                queue.last_id += 1;
                let arrival = Arrival {
                    id: queue.last_id,
                    priority: asked.priority,
                    flow: asked.flow,
                    bytes: asked.bytes,
                    deadline: asked.deadline,
                };
                let offered = queue.flow.offer(arrival, now, &mut shed);
                offered.map(|()| {
                    queue.senders.insert(arrival.id, sender);
                    self.waiting.fetch_add(1, AcqRel);
                    arrival.id
                })
            }
        };
        self.refuse(shed);
        offered.map(|id| Waiting {
            receiver,
            id,
            admission: Arc::clone(self),
        })
    }

    /// A place in the gate, if the pool has room.
    fn permit(&self, now: f64) -> Option<Permit> {
        let most_fresh = self.store.pool().len().max(1);
        let room = self.fresh.load(Acquire) < most_fresh && self.saturation(now) < 1.0;
        room.then(|| self.gate.enter(1.0)).flatten()
    }

    fn place(self: &Arc<Self>, permit: Permit) -> Place {
        self.fresh.fetch_add(1, AcqRel);
        Place {
            permit: Some(permit),
            fresh: true,
            admission: Some(Arc::clone(self)),
        }
    }

    /// Lets in those who wait, as long as there is room.
    fn dispatch(self: &Arc<Self>, now: f64) {
        loop {
            let Some(mut queue) = self.lock() else { return };
            let Some((id, permit)) = queue.flow.next(now, |_| self.permit(now)) else {
                return;
            };
            let sender = queue.senders.remove(&id);
            drop(queue);
            self.waiting.fetch_sub(1, AcqRel);
            let place = self.place(permit);
            if let Some(sender) = sender {
                // Whoever has just gone gives the place back by not taking it.
                let _ = sender.send(Ok(place));
            }
        }
    }

    fn refuse(&self, refused: Vec<(u64, Refusal)>) {
        for (id, refusal) in refused {
            let sender = self.lock().and_then(|mut queue| queue.senders.remove(&id));
            if let Some(sender) = sender {
                self.waiting.fetch_sub(1, AcqRel);
                let _ = sender.send(Err(refusal));
            }
        }
    }

    fn cancel(&self, id: u64) {
        if let Some(mut queue) = self.lock()
            && queue.senders.remove(&id).is_some()
        {
            queue.flow.cancel(id);
            self.waiting.fetch_sub(1, AcqRel);
        }
    }

    /// Refuses all who wait: the process is about to end.
    pub fn close(&self) {
        let senders = self.lock().map(|mut queue| {
            let ids: Vec<u64> = queue.senders.keys().copied().collect();
            for id in ids {
                queue.flow.cancel(id);
            }
            std::mem::take(&mut queue.senders)
        });
        let senders = senders.unwrap_or_default();
        self.waiting.fetch_sub(senders.len(), AcqRel);
    }

    /// Looks after what time brings, for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut members = self.store.members();
        loop {
            self.look(self.clock.now());
            let pause = async {
                if self.waiting() > 0 {
                    tokio::time::sleep(PUBLISH_EVERY).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                changed = members.changed() => if changed.is_err() { return },
                () = self.news.notified() => {}
                () = pause => {}
            }
        }
    }

    /// What is to be done now.
    fn look(self: &Arc<Self>, now: f64) {
        let pool = self.store.pool();
        self.gate
            .set_limit(limit(self.store.picker().detector, &pool));
        let endpoints = !pool.is_empty();
        drop(pool);
        let mut expired = Vec::new();
        if let Some(mut queue) = self.lock() {
            queue.flow.set_endpoints(endpoints, now);
            queue.flow.expire(now, &mut expired);
        }
        self.refuse(expired);
        self.dispatch(now);
    }
}

/// Requests in flight at which the pool is full, where the detector counts them.
fn limit(detector: Detector, pool: &Pool) -> u32 {
    let each = |slot| match detector {
        Detector::SloConcurrency { default, .. } => {
            let feasible = pool.model(slot).and_then(|model| model.feasible);
            feasible.unwrap_or(default)
        }
        Detector::Concurrency { requests, .. } => requests,
        Detector::Utilization { .. } => f64::INFINITY,
    };
    // An infinite sum becomes the largest number there is.
    pool.slots().map(each).sum::<f64>() as u32
}

/// Leave to be sent. Dropping it lets someone else in.
pub struct Place {
    permit: Option<Permit>,
    fresh: bool,
    admission: Option<Arc<Admission>>,
}

impl Place {
    /// Leave where nobody counts.
    const fn free() -> Self {
        Self {
            permit: None,
            fresh: false,
            admission: None,
        }
    }

    /// Says that an endpoint has been picked, so that the pool shows this request.
    pub fn picked(&mut self) {
        if std::mem::take(&mut self.fresh)
            && let Some(admission) = &self.admission
        {
            admission.fresh.fetch_sub(1, AcqRel);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.picked();
        drop(self.permit.take());
        if let Some(admission) = self.admission.take()
            && admission.waiting() > 0
        {
            admission.dispatch(admission.clock.now());
        }
    }
}

/// A request in the queue. Dropping it takes it out.
pub struct Waiting {
    receiver: oneshot::Receiver<Result<Place, Refusal>>,
    id: u64,
    admission: Arc<Admission>,
}

impl Future for Waiting {
    type Output = Result<Place, Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = ready!(Pin::new(&mut self.receiver).poll(context));
        Poll::Ready(match told {
            Ok(outcome) => outcome.map_err(Refused::from),
            Err(_) => Err(Refused::shutting_down()),
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.admission.cancel(self.id);
    }
}
