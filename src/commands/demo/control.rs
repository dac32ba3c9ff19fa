//! The controller without an API server: index, telemetry, cycle and what is published, as on a cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use wva_controllers::cycle::drain::Followers;
use wva_controllers::cycle::effects::{Effect, WriteOutcome, Written};
use wva_controllers::cycle::memory::Memory;
use wva_controllers::cycle::{self, Inputs, Outcome};
use wva_controllers::exported::{Exported, Meters, Naming};
use wva_controllers::index::Key;
use wva_controllers::index::fleet::{Base, Fleet, StockSource};
use wva_controllers::published::Publisher;
use wva_controllers::run::last_cycle::LastCycle;
use wva_controllers::run::records::{RecordError, RecordSettings, Records};
use wva_controllers::telemetry::http::SettingsError;
use wva_controllers::telemetry::memory::GateSettings;
use wva_controllers::telemetry::pushed::Push;
use wva_controllers::telemetry::scraper::ScrapeSettings;
use wva_controllers::telemetry::{Gathered, Gatherer, TelemetrySettings};
use wva_models::catalogue::Catalogue;
use wva_models::forecast::ForecastSettings;
use wva_optimizer::replay::Moment;
use wva_optimizer::stabilise::StabiliseSettings;
use wva_optimizer::step::Settings;

use crate::cluster::objects::Objects;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// The controller.
pub struct Control {
    /// What its index starts from.
    pub base: Base,
    /// What it publishes, as text.
    pub exported: Arc<Exported>,
    /// Its last cycle, for whoever asks.
    pub last: watch::Sender<LastCycle>,
    /// What its telemetry brought last.
    pub gathered: Gathered,
    policy: Settings,
    gatherer: Gatherer,
    publisher: Publisher,
    meters: Meters,
    memory: Memory,
    written: Vec<Written>,
    records: Records,
}

/// What a cycle came to.
pub struct Decided {
    /// What is to be written.
    pub effects: Vec<Effect>,
    /// Decisions that changed, in words.
    pub changes: Vec<String>,
}

impl Control {
    /// A controller of this catalogue's models that decides every `cycle`. Inside a tokio runtime.
    pub fn new(
        catalogue: &Catalogue,
        cycle: Duration,
        record: &RecordSettings,
    ) -> Result<Self, Failure> {
        let records = Records::open(record).map_err(unrecorded)?;
        let policy = policy(cycle.as_secs_f64());
        let telemetry = TelemetrySettings {
            pods: Some(ScrapeSettings {
                interval_seconds: policy.cycle_seconds,
                timeout_seconds: 2.0,
                ..ScrapeSettings::default()
            }),
            gates: GateSettings {
                stale_after_seconds: policy.stale_after_seconds,
                ..GateSettings::default()
            },
            ..TelemetrySettings::default()
        };
        let odd = |e: SettingsError| Diagnostic::new(format!("telemetry: {e}"));
        let gatherer = Gatherer::new(&telemetry).map_err(odd)?;
        let (publisher, published) = Publisher::new();
        let (exported, meters) = Exported::new(published, Naming::default());
        meters.leader(true);
        Ok(Self {
            base: Base {
                catalogue: Catalogue {
                    variants: Vec::new(),
                    ..catalogue.clone()
                },
                instance: None,
                default_accelerator: None,
                default_class: None,
                stock: StockSource::Unlimited,
            },
            exported: Arc::new(exported),
            last: watch::channel(None).0,
            gathered: Gathered::default(),
            policy,
            gatherer,
            publisher,
            meters,
            memory: Memory::default(),
            written: Vec::new(),
            records,
        })
    }

    /// One cycle at `now` on these objects, with what the gateway pushes.
    pub async fn cycle(
        &mut self,
        objects: &Objects,
        push: Push,
        now: f64,
    ) -> Result<Decided, Failure> {
        let fleet = objects.fleet(&self.base);
        if let Ok(mut pushed) = self.gatherer.pushed().lock() {
            pushed.take(push, now);
        }
        let targets = self.memory.targets(&fleet);
        self.gathered = self.gatherer.gather(&targets, now).await;
        let began = Instant::now();
        let question = (
            fleet,
            self.gathered.clone(),
            std::mem::take(&mut self.written),
        );
        let (known, policy) = (self.base.catalogue.clone(), self.policy.clone());
        let memory = std::mem::take(&mut self.memory);
        // Solving takes processor time that the servers should not wait for.
        let decided =
            tokio::task::spawn_blocking(move || decide(&question, &known, &policy, memory, now))
                .await;
        let seconds = began.elapsed().as_secs_f64();
        self.meters.cycle(seconds, decided.is_ok());
        let mut outcome = decided.map_err(|e| Diagnostic::new(format!("the cycle failed: {e}")))?;
        self.records.take(&outcome).map_err(unrecorded)?;
        outcome.report.solver = outcome.solver(seconds);
        self.publisher.publish(outcome.report);
        self.memory = outcome.memory;
        self.last.send_replace(Some(Arc::new(Moment {
            autoscaler: outcome.posed.autoscaler,
            state: outcome.before,
            snapshot: outcome.posed.snapshot,
            cycle: outcome.cycle,
        })));
        Ok(Decided {
            effects: outcome.effects,
            changes: outcome.changes,
        })
    }

    /// Takes note that a scale was written.
    pub fn scaled(&mut self, variant: Key, to: u32) {
        self.written.push(Written {
            variant,
            scale: Some(to),
            outcome: WriteOutcome::Done,
        });
    }

    /// Trust in the law of each variant, by the optimizer's name for it.
    pub fn trust(&self, name: &str) -> Option<f64> {
        Some(self.memory.optimizer.variants.get(name)?.fitted().trust)
    }
}

fn unrecorded(error: RecordError) -> Failure {
    Diagnostic::new(error.to_string()).into()
}

fn decide(
    (fleet, gathered, written): &(Fleet, Gathered, Vec<Written>),
    known: &Catalogue,
    settings: &Settings,
    memory: Memory,
    now: f64,
) -> Outcome {
    let inputs = Inputs {
        fleet,
        gathered,
        known,
        settings,
        written,
        followers: &Followers::default(),
        now,
    };
    cycle::run(&inputs, memory)
}

/// The defaults, with every time that is a matter of policy as much shorter as the cycle is than 15 seconds.
fn policy(cycle_seconds: f64) -> Settings {
    let shorter = cycle_seconds / Settings::default().cycle_seconds;
    let own = Settings::default();
    Settings {
        cycle_seconds,
        stale_after_seconds: (own.stale_after_seconds * shorter).max(6.0),
        pending_too_long_seconds: own.pending_too_long_seconds * shorter,
        forecast: ForecastSettings {
            slot_s: (own.forecast.slot_s * shorter).max(1.0),
            outcome_s: (own.forecast.outcome_s * shorter).max(4.0),
        },
        stabilise: StabiliseSettings {
            down_window_seconds: own.stabilise.down_window_seconds * shorter,
            ..own.stabilise
        },
        ..own
    }
}
