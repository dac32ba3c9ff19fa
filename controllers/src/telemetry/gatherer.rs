//! Owns the sources and brings what they know together, once a cycle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::clock::{self, Clock};
use super::evidence::{Candidate, Evidence};
use super::gathered::{Gathered, SourceHealth};
use super::http::SettingsError;
use super::memory::{GateSettings, Memory};
use super::prometheus::{PrometheusSettings, PrometheusSource};
use super::pushed::Pushed;
use super::reason::{Missing, Reason, Source};
use super::router::settings::RouterSettings;
use super::scraper::{Errand, Found, Kind, Page, ScrapeSettings, Scraper};
use super::targets::Targets;
use crate::cycle::drain::Followers;

/// Where telemetry comes from and when it is good enough.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Direct scraping of pods; absent for none.
    pub pods: Option<ScrapeSettings>,
    /// Prometheus; absent for none.
    pub prometheus: Option<PrometheusSettings>,
    /// Routers of requests: endpoint pickers and gateways that count as they do.
    pub routers: RouterSettings,
    /// When telemetry is good enough.
    pub gates: GateSettings,
}

/// The sources, and what is remembered between cycles.
#[derive(Debug)]
pub struct Gatherer {
    gates: GateSettings,
    routers: RouterSettings,
    /// Whether pods are asked, and not routers alone.
    pods: bool,
    scraper: Option<Scraper>,
    prometheus: Option<PrometheusSource>,
    prometheus_health: SourceHealth,
    pushed: Arc<Mutex<Pushed>>,
    memory: Memory,
}

impl Gatherer {
    /// Sets the sources up; nothing is asked yet. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`SettingsError`] where the settings cannot be followed.
    pub fn new(settings: &TelemetrySettings) -> Result<Self, SettingsError> {
        Self::with_clock(settings, clock::system)
    }

    /// As [`Self::new`], with a clock of one's own for the times at which pages are read.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_clock(settings: &TelemetrySettings, clock: Clock) -> Result<Self, SettingsError> {
        let routers = settings.routers.clone();
        routers.check()?;
        // Named routers are asked also where nothing is asked of pods.
        let named = || (!routers.urls.is_empty()).then(ScrapeSettings::default);
        let pages = settings.pods.clone().or_else(named);
        Ok(Self {
            gates: settings.gates,
            scraper: pages
                .map(|s| Scraper::start(&s, &routers.http, clock))
                .transpose()?,
            pods: settings.pods.is_some(),
            routers,
            prometheus: settings
                .prometheus
                .clone()
                .map(PrometheusSource::new)
                .transpose()?,
            prometheus_health: SourceHealth::default(),
            pushed: Arc::default(),
            memory: Memory::default(),
        })
    }

    /// The buffer that pushes go into.
    #[must_use]
    pub fn pushed(&self) -> Arc<Mutex<Pushed>> {
        Arc::clone(&self.pushed)
    }

    /// Endpoint pickers that leave out whom they are told of; `deletion_cost` says whether pods may be marked, too.
    #[must_use]
    pub fn followers(&self, deletion_cost: bool, now: f64) -> Followers {
        let pushed = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        Followers::of(&pushed, deletion_cost, now)
    }

    /// Gathers for one cycle at `now`, seconds since the Unix epoch. Pods are scraped in the background from the first
    /// call that names them; Prometheus is asked here and now.
    pub async fn gather(&mut self, targets: &Targets, now: f64) -> Gathered {
        let routers = self.routers.clone();
        let targets = &*routers.complete(targets);
        let mut evidence = Evidence::default();
        {
            let mut pushed = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
            pushed.forget(now);
            evidence.pushed = pushed.clone();
        }
        evidence.sources.insert(
            Source::Push.as_str().to_owned(),
            push_health(&evidence.pushed),
        );
        let pods = self.scraped(targets, &mut evidence);
        evidence
            .sources
            .insert(Source::Pod.as_str().to_owned(), pods);
        if let Some(prometheus) = &self.prometheus {
            let targets = Arc::new(targets.clone());
            prometheus
                .gather(&targets, now, &mut self.prometheus_health, &mut evidence)
                .await;
        }
        evidence.sources.insert(
            Source::Prometheus.as_str().to_owned(),
            self.prometheus_health.clone(),
        );
        self.memory.judge(targets, evidence, &self.gates, now)
    }

    /// Adds what the scraper has found, and tells it what to read from now on.
    fn scraped(&self, targets: &Targets, evidence: &mut Evidence) -> SourceHealth {
        let Some(scraper) = &self.scraper else {
            return SourceHealth::default();
        };
        let mut errands = routers(targets);
        if self.pods {
            errands.extend(pods(targets, evidence));
        }
        let findings = scraper.findings();
        for (uid, errand) in &errands {
            let Some(found) = findings.get(uid) else {
                evidence.failure(uid, Source::Pod, Missing::new(Reason::NotYetScraped, ""));
                continue;
            };
            if let Some(missing) = found.failing() {
                evidence.failure(uid, Source::Pod, missing.clone());
            }
            add_page(targets, uid, errand, found, evidence);
        }
        let health = pod_health(
            findings
                .iter()
                .filter(|(uid, _)| errands.contains_key(*uid))
                .map(|(_, f)| f),
        );
        scraper.watch(errands);
        health
    }
}

/// Pages of routers, by UID.
fn routers(targets: &Targets) -> BTreeMap<String, Errand> {
    let errands = targets.routers.iter().filter_map(|router| {
        let errand = Errand {
            urls: vec![router.metrics_url()?],
            kind: Kind::Router,
        };
        Some((router.uid.clone(), errand))
    });
    errands.collect()
}

/// Pages of pods, by UID; pods that cannot be read are noted at once.
fn pods(targets: &Targets, evidence: &mut Evidence) -> BTreeMap<String, Errand> {
    let mut errands = BTreeMap::new();
    for pod in &targets.pods {
        let Some(ip) = &pod.ip else {
            evidence.failure(&pod.uid, Source::Pod, Missing::new(Reason::NoAddress, ""));
            continue;
        };
        if pod.endpoint.disabled {
            evidence.failure(
                &pod.uid,
                Source::Pod,
                Missing::new(Reason::ScrapeDisabled, ""),
            );
            continue;
        }
        let errand = Errand {
            urls: pod.endpoint.urls(ip, pod.engine),
            kind: Kind::Engine(pod.engine),
        };
        errands.insert(pod.uid.clone(), errand);
    }
    errands
}

fn add_page(targets: &Targets, uid: &str, errand: &Errand, found: &Found, evidence: &mut Evidence) {
    let mut notes = Vec::new();
    if found.census.malformed > 0 {
        notes.push(super::reason::Note::Malformed);
    }
    match (&found.page, errand.kind) {
        (Some((at, Page::Engine(reading))), Kind::Engine(_)) => evidence.engine(
            uid,
            Candidate {
                source: Source::Pod,
                at: *at,
                reading: Arc::clone(reading),
                notes,
            },
        ),
        (Some((at, Page::Router(reading))), Kind::Router) => {
            let router = evidence.routers.entry(uid.to_owned()).or_default();
            let target = targets.routers.iter().find(|r| r.uid == uid);
            let namespace = target.map(|r| r.namespace.clone());
            router.namespace = namespace.filter(|n| !n.is_empty());
            router.candidates.push(Candidate {
                source: Source::Pod,
                at: *at,
                reading: Arc::clone(reading),
                notes,
            });
        }
        _ => {}
    }
}

fn pod_health<'a>(findings: impl Iterator<Item = &'a Found>) -> SourceHealth {
    let mut health = SourceHealth {
        configured: true,
        ..SourceHealth::default()
    };
    let (mut took, mut pages) = (0.0, 0.0);
    for found in findings {
        if let Some((at, _)) = &found.page {
            health.last_success = Some(health.last_success.map_or(*at, |s| s.max(*at)));
            took += found.took_s;
            pages += 1.0;
            health.series += found.census.read;
        }
        if let Some((at, missing)) = &found.failure
            && health.last_failure.is_none_or(|f| *at > f)
        {
            health.last_failure = Some(*at);
            health.last_error = Some(missing.clone());
        }
    }
    health.latency_s = (pages > 0.0).then(|| took / pages);
    health
}

fn push_health(pushed: &Pushed) -> SourceHealth {
    let mut health = SourceHealth::default();
    for (heard, push) in pushed.newest() {
        health.configured = true;
        health.last_success = Some(health.last_success.map_or(heard, |s| s.max(heard)));
        health.series += (push.streams.len() + push.engines.len()) as u64;
    }
    health
}
