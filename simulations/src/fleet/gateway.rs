//! The gateway: takes requests in, routes them by the policy's shares or over all ready replicas, holds what has nowhere
//! to go.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use wva_models::variant::Role;
use wva_optimizer::decision::RoutingShare;

use super::endpoints::Wanted;
use super::pod::VariantState;
use super::router::least_load;
use super::{Event, Fleet};
use crate::request::Request;
use crate::sequence::{Sequence, SequenceId};
use crate::time::Time;

/// One way to serve a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Route {
    /// On any replica of these variants.
    Whole(Vec<u32>),
    /// Prompt on any replica of the first, decode on any of the second.
    Split(Vec<u32>, Vec<u32>),
}

/// Ways to serve a stream, with weights.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Routes {
    routes: Vec<Route>,
    /// Fixed weights; empty: the number of ready replicas.
    weights: Vec<f64>,
    /// Smooth weighted round robin: what each route is owed.
    owed: Vec<f64>,
}

impl Routes {
    /// All variants of a model: aggregated ones together, prefill and decode ones as pairs.
    pub(super) fn over_all(variants: &[VariantState], model: usize) -> Self {
        let of = |role| -> Vec<u32> {
            let own = variants.iter().enumerate();
            own.filter(|(_, v)| v.model == model && v.role == role)
                .map(|(i, _)| i as u32)
                .collect()
        };
        let mut routes = Vec::new();
        let (whole, prefill, decode) = (of(Role::Both), of(Role::Prefill), of(Role::Decode));
        if !whole.is_empty() {
            routes.push(Route::Whole(whole));
        }
        if !prefill.is_empty() && !decode.is_empty() {
            routes.push(Route::Split(prefill, decode));
        }
        Self {
            owed: vec![0.0; routes.len()],
            weights: Vec::new(),
            routes,
        }
    }

    /// Adds a route of a policy: one aggregated variant, or a prefill and then a decode one; others cannot serve.
    fn add(&mut self, route: &[u32], weight: f64, variants: &[VariantState]) {
        let role = |v: &u32| variants[*v as usize].role;
        let route = match route {
            [one] if role(one) == Role::Both => Route::Whole(vec![*one]),
            [p, d] if (role(p), role(d)) == (Role::Prefill, Role::Decode) => {
                Route::Split(vec![*p], vec![*d])
            }
            _ => return,
        };
        self.routes.push(route);
        self.weights.push(weight);
        self.owed.push(0.0);
    }

    /// Variants of all routes.
    pub(super) fn variants(&self) -> impl Iterator<Item = u32> {
        self.routes.iter().flat_map(|r| match r {
            Route::Whole(v) => v.iter().chain([].iter()).copied(),
            Route::Split(p, d) => p.iter().chain(d.iter()).copied(),
        })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Whether the request could run on some route, had it ready replicas.
    fn can_hold(&self, variants: &[VariantState], (input, output): (u32, u32)) -> bool {
        let any = |pool: &[u32]| {
            pool.iter()
                .any(|&v| variants[v as usize].can_hold(input, output))
        };
        self.routes.iter().any(|r| match r {
            Route::Whole(v) => any(v),
            Route::Split(p, d) => any(p) && any(d),
        })
    }

    /// The route whose turn it is among those with a ready replica that can hold the request.
    fn turn(&mut self, variants: &[VariantState], (input, output): (u32, u32)) -> Option<&Route> {
        let ready = |pool: &[u32]| -> usize {
            pool.iter()
                .map(|&v| &variants[v as usize])
                .filter(|v| v.can_hold(input, output))
                .map(|v| v.ready.len())
                .sum()
        };
        let mut total = 0.0;
        let mut best: Option<usize> = None;
        for i in 0..self.routes.len() {
            let replicas = match &self.routes[i] {
                Route::Whole(v) => ready(v),
                Route::Split(p, d) => match (ready(p), ready(d)) {
                    (0, _) | (_, 0) => 0,
                    (p, d) => p + d,
                },
            };
            let weight = self.weights.get(i).copied().unwrap_or(replicas as f64);
            if replicas == 0 || weight <= 0.0 {
                continue;
            }
            total += weight;
            self.owed[i] += weight;
            if best.is_none_or(|b| self.owed[i] > self.owed[b]) {
                best = Some(i);
            }
        }
        let best = best?;
        self.owed[best] -= total;
        Some(&self.routes[best])
    }
}

/// Gateway state of one model.
#[derive(Debug, Clone)]
pub(crate) struct ModelState {
    /// Interactive requests without a replica, oldest first.
    held: VecDeque<SequenceId>,
    /// Batch requests by (deadline, arrival order).
    pub(super) batch: BinaryHeap<Reverse<(Time, u64, SequenceId)>>,
    /// Tightest ITL bound of its interactive classes, seconds.
    pub(super) itl_bound: Option<f64>,
    /// Requests up to this size fit every variant.
    fits_all: u64,
}

impl ModelState {
    pub(super) fn new(model: usize, variants: &[VariantState], itl_bound: Option<f64>) -> Self {
        let own = variants.iter().filter(|v| v.model == model);
        Self {
            held: VecDeque::new(),
            batch: BinaryHeap::new(),
            itl_bound,
            fits_all: own.map(|v| v.capacity).min().unwrap_or(0),
        }
    }
}

impl Fleet<'_> {
    /// A request arrives now.
    pub(crate) fn arrive(&mut self, request: Request) {
        let stream = request.stream as usize;
        let (input, output) = (request.input.max(1), request.output.max(1));
        let s = &mut self.streams[stream];
        s.arrived(input, output);
        let model = s.model;
        let fits = u64::from(input) + u64::from(output) <= self.models[model].fits_all
            || s.default.can_hold(&self.variants, (input, output));
        // Without any variant of the model a request may wait for one that never comes; that, too, is a failure at once.
        if !fits || s.default.is_empty() {
            s.failed();
            return;
        }
        let mut sequence = Sequence::new(
            request.stream,
            s.level,
            input,
            output,
            self.now,
            self.arrivals,
        );
        self.arrivals += 1;
        sequence.fixed_hit = (s.prefix_hit * f64::from(input)) as u32;
        sequence.set_blocks(request.hash_ids);
        let deadline = s.deadline;
        let id = self.sequences.insert(sequence);
        match deadline {
            Some(deadline) => self.hold_batch(id, self.now + deadline),
            None => self.admit(id),
        }
    }

    /// Applies the policy's routing weights; names that are unknown are left out, a stream without any goes anywhere.
    pub(crate) fn share(&mut self, shares: &[RoutingShare]) {
        let setup = self.setup;
        let ordinal = |name: &String| {
            let found = setup
                .catalogue
                .variants
                .iter()
                .position(|v| v.name == *name);
            found.map(|v| v as u32)
        };
        for (state, stream) in self.streams.iter_mut().zip(setup.source.streams()) {
            let mut routes = Routes::default();
            let own = |s: &&RoutingShare| s.model == stream.model && s.class == stream.class;
            for share in shares.iter().filter(own).filter(|s| s.share > 0.0) {
                let variants: Option<Vec<u32>> = share.variants.iter().map(ordinal).collect();
                if let Some(variants) = variants {
                    routes.add(&variants, share.share, &self.variants);
                }
            }
            if routes.routes == state.shares.routes {
                routes.owed = std::mem::take(&mut state.shares.owed);
            }
            state.shares = routes;
        }
    }

    /// Requests held for a model have waited too long.
    pub(crate) fn hold_limit(&mut self, model: usize) {
        let limit = Time::from_seconds(self.setup.options.hold_limit_s);
        while let Some(&id) = self.models[model].held.front() {
            let until = self.sequences[id].arrived + limit;
            if until > self.now {
                self.push(until, Event::HoldLimit(model as u32));
                return;
            }
            self.models[model].held.pop_front();
            let s = &mut self.streams[self.sequences[id].stream as usize];
            s.held -= 1;
            s.failed();
            self.sequences.remove(id);
        }
    }

    /// Sends what is held for a model to replicas that have become ready.
    pub(super) fn flush_held(&mut self, model: usize) {
        for _ in 0..self.models[model].held.len() {
            let Some(id) = self.models[model].held.pop_front() else {
                return;
            };
            if let Some((pod, decoder)) = self.route(id) {
                self.streams[self.sequences[id].stream as usize].held -= 1;
                self.send(id, pod, decoder);
            } else {
                self.models[model].held.push_back(id);
            }
        }
    }

    fn admit(&mut self, id: SequenceId) {
        if let Some((pod, decoder)) = self.route(id) {
            self.send(id, pod, decoder);
            return;
        }
        let stream = self.sequences[id].stream as usize;
        let model = self.streams[stream].model;
        if self.models[model].held.is_empty() {
            let limit = Time::from_seconds(self.setup.options.hold_limit_s);
            self.push(self.now + limit, Event::HoldLimit(model as u32));
        }
        self.models[model].held.push_back(id);
        self.streams[stream].held += 1;
    }

    /// The replica, and for a split route the decoder, that a request goes to now.
    pub(super) fn route(&mut self, id: SequenceId) -> Option<(u32, Option<u32>)> {
        let sequence = &self.sequences[id];
        let size = (sequence.input, sequence.output);
        let stream = &mut self.streams[sequence.stream as usize];
        let variants = &self.variants;
        let wanted = Wanted {
            model: stream.model,
            priority: stream.priority,
            targets: stream.targets(sequence.input),
        };
        // Shares whose variants have nothing ready yet do not hold requests up while others could serve them.
        let route = match stream.shares.turn(variants, size) {
            Some(route) => route,
            None => stream.default.turn(variants, size)?,
        };
        if let Some(endpoints) = &mut self.endpoints {
            return endpoints.pick((id, sequence), wanted, route, variants, self.now);
        }
        let pick = |pool: &[u32]| {
            let (variant, place) = least_load(variants, pool, size)?;
            Some(variants[variant].ready[place])
        };
        match route {
            Route::Whole(pool) => Some((pick(pool)?, None)),
            Route::Split(prefill, decode) => Some((pick(prefill)?, Some(pick(decode)?))),
        }
    }
}
