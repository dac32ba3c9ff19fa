//! `POST /v1/push` and `GET /v1/fits`: endpoint pickers tell what arrives, and learn what is believed of the servers.
//!
//! A push steers what is scaled, so it must come from somebody who may: a bearer token from a file, or a listener that
//! only this machine reaches. Every refusal has a stable code and says what to do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::sync::watch;
use wva_models::batching::ContinuousBatching;
use wva_models::exchange::{Answer, FITS_PATH, FITS_SCHEMA, Fit, Fits, PUSH_PATH, Share, Traffic};
use wva_optimizer::planner::{PlanInput, VariantBelief, Workload};
use wva_optimizer::replay::Moment;
use wva_optimizer::step::plan_input;

use crate::cycle::Departures;
use crate::run::last_cycle::LastCycle;
use crate::telemetry::clock::Clock;
use crate::telemetry::pushed::{Accepted, Push, Pushed};

/// Longest push, bytes: some ten thousand streams.
const LONGEST: usize = 16 << 20;

/// Why the exchange cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Anybody could steer what is scaled.
    #[error("serve.exchange listens on {0}, where others reach it, and names no bearer_token_file")]
    Open(SocketAddr),
    /// The token cannot be read.
    #[error("serve.exchange.bearer_token_file {file}: {why}")]
    Token {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Who may come in: whoever has the token, or everybody on this machine.
#[derive(Debug, Clone)]
pub struct Admission(Option<PathBuf>);

impl Admission {
    /// By the token in this file, which is read anew for each request, so that it can be changed; without one, only a
    /// loopback address may be listened on.
    ///
    /// # Errors
    /// [`ExchangeError`] where the file cannot be read now, or where no token is wanted and others could come in.
    pub fn new(listen: SocketAddr, token: Option<PathBuf>) -> Result<Self, ExchangeError> {
        let Some(file) = token else {
            let alone = listen.ip().is_loopback();
            return alone
                .then_some(Self(None))
                .ok_or(ExchangeError::Open(listen));
        };
        match read_token(&file) {
            Ok(_) => Ok(Self(Some(file))),
            Err(why) => Err(ExchangeError::Token { file, why }),
        }
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(file) = &self.0 else { return true };
        let Ok(token) = read_token(file) else {
            return false;
        };
        let shown = headers.get(header::AUTHORIZATION);
        let shown = shown.and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
        shown.is_some_and(|s| same(s.trim().as_bytes(), token.as_bytes()))
    }
}

fn read_token(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let token = text.trim();
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(token.to_owned())
}

/// Compares in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

/// What cycles tell.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The last of them.
    pub last: watch::Receiver<LastCycle>,
    /// Who leaves by it.
    pub departures: watch::Receiver<Departures>,
}

#[derive(Clone)]
struct Exchange {
    pushed: Arc<Mutex<Pushed>>,
    heard: Heard,
    admission: Admission,
    clock: Clock,
}

/// The two routes: pushes go into `pushed`, fits are what is `heard` of cycles.
pub fn router(
    pushed: Arc<Mutex<Pushed>>,
    heard: Heard,
    admission: Admission,
    clock: Clock,
) -> Router {
    Router::new()
        .route(PUSH_PATH, post(push))
        .route(FITS_PATH, get(fits))
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(Exchange {
            pushed,
            heard,
            admission,
            clock,
        })
}

fn answer(status: StatusCode, code: &str, text: impl Into<String>) -> Response {
    let answer = Answer {
        code: code.to_owned(),
        text: text.into(),
    };
    (status, Json(answer)).into_response()
}

fn unauthorized() -> Response {
    let text =
        "send the token of serve.exchange.bearer_token_file as `Authorization: Bearer TOKEN`";
    answer(StatusCode::UNAUTHORIZED, "unauthorized", text)
}

async fn push(State(exchange): State<Exchange>, request: Request) -> Response {
    if !exchange.admission.admits(request.headers()) {
        return unauthorized();
    }
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(refused) => {
            let text = format!("a push has at most {LONGEST} bytes: {refused}");
            return answer(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text);
        }
    };
    let push: Push = match serde_json::from_slice(&body) {
        Ok(push) => push,
        Err(error) => {
            return answer(StatusCode::BAD_REQUEST, "not-understood", error.to_string());
        }
    };
    let now = (exchange.clock)();
    let mut pushed = exchange
        .pushed
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let accepted = pushed.take(push, now);
    drop(pushed);
    told(accepted)
}

fn told(accepted: Accepted) -> Response {
    let (status, code, text) = match accepted {
        Accepted::Taken => (StatusCode::OK, "taken", "it counts from the next cycle on"),
        Accepted::Repeated => (StatusCode::OK, "repeated", "it was there already"),
        Accepted::Outdated => (
            StatusCode::CONFLICT,
            "outdated",
            "a later one of this pusher is there; raise the sequence",
        ),
        Accepted::NotUnderstood => (
            StatusCode::BAD_REQUEST,
            "not-understood",
            "its version is not known here, or it names no pusher",
        ),
        Accepted::Full => (
            StatusCode::SERVICE_UNAVAILABLE,
            "full",
            "there are too many pushers; those that fall silent are forgotten after a quarter of an hour",
        ),
    };
    answer(status, code, text)
}

async fn fits(State(exchange): State<Exchange>, headers: HeaderMap) -> Response {
    if !exchange.admission.admits(&headers) {
        return unauthorized();
    }
    // The cycle before its departures: they may be newer than it, never older.
    let moment = exchange.heard.last.borrow().clone();
    let departures = exchange.heard.departures.borrow().clone();
    let Some(moment) = moment else {
        return answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-cycle",
            "there was no cycle yet; ask again in a moment",
        );
    };
    // What a large fleet remembers takes a while to go through.
    match tokio::task::spawn_blocking(move || fits_of(&moment, departures)).await {
        Ok(fits) => Json(fits).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What was believed in this cycle.
#[must_use]
pub fn fits_of(moment: &Moment, departures: Departures) -> Fits {
    let Departures { leaving, workloads } = departures;
    let input = plan_input(&moment.autoscaler, &moment.snapshot, moment.state.clone());
    let believed = input
        .catalogue
        .variants
        .iter()
        .zip(&input.beliefs)
        .enumerate();
    let shares = moment.cycle.shares.iter().map(|s| Share {
        model: s.model.clone(),
        class: s.class.clone(),
        variants: s.variants.clone(),
        share: s.share,
    });
    Fits {
        schema: FITS_SCHEMA.to_owned(),
        at: moment.snapshot.at,
        variants: believed
            .map(|(v, (_, belief))| Fit {
                workload: workload(&workloads, &input.catalogue.variants[v].name),
                ..fit(moment, &input, v, belief)
            })
            .collect(),
        shares: shares.collect(),
        traffic: traffic(&input),
        leaving,
    }
}

fn workload(workloads: &BTreeMap<String, String>, variant: &str) -> String {
    workloads.get(variant).cloned().unwrap_or_default()
}

/// What is planned for, with the buckets of a class put together.
fn traffic(input: &PlanInput<'_>) -> Vec<Traffic> {
    let mut classes: BTreeMap<(&str, &str), Vec<&Workload>> = BTreeMap::new();
    for workload in &input.workloads {
        let class = (workload.model.as_str(), workload.class.as_str());
        classes.entry(class).or_default().push(workload);
    }
    let one = |((model, class), parts): ((&str, &str), Vec<&Workload>)| {
        let rate: f64 = parts.iter().map(|w| w.rate).sum();
        let mean = |of: fn(&Workload) -> f64| match rate > 0.0 {
            true => parts.iter().map(|w| w.rate * of(w)).sum::<f64>() / rate,
            false => parts.iter().map(|w| of(w)).sum::<f64>() / parts.len() as f64,
        };
        Some(Traffic {
            model: model.to_owned(),
            class: input.catalogue.class(class)?.clone(),
            rate,
            mean_input_tokens: mean(|w| w.shape.mean_input()),
            mean_output_tokens: mean(|w| w.shape.mean_output()),
        })
    };
    classes.into_iter().filter_map(one).collect()
}

fn fit(moment: &Moment, input: &PlanInput<'_>, v: usize, belief: &VariantBelief) -> Fit {
    let variant = &input.catalogue.variants[v];
    let learned = moment.state.variants.get(&variant.name);
    let decision = moment
        .cycle
        .decisions
        .iter()
        .find(|d| d.variant == variant.name);
    let (current, target) = decision.map_or((0, 0), |d| (d.current, d.target));
    Fit {
        variant: variant.name.clone(),
        model: variant.model.clone(),
        accelerator: variant.accelerator.clone(),
        workload: String::new(),
        role: variant.role,
        replica: belief.replica,
        trust: learned.map_or(0.0, |l| l.fitted().trust),
        start_up_s: learned.map_or(variant.start_up.get(), |l| l.start_up),
        most_running: most_running(input, v, belief),
        target,
        leaving: current.saturating_sub(target),
    }
}

/// Running sequences up to which an iteration keeps the strictest bound on gaps of the model's classes.
fn most_running(input: &PlanInput<'_>, v: usize, belief: &VariantBelief) -> Option<u32> {
    let variant = &input.catalogue.variants[v];
    let of_model = input.workloads.iter().filter(|w| w.model == variant.model);
    let bounded = of_model.filter_map(|w| {
        let limit = input.catalogue.class(&w.class)?.slo()?.itl?.limit.get();
        let model = ContinuousBatching::new(belief.replica, variant.role);
        Some(model.largest_batch(&w.shape, 0.0, limit))
    });
    bounded.min()
}
