//! The fleet: replicas that come and go, a gateway that routes to them, and what Kubernetes and Prometheus see of it.
//!
//! ```text
//! requests ─▶ gateway ─ route ─▶ replica ──────────────────────────▶ done
//!               │ hold             prefill ─ link ─▶ decode ─▶ done
//!               ▼
//!     interactive: until a replica is ready     batch: until a replica has slack
//!
//! replica:  pending ──device free──▶ starting ──start-up──▶ ready ──scaled down──▶ draining ──empty──▶ gone
//! ```
//! A replica costs from being scheduled (it holds devices) until it is gone. Scaling down takes replicas that wait for a
//! device first, then the youngest that are starting, then the ready ones with the fewest requests; a ready replica
//! finishes what it has. Kubernetes alone would pick ready ones by age and not wait: the choice and the drain are what
//! pod-deletion-cost and a termination grace period give a well-configured deployment, and every policy gets the same.
//!
//! Disaggregated requests follow vLLM's KV connectors: gateway and sidecar choose both replicas on arrival; the prefill
//! replica computes the prompt and its own sampled token is thrown away; the KV cache travels over the prefill
//! replica's link; the decode replica computes the last input token again and so emits the first token that the client
//! sees. TTFT thus is queue + prefill + link + queue + one decode iteration. The prefill replica's KV memory is freed when
//! the prompt is done rather than when it has travelled: transfers take milliseconds.

mod batch;
mod endpoints;
mod gateway;
mod meter;
mod pod;
mod router;
mod scaling;
mod scrape;
mod serving;
mod stock;
mod stream;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use wva_models::catalogue::Catalogue;
use wva_models::variant::Role;

pub use self::router::{Router, UnknownRouter};
pub(crate) use self::scrape::Scraped;

use self::endpoints::Endpoints;
use self::gateway::ModelState;
use self::pod::Pod;
pub(crate) use self::pod::VariantState;
use self::stock::Stock;
pub(crate) use self::stream::StreamState;
use crate::event::EventQueue;
use crate::histogram::LogHistogram;
use crate::replica::{ReplicaSpec, Signal};
use crate::request::{BLOCK_TOKENS, Stream};
use crate::run::{Setup, SetupError};
use crate::sequence::Sequences;
use crate::time::Time;

/// What happens at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// The work in progress of a replica's engine ends.
    Wake(u32),
    /// A replica has loaded.
    Ready(u32),
    /// A request's KV cache has arrived at its decode replica.
    Transferred(u32),
    /// Requests held for a model may have waited too long.
    HoldLimit(u32),
    /// A stock-out begins or ends.
    StockChange,
    /// Cost, replicas and the timeline end here.
    Close,
    /// Metrics are scraped.
    Scrape,
    /// The Endpoint Picker scrapes its endpoints.
    Probe,
    /// The policy's cycle.
    Decide,
    /// The HorizontalPodAutoscalers sync.
    Sync,
    /// A point of the timeline.
    Sample,
}

impl Event {
    /// Order among events of one time: what acts, what measures, what decides on the measurements.
    const fn rank(self) -> u8 {
        match self {
            Self::Wake(_) | Self::Ready(_) | Self::Transferred(_) => 0,
            Self::HoldLimit(_) | Self::StockChange => 1,
            Self::Scrape | Self::Probe => 2,
            Self::Decide => 3,
            Self::Sync => 4,
            Self::Sample => 5,
            Self::Close => 6,
        }
    }
}

/// Replicas, gateway and everything in flight.
pub(crate) struct Fleet<'a> {
    pub(crate) setup: &'a Setup<'a>,
    pub(crate) now: Time,
    /// End of accounting.
    pub(crate) end: Time,
    pub(crate) events: EventQueue<Event>,
    pub(crate) sequences: Sequences,
    gaps: Vec<LogHistogram>,
    signals: Vec<Signal>,
    pods: Vec<Pod>,
    pub(crate) variants: Vec<VariantState>,
    models: Vec<ModelState>,
    pub(crate) streams: Vec<StreamState>,
    stock: Stock,
    arrivals: u64,
    /// Replicas that hold devices, over all variants, and the most there were.
    pub(crate) holding: (u32, u32),
    start_up: Xoshiro256PlusPlus,
    /// The Endpoint Picker, where it routes.
    endpoints: Option<Box<Endpoints>>,
}

impl<'a> Fleet<'a> {
    /// The fleet at time zero, its initial replicas ready.
    pub(crate) fn new(setup: &'a Setup<'a>) -> Result<Self, SetupError> {
        setup.check()?;
        let catalogue = setup.catalogue;
        let streams = setup.source.streams();
        let classes = stream::classes_of(catalogue, streams)?;
        let levels = stream::levels(&classes);
        let names = model_names(catalogue, streams)?;
        let model_of = |name: &str| {
            let name = catalogue.model(name).map(|m| m.name.as_str());
            names.iter().position(|n| Some(n.as_str()) == name)
        };
        let bounds = stream::itl_bounds(streams, &classes, names.len(), model_of);
        let model_of_variant =
            |i: usize| model_of(&catalogue.variants[i].model).unwrap_or_default();
        let spec = |i: usize| ReplicaSpec {
            model: setup.truth[i],
            prefill_only: catalogue.variants[i].role == Role::Prefill,
            prefix_caching: catalogue.variants[i].engine.prefix_caching,
            block_tokens: BLOCK_TOKENS,
            interactive_levels: levels.interactive,
            batch_levels: levels.batch,
            batch_chunk: batch::chunk(setup, i, bounds[model_of_variant(i)]),
        };
        let variants: Vec<VariantState> = (0..catalogue.variants.len())
            .map(|i| {
                let model = model_of_variant(i);
                VariantState::new(catalogue, i, model, spec(i), setup.options.link_bytes_per_s)
            })
            .collect();
        let states = stream::states(streams, &classes, &levels, &variants, model_of);
        let endpoints = match setup.options.router {
            Router::LeastLoad => None,
            Router::Picker(router) => {
                let seed = setup.seed ^ 0x726f_7574_6572;
                Some(Box::new(Endpoints::new(
                    router,
                    names.len(),
                    &variants,
                    seed,
                )))
            }
        };
        let mut fleet = Self {
            setup,
            now: Time::ZERO,
            end: Time::from_seconds(setup.duration_s),
            events: EventQueue::default(),
            sequences: Sequences::default(),
            gaps: vec![LogHistogram::default(); streams.len()],
            signals: Vec::new(),
            pods: Vec::new(),
            models: (0..names.len())
                .map(|m| ModelState::new(m, &variants, bounds[m]))
                .collect(),
            variants,
            streams: states,
            stock: Stock::new(catalogue, &setup.faults),
            arrivals: 0,
            holding: (0, 0),
            start_up: Xoshiro256PlusPlus::seed_from_u64(setup.seed ^ 0x0073_7461_7274),
            endpoints,
        };
        fleet.populate();
        Ok(fleet)
    }

    pub(crate) fn push(&mut self, time: Time, event: Event) {
        self.events.push(time, event.rank(), event);
    }

    /// Gaps between output tokens per stream.
    pub(crate) fn gaps(&self) -> &[LogHistogram] {
        &self.gaps
    }
}

/// Names of the models that variants or streams mention, in the order of first mention.
fn model_names(catalogue: &Catalogue, streams: &[Stream]) -> Result<Vec<String>, SetupError> {
    let mut names: Vec<String> = Vec::new();
    let mentioned = catalogue.variants.iter().map(|v| &v.model);
    for mention in mentioned.chain(streams.iter().map(|s| &s.model)) {
        let model = catalogue
            .model(mention)
            .ok_or_else(|| SetupError::UnknownModel {
                name: mention.clone(),
            })?;
        if !names.contains(&model.name) {
            names.push(model.name.clone());
        }
    }
    Ok(names)
}
