//! Reads metrics pages of pods, each once an interval, evenly spread.
//!
//! Every page has its own moment in the interval, by a hash of its identity: ten thousand pods make a steady trickle
//! instead of a burst each cycle, and a cycle finds pages of all ages up to one interval, each with its own time. Pages are
//! parsed where they arrive; only numbers are kept.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::clock::Clock;
use super::engine::{Dialect, EngineReading};
use super::exposition::{Census, Syntax};
use super::http::{Http, HttpSettings, Limits, SettingsError, within};
use super::reason::{Missing, Reason};
use super::router::{RouterReader, RouterReading};

/// How to scrape pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrapeSettings {
    /// Time between two reads of one pod, seconds.
    pub interval_seconds: f64,
    /// Reads under way at once.
    pub concurrency: u32,
    /// Deadline of one read, seconds.
    pub timeout_seconds: f64,
    /// Longest page, bytes.
    pub max_bytes: u64,
    /// How to reach them.
    pub http: HttpSettings,
}

impl Default for ScrapeSettings {
    fn default() -> Self {
        Self {
            interval_seconds: 10.0,
            concurrency: 64,
            timeout_seconds: 5.0,
            max_bytes: 8 << 20,
            http: HttpSettings::default(),
        }
    }
}

/// What kind of page is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model server's, with its engine by the label.
    Engine(Option<Dialect>),
    /// An endpoint picker's.
    Router,
}

/// One thing to read: one or more pages that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// Where; all of them must answer.
    pub urls: Vec<String>,
    /// What is expected there.
    pub kind: Kind,
}

/// What was read.
#[derive(Debug, Clone)]
pub enum Page {
    /// Of a model server.
    Engine(Arc<EngineReading>),
    /// Of an endpoint picker.
    Router(Arc<RouterReading>),
}

/// What became of one errand.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The last page that was read, and when.
    pub page: Option<(f64, Page)>,
    /// The last failure, and when.
    pub failure: Option<(f64, Missing)>,
    /// How long the last success took, seconds.
    pub took_s: f64,
    /// What was on the last page.
    pub census: Census,
}

impl Found {
    /// The failure, where it is newer than the page.
    #[must_use]
    pub fn failing(&self) -> Option<&Missing> {
        let (at, missing) = self.failure.as_ref()?;
        self.page
            .as_ref()
            .is_none_or(|(read, _)| at >= read)
            .then_some(missing)
    }
}

type Errands = Arc<BTreeMap<String, Errand>>;
type Findings = Arc<Mutex<BTreeMap<String, Found>>>;

/// A task that reads pages until it is dropped.
#[derive(Debug)]
pub struct Scraper {
    errands: watch::Sender<Errands>,
    findings: Findings,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Plain text only: OpenMetrics would bring exemplars along, and the Python client takes any mention of it for a wish.
const ACCEPT: &str = "text/plain;version=0.0.4, text/plain;q=0.9, */*;q=0.1";

impl Scraper {
    /// Starts the task; it has nothing to do yet. Routers are reached by settings of their own: what model servers are told is
    /// not their business. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`SettingsError`] where the settings cannot be followed.
    pub fn start(
        settings: &ScrapeSettings,
        routers: &HttpSettings,
        clock: Clock,
    ) -> Result<Self, SettingsError> {
        within("interval_seconds", settings.interval_seconds, 3600.0)?;
        within("concurrency", f64::from(settings.concurrency), 10_000.0)?;
        let limits = Limits {
            timeout_s: settings.timeout_seconds,
            max_bytes: settings.max_bytes,
            accept_gzip: false,
            keep_alive: false,
        };
        let http = Arc::new(Http::new(settings.http.clone(), limits)?);
        let router_http = Arc::new(Http::new(routers.clone(), limits)?);
        let (errands, wanted) = watch::channel(Errands::default());
        let findings = Findings::default();
        let round = Round {
            http,
            router_http,
            wanted,
            findings: Arc::clone(&findings),
            interval: Duration::from_secs_f64(settings.interval_seconds),
            permits: Arc::new(Semaphore::new(settings.concurrency as usize)),
            clock,
            start: Instant::now(),
        };
        Ok(Self {
            errands,
            findings,
            task: tokio::spawn(round.run()),
        })
    }

    /// Sets what to read, by identity.
    pub fn watch(&self, errands: BTreeMap<String, Errand>) {
        self.errands.send_if_modified(|held| {
            let differs = **held != errands;
            if differs {
                *held = Arc::new(errands);
            }
            differs
        });
    }

    /// What has become of each errand so far.
    #[must_use]
    pub fn findings(&self) -> BTreeMap<String, Found> {
        self.findings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

struct Round {
    http: Arc<Http>,
    router_http: Arc<Http>,
    wanted: watch::Receiver<Errands>,
    findings: Findings,
    interval: Duration,
    permits: Arc<Semaphore>,
    clock: Clock,
    start: Instant,
}

impl Round {
    async fn run(mut self) {
        let mut due: BinaryHeap<Reverse<(Instant, String)>> = BinaryHeap::new();
        let mut scheduled: HashSet<String> = HashSet::new();
        loop {
            let errands = Arc::clone(&self.wanted.borrow_and_update());
            for key in errands
                .keys()
                .filter(|k| !scheduled.contains(*k))
                .cloned()
                .collect::<Vec<_>>()
            {
                due.push(Reverse((self.next(&key), key.clone())));
                scheduled.insert(key);
            }
            let next = due.peek().map(|Reverse((at, _))| *at);
            let waiting = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return },
                () = waiting => {
                    if let Some(Reverse((_, key))) = due.pop() {
                        if let Some(errand) = errands.get(&key) {
                            self.send(key.clone(), errand.clone()).await;
                            due.push(Reverse((self.next(&key), key)));
                        } else {
                            scheduled.remove(&key);
                            self.findings.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                        }
                    }
                }
            }
        }
    }

    /// The next moment of `key`: missed ones are left out.
    fn next(&self, key: &str) -> Instant {
        let phase = phase(key);
        let elapsed = self.start.elapsed().as_secs_f64() / self.interval.as_secs_f64();
        let round = (elapsed - phase).floor() + 1.0;
        self.start + self.interval.mul_f64((round + phase).max(0.0))
    }

    /// Reads the pages of one errand as soon as there is room for it.
    async fn send(&self, key: String, errand: Errand) {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return;
        };
        let http = match errand.kind {
            Kind::Engine(_) => Arc::clone(&self.http),
            Kind::Router => Arc::clone(&self.router_http),
        };
        let (findings, clock) = (Arc::clone(&self.findings), self.clock);
        tokio::spawn(async move {
            let began = Instant::now();
            let read = read(&http, &errand).await;
            let now = clock();
            let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
            let found = findings.entry(key).or_default();
            match read {
                Ok((page, census)) => {
                    found.page = Some((now, page));
                    found.census = census;
                    found.took_s = began.elapsed().as_secs_f64();
                }
                Err(missing) => found.failure = Some((now, missing)),
            }
            drop(permit);
        });
    }
}

/// Moment of `key` in the interval, 0 to 1: evenly spread over many keys.
fn phase(key: &str) -> f64 {
    let mix = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    // The high bits of this hash mix too little of the last bytes.
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / 2_f64.powi(64)
}

async fn read(http: &Http, errand: &Errand) -> Result<(Page, Census), Missing> {
    let mut pages: Vec<(Vec<u8>, Syntax)> = Vec::with_capacity(errand.urls.len());
    for url in &errand.urls {
        let at = |m: Missing| Missing {
            detail: format!("{url}: {}", m.detail),
            ..m
        };
        let (body, kind) = http.get(url, ACCEPT).await.map_err(at)?;
        let Some(syntax) = Syntax::of_content_type(kind.as_deref()) else {
            return Err(Missing::new(
                Reason::BadContentType,
                format!("{url}: {}", kind.unwrap_or_default()),
            ));
        };
        pages.push((body, syntax));
    }
    let unknown = || Missing::new(Reason::NoEngineMetrics, errand.urls.join(", "));
    match errand.kind {
        Kind::Engine(declared) => {
            let slices = pages
                .iter()
                .map(|(body, syntax)| (body.as_slice(), *syntax));
            let (reading, census) = EngineReading::of_pages(slices, declared);
            Ok((Page::Engine(Arc::new(reading.ok_or_else(unknown)?)), census))
        }
        Kind::Router => {
            let (body, syntax) = pages.first().ok_or_else(unknown)?;
            let (reading, census) = RouterReader::of_page(body, *syntax);
            Ok((Page::Router(Arc::new(reading.ok_or_else(unknown)?)), census))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::phase;

    #[test]
    fn ten_thousand_pods_are_spread_evenly() {
        let mut slots = [0_u32; 20];
        for i in 0..10_000 {
            let phase = phase(&format!("6f1c2d3e-0000-4000-8000-{i:012}"));
            slots[(phase * 20.0) as usize % 20] += 1;
        }
        // Poisson: 500 ± 22 a slot.
        assert!(slots.iter().all(|n| (390..=610).contains(n)), "{slots:?}");
    }
}
