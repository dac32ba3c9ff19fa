//! The request's side: collecting it, choosing, sending it on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;
use wva_epp_core::picker::{Choice, Refusal};
use wva_epp_core::pool::Pool;
use wva_epp_core::prefix::Chain;
use wva_epp_core::request::{Allowed, Request, Targets};

use super::flying::Flying;
use super::response::Answering;
use super::{Exchange, Gathered, Stage};
use crate::body::rename::with_model;
use crate::body::{Api, Facts};
use crate::server::admission::{Asked, Entry, Place};
use crate::server::head::Head;
use crate::server::refusal::Refused;
use crate::server::reply::{self, CHUNK};
use crate::server::series::Series;
use crate::server::wire::{HttpBody, HttpHeaders, Metadata};

/// Where the proxy lists the endpoints that it allows.
const SUBSET: (&str, &str) = (
    "envoy.lb.subset_hint",
    "x-gateway-destination-endpoint-subset",
);

/// A request that is coming.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    head: Head,
    subset: Option<Vec<Allowed>>,
    body: Gathered,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With its headers.
    Headers,
    /// With its body.
    Body,
    /// With trailers.
    Trailers,
}

/// A request that is complete.
pub(super) struct Ready {
    head: Head,
    subset: Option<Vec<Allowed>>,
    body: Bytes,
    facts: Facts,
    /// The model that the client asks for; empty where it names none.
    asked: String,
    /// The model to ask the server for.
    target: String,
    priority: i32,
    end: End,
    arrived: f64,
    queued: Option<f64>,
    pub series: Arc<Series>,
}

impl Ready {
    /// Notes the end of its wait.
    pub(super) fn waited(&mut self, now: f64) {
        if let Some(since) = self.queued.take() {
            self.series.queued.dec();
            self.series.queued_bytes.dec_by(self.body.len() as i64);
            self.series.wait.observe(now - since);
        }
    }

    fn queue(&mut self, now: f64) {
        self.queued = Some(now);
        self.series.queued.inc();
        self.series.queued_bytes.inc_by(self.body.len() as i64);
    }

    fn targets(&self, headers: &[(&str, &str)]) -> Targets {
        Targets::default().or_stated(headers)
    }

    fn tokens(&self) -> f64 {
        self.facts.tokens(self.series.bytes_per_token.get())
    }

    fn output(&self) -> f64 {
        let usual = self.series.output_tokens.get();
        let most = self.facts.most_output.map_or(f64::INFINITY, |m| m as f64);
        usual.min(most)
    }

    /// The body to send: with the target model's name, in two pieces.
    fn pieces(&self) -> [Bytes; 2] {
        match &self.facts.model {
            Some(model) if self.target != self.asked => {
                with_model(&self.body, model, &self.target, CHUNK / 2)
            }
            _ => [self.body.clone(), Bytes::new()],
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if self.queued.take().is_some() {
            self.series.queued.dec();
            self.series.queued_bytes.dec_by(self.body.len() as i64);
        }
    }
}

fn subset(metadata: Option<&Metadata>) -> Option<Vec<Allowed>> {
    let hint = metadata?.get(SUBSET.0, SUBSET.1)?;
    Some(hint.texts().flat_map(Allowed::list).collect())
}

impl Exchange {
    pub(super) fn request_headers(
        &mut self,
        headers: HttpHeaders,
        metadata: Option<&Metadata>,
    ) -> Result<(), Status> {
        if !matches!(self.stage, Stage::New) {
            return Err(Status::invalid_argument("request headers came twice"));
        }
        let end_of_stream = headers.end_of_stream;
        let collecting = Collecting {
            head: Head::read(headers, &self.shared.wanted),
            subset: subset(metadata),
            body: Gathered::default(),
        };
        self.request_id = collecting.head.request_id.clone();
        if end_of_stream {
            self.complete(collecting, End::Headers);
        } else {
            self.stage = Stage::Collecting(Box::new(collecting));
        }
        Ok(())
    }

    pub(super) fn request_body(
        &mut self,
        chunk: HttpBody,
        metadata: Option<&Metadata>,
    ) -> Result<(), Status> {
        let collecting = match &mut self.stage {
            Stage::Collecting(collecting) => collecting,
            // What a client still sends of a request that was answered already.
            Stage::Over => return Ok(()),
            // Envoy from 1.35 on may send the last chunk of a large body twice.
            Stage::Waiting(..) | Stage::Sent if chunk.end_of_stream => return Ok(()),
            _ => return Err(Status::invalid_argument("a request body out of order")),
        };
        if collecting.subset.is_none() {
            collecting.subset = subset(metadata);
        }
        if collecting.body.len() + chunk.body.len() > self.shared.most_body {
            let refused = Refused::too_large(self.shared.most_body);
            self.refuse_unread(&refused);
            return Ok(());
        }
        let expected = collecting.head.content_length;
        collecting.body.push(chunk.body, expected);
        if chunk.end_of_stream {
            self.collected(End::Body);
        }
        Ok(())
    }

    pub(super) fn request_trailers(&mut self) -> Result<(), Status> {
        match self.stage {
            Stage::Collecting(_) => self.collected(End::Trailers),
            Stage::Sent => self.out.push_back(reply::request_trailers()),
            Stage::Over => {}
            _ => return Err(Status::invalid_argument("request trailers out of order")),
        }
        Ok(())
    }

    fn collected(&mut self, end: End) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        if let Stage::Collecting(collecting) = stage {
            self.complete(*collecting, end);
        }
    }

    /// All has come: reads it, and asks for a place.
    fn complete(&mut self, collecting: Collecting, end: End) {
        let mut ready = match self.read(collecting, end) {
            Ok(ready) => ready,
            Err(refused) => return self.refuse_unread(&refused),
        };
        ready.series.requests.inc();
        ready.series.request_size.observe(ready.body.len() as f64);
        let mut hasher = DefaultHasher::new();
        ready.head.fairness().hash(&mut hasher);
        let deadline = ready.targets(&ready.head.pairs()).ttft;
        let asked = Asked {
            priority: ready.priority,
            flow: hasher.finish(),
            bytes: ready.body.len() as u64,
            deadline: deadline.map(|ttft| ready.arrived + ttft),
        };
        match self.shared.admission.enter(asked, ready.arrived) {
            Ok(Entry::In(place)) => self.decide(ready, place),
            Ok(Entry::Wait(waiting)) => {
                ready.queue(ready.arrived);
                self.stage = Stage::Waiting(Box::new(ready), waiting);
            }
            Err(refusal) => self.refuse(&refusal.into(), &ready.series),
        }
    }

    fn read(&self, collecting: Collecting, end: End) -> Result<Ready, Refused> {
        let Collecting { head, subset, body } = collecting;
        let (shared, body) = (&self.shared, body.finish());
        let unread = end == End::Headers || !shared.reads;
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
        Ok(Ready {
            head,
            subset,
            body,
            facts,
            asked,
            target,
            priority,
            end,
            arrived: shared.clock.now(),
            queued: None,
            series,
        })
    }

    /// Chooses, and sends the request on.
    pub(super) fn decide(&mut self, ready: Ready, mut place: Place) {
        let shared = Arc::clone(&self.shared);
        let pool = shared.store.pool();
        let picked = self.pick(&ready, &pool);
        place.picked();
        let now = shared.clock.now();
        shared.metrics.decision.observe(now - ready.arrived);
        match picked {
            Ok(choice) => self.send(ready, &choice, &pool, place),
            Err(refusal) => {
                shared.metrics.attempted(&ready.series, None);
                self.refuse(&refusal.into(), &ready.series);
            }
        }
    }

    fn pick(&self, ready: &Ready, pool: &Pool) -> Result<Choice, Refusal> {
        let picker = self.shared.store.picker();
        let limits = picker.prefix;
        let salt = ready
            .facts
            .salt
            .as_ref()
            .map(|salt| salt.decoded(&ready.body));
        let salt = salt.as_deref().unwrap_or_default();
        let mut chain = Chain::new(
            &ready.target,
            salt,
            limits.block_tokens,
            limits.most_per_prompt,
        );
        if picker.needs_prefix() {
            for piece in ready.facts.pieces(&ready.body) {
                chain.push(piece);
            }
        }
        let headers = ready.head.pairs();
        let request = Request {
            model: &ready.target,
            prompt_tokens: ready.tokens(),
            output_tokens: ready.output(),
            chain: chain.hashes(),
            headers: &headers,
            priority: ready.priority,
            targets: ready.targets(&headers),
            subset: ready.subset.as_deref(),
            multimodal: ready.facts.tally.media,
        };
        let mut state = self.shared.store.state();
        picker.pick(pool, &request, &mut state, self.shared.clock.now())
    }

    fn send(&mut self, ready: Ready, choice: &Choice, pool: &Pool, place: Place) {
        let destination = choice.destination(pool);
        self.note(&ready, choice, pool, &destination);
        self.flying = Some(Flying::new(
            Arc::clone(&self.shared),
            choice.flight,
            choice.primary,
            Arc::clone(&ready.series),
            place,
        ));
        let renamed = (ready.target != ready.asked && ready.facts.model.is_some())
            .then(|| (ready.target.clone(), ready.asked.clone()));
        let text = match ready.facts.tally {
            tally if tally.numbers > 0 || tally.media => 0,
            tally => tally.text,
        };
        let session = choice.session(pool);
        let session = session.map(|(name, token)| (name.to_owned(), token));
        self.answering = Some(Answering::new(renamed, session, text));
        self.out_request(&ready, choice, pool, destination);
        self.stage = Stage::Sent;
    }

    fn note(&self, ready: &Ready, choice: &Choice, pool: &Pool, destination: &str) {
        let endpoint = pool.endpoint(choice.primary);
        let endpoint = endpoint.map(|e| (e.pod.as_str(), e.namespace.as_str(), e.address.port()));
        self.shared.metrics.attempted(&ready.series, endpoint);
        tracing::debug!(
            request_id = %self.request_id.escape_ascii(),
            model = ready.asked,
            target = ready.target,
            priority = ready.priority,
            tokens = ready.tokens(),
            cached = choice.cached_tokens,
            destination,
            "picked"
        );
    }

    /// Headers, body and trailers of the request, in this order.
    fn out_request(&mut self, ready: &Ready, choice: &Choice, pool: &Pool, destination: String) {
        let pieces = ready.pieces();
        let mut headers: Vec<_> = choice
            .headers(pool)
            .into_iter()
            .map(|(name, value)| reply::header(name, value))
            .collect();
        if ready.end != End::Headers {
            let length: usize = pieces.iter().map(Bytes::len).sum();
            headers.push(reply::header("content-length", length.to_string()));
        }
        self.out.push_back(reply::to(destination.into(), headers));
        if ready.end == End::Headers {
            return;
        }
        let last = ready.end == End::Body;
        let mut chunks = pieces.into_iter().flat_map(chunks).peekable();
        if chunks.peek().is_none() {
            self.out.push_back(reply::request_chunk(Bytes::new(), last));
        }
        while let Some(chunk) = chunks.next() {
            let last = last && chunks.peek().is_none();
            self.out.push_back(reply::request_chunk(chunk, last));
        }
        if ready.end == End::Trailers {
            self.out.push_back(reply::request_trailers());
        }
    }
}

/// A body in pieces that the proxy takes.
fn chunks(mut body: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = body.len().min(CHUNK);
        (length > 0).then(|| body.split_to(length))
    })
}
