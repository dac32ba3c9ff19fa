//! The library's door: one emulator, many servers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle as Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::api;
use crate::error::EmulatorError;
use crate::listener::{self, Wish};
use crate::schedule::Schedule;
use crate::server::{Server, Status};
use crate::spec::ServerSpec;

/// How long a drained server waits for its clients to take the rest of their answers.
const LINGER: Duration = Duration::from_secs(5);

/// What all servers of an emulator share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// How many times as fast as real servers they are: 10 turns an hour into six minutes.
    pub speed: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { speed: 1.0 }
    }
}

/// Starts emulators.
#[derive(Debug)]
pub struct Emulator;

impl Emulator {
    /// An emulator without servers yet; its one task runs on the current runtime.
    ///
    /// # Errors
    /// [`EmulatorError::Invalid`] for a speed that is not between 0.001 and 1000.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O.
    pub fn start(config: Config) -> Result<Handle, EmulatorError> {
        if !(1e-3..=1e3).contains(&config.speed) {
            return Err(EmulatorError::Invalid {
                what: "speed",
                value: config.speed,
                domain: "between 0.001 and 1000",
            });
        }
        let schedule = Arc::new(Schedule::new());
        let driven = Arc::clone(&schedule);
        let inner = Inner {
            speed: config.speed,
            schedule,
            driver: tokio::spawn(async move { driven.drive().await }),
            servers: Mutex::default(),
            runtime: Runtime::current(),
        };
        Ok(Handle(Arc::new(inner)))
    }
}

#[derive(Debug)]
struct Inner {
    speed: f64,
    schedule: Arc<Schedule>,
    driver: JoinHandle<()>,
    servers: Mutex<Vec<Running>>,
    runtime: Runtime,
}

#[derive(Debug, Clone)]
struct Running {
    server: Arc<Server>,
    wish: watch::Sender<Wish>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.abort();
        let servers = self.servers.get_mut();
        for running in servers.unwrap_or_else(PoisonError::into_inner) {
            running.server.crash();
            running.wish.send_replace(Wish::Cut);
        }
        // Its entries hold servers, which hold it.
        self.schedule.clear();
    }
}

/// An emulator. Clones are the same one; when the last clone and the last [`ServerHandle`] are gone, all servers are
/// cut off.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Inner>);

impl Handle {
    /// Starts a server; it listens when this returns. May be called from any thread.
    ///
    /// # Errors
    /// [`EmulatorError`] when the specification is unsound or its address is taken.
    pub fn spawn_server(&self, spec: ServerSpec) -> Result<ServerHandle, EmulatorError> {
        spec.check()?;
        let asked = spec.address;
        let refused = |source| EmulatorError::Listen {
            address: asked,
            source,
        };
        let listener = listener::listen(asked).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let inner = &self.0;
        let _runtime = inner.runtime.enter();
        let listener = TcpListener::from_std(listener).map_err(refused)?;
        let server = Server::new(spec, address, inner.speed, Arc::clone(&inner.schedule));
        let server = Arc::new(server);
        let (wish, wished) = watch::channel(Wish::Open);
        let router = api::router(Arc::clone(&server));
        inner
            .runtime
            .spawn(listener::serve(listener, router, wished));
        let running = Running { server, wish };
        self.running().push(running.clone());
        Ok(ServerHandle {
            running,
            emulator: self.clone(),
        })
    }

    /// The servers that were neither stopped nor drained, in the order of their start.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerHandle> {
        let handle = |running: &Running| ServerHandle {
            running: running.clone(),
            emulator: self.clone(),
        };
        self.running().iter().map(handle).collect()
    }

    /// Drains all servers at once.
    pub async fn drain(&self) {
        let draining: Vec<_> = self
            .servers()
            .into_iter()
            .map(|server| self.0.runtime.spawn(async move { server.drain().await }))
            .collect();
        for server in draining {
            // A panic there is a bug of the server's, which says so itself.
            let _ = server.await;
        }
    }

    /// Stops all servers.
    pub async fn stop(&self) {
        for server in self.servers() {
            server.stop().await;
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<Running>> {
        let servers = self.0.servers.lock();
        servers.unwrap_or_else(PoisonError::into_inner)
    }
}

/// One server. Clones are the same one.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    running: Running,
    emulator: Handle,
}

impl ServerHandle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.server.spec.address
    }

    /// `http://` and the address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// What it is, with the address it really has.
    #[must_use]
    pub fn spec(&self) -> &ServerSpec {
        &self.running.server.spec
    }

    /// Whether it takes requests.
    #[must_use]
    pub fn status(&self) -> Status {
        self.running.server.status()
    }

    /// Requests whose answers are not complete.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.running.server.in_flight()
    }

    /// Ends like a pod on SIGTERM: `/health` says 503, new requests are refused, those in flight get their answers; then
    /// it stops. The address is free when this returns.
    pub async fn drain(&self) {
        self.running.server.drain().await;
        // All answers are complete: what is still open has nothing to say, or nobody to read it.
        if timeout(LINGER, self.end(Wish::Close)).await.is_err() {
            self.end(Wish::Cut).await;
        }
    }

    /// Ends like a killed process: connections break, requests are lost. The address is free when this returns.
    pub async fn stop(&self) {
        self.running.server.crash();
        self.end(Wish::Cut).await;
    }

    async fn end(&self, wish: Wish) {
        let running = &self.running;
        running.wish.send_replace(wish);
        // Everyone who listens or is connected has a receiver.
        running.wish.closed().await;
        self.emulator
            .running()
            .retain(|r| !Arc::ptr_eq(&r.server, &running.server));
    }
}
