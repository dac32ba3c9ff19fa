//! The model servers' own metrics, read evenly spread over the interval.
//!
//! ```text
//!  store.members() ──► a task for each endpoint: moment ─► page ─► numbers ──► store.observe()
//! ```
//! One task, one connection that stays open, one moment in the interval for each endpoint ([`rhythm`]). Pages are read
//! while they come and only where they matter ([`page`]), so that a page costs microseconds and no memory. Scrapes may be
//! slow, because choosing corrects them by what was sent since ([`wva_epp_core::inflight`]); reading every 50 ms instead
//! would cost the engines' front ends more than it tells.

pub mod dialect;
pub mod failure;
pub mod fetch;
pub mod page;
pub mod reading;
pub mod rhythm;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsConnector;
use wva_epp_core::config::MetricsSource;
use wva_epp_core::endpoint::{Endpoint, Engine};

use crate::clock::Clock;
use crate::store::Store;
use dialect::{NotAMetric, Vocabulary};
use failure::Failure;
use fetch::{Bounds, Fetcher, Place};
use reading::{PageReader, Reading};
use rhythm::Rhythm;

/// Label (or annotation) with the port of a pod's metrics where they are not at the endpoint's own.
pub const METRICS_PORT_LABEL: &str = "wva.llmd.ai/metrics-port";
/// Port of Triton's metrics unless told otherwise.
const TRITON_PORT: u16 = 8002;
/// Path of most engines' metrics.
const USUAL_PATH: &str = "/metrics";
/// Path of TensorRT-LLM's own server.
const TRTLLM_PATH: &str = "/prometheus/metrics";

/// How to scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeSettings {
    /// Time between two pages of one endpoint.
    pub interval: Duration,
    /// Deadline of one page, from connecting on.
    pub timeout: Duration,
    /// Longest page, bytes.
    pub most_bytes: u64,
    /// Scheme, path and names.
    pub source: MetricsSource,
}

impl Default for ScrapeSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            timeout: Duration::from_secs(2),
            most_bytes: 4 << 20,
            source: MetricsSource::default(),
        }
    }
}

/// Settings that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// A configured name is none.
    #[error(transparent)]
    Name(#[from] NotAMetric),
    /// The path is not one.
    #[error("metrics path {0:?} is not a path: it must begin with a slash")]
    Path(String),
    /// The interval is none.
    #[error("the interval between scrapes must be at least 1 ms")]
    Interval,
    /// TLS cannot be had.
    #[error("cannot verify metrics servers' certificates: {0}")]
    Tls(#[from] rustls::Error),
}

/// What became of all scrapes so far.
#[derive(Debug, Default)]
pub struct Census {
    pages: AtomicU64,
    failures: [AtomicU64; Failure::REASONS.len()],
    absurd: AtomicU64,
}

impl Census {
    /// Pages that were read.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages.load(Relaxed)
    }

    /// Attempts that failed, by reason.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.failures.iter().map(|n| n.load(Relaxed));
        Failure::REASONS.into_iter().zip(counts)
    }

    /// Single numbers that were left out because they cannot be.
    #[must_use]
    pub fn absurd(&self) -> u64 {
        self.absurd.load(Relaxed)
    }
}

/// Reads the pages of all endpoints in a store.
pub struct Scraper {
    store: Arc<Store>,
    clock: Clock,
    settings: ScrapeSettings,
    vocabulary: Arc<Vocabulary>,
    tls: Option<TlsConnector>,
    census: Arc<Census>,
}

impl Scraper {
    /// A scraper that has not started.
    ///
    /// # Errors
    /// [`ScrapeError`] for settings that cannot be followed.
    pub fn new(
        store: Arc<Store>,
        clock: Clock,
        settings: ScrapeSettings,
    ) -> Result<Self, ScrapeError> {
        let source = &settings.source;
        let path = source.path.parse::<http::uri::PathAndQuery>();
        if path.is_err() || !source.path.starts_with('/') {
            return Err(ScrapeError::Path(source.path.clone()));
        }
        if settings.interval < Duration::from_millis(1) {
            return Err(ScrapeError::Interval);
        }
        let vocabulary = Arc::new(Vocabulary::of(&source.engines)?);
        let https = source.scheme == "https";
        let tls = https.then(|| tls::connector(source.insecure)).transpose()?;
        Ok(Self {
            store,
            clock,
            settings,
            vocabulary,
            tls,
            census: Arc::default(),
        })
    }

    /// What becomes of the scrapes.
    #[must_use]
    pub fn census(&self) -> Arc<Census> {
        Arc::clone(&self.census)
    }

    /// Reads pages for as long as it is polled, on a thread of its own: no request waits behind a page, and no page wakes
    /// the threads of requests, which costs as much as reading it.
    pub async fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else {
            return self.follow().await;
        };
        let (polled, dropped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("scraper".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.follow() => {}
                    _ = dropped => {}
                }
            });
        });
        if let Err(error) = thread {
            tracing::error!(%error, "no thread to read metrics with: they are not read");
        }
        std::future::pending::<()>().await;
        drop(polled);
    }

    /// Reads pages for as long as it is polled.
    async fn follow(self) {
        let mut members = self.store.members();
        let mut tasks = JoinSet::new();
        let mut reading: HashMap<SocketAddr, (Endpoint, AbortHandle)> = HashMap::new();
        loop {
            members.borrow_and_update();
            let pool = Arc::clone(&self.store.pool());
            let wanted: HashMap<_, _> = pool
                .slots()
                .filter_map(|slot| Some((slot.index(), pool.endpoint(slot)?)))
                .map(|(number, endpoint)| (endpoint.address, (number, endpoint)))
                .collect();
            reading.retain(|address, (known, task)| {
                let same = wanted.get(address).is_some_and(|(_, e)| alike(e, known));
                if !same {
                    task.abort();
                }
                same
            });
            for (address, (number, endpoint)) in wanted {
                reading.entry(address).or_insert_with(|| {
                    let task = tasks.spawn(self.task(number, endpoint).run());
                    (endpoint.clone(), task)
                });
            }
            drop(pool);
            // Aborted tasks are to be forgotten.
            while tasks.try_join_next().is_some() {}
            if members.changed().await.is_err() {
                return;
            }
        }
    }

    fn task(&self, number: usize, endpoint: &Endpoint) -> Task {
        let labels = |key: &str| endpoint.labels.get(key).map(String::as_str);
        let bounds = Bounds {
            timeout: self.settings.timeout,
            most_bytes: self.settings.most_bytes,
        };
        let engine = match endpoint.engine {
            Engine::Vllm => self.vocabulary.engine(labels),
            stated => stated,
        };
        let place = place(endpoint, engine, &self.settings.source);
        Task {
            endpoint: endpoint.clone(),
            engine,
            rhythm: Rhythm::of(number, self.settings.interval.as_secs_f64()),
            fetcher: Fetcher::new(place, bounds, self.tls.clone()),
            reader: PageReader::new(Arc::clone(&self.vocabulary)),
            store: Arc::clone(&self.store),
            clock: self.clock,
            census: Arc::clone(&self.census),
            failing: None,
        }
    }
}

/// Whether what is scraped is the same: an endpoint that begins to drain is.
fn alike(a: &Endpoint, b: &Endpoint) -> bool {
    (&a.pod, &a.namespace, a.engine, &a.labels) == (&b.pod, &b.namespace, b.engine, &b.labels)
}

fn place(endpoint: &Endpoint, engine: Engine, source: &MetricsSource) -> Place {
    let stated = endpoint.labels.get(METRICS_PORT_LABEL);
    let stated = stated.and_then(|p| p.parse().ok()).filter(|p| *p != 0);
    let mut address = endpoint.address;
    let (port, path) = match engine {
        Engine::TritonTrtLlm => (TRITON_PORT, USUAL_PATH),
        Engine::TrtLlmServe => (address.port(), TRTLLM_PATH),
        _ => (address.port(), USUAL_PATH),
    };
    address.set_port(stated.unwrap_or(port));
    let path = if source.path == USUAL_PATH {
        path.to_owned()
    } else {
        source.path.clone()
    };
    Place { address, path }
}

/// One endpoint's scrapes.
struct Task {
    endpoint: Endpoint,
    engine: Engine,
    rhythm: Rhythm,
    fetcher: Fetcher,
    reader: PageReader,
    store: Arc<Store>,
    clock: Clock,
    census: Arc<Census>,
    /// The last failure and how many there were in a row.
    failing: Option<(Failure, u32)>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let failures = self.failing.as_ref().map_or(0, |(_, n)| *n);
            let next = self.rhythm.next(self.clock.now(), failures);
            tokio::time::sleep_until(self.clock.instant(next).into()).await;
            match self.read().await {
                Ok(()) => self.succeeded(),
                Err(failure) => self.failed(failure),
            }
        }
    }

    /// Reads the page once.
    async fn read(&mut self) -> Result<(), Failure> {
        let (mut at, mut sent) = (0.0, None);
        let address = self.endpoint.address;
        let answered = || {
            at = self.clock.now();
            let slot = self.store.pool().slot(&address);
            sent = slot.map(|slot| self.store.state().inflight.sent(slot));
        };
        self.fetcher.fetch(&mut self.reader, answered).await?;
        let Some(reading) = self.reader.finish(self.engine) else {
            let absurd = self.reader.absurd().first();
            return Err(absurd.map_or(Failure::NothingKnown, |a| Failure::Absurd {
                name: a.name.clone(),
                value: a.value,
            }));
        };
        self.tell_absurd(&reading);
        // An endpoint that has just gone is not known any more, and this task is about to end.
        self.store.observe(&address, &reading.metrics(at, sent));
        Ok(())
    }

    fn tell_absurd(&self, reading: &Reading) {
        for absurd in &reading.absurd {
            self.census.absurd.fetch_add(1, Relaxed);
            tracing::debug!(
                pod = self.endpoint.full_name(), address = %self.endpoint.address,
                metric = absurd.name, value = absurd.value, "absurd metric left out"
            );
        }
    }

    fn succeeded(&mut self) {
        self.census.pages.fetch_add(1, Relaxed);
        if let Some((_, failures)) = self.failing.take() {
            tracing::info!(
                pod = self.endpoint.full_name(), address = %self.endpoint.address,
                failures, "metrics are back"
            );
        }
    }

    fn failed(&mut self, failure: Failure) {
        self.census.failures[failure.place()].fetch_add(1, Relaxed);
        let before = self.failing.take();
        let same = before
            .as_ref()
            .is_some_and(|(b, _)| b.place() == failure.place());
        if !same {
            tracing::warn!(
                pod = self.endpoint.full_name(), address = %self.endpoint.address,
                reason = failure.reason(), %failure, "no metrics"
            );
        }
        let failures = before.map_or(0, |(_, n)| n).saturating_add(1);
        self.failing = Some((failure, failures));
    }
}
