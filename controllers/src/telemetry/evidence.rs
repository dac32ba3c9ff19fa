//! What the sources brought in one cycle, before anything was judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::engine::EngineReading;
use super::gathered::SourceHealth;
use super::gpu::Gpu;
use super::pushed::Pushed;
use super::reason::{Missing, Note, Source};
use super::router::RouterReading;
use super::tally::Tally;

/// One reading of one thing by one source.
#[derive(Debug, Clone)]
pub struct Candidate<T> {
    /// Who brought it.
    pub source: Source,
    /// When it was read, seconds since the Unix epoch, by the clock of whoever read it.
    pub at: f64,
    /// What was read.
    pub reading: Arc<T>,
    /// What is odd about it.
    pub notes: Vec<Note>,
}

/// Everything that the sources brought.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Engine readings by pod UID.
    pub engines: BTreeMap<String, Vec<Candidate<EngineReading>>>,
    /// Why a source has nothing of a pod, by pod UID.
    pub failures: BTreeMap<String, Vec<(Source, Missing)>>,
    /// Endpoint pickers' readings by identity (UID, or namespace/pod), with the namespace where it is known.
    pub routers: BTreeMap<String, RouterEvidence>,
    /// Request shapes of whole models, for pods whose own histograms were not read: by namespace and served name.
    pub shapes: BTreeMap<(String, String), Tally>,
    /// GPUs.
    pub gpus: Vec<Gpu>,
    /// Newest pushes.
    pub pushed: Pushed,
    /// How the sources did, by name.
    pub sources: BTreeMap<String, SourceHealth>,
}

/// Readings of one endpoint picker.
#[derive(Debug, Clone, Default)]
pub struct RouterEvidence {
    /// Its namespace, where it is known.
    pub namespace: Option<String>,
    /// One reading per source.
    pub candidates: Vec<Candidate<RouterReading>>,
}

impl Evidence {
    /// Adds an engine reading.
    pub fn engine(&mut self, uid: &str, candidate: Candidate<EngineReading>) {
        self.engines
            .entry(uid.to_owned())
            .or_default()
            .push(candidate);
    }

    /// Notes why `source` has nothing of a pod.
    pub fn failure(&mut self, uid: &str, source: Source, missing: Missing) {
        self.failures
            .entry(uid.to_owned())
            .or_default()
            .push((source, missing));
    }

    /// Adds the engine readings that endpoint pickers pushed.
    pub fn spread_pushes(&mut self) {
        let pushes: Vec<_> = self
            .pushed
            .newest()
            .flat_map(|(heard, push)| {
                let engines = push.engines.iter();
                engines
                    .map(move |(uid, (at, reading))| (uid.clone(), at.min(heard), reading.clone()))
            })
            .collect();
        for (uid, at, reading) in pushes {
            let candidate = Candidate {
                source: Source::Push,
                at,
                reading: Arc::new(reading),
                notes: Vec::new(),
            };
            self.engine(&uid, candidate);
        }
    }
}
