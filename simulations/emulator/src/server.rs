//! One server behind its HTTP face: the engine, and whether it takes requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use wva_simulations::time::Time;

use crate::delivery::{Delivery, End, Progress, Reason};
use crate::engine::{About, Ask, Engine, EngineSpec, RequestKey};
use crate::schedule::Schedule;
use crate::spec::ServerSpec;

/// Whether a server takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It loads its model, for this much longer.
    Starting(Duration),
    /// It takes requests.
    Ready,
    /// It gave its memory back at this level, and waits for `/wake_up`.
    Asleep(u8),
    /// It finishes what it has.
    Draining,
}

/// A server.
#[derive(Debug)]
pub struct Server {
    /// What it is; the address is the one it really has.
    pub spec: ServerSpec,
    speed: f64,
    started: Time,
    schedule: Arc<Schedule>,
    seat: Mutex<Seat>,
    in_flight: AtomicUsize,
    finished: Notify,
}

#[derive(Debug)]
struct Seat {
    engine: Engine,
    /// Event that the schedule has for it; [`Time::NEVER`] if none.
    scheduled: Time,
    ready_at: Time,
    asleep: Option<u8>,
    draining: bool,
}

impl Server {
    /// A server that starts up now, on an address that it has already.
    pub fn new(spec: ServerSpec, address: SocketAddr, speed: f64, schedule: Arc<Schedule>) -> Self {
        let engine = Engine::new(EngineSpec {
            replica: spec.engine(speed),
            max_model_len: spec.max_model_len,
            transfer_s_per_token: spec.transfer_s_per_token / speed,
        });
        let started = schedule.clock.now();
        let ready_at = started + span(spec.start_up.div_f64(speed));
        Self {
            spec: ServerSpec { address, ..spec },
            speed,
            started,
            schedule,
            seat: Mutex::new(Seat {
                engine,
                scheduled: Time::NEVER,
                ready_at,
                asleep: None,
                draining: false,
            }),
            in_flight: AtomicUsize::new(0),
            finished: Notify::new(),
        }
    }

    /// Whether it takes requests.
    pub fn status(&self) -> Status {
        self.seat().status(self.schedule.clock.now())
    }

    /// Requests whose answers are not complete.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Hands a request to the engine, which must fit the longest context; says why it does not take it where it does not.
    pub fn submit(self: &Arc<Self>, ask: Ask) -> Result<Ticket, Status> {
        let now = self.schedule.clock.now();
        let mut seat = self.seat();
        let status = seat.status(now);
        if status != Status::Ready {
            return Err(status);
        }
        // Under the lock, so that `drain` misses nobody.
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let (key, delivery) = seat.engine.submit(now, ask);
        self.reschedule(&mut seat);
        Ok(Ticket {
            server: Arc::clone(self),
            key,
            delivery,
            ended: false,
        })
    }

    /// The event that the schedule had for `at` is due.
    pub fn wake(self: &Arc<Self>, at: Time) {
        let mut seat = self.seat();
        if seat.scheduled == at {
            seat.scheduled = Time::NEVER;
            seat.engine.advance(self.schedule.clock.now());
            self.reschedule(&mut seat);
        }
    }

    /// Gives back the memory, and the requests in it; level 1 keeps the weights in host memory.
    pub fn sleep(&self, level: u8) {
        let mut seat = self.seat();
        seat.asleep = Some(level);
        let end = End::Finished(Reason::Abort);
        seat.engine.clear(self.schedule.clock.now(), end);
    }

    /// Begins to wake up; how long that takes.
    pub fn wake_up(&self) -> Duration {
        let mut seat = self.seat();
        if seat.asleep.take().is_none() {
            return Duration::ZERO;
        }
        let takes = self.spec.wake_up.div_f64(self.speed);
        seat.ready_at = self.schedule.clock.now() + span(takes);
        takes
    }

    /// Takes no new requests from now on, and waits until those in flight have their answers.
    pub async fn drain(&self) {
        self.seat().draining = true;
        loop {
            let mut finished = std::pin::pin!(self.finished.notified());
            finished.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            finished.await;
        }
    }

    /// Loses everything that is in it.
    pub fn crash(&self) {
        let mut seat = self.seat();
        seat.draining = true;
        seat.engine.clear(self.schedule.clock.now(), End::Lost);
    }

    /// Seconds since 1970.
    pub fn unix_seconds(&self) -> f64 {
        let clock = &self.schedule.clock;
        clock.unix_seconds(clock.now())
    }

    /// The metrics page.
    pub fn page(&self) -> String {
        let mut seat = self.seat();
        let spec = &self.spec;
        let about = About {
            model: &spec.served_names[0],
            loras: &spec.loras,
            max_loras: spec.max_loras,
            block_tokens: spec.block_tokens,
            blocks: spec.replica.limits.kv_tokens as u64 / u64::from(spec.block_tokens),
            prefix_caching: spec.prefix_caching,
            sleep_level: seat.asleep.unwrap_or(0),
            started_unix_s: self.schedule.clock.unix_seconds(self.started),
            unix_s: self.unix_seconds(),
        };
        seat.engine.page(self.schedule.clock.now(), &about)
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the schedule knows of the engine's next event.
    fn reschedule(self: &Arc<Self>, seat: &mut Seat) {
        let next = seat.engine.next();
        if next < seat.scheduled {
            seat.scheduled = next;
            self.schedule.add(next, Arc::clone(self));
        }
    }
}

impl Seat {
    fn status(&self, now: Time) -> Status {
        if self.draining {
            Status::Draining
        } else if let Some(level) = self.asleep {
            Status::Asleep(level)
        } else if self.ready_at > now {
            Status::Starting(Duration::from_nanos((self.ready_at - now).0))
        } else {
            Status::Ready
        }
    }
}

fn span(duration: Duration) -> Time {
    Time(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2))
}

/// A request in flight. Dropping it before its end takes it back: the client has gone.
#[derive(Debug)]
pub struct Ticket {
    server: Arc<Server>,
    key: RequestKey,
    delivery: Arc<Delivery>,
    ended: bool,
}

impl Ticket {
    /// Requests that the server had before it.
    pub const fn number(&self) -> u64 {
        self.key.number
    }

    /// Ready once there are more than `seen` tokens, or the request ended.
    pub fn poll_beyond(&mut self, seen: u32, context: &mut Context<'_>) -> Poll<Progress> {
        let progress = self.delivery.poll_beyond(seen, context);
        if let Poll::Ready(Progress { end: Some(_), .. }) = progress {
            self.ended = true;
        }
        progress
    }

    /// How the request ended, once it has.
    pub async fn end(&mut self) -> Progress {
        std::future::poll_fn(|context| self.poll_beyond(u32::MAX, context)).await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let server = &self.server;
        if !self.ended {
            let now = server.schedule.clock.now();
            let mut seat = server.seat();
            seat.engine.abort(now, self.key);
            server.reschedule(&mut seat);
        }
        server.in_flight.fetch_sub(1, Ordering::AcqRel);
        server.finished.notify_waiters();
    }
}
