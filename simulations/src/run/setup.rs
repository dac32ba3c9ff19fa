//! What a run is given.

use wva_models::catalogue::Catalogue;
use wva_models::iteration::ReplicaModel;

use crate::fault::Fault;
use crate::fleet::Router;
use crate::request::RequestSource;

/// Everything that defines a run but the policy.
pub struct Setup<'a> {
    /// Accelerators, models, variants, classes and stock; what it believes of the variants is all that a policy is told.
    pub catalogue: &'a Catalogue,
    /// What replicas really do, in the order of the catalogue's variants.
    pub truth: Vec<ReplicaModel>,
    /// Requests; those after the duration are not taken.
    pub source: &'a dyn RequestSource,
    /// Length of the run, s.
    pub duration_s: f64,
    /// Replicas of each variant that are ready at the start.
    pub initial: Vec<u32>,
    /// Seconds between scrapes of the metrics.
    pub scrape_interval_s: f64,
    /// Coefficient of variation of start-up times.
    pub start_up_cv: f64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Seed of everything random: requests, start-up times, random routing.
    pub seed: u64,
    /// The rest.
    pub options: Options,
}

/// Settings that seldom need changing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// How the gateway picks among ready replicas.
    pub router: Router,
    /// Seconds between the Endpoint Picker's own scrapes of an endpoint's gauges, where it is the router.
    pub probe_interval_s: f64,
    /// Longest time that the gateway holds an interactive request without a ready replica, s.
    pub hold_limit_s: f64,
    /// Bandwidth of the link that takes the KV cache from a prefill replica to decode replicas, bytes/s.
    pub link_bytes_per_s: f64,
    /// Most prefill tokens of batch requests in one engine iteration; halved where a device is too slow for the ITL bound.
    pub batch_chunk_tokens: u32,
    /// Share of the interactive ITL bound up to which batch work may fill iterations.
    pub batch_itl_margin: f64,
    /// Share of a replica's KV memory up to which batch requests are added.
    pub batch_kv_share: f64,
    /// How long requests in flight may go on after the end, s.
    pub tail_s: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            router: Router::LeastLoad,
            probe_interval_s: 0.5,
            hold_limit_s: 300.0,
            link_bytes_per_s: 50e9,
            batch_chunk_tokens: 512,
            batch_itl_margin: 0.8,
            batch_kv_share: 0.8,
            tail_s: 300.0,
        }
    }
}

/// Why a setup cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SetupError {
    /// A stream or variant names a model that the catalogue lacks.
    #[error("the catalogue has no model `{name}`")]
    UnknownModel {
        /// The name.
        name: String,
    },
    /// A stream names a class that the catalogue lacks.
    #[error("the catalogue has no service class `{name}`")]
    UnknownClass {
        /// The name.
        name: String,
    },
    /// A list that goes with the catalogue's variants has another length.
    #[error("{what} has {found} entries for {variants} variants")]
    WrongLength {
        /// Which list.
        what: &'static str,
        /// Its length.
        found: usize,
        /// Number of variants.
        variants: usize,
    },
    /// A number is NaN, infinite or out of range.
    #[error("{what} must be {domain}, not {value}")]
    Invalid {
        /// Which number.
        what: &'static str,
        /// Its domain in words.
        domain: &'static str,
        /// The offending number.
        value: f64,
    },
}

impl Setup<'_> {
    /// Whether the setup makes sense: finite positive times, laws and limits, and a truth and an initial count for every
    /// variant.
    ///
    /// # Errors
    /// [`SetupError`] naming what does not.
    pub fn check(&self) -> Result<(), SetupError> {
        let variants = self.catalogue.variants.len();
        let lists = [
            ("the truth", self.truth.len()),
            ("the initial fleet", self.initial.len()),
        ];
        for (what, found) in lists {
            if found != variants {
                return Err(SetupError::WrongLength {
                    what,
                    found,
                    variants,
                });
            }
        }
        for fault in &self.faults {
            if let Fault::ScrapeOutage {
                variant: Some(v), ..
            } = fault
                && *v >= variants
            {
                return Err(SetupError::WrongLength {
                    what: "a scrape outage",
                    found: *v,
                    variants,
                });
            }
        }
        positive("duration_s", self.duration_s)?;
        positive("scrape_interval_s", self.scrape_interval_s)?;
        at_least_zero("start_up_cv", self.start_up_cv)?;
        positive("link_bytes_per_s", self.options.link_bytes_per_s)?;
        positive("probe_interval_s", self.options.probe_interval_s)?;
        at_least_zero("hold_limit_s", self.options.hold_limit_s)?;
        at_least_zero("tail_s", self.options.tail_s)?;
        self.truth.iter().try_for_each(check_replica)
    }
}

fn check_replica(model: &ReplicaModel) -> Result<(), SetupError> {
    for (what, value) in model.law.parameters() {
        at_least_zero(what, value)?;
    }
    // An iteration that takes no time would let the clock stand still.
    positive(
        "overhead_s + floor_s",
        model.law.overhead_s + model.law.floor_s,
    )?;
    positive("token_budget", model.limits.token_budget)?;
    positive("max_sequences", model.limits.max_sequences)?;
    positive("kv_tokens", model.limits.kv_tokens)
}

fn positive(what: &'static str, value: f64) -> Result<(), SetupError> {
    check(what, "positive and finite", value, value > 0.0)
}

fn at_least_zero(what: &'static str, value: f64) -> Result<(), SetupError> {
    check(what, "finite and at least 0", value, value >= 0.0)
}

fn check(
    what: &'static str,
    domain: &'static str,
    value: f64,
    holds: bool,
) -> Result<(), SetupError> {
    if holds && value.is_finite() {
        Ok(())
    } else {
        Err(SetupError::Invalid {
            what,
            domain,
            value,
        })
    }
}
