//! The coupling against a controller that the test plays.
#![allow(clippy::unwrap_used)] // tests

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wva_epp::clock::Clock;
use wva_epp::coupling::link::{Link, LinkError};
use wva_epp::coupling::state::Phase;
use wva_epp::coupling::{Coupling, Settings};
use wva_epp::discovery::variants::Variants;
use wva_epp::server::series::Ended;
use wva_epp::server::shared::{Handling, Shared};
use wva_epp::store::Store;
use wva_epp_core::config::Config;
use wva_epp_core::endpoint::Endpoint;
use wva_epp_core::flow::FlowSettings;
use wva_models::exchange::{FITS_SCHEMA, Fit, Fits, Leaving, Push, Share, Traffic};
use wva_models::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use wva_models::service_class::ServiceClass;
use wva_models::variant::Role;

/// What the test's controller heard, and what it says.
#[derive(Debug, Default)]
struct Told {
    token: String,
    pushes: Vec<Push>,
    fits: Option<Fits>,
}

type Shown = Arc<Mutex<Told>>;

async fn push(State(told): State<Shown>, headers: HeaderMap, Json(push): Json<Push>) -> StatusCode {
    let mut told = told.lock().unwrap();
    let expected = format!("Bearer {}", told.token);
    if headers.get("authorization").and_then(|h| h.to_str().ok()) != Some(&expected) {
        return StatusCode::UNAUTHORIZED;
    }
    told.pushes.push(push);
    StatusCode::OK
}

async fn fits(State(told): State<Shown>) -> Result<Json<Fits>, StatusCode> {
    let fits = told.lock().unwrap().fits.clone();
    fits.map(Json).ok_or(StatusCode::SERVICE_UNAVAILABLE)
}

async fn serve(address: SocketAddr, told: &Shown) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let router = Router::new()
        .route("/v1/push", post(push))
        .route("/v1/fits", get(fits))
        .with_state(Arc::clone(told));
    let bound = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (bound, task)
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no {what} in 20 s");
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 8000))
}

/// A pool of two pods of one workload.
fn shared(variants: &Variants) -> Arc<Shared> {
    let store = Arc::new(Store::new(Config::standard().picker, 1));
    let variant = Some(variants.number("llama"));
    store.update(|directory| {
        for (last, pod) in [(1, "a"), (2, "b")] {
            directory.apply(Endpoint {
                variant,
                ..Endpoint::new(address(last), "ns", pod)
            });
        }
    });
    let handling = Handling {
        flow: Some(FlowSettings::default()),
        ..Handling::default()
    };
    Shared::new(store, Clock::start(), &handling)
}

fn believed(at: f64, leaving: &[&str]) -> Fits {
    let law = IterationLaw {
        overhead_s: 1.9e-3,
        floor_s: 5.15e-3,
        per_token_s: 2.28e-5,
        per_kv_token_s: 4.1e-8,
        per_sequence_s: 2.3e-5,
        per_chunk_context_s: 8.3e-10,
        prefill_overhead_s: 5.9e-4,
        front_end_s: 11e-3,
    };
    let limits = EngineLimits {
        token_budget: 8192.0,
        max_sequences: 256.0,
        kv_tokens: 437_000.0,
    };
    let fit = |variant: &str| Fit {
        variant: variant.to_owned(),
        model: "ns/m".into(),
        accelerator: "H100".into(),
        workload: "llama".into(),
        role: Role::Both,
        replica: ReplicaModel { law, limits },
        trust: 0.9,
        start_up_s: 33.0,
        most_running: None,
        target: 1,
        leaving: leaving.len() as u32,
    };
    let class = r#"{"name": "chat", "ttft_ms": {"p99": 800}, "itl_ms": {"p99": 40}}"#;
    let class: ServiceClass = serde_json::from_str(class).unwrap();
    Fits {
        schema: FITS_SCHEMA.into(),
        at,
        variants: vec![fit("ns/hpa-of-llama")],
        traffic: vec![Traffic {
            model: "ns/m".into(),
            class,
            rate: 3.0,
            mean_input_tokens: 1500.0,
            mean_output_tokens: 300.0,
        }],
        leaving: leaving
            .iter()
            .map(|pod| Leaving {
                namespace: "ns".into(),
                pod: (*pod).to_owned(),
                uid: (*pod).to_owned(),
            })
            .collect(),
        shares: vec![Share {
            model: "ns/m".into(),
            class: "chat".into(),
            variants: vec!["ns/hpa-of-llama".into()],
            share: 0.5,
        }],
    }
}

fn file(name: &str, content: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, content).unwrap();
    file
}

fn start(
    url: &str,
    token: PathBuf,
    shared: &Arc<Shared>,
    variants: &Arc<Variants>,
) -> JoinHandle<()> {
    let link = Link::new(url, Some(token), None).unwrap();
    let settings = Settings {
        interval: Duration::from_millis(50),
        keep: Duration::from_secs(600),
        identity: "epp-0".into(),
        namespace: Some("ns".into()),
    };
    let coupling = Coupling::new(link, Arc::clone(shared), Arc::clone(variants), settings);
    tokio::spawn(coupling.run())
}

fn served(shared: &Shared) {
    let flow = shared.metrics.flow("m", "m", "someone", 0);
    flow.told.arrivals.fetch_add(1, Relaxed);
    let mut ended = Ended {
        first: Some(0.2),
        whole: 2.2,
        stream: true,
        ..Ended::default()
    };
    ended.usage.prompt = Some(2000);
    ended.usage.output = Some(101);
    flow.served(&ended);
}

#[tokio::test]
async fn an_outage_loses_no_count_and_repeats_none() {
    let told = Shown::default();
    told.lock().unwrap().token = "first".into();
    let (bound, server) = serve(([127, 0, 0, 1], 0).into(), &told).await;
    let variants = Arc::<Variants>::default();
    let shared = shared(&variants);
    let token = file("outage-token", "first\n");
    let coupling = start(
        &format!("http://{bound}"),
        token.clone(),
        &shared,
        &variants,
    );
    served(&shared);
    let newest = |told: &Shown| told.lock().unwrap().pushes.last().cloned();
    let counts = |push: &Push, n: f64| push.streams.first().is_some_and(|s| s.arrivals == n);
    until("first count", || newest(&told).filter(|p| counts(p, 1.0))).await;

    // Away, and back at the same place: all that happened meanwhile is told, once.
    server.abort();
    let _ = server.await;
    until("failure", || {
        (shared.store.controller().rounds().1 > 0).then_some(())
    })
    .await;
    served(&shared);
    served(&shared);
    let (_, server) = serve(bound, &told).await;
    let push = until("count of all", || newest(&told).filter(|p| counts(p, 3.0))).await;
    let stream = &push.streams[0];
    assert_eq!((stream.model.as_str(), stream.class.as_str()), ("m", ""));
    // Shed or failed by their server, but not what the client did.
    let flow = shared.metrics.flow("m", "m", "", 0);
    for code in [
        "ResourceExhausted",
        "ServiceUnavailable",
        "ModelServerError",
        "BadRequest",
        "Aborted",
    ] {
        flow.told.arrivals.fetch_add(1, Relaxed);
        shared.metrics.failed(&flow, code);
    }
    until("the lost", || {
        let newest = newest(&told)?;
        let stream = newest.streams.first()?;
        ((stream.arrivals, stream.met, stream.missed) == (8.0, 0.0, 3.0)).then_some(())
    })
    .await;
    assert_eq!(
        (stream.input_tokens.count, stream.input_tokens.sum),
        (3.0, 6000.0)
    );
    assert_eq!((stream.output_tokens.sum, stream.ttft.count), (303.0, 3.0));
    assert!((stream.tpot.sum - 0.06).abs() < 1e-4, "{:?}", stream.tpot);

    // Another token, read from the file as soon as it is there.
    told.lock().unwrap().token = "second".into();
    let before = shared.store.controller().rounds().1;
    until("refusal", || {
        (shared.store.controller().rounds().1 > before).then_some(())
    })
    .await;
    file("outage-token", "second\n");
    let count = told.lock().unwrap().pushes.len();
    until("push by the new token", || {
        (told.lock().unwrap().pushes.len() > count).then_some(())
    })
    .await;

    let told = told.lock().unwrap();
    let who: BTreeSet<_> = told
        .pushes
        .iter()
        .map(|p| (&p.pusher, p.incarnation))
        .collect();
    assert_eq!(who.len(), 1);
    assert!(
        told.pushes
            .windows(2)
            .all(|w| w[0].sequence < w[1].sequence)
    );
    coupling.abort();
    server.abort();
}

#[tokio::test]
async fn what_the_controller_believes_is_gone_by() {
    let told = Shown::default();
    told.lock().unwrap().token = "t".into();
    let (bound, server) = serve(([127, 0, 0, 1], 0).into(), &told).await;
    let variants = Arc::<Variants>::default();
    let shared = shared(&variants);
    let coupling = start(
        &format!("http://{bound}"),
        file("belief-token", "t"),
        &shared,
        &variants,
    );
    let pushed = |f: &dyn Fn(&Push) -> bool| {
        let told = told.lock().unwrap();
        told.pushes.last().is_some_and(f).then_some(())
    };
    // There was no cycle yet: it is reached, and nothing is gone by.
    until("a push", || {
        pushed(&|p| p.sequence > 2 && p.fits_at.is_none())
    })
    .await;
    assert_eq!(shared.store.controller().phase(), (Phase::None, None));

    told.lock().unwrap().fits = Some(believed(100.0, &["b"]));
    until("word that it is known who leaves", || {
        pushed(&|p| p.fits_at == Some(100.0))
    })
    .await;
    {
        let pool = shared.store.pool();
        let [taker] = pool.takers() else {
            panic!("{:?}", pool.takers());
        };
        assert_eq!(pool.endpoint(*taker).unwrap().pod, "a");
        let model = pool.model(*taker).expect("a law of its workload");
        assert_eq!((model.mean_prompt, model.mean_output), (1500.0, 300.0));
        let [path] = pool.paths() else {
            panic!("{:?}", pool.paths());
        };
        assert_eq!((path.variants.len(), path.share), (1, 1.5));
        let feasible = model.feasible.expect("bounds that an H100 keeps");
        assert!((10.0..256.0).contains(&feasible), "{feasible}");
    }
    assert_eq!(shared.store.controller().phase().0, Phase::Fresh);
    assert!(
        shared
            .metrics
            .text()
            .contains("wva_epp_controller_state{state=\"fresh\"} 1")
    );

    told.lock().unwrap().fits = Some(believed(101.0, &[]));
    until("nobody to leave", || {
        (shared.store.pool().takers().len() == 2).then_some(())
    })
    .await;
    server.abort();
    coupling.abort();
}

#[test]
fn urls_and_files_that_cannot_be_used_are_named() {
    let refused = |url: &str| Link::new(url, None, None).err();
    for url in [
        "",
        "controller:9444",
        "ftp://a",
        "http://",
        "http://a/path",
        "http://a?x=1",
    ] {
        assert!(
            matches!(refused(url), Some(LinkError::Url(u)) if u == url),
            "{url}"
        );
    }
    for url in ["http://a", "http://a:9444/", "https://[::1]:9444"] {
        assert!(refused(url).is_none(), "{url}");
    }
    let empty = Link::new("http://a", Some(file("empty-token", " \n")), None);
    assert!(matches!(empty, Err(LinkError::File { .. })));
    let nobody = Link::new("https://a", None, Some(file("empty-ca", "")));
    assert!(matches!(nobody, Err(LinkError::File { .. })));
}
