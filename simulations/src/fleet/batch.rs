//! Batch work: held at the gateway by deadline, pulled by replicas that have slack.
//!
//! A request goes to a replica when no interactive request waits there, little batch prefill is outstanding, KV memory is
//! left over, and one more sequence keeps the interactive inter-token latency within its bound: below the policy's
//! B*, or, without one, as long as the catalogue's law says that an iteration with it and a batch chunk stays within
//! the bound less a margin. The chunk is cut down beforehand where the bound is tight for the device. Pulling instead of pushing keeps the queue where its order can still change.

use std::cmp::Reverse;

use wva_models::iteration::Composition;
use wva_models::variant::Role;

use super::Fleet;
use super::pod::PodState;
use crate::run::Setup;
use crate::sequence::SequenceId;
use crate::time::Time;

/// Chunks are not cut below this many tokens.
const LEAST_CHUNK: u32 = 32;

impl Fleet<'_> {
    /// Holds a batch request that is due by a time, or sends it right away where there is slack.
    pub(super) fn hold_batch(&mut self, id: SequenceId, due: Time) {
        let sequence = &self.sequences[id];
        let (stream, order) = (sequence.stream as usize, sequence.order);
        let model = self.streams[stream].model;
        self.streams[stream].owe(due, 1);
        // Slack appears at replicas, and they look for work then: only the first request has to look for slack itself.
        let first = self.models[model].batch.is_empty();
        self.models[model].batch.push(Reverse((due, order, id)));
        if first {
            self.offer(model);
        }
    }

    /// A replica of a model may have slack now: takes what fits.
    pub(super) fn pull_batch(&mut self, pod: u32) {
        let p = &self.pods[pod as usize];
        let (model, role) = (
            self.variants[p.variant].model,
            self.variants[p.variant].role,
        );
        while self.pods[pod as usize].state == PodState::Ready {
            let Some(id) = self.next_due(model) else {
                return;
            };
            let partner = match role {
                Role::Both => None,
                Role::Prefill => Some(self.slackest(model, Role::Decode, id)),
                Role::Decode => Some(self.slackest(model, Role::Prefill, id)),
            };
            if partner == Some(None) || !self.has_slack(pod, id) {
                return;
            }
            match (role, partner.flatten()) {
                (Role::Decode, Some(prefill)) => self.start_batch(id, prefill, Some(pod)),
                (_, decoder) => self.start_batch(id, pod, decoder),
            }
        }
    }

    /// Looks for slack anywhere for the batch requests of a model.
    pub(super) fn offer(&mut self, model: usize) {
        while let Some(id) = self.next_due(model) {
            let found = self
                .slackest(model, Role::Both, id)
                .or_else(|| self.slackest(model, Role::Prefill, id));
            let before = self.models[model].batch.len();
            if let Some(pod) = found {
                self.pull_batch(pod);
            }
            if self.models[model].batch.len() == before {
                return;
            }
        }
    }

    /// Looks again for slack for everything that is held: the policy may have moved B*, and an idle replica has no
    /// events of its own.
    pub(crate) fn offer_all(&mut self) {
        for model in 0..self.models.len() {
            self.offer(model);
        }
    }

    /// The most urgent batch request that can still be in time; those that cannot are shed on the way.
    fn next_due(&mut self, model: usize) -> Option<SequenceId> {
        loop {
            let &Reverse((due, _, id)) = self.models[model].batch.peek()?;
            if due > self.now {
                return Some(id);
            }
            self.models[model].batch.pop();
            let s = &mut self.streams[self.sequences[id].stream as usize];
            s.owe(due, -1);
            s.shed();
            self.sequences.remove(id);
        }
    }

    fn start_batch(&mut self, id: SequenceId, pod: u32, decoder: Option<u32>) {
        let model = self.variants[self.pods[pod as usize].variant].model;
        if let Some(Reverse((due, _, _))) = self.models[model].batch.pop() {
            self.streams[self.sequences[id].stream as usize].owe(due, -1);
        }
        if let Some(endpoints) = &mut self.endpoints {
            endpoints.note((id, &self.sequences[id]), pod, decoder);
        }
        self.send(id, pod, decoder);
    }

    /// The ready replica of this role with slack for the request that has the fewest requests.
    fn slackest(&self, model: usize, role: Role, id: SequenceId) -> Option<u32> {
        self.variants
            .iter()
            .filter(|v| v.model == model && v.role == role)
            .flat_map(|v| v.ready.iter().copied())
            .filter(|&pod| self.has_slack(pod, id))
            .min_by_key(|&pod| (self.pods[pod as usize].requests, pod))
    }

    /// Whether a replica can take a batch request without harm to interactive ones.
    fn has_slack(&self, pod: u32, id: SequenceId) -> bool {
        let options = &self.setup.options;
        let p = &self.pods[pod as usize];
        let v = &self.variants[p.variant];
        let sequence = &self.sequences[id];
        let tokens = u64::from(sequence.input) + u64::from(sequence.output);
        let kv = p.engine.held() + tokens;
        self.allowed(p.variant, sequence.stream as usize)
            && v.can_hold(sequence.input, sequence.output)
            && p.engine.interactive_waiting() == 0
            && p.batch_prefill < u64::from(v.spec.batch_chunk)
            && (kv as f64 <= options.batch_kv_share * v.capacity as f64 || p.requests == 0)
            && match v.batch_limit {
                Some(limit) => p.requests < limit,
                None => self.keeps_itl(pod, kv),
            }
    }

    /// Whether the policy's shares let a stream use a variant; shares of variants without ready replicas do not bind.
    fn allowed(&self, variant: usize, stream: usize) -> bool {
        let shares = &self.streams[stream].shares;
        let mut usable = shares
            .variants()
            .filter(|&v| !self.variants[v as usize].ready.is_empty())
            .peekable();
        usable.peek().is_none() || usable.any(|v| v as usize == variant)
    }

    /// Whether an iteration with one more sequence, `kv` tokens held and a batch chunk stays within the interactive ITL
    /// bound less the margin, by the catalogue's law.
    fn keeps_itl(&self, pod: u32, kv: u64) -> bool {
        let options = &self.setup.options;
        let p = &self.pods[pod as usize];
        let v = &self.variants[p.variant];
        let Some(bound) = self.models[v.model].itl_bound else {
            return true;
        };
        let batch = f64::from(p.requests + 1);
        let chunk = match v.role {
            Role::Both => f64::from(v.spec.batch_chunk),
            Role::Prefill => return true, // No tokens are spaced here.
            Role::Decode => 0.0,
        };
        let c = composition(batch, kv as f64, chunk);
        v.prior.law.seconds(&c) <= bound * options.batch_itl_margin
    }
}

/// `batch` decoding sequences that hold `kv` tokens, and a batch chunk.
const fn composition(batch: f64, kv: f64, chunk: f64) -> Composition {
    Composition {
        tokens: batch + chunk,
        kv_tokens: kv,
        sequences: batch,
        chunk_context: chunk * chunk,
        any_prefill: chunk > 0.0,
    }
}

/// Sequences and tokens held by the modest interactive batch that a chunk is sized beside.
const BESIDE: (f64, f64) = (16.0, 16.0 * 2048.0);

/// Prefill tokens of batch requests per iteration on a variant: the configured chunk, halved until an iteration with
/// it beside a modest interactive batch stays within the model's ITL bound less the margin, by the catalogue's law. On slow
/// devices a full chunk alone would take longer than the bound.
pub(super) fn chunk(setup: &Setup<'_>, variant: usize, itl_bound: Option<f64>) -> u32 {
    let options = &setup.options;
    let variant = &setup.catalogue.variants[variant];
    let mut chunk = options.batch_chunk_tokens;
    let (Some(bound), Role::Both) = (itl_bound, variant.role) else {
        return chunk;
    };
    let law = setup.catalogue.replica_model(variant).law;
    let seconds = |chunk: u32| law.seconds(&composition(BESIDE.0, BESIDE.1, f64::from(chunk)));
    while chunk > LEAST_CHUNK && seconds(chunk) > bound * options.batch_itl_margin {
        chunk /= 2;
    }
    chunk
}
