//! The YAML of a scenario, key by key. Unknown keys are errors; numbers carry their unit in the key.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Location;
use wva_models::catalogue::{AcceleratorText, ModelText, Spanned, VariantText};
use wva_models::service_class::ServiceClassText;
use wva_models::shape::ShapeText;

use super::fault::FaultText;
use super::policies::PolicyChoice;

/// A whole scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioText {
    /// Name for reports; absent: the file's name.
    pub name: Option<String>,
    /// Seed of everything random.
    #[serde(default = "one")]
    pub seed: u64,
    /// Length of the run; absent: that of the longest trace, rate file or ramp.
    pub duration_minutes: Option<Spanned<f64>>,
    /// The catalogue's key: new or changed device types.
    #[serde(default)]
    pub accelerators: Vec<Spanned<AcceleratorText>>,
    /// The catalogue's key: new or changed models.
    #[serde(default)]
    pub models: Vec<Spanned<ModelText>>,
    /// The catalogue's key: what can be scaled.
    pub variants: Option<Vec<Spanned<VariantText>>>,
    /// The catalogue's key: service classes.
    #[serde(default)]
    pub classes: Vec<Spanned<ServiceClassText>>,
    /// The catalogue's key: devices that exist.
    #[serde(default)]
    pub stock: BTreeMap<String, Spanned<u32>>,
    /// Traffic; several entries for one model and class add up.
    #[serde(default)]
    pub traffic: Vec<Spanned<TrafficText>>,
    /// How the fleet starts and is watched.
    #[serde(default)]
    pub fleet: FleetText,
    /// How the gateway picks a replica: `least-load`, or as the Endpoint Picker does it: `random`, `least-queue`,
    /// `prefix`, `slo`; absent: least-load.
    pub router: Option<Spanned<String>>,
    /// How far reality is from the catalogue.
    #[serde(default)]
    pub truth: TruthText,
    /// Policies to compare; absent: all.
    pub policies: Option<Vec<Spanned<PolicyChoice>>>,
    /// What goes wrong.
    #[serde(default)]
    pub(super) faults: Vec<Spanned<FaultText>>,
}

const fn one() -> u64 {
    1
}

/// Traffic of one model and class.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficText {
    /// Model name.
    pub model: Spanned<String>,
    /// Class name.
    pub class: Spanned<String>,
    /// When requests come.
    pub arrivals: Spanned<ArrivalsText>,
    /// How large they are; not needed with a trace of requests, which has its own sizes.
    pub shape: Option<ShapeText>,
}

/// When requests come. `cv` is the coefficient of variation of the gaps: 1 (Poisson) where it is absent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ArrivalsText {
    /// At a constant rate, independent of each other.
    Poisson {
        /// Requests per second.
        rps: f64,
    },
    /// At a constant rate, more regular (cv < 1) or more bursty (cv > 1) than Poisson.
    Gamma {
        /// Requests per second.
        rps: f64,
        /// Coefficient of variation of the gaps.
        cv: f64,
    },
    /// At a rate that jumps between states: bursts that last.
    Mmpp {
        /// The states.
        states: Vec<StateText>,
    },
    /// At a rate that is held from point to point.
    Steps {
        /// The points.
        points: Vec<PointText>,
        /// Coefficient of variation of the gaps.
        #[serde(default = "poisson")]
        cv: f64,
    },
    /// At a rate that goes on straight lines from point to point.
    Ramp {
        /// The points.
        points: Vec<PointText>,
        /// Coefficient of variation of the gaps.
        #[serde(default = "poisson")]
        cv: f64,
    },
    /// With a daily peak and trough; time 0 is midnight (of a Monday).
    Diurnal {
        /// Mean rate.
        mean_rps: f64,
        /// Peak rate over mean rate of a day.
        peak_to_mean: f64,
        /// Hour of the peak, 0 to 24.
        peak_hour: f64,
        /// Rate of a weekend day over that of a weekday; absent: all days alike.
        weekend_to_weekday: Option<f64>,
        /// Coefficient of variation of the gaps.
        #[serde(default = "poisson")]
        cv: f64,
    },
    /// At recorded rates: a CSV file `t_s, rate_rps[, client_cv]`.
    RateFile(FileText),
    /// As recorded: Azure, Mooncake, BurstGPT or similar; told apart by content.
    Trace(FileText),
}

const fn poisson() -> f64 {
    1.0
}

/// One state of a switching rate.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateText {
    /// Requests per second in this state.
    pub rps: f64,
    /// Mean stay in it.
    pub mean_seconds: f64,
}

/// One point of a rate over time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointText {
    /// Minutes since the start.
    pub minute: f64,
    /// Requests per second.
    pub rps: f64,
}

/// A traffic file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileText {
    /// Path, relative to the scenario's folder.
    pub path: Spanned<String>,
    /// Its traffic this many times as often.
    #[serde(default = "poisson")]
    pub rate_scale: f64,
}

/// How the fleet starts and is watched.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FleetText {
    /// Ready replicas at the start, per variant name (0 for those left out); absent: every policy starts with the fleet
    /// planned for the first minutes' traffic.
    pub initial: Option<BTreeMap<String, Spanned<u32>>>,
    /// Seconds between scrapes of the metrics.
    pub scrape_seconds: Spanned<f64>,
    /// Coefficient of variation of start-up times.
    pub start_up_cv: Spanned<f64>,
}

impl Default for FleetText {
    fn default() -> Self {
        Self {
            initial: None,
            scrape_seconds: nowhere(15.0),
            start_up_cv: nowhere(0.1),
        }
    }
}

/// How far reality is from the catalogue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TruthText {
    /// Each parameter of each variant's iteration law is off by up to this fraction, either way.
    pub off_by_fraction: Spanned<f64>,
}

impl Default for TruthText {
    fn default() -> Self {
        Self {
            off_by_fraction: nowhere(0.0),
        }
    }
}

/// A default, which has no place in the file.
fn nowhere<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}
