//! A complete request, however it came: read, let in, sent.
//!
//! ```text
//!  head, body ─► read ─► enter ─► (Waiting) ─► send ─► Choice, Sent
//! ```
//! The external processor and the gateway differ in how requests come and go. What is done between is here, once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use wva_epp_core::endpoint::Slot;
use wva_epp_core::picker::{Choice, Refusal};
use wva_epp_core::pool::Pool;
use wva_epp_core::prefix::Chain;
use wva_epp_core::request::{Allowed, Request, Targets};

use super::admission::{Asked, Entry, Place};
use super::head::Head;
use super::refusal::Refused;
use super::sent::{Sending, Sent};
use super::series::Series;
use super::shared::Shared;
use crate::body::rename::with_model;
use crate::body::{Api, Facts};

/// How much of a changed body is copied, so that small ones stay in one piece, bytes.
const COPIED: usize = 31_000;

/// A request that has come.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Its headers.
    pub head: Head,
    /// Endpoints that the proxy allows; `None` for all.
    pub subset: Option<Vec<Allowed>>,
    /// Its body; `None` where it has none.
    pub body: Option<Bytes>,
    /// When it began to arrive.
    pub began: f64,
}

/// A request that is understood.
pub struct Ready {
    head: Head,
    subset: Option<Vec<Allowed>>,
    body: Bytes,
    facts: Facts,
    /// The model that the client asks for; empty where it names none.
    asked: String,
    /// The model to ask the server for.
    target: String,
    priority: i32,
    began: f64,
    arrived: f64,
    queued: Option<f64>,
    series: Arc<Series>,
}

impl Ready {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Refused`] of what a server would not take either.
    pub fn read(shared: &Shared, arrived: Arrived) -> Result<Self, Refused> {
        let Arrived {
            head,
            subset,
            body,
            began,
        } = arrived;
        let unread = body.is_none() || !shared.reads;
        let body = body.unwrap_or_default();
        let facts = match (Api::of(head.path()), unread) {
            (_, true) => Facts::default(),
            // What is not known is not judged either.
            (api @ Api::Other, _) => Facts::read(&body, api).unwrap_or_default(),
            (api, _) => Facts::read(&body, api)?,
        };
        let model = facts.model.as_ref().map(|model| model.decoded(&body));
        let asked = model.map_or_else(String::new, std::borrow::Cow::into_owned);
        let objectives = shared.store.objectives();
        let priority = head.objective().and_then(|name| objectives.priority(name));
        let priority = priority.unwrap_or(0);
        let target = match head.model() {
            _ if asked.is_empty() => asked.clone(),
            Some(stated) => stated.to_owned(),
            None => {
                let rewritten = objectives.rewrite(&asked, shared.draw());
                rewritten.map_or_else(|| asked.clone(), str::to_owned)
            }
        };
        let series = shared
            .metrics
            .flow(&asked, &target, head.fairness(), priority);
        Ok(Self {
            head,
            subset,
            body,
            facts,
            asked,
            target,
            priority,
            began,
            arrived: shared.clock.now(),
            queued: None,
            series,
        })
    }

    /// Metrics of its flow.
    pub const fn series(&self) -> &Arc<Series> {
        &self.series
    }

    /// Asks for a place.
    ///
    /// # Errors
    /// [`Refused`] where it may neither enter nor wait.
    pub fn enter(&mut self, shared: &Shared) -> Result<Entry, Refused> {
        self.series.told.arrivals.fetch_add(1, Relaxed);
        self.series.request_size.observe(self.body.len() as f64);
        let mut hasher = DefaultHasher::new();
        self.head.fairness().hash(&mut hasher);
        let deadline = targets(&self.head.pairs()).ttft;
        let asked = Asked {
            priority: self.priority,
            flow: hasher.finish(),
            bytes: self.body.len() as u64,
            deadline: deadline.map(|ttft| self.arrived + ttft),
        };
        let entry = shared.admission.enter(asked, self.arrived)?;
        if matches!(entry, Entry::Wait(_)) {
            self.queued = Some(self.arrived);
            self.series.queued.inc();
            self.series.queued_bytes.inc_by(self.body.len() as i64);
        }
        Ok(entry)
    }

    /// Notes the end of its wait.
    pub fn waited(&mut self, now: f64) {
        if let Some(since) = self.left() {
            self.series.wait.observe(now - since);
        }
    }

    fn left(&mut self) -> Option<f64> {
        let since = self.queued.take()?;
        self.series.queued.dec();
        self.series.queued_bytes.dec_by(self.body.len() as i64);
        Some(since)
    }

    /// Chooses its endpoints from this pool, those to `avoid` only where there are no others, and counts it as sent.
    ///
    /// # Errors
    /// [`Refused`] where there is none for it.
    pub fn send(
        &self,
        shared: &Arc<Shared>,
        pool: &Pool,
        mut place: Place,
        avoid: &[Slot],
    ) -> Result<(Choice, Sent), Refused> {
        let picked = self.pick(shared, pool, avoid);
        place.picked();
        let taken = shared.clock.now() - self.arrived;
        shared.metrics.decision.observe(taken);
        let choice = picked.inspect_err(|_| shared.metrics.attempted(&self.series, None))?;
        self.note(shared, &choice, pool);
        self.series.requests.inc();
        let renamed = (self.target != self.asked && self.facts.model.is_some())
            .then(|| (self.target.clone(), self.asked.clone()));
        let text = match self.facts.tally {
            tally if tally.numbers > 0 || tally.media => 0,
            tally => tally.text,
        };
        let session = choice.session(pool);
        let sending = Sending {
            flight: choice.flight,
            slot: choice.primary,
            series: Arc::clone(&self.series),
            place,
            began: self.began,
            renamed,
            session: session.map(|(name, token)| (name.to_owned(), token)),
            text,
        };
        let sent = Sent::new(Arc::clone(shared), sending);
        Ok((choice, sent))
    }

    fn pick(&self, shared: &Shared, pool: &Pool, avoid: &[Slot]) -> Result<Choice, Refusal> {
        let picker = shared.store.picker();
        let limits = picker.prefix;
        let salt = self.facts.salt.as_ref().map(|s| s.decoded(&self.body));
        let salt = salt.as_deref().unwrap_or_default();
        let mut chain = Chain::new(
            &self.target,
            salt,
            limits.block_tokens,
            limits.most_per_prompt,
        );
        if picker.needs_prefix() {
            for piece in self.facts.pieces(&self.body) {
                chain.push(piece);
            }
        }
        let headers = self.head.pairs();
        let request = Request {
            model: &self.target,
            prompt_tokens: self.tokens(),
            output_tokens: self.output(),
            chain: chain.hashes(),
            headers: &headers,
            priority: self.priority,
            targets: targets(&headers),
            subset: self.subset.as_deref(),
            avoid,
            multimodal: self.facts.tally.media,
        };
        let mut state = shared.store.state();
        picker.pick(pool, &request, &mut state, shared.clock.now())
    }

    fn tokens(&self) -> f64 {
        self.facts.tokens(self.series.bytes_per_token.get())
    }

    fn output(&self) -> f64 {
        let usual = self.series.output_tokens.get();
        let most = self.facts.most_output.map_or(f64::INFINITY, |m| m as f64);
        usual.min(most)
    }

    fn note(&self, shared: &Shared, choice: &Choice, pool: &Pool) {
        let endpoint = pool.endpoint(choice.primary);
        let endpoint = endpoint.map(|e| (e.pod.as_str(), e.namespace.as_str(), e.address.port()));
        shared.metrics.attempted(&self.series, endpoint);
        tracing::debug!(
            request_id = %self.head.request_id.escape_ascii(),
            model = self.asked,
            target = self.target,
            priority = self.priority,
            tokens = self.tokens(),
            cached = choice.cached_tokens,
            destination = choice.destination(pool),
            "picked"
        );
    }

    /// The body to send: with the target model's name, in two pieces.
    pub fn pieces(&self) -> [Bytes; 2] {
        match &self.facts.model {
            Some(model) if self.target != self.asked => {
                with_model(&self.body, model, &self.target, COPIED)
            }
            _ => [self.body.clone(), Bytes::new()],
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.left();
    }
}

fn targets(headers: &[(&str, &str)]) -> Targets {
    Targets::default().or_stated(headers)
}
