//! The clock of the controller: one cycle after the other, each in its own tracing span.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::Instrument as _;
use wva_optimizer::replay::Moment;

use super::keep::Keeper;
use super::last_cycle::LastCycle;
use super::records::Records;
use super::watches::{Watching, lock};
use crate::cycle::drain::Followers;
use crate::cycle::effects::{Effect, Written};
use crate::cycle::memory::Memory;
use crate::cycle::{Departures, Inputs, Outcome, run};
use crate::exported::{Meters, Stage};
use crate::index::{Fleet, Index};
use crate::leader::Term;
use crate::published::Publisher;
use crate::settings::Settings;
use crate::telemetry::{Gathered, Gatherer};

pub(super) struct Cycles {
    pub index: Arc<Mutex<Index>>,
    pub gatherer: Gatherer,
    pub publisher: Publisher,
    pub last: watch::Sender<LastCycle>,
    pub departures: watch::Sender<Departures>,
    pub meters: Meters,
    pub effects: mpsc::Sender<Effect>,
    pub written: mpsc::Receiver<Written>,
    pub terms: watch::Receiver<Term>,
    pub watching: Watching,
    pub memory: Memory,
    pub keeper: Keeper,
    pub settings: Settings,
    /// Findings that were told, so that each is logged once.
    pub told: BTreeMap<String, String>,
    pub records: Records,
}

/// Time between two looks at whether the watches have listed everything.
const SYNC_CHECK: Duration = Duration::from_millis(100);

impl Cycles {
    /// Cycles until told to stop.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !self.watching.pending().is_empty() {
            tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                () = tokio::time::sleep(SYNC_CHECK) => {}
            }
        }
        let seconds = self.settings.policy.cycle_seconds.clamp(0.1, 3600.0);
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(seconds));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut id = 0_u64;
        loop {
            tokio::select! {
                _ = stopped.wait_for(|s| *s) => return self.farewell(),
                _ = ticks.tick() => {}
            }
            id += 1;
            let span = tracing::info_span!("cycle", id);
            self = self.cycle().instrument(span).await;
        }
    }

    /// Keeps what was learned since it was kept last, for the process that comes next.
    fn farewell(&self) {
        if self.terms.borrow().left(Instant::now()).is_some()
            && let Some(effect) = self.keeper.effect(&self.memory)
            && self.effects.try_send(effect).is_err()
        {
            self.meters.error(Stage::Actuation);
        }
    }

    async fn cycle(mut self) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0.0, |d| d.as_secs_f64());
        let fleet = lock(&self.index).fleet(&self.settings.base);
        self.tell(&fleet);
        let targets = self.memory.targets(&fleet);
        let gathered = self.gatherer.gather(&targets, now).await;
        let mut written = Vec::new();
        while let Ok(one) = self.written.try_recv() {
            written.push(one);
        }
        let leads = self.terms.borrow().left(Instant::now()).is_some();
        self.meters.leader(leads);
        let began = Instant::now();
        let memory = std::mem::take(&mut self.memory);
        let settings = self.settings.clone();
        let costs = settings.serve.exchange.as_ref();
        let costs = costs.is_some_and(|e| e.deletion_cost);
        let followers = self.gatherer.followers(costs, now);
        let question = (fleet, gathered, written, followers, settings);
        // Solving takes processor time that the watches and servers should not wait for.
        let decided = tokio::task::spawn_blocking(move || decide(&question, memory, now)).await;
        let seconds = began.elapsed().as_secs_f64();
        self.meters.cycle(seconds, decided.is_ok());
        match decided {
            Ok(outcome) => self.act(outcome, leads, seconds, now),
            Err(error) => {
                // A bug; what was learned is lost with it, which lowers nothing.
                self.meters.error(Stage::Plan);
                tracing::error!(%error, "the cycle failed");
            }
        }
        self
    }

    fn act(&mut self, outcome: Outcome, leads: bool, seconds: f64, now: f64) {
        for change in &outcome.changes {
            tracing::info!("{change}");
        }
        if let Err(error) = self.records.take(&outcome) {
            self.meters.error(Stage::Recording);
            tracing::warn!(%error, "this cycle is not on record");
        }
        let solver = outcome.solver(seconds);
        let mut report = outcome.report;
        report.solver = solver;
        tracing::debug!(
            seconds,
            variants = report.entries.len(),
            effects = outcome.effects.len(),
            leads,
            "decided"
        );
        self.publisher.publish(report);
        // First, so that nobody takes older departures for those of this cycle.
        self.departures.send_replace(outcome.departures);
        self.last.send_replace(Some(Arc::new(Moment {
            autoscaler: outcome.posed.autoscaler,
            state: outcome.before,
            snapshot: outcome.posed.snapshot,
            cycle: outcome.cycle,
        })));
        self.memory = outcome.memory;
        if !leads {
            return;
        }
        let kept = self.keeper.effects(&self.memory, now);
        for effect in outcome.effects.into_iter().chain(kept) {
            if self.effects.try_send(effect).is_err() {
                // The queue is bounded; what does not fit is made again.
                self.meters.error(Stage::Actuation);
                break;
            }
        }
    }

    /// Logs each finding about the configuration once, and again when it changes.
    fn tell(&mut self, fleet: &Fleet) {
        let now: BTreeMap<String, String> = fleet
            .findings
            .iter()
            .map(|f| (format!("{} {}", f.subject, f.code), f.text.clone()))
            .collect();
        for (about, text) in &now {
            if self.told.get(about) != Some(text) {
                self.meters.error(Stage::Configuration);
                tracing::warn!("{about}: {text}");
            }
        }
        self.told = now;
    }
}

/// What a cycle is about.
type Question = (Fleet, Gathered, Vec<Written>, Followers, Settings);

fn decide(
    (fleet, gathered, written, followers, settings): &Question,
    memory: Memory,
    now: f64,
) -> Outcome {
    let inputs = Inputs {
        fleet,
        gathered,
        known: &settings.base.catalogue,
        settings: &settings.policy,
        written,
        followers,
        now,
    };
    run(&inputs, memory)
}
