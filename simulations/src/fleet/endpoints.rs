//! An Endpoint Picker in front of each model's replicas: the production choice on what the production server knows.
//!
//! ```text
//!  engines ──gauges, every scrape──► Directory ──► Pool ─┐
//!  requests sent, first tokens, ends ──► Inflight ───────┼─► Picker::pick ──► replica (and decoder)
//!  block hashes of the prompts sent ──► PrefixIndex ─────┤
//!  laws that the policy has learned ──► VariantModel ────┘
//! ```
//! Nothing else goes in: no queue of now, no cache of an engine, no output length, no true law. The policy's shares choose
//! between paths first; within a path the picker chooses, told by the subset of addresses that a proxy would send along.
//! Batch requests are pulled by replicas with slack and only booked here, as any request that passes the gateway is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wva_epp_core::State;
use wva_epp_core::endpoint::{CacheConfig, Endpoint, Metrics, ROLE_LABEL, Slot};
use wva_epp_core::inflight::Flight;
use wva_epp_core::picker::Picker;
use wva_epp_core::pool::{Directory, Pool};
use wva_epp_core::predict::VariantModel;
use wva_epp_core::prefix::PrefixLimits;
use wva_epp_core::request::{Allowed, Request, Targets};
use wva_epp_core::router::Router as Ready;
use wva_models::iteration::ReplicaModel;
use wva_models::variant::Role;

use super::gateway::Route;
use super::pod::VariantState;
use crate::replica::Replica;
use crate::request::BLOCK_TOKENS;
use crate::sequence::{Sequence, SequenceId};
use crate::time::Time;

/// Tokens of a block of an engine's KV cache, as its configuration shows.
const KV_BLOCK: u32 = 16;
/// Input and output tokens of a request before any has been seen.
const UNSEEN: (f64, f64) = (1000.0, 200.0);

/// The pickers of all models.
pub(super) struct Endpoints {
    models: Vec<OfModel>,
    /// Where the requests in flight are booked, by their ordinals.
    flights: Vec<Option<Flight>>,
    /// Model and place of each replica, by its ordinal.
    places: Vec<Option<(usize, Slot)>>,
    chain: Vec<u64>,
    allowed: Vec<Allowed>,
}

/// The picker of one model's pool.
struct OfModel {
    whole: Picker,
    split: Picker,
    directory: Directory,
    pool: Pool,
    state: State,
    /// The replica at each place.
    pods: Vec<u32>,
    /// Laws and limits in use, by variant; `None` for those of other models.
    laws: Vec<Option<ReplicaModel>>,
    /// Mean input and output tokens of its requests.
    sizes: (f64, f64),
}

/// What a request asks for besides its size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) model: usize,
    pub(super) priority: i32,
    pub(super) targets: Targets,
}

impl Endpoints {
    /// Pickers without endpoints, which believe the catalogue.
    pub(super) fn new(router: Ready, models: usize, variants: &[VariantState], seed: u64) -> Self {
        let limits = PrefixLimits {
            block_tokens: BLOCK_TOKENS,
            ..PrefixLimits::default()
        };
        let of_model = |model: usize| {
            let own = |v: &VariantState| (v.model == model).then_some(v.prior);
            let of = |picker: Picker| Picker {
                prefix: limits,
                ..picker
            };
            let whole = of(router.picker());
            let mut this = OfModel {
                state: whole.state(seed ^ model as u64),
                whole,
                split: of(router.disaggregated()),
                directory: Directory::new(),
                pool: Pool::default(),
                pods: Vec::new(),
                laws: variants.iter().map(own).collect(),
                sizes: UNSEEN,
            };
            this.believe(variants);
            this
        };
        Self {
            models: (0..models).map(of_model).collect(),
            flights: Vec::new(),
            places: Vec::new(),
            chain: Vec::new(),
            allowed: Vec::new(),
        }
    }

    /// A replica is ready: from now on it is an endpoint, scraped at once.
    pub(super) fn join(&mut self, pod: u32, variant: usize, v: &VariantState, metrics: Metrics) {
        let model = &mut self.models[v.model];
        let address = model.free_address(pod, variant);
        let mut endpoint = Endpoint::new(address, "", &pod.to_string());
        let role = match v.role {
            Role::Both => "both",
            Role::Prefill => "prefill",
            Role::Decode => "decode",
        };
        endpoint
            .labels
            .insert(ROLE_LABEL.to_owned(), role.to_owned());
        endpoint.variant = Some(variant as u32);
        let slot = model.directory.apply(endpoint);
        model.directory.observe(&address, &metrics);
        if model.pods.len() <= slot.index() {
            model.pods.resize(slot.index() + 1, u32::MAX);
        }
        model.pods[slot.index()] = pod;
        model.pool = model.directory.pool();
        if self.places.len() <= pod as usize {
            self.places.resize(pod as usize + 1, None);
        }
        self.places[pod as usize] = Some((v.model, slot));
    }

    /// A replica takes no new requests.
    pub(super) fn leave(&mut self, pod: u32) {
        let place = self.places.get_mut(pod as usize).and_then(Option::take);
        if let Some((model, slot)) = place {
            let model = &mut self.models[model];
            if let Some(endpoint) = model.pool.endpoint(slot) {
                model.directory.remove(&endpoint.address);
            }
            model.pool = model.directory.pool();
        }
    }

    /// Scrapes the endpoints: `gauges` shows an engine, or `None` where it cannot be reached.
    pub(super) fn scrape(&mut self, mut gauges: impl FnMut(u32) -> Option<Metrics>) {
        for model in &mut self.models {
            for slot in model.pool.slots() {
                let endpoint = model.pool.endpoint(slot);
                if let (Some(endpoint), Some(metrics)) =
                    (endpoint, gauges(model.pods[slot.index()]))
                {
                    let sent = Some(model.state.inflight.sent(slot));
                    let metrics = Metrics { sent, ..metrics };
                    model.directory.observe(&endpoint.address, &metrics);
                }
            }
            model.pool = model.directory.pool();
        }
    }

    /// Takes over what the autoscaler has learned of its variants, and the mean input and output tokens of a model's
    /// requests so far.
    pub(super) fn learn(
        &mut self,
        variants: &[VariantState],
        learned: impl Fn(usize) -> Option<ReplicaModel>,
        sizes: impl Fn(usize) -> Option<(f64, f64)>,
    ) {
        for (m, model) in self.models.iter_mut().enumerate() {
            model.sizes = sizes(m).unwrap_or(model.sizes);
            for (i, law) in model.laws.iter_mut().enumerate() {
                if let Some(law) = law {
                    *law = learned(i).unwrap_or(*law);
                }
            }
            model.believe(variants);
            model.pool = model.directory.pool();
        }
    }

    /// The replica, and for a split route the decoder, that a request goes to; it is booked there.
    pub(super) fn pick(
        &mut self,
        (id, sequence): (SequenceId, &Sequence),
        wanted: Wanted,
        route: &Route,
        variants: &[VariantState],
        now: Time,
    ) -> Option<(u32, Option<u32>)> {
        self.chain_of(sequence);
        let model = &mut self.models[wanted.model];
        let (first, second): (&[u32], &[u32]) = match route {
            Route::Whole(pool) => (pool, &[]),
            Route::Split(prefill, decode) => (prefill, decode),
        };
        self.allowed.clear();
        let fitting = first
            .iter()
            .chain(second)
            .filter(|&&v| variants[v as usize].can_hold(sequence.input, sequence.output));
        self.allowed.extend(fitting.map(|&v| Allowed {
            ip: ip(v as usize),
            port: None,
        }));
        let all = model.laws.iter().flatten().count();
        let request = Request {
            prompt_tokens: f64::from(sequence.to_compute()),
            chain: &self.chain,
            priority: wanted.priority,
            targets: wanted.targets,
            subset: (self.allowed.len() < all).then_some(self.allowed.as_slice()),
            ..Request::default()
        };
        let picker = match route {
            Route::Whole(_) => &model.whole,
            Route::Split(..) => &model.split,
        };
        let choice = picker
            .pick(&model.pool, &request, &mut model.state, now.seconds())
            .ok()?;
        book(&mut self.flights, id, choice.flight);
        let pod = |slot: Slot| model.pods[slot.index()];
        Some(match choice.prefill {
            Some(prefill) => (pod(prefill), Some(pod(choice.primary))),
            None => (pod(choice.primary), None),
        })
    }

    /// Books a request that others have sent through the gateway.
    pub(super) fn note(
        &mut self,
        (id, sequence): (SequenceId, &Sequence),
        pod: u32,
        decoder: Option<u32>,
    ) {
        self.chain_of(sequence);
        let place = |pod: u32| self.places.get(pod as usize).copied().flatten();
        let (Some((model, first)), second) = (place(pod), decoder.and_then(place)) else {
            return;
        };
        let state = &mut self.models[model].state;
        let tokens = f64::from(sequence.to_compute());
        let mut begin = |slot: Slot, uncached: f64| {
            state.prefix.touch(slot, &self.chain);
            state.inflight.begin(slot, uncached, tokens, 0.0)
        };
        let flight = match second {
            None => Flight {
                decode: begin(first, tokens),
                prefill: None,
            },
            Some((_, second)) => Flight {
                decode: begin(second, 0.0),
                prefill: Some(begin(first, tokens)),
            },
        };
        book(&mut self.flights, id, flight);
    }

    /// The first token of a request has passed.
    pub(super) fn answered(&mut self, id: SequenceId, model: usize) {
        if let Some(Some(flight)) = self.flights.get(id as usize) {
            self.models[model].state.inflight.answered(flight);
        }
    }

    /// The last token of a request has passed.
    pub(super) fn ended(&mut self, id: SequenceId, model: usize) {
        if let Some(flight) = self.flights.get_mut(id as usize).and_then(Option::take) {
            self.models[model].state.inflight.ended(&flight);
        }
    }

    /// The prompt's block hashes, spread over all bits: traces number their blocks, and the index takes hashes as they
    /// are.
    fn chain_of(&mut self, sequence: &Sequence) {
        self.chain.clear();
        let blocks = sequence.blocks.iter().flatten();
        self.chain
            .extend(blocks.map(|b| b.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    }
}

impl OfModel {
    fn believe(&mut self, variants: &[VariantState]) {
        for (i, law) in self.laws.iter().enumerate() {
            let (input, output) = self.sizes;
            let model = law.map(|law| VariantModel::new(law, variants[i].role, input, output));
            self.directory.set_model(i as u32, model);
        }
    }

    /// One address for each variant, one port for each of its replicas.
    fn free_address(&self, pod: u32, variant: usize) -> SocketAddr {
        let mut port = (pod % u32::from(u16::MAX)) as u16;
        loop {
            let address = SocketAddr::new(ip(variant), port);
            if self.directory.slot(&address).is_none() {
                return address;
            }
            port = port.wrapping_add(1);
        }
    }
}

fn book(flights: &mut Vec<Option<Flight>>, id: SequenceId, flight: Flight) {
    if flights.len() <= id as usize {
        flights.resize(id as usize + 1, None);
    }
    flights[id as usize] = Some(flight);
}

fn ip(variant: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(variant as u32))
}

/// What a scrape of an engine shows a picker.
pub(super) fn gauges(engine: &Replica, kv_tokens: f64, now: Time) -> Metrics {
    let sample = engine.sample(0, now);
    Metrics {
        at: sample.at,
        waiting: sample.waiting,
        running: sample.running,
        kv_usage: sample.kv_usage,
        sent: None,
        cache: Some(CacheConfig {
            block_tokens: KV_BLOCK,
            blocks: (kv_tokens / f64::from(KV_BLOCK)) as u32,
        }),
        lora: None,
    }
}
