//! The gateway: which servers are ready, what each of them has, and what arrived.
//!
//! It sends each request to the ready server with the least prompt work of the model, and holds what finds none: what an
//! endpoint picker with flow control does, in its simplest form.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wva_controllers::telemetry::pushed::{Push, VERSION};

use super::counts::{Counts, Finished};

/// How long a request waits for some server to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    state: Mutex<State>,
    changed: Notify,
    started: f64,
}

#[derive(Debug)]
struct State {
    /// Tokens with each ready server, by model.
    ready: BTreeMap<String, BTreeMap<SocketAddr, u64>>,
    counts: Vec<Counts>,
    pushes: u64,
}

/// A request's place at a server, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    /// The server.
    pub address: SocketAddr,
    model: String,
    tokens: u64,
    gateway: Arc<Gateway>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gateway.state();
        let servers = state.ready.get_mut(&self.model);
        if let Some(tokens) = servers.and_then(|s| s.get_mut(&self.address)) {
            *tokens = tokens.saturating_sub(self.tokens);
        }
    }
}

impl Gateway {
    /// A gateway without servers, for these streams, that began at `started`.
    pub fn new(counts: Vec<Counts>, started: f64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                ready: BTreeMap::new(),
                counts,
                pushes: 0,
            }),
            changed: Notify::new(),
            started,
        })
    }

    /// Takes note of who is ready for each model.
    pub fn route(&self, ready: BTreeMap<String, Vec<SocketAddr>>) {
        let mut state = self.state();
        state.ready = ready
            .into_iter()
            .map(|(model, servers)| {
                let known = state.ready.get(&model);
                let load = |s: &SocketAddr| known.and_then(|k| k.get(s)).copied().unwrap_or(0);
                let servers = servers.into_iter().map(|s| (s, load(&s))).collect();
                (model, servers)
            })
            .collect();
        drop(state);
        self.changed.notify_waiters();
    }

    /// A place for a request of stream `stream`, once there is one; `None` when none came in time.
    pub async fn place(
        self: &Arc<Self>,
        stream: usize,
        model: &str,
        input: u32,
        output: u32,
    ) -> Option<Place> {
        self.state().counts[stream].arrive(input);
        // A token that is decoded holds a server up as much as several of a prompt do.
        let tokens = u64::from(input) + 8 * u64::from(output);
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if let Some(address) = self.least(model, tokens) {
                    return address;
                }
                changed.await;
            }
        });
        match found.await {
            Ok(address) => {
                self.state().counts[stream].forward();
                Some(Place {
                    address,
                    model: model.to_owned(),
                    tokens,
                    gateway: Arc::clone(self),
                })
            }
            Err(_) => {
                self.state().counts[stream].give_up();
                None
            }
        }
    }

    fn least(&self, model: &str, tokens: u64) -> Option<SocketAddr> {
        let mut state = self.state();
        let servers = state.ready.get_mut(model)?;
        let (address, load) = servers.iter_mut().min_by_key(|(_, load)| **load)?;
        *load += tokens;
        Some(*address)
    }

    /// What became of a request of stream `stream` that had a place.
    pub fn end(&self, stream: usize, outcome: Option<Finished>) {
        self.state().counts[stream].end(outcome);
    }

    /// What an endpoint picker would push at `now`.
    pub fn push(&self, now: f64) -> Push {
        let mut state = self.state();
        state.pushes += 1;
        Push {
            version: VERSION,
            pusher: "demo-gateway".into(),
            incarnation: self.started as u64,
            sequence: state.pushes,
            at: now,
            streams: state.counts.iter().map(|c| c.sample(now)).collect(),
            engines: BTreeMap::new(),
            fits_at: None,
        }
    }

    /// Looks at what was counted.
    pub fn counted<T>(&self, look: impl FnOnce(&[Counts]) -> T) -> T {
        look(&self.state().counts)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
