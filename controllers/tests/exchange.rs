//! The exchange with endpoint pickers, over HTTP.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tokio::sync::watch;
use tower::ServiceExt as _;
use wva_controllers::cycle::Departures;
use wva_controllers::exchange::{Admission, ExchangeError, Heard, fits_of, router};
use wva_controllers::telemetry::pushed::{self, Pushed};
use wva_models::catalogue::Catalogue;
use wva_models::exchange::{Answer, Buckets, Counted, FITS_SCHEMA, Leaving, PUSH_VERSION, Push};
use wva_optimizer::replay::Moment;
use wva_optimizer::snapshot::{Snapshot, VariantSample};
use wva_optimizer::state::State;
use wva_optimizer::step::{Autoscaler, Settings, step};

fn push(sequence: u64) -> Push {
    Push {
        version: PUSH_VERSION,
        pusher: "epp-0".into(),
        incarnation: 7,
        sequence,
        at: 99.0,
        fits_at: Some(98.0),
        streams: vec![Counted {
            model: "llama".into(),
            class: "chat".into(),
            at: 99.0,
            arrivals: 12.0,
            input_tokens: Buckets {
                bounds: vec![100.0, 1000.0],
                counts: vec![2.0, 12.0],
                count: 12.0,
                sum: 4000.0,
            },
            held: 1.0,
            ..Counted::default()
        }],
    }
}

fn loopback() -> Admission {
    Admission::new(([127, 0, 0, 1], 0).into(), None).expect("only this machine")
}

async fn post(
    pushed: &Arc<Mutex<Pushed>>,
    admission: &Admission,
    token: Option<&str>,
    body: Vec<u8>,
) -> (StatusCode, String) {
    let heard = Heard {
        last: watch::channel(None).1,
        departures: watch::channel(Departures::default()).1,
    };
    let app = router(Arc::clone(pushed), heard, admission.clone(), || 100.0);
    let mut request = Request::post("/v1/push");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = app
        .oneshot(
            request
                .body(Body::from(body))
                .expect("an exchange in memory"),
        )
        .await
        .expect("an exchange in memory");
    let status = answer.status();
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20)
        .await
        .expect("an exchange in memory");
    let told: Answer = serde_json::from_slice(&bytes).expect("every answer has a code");
    (status, told.code)
}

#[tokio::test]
async fn what_a_picker_writes_is_what_the_controller_reads() {
    let pushed = Arc::<Mutex<Pushed>>::default();
    let body = |sequence| serde_json::to_vec(&push(sequence)).unwrap();
    let expect = [
        (5, StatusCode::OK, "taken"),
        (5, StatusCode::OK, "repeated"),
        (4, StatusCode::CONFLICT, "outdated"),
    ];
    for (sequence, status, code) in expect {
        let told = post(&pushed, &loopback(), None, body(sequence)).await;
        assert_eq!(told, (status, code.to_owned()));
    }
    let held = pushed.lock().unwrap();
    let (heard, taken) = held.newest().next().expect("one pusher");
    assert_eq!((heard, taken.version), (100.0, pushed::VERSION));
    assert_eq!(taken.fits_at, Some(98.0));
    let stream = &taken.streams[0];
    assert_eq!(
        (stream.arrivals, stream.held, stream.input_tokens.sum),
        (12.0, 1.0, 4000.0)
    );
}

#[tokio::test]
async fn strangers_and_nonsense_are_refused_by_name() {
    let pushed = Arc::<Mutex<Pushed>>::default();
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("push-token");
    std::fs::write(&file, "secret\n").unwrap();
    let anywhere = ([0, 0, 0, 0], 0).into();
    assert!(matches!(
        Admission::new(anywhere, None),
        Err(ExchangeError::Open(_))
    ));
    let missing = Admission::new(anywhere, Some("/nowhere/token".into()));
    assert!(matches!(missing, Err(ExchangeError::Token { .. })));
    let guarded = Admission::new(anywhere, Some(file)).expect("a token");
    let body = serde_json::to_vec(&push(1)).unwrap();
    for token in [None, Some("guess!"), Some("")] {
        let told = post(&pushed, &guarded, token, body.clone()).await;
        assert_eq!(told, (StatusCode::UNAUTHORIZED, "unauthorized".into()));
    }
    let taken = post(&pushed, &guarded, Some("secret"), body).await;
    assert_eq!(taken.1, "taken");
    let cases = [
        (b"{".to_vec(), StatusCode::BAD_REQUEST, "not-understood"),
        (
            serde_json::to_vec(&Push {
                version: 9,
                ..push(2)
            })
            .unwrap(),
            StatusCode::BAD_REQUEST,
            "not-understood",
        ),
        (
            vec![b' '; 17 << 20],
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
        ),
    ];
    for (body, status, code) in cases {
        assert_eq!(
            post(&pushed, &loopback(), None, body).await,
            (status, code.to_owned())
        );
    }
}

#[test]
fn fits_tell_what_is_believed() {
    let yaml = "variants: [{name: a, model: llama-3.1-8b, accelerator: H100}]";
    let autoscaler = Autoscaler {
        catalogue: Catalogue::parse(yaml, "test").unwrap(),
        settings: Settings::default(),
    };
    let snapshot = Snapshot {
        at: 5.0,
        variants: vec![VariantSample {
            name: "a".into(),
            desired: 2,
            ready: 2,
            ..VariantSample::default()
        }],
        ..Snapshot::default()
    };
    let state = State::default();
    let (_, cycle) = step(&autoscaler, &snapshot, state.clone());
    let moment = Moment {
        autoscaler,
        state,
        snapshot,
        cycle,
    };
    let departures = Departures {
        leaving: vec![Leaving {
            namespace: "ns".into(),
            pod: "a-1".into(),
            uid: "u".into(),
        }],
        workloads: [("a".to_owned(), "server".to_owned())].into(),
    };
    let fits = fits_of(&moment, departures.clone());
    assert_eq!(fits.leaving, departures.leaving);
    assert_eq!(fits.variants[0].workload, "server");
    assert_eq!(
        (fits.schema.as_str(), fits.at, fits.variants.len()),
        (FITS_SCHEMA, 5.0, 1)
    );
    let fit = &fits.variants[0];
    assert_eq!((fit.variant.as_str(), fit.target, fit.leaving), ("a", 2, 0));
    assert!(fit.replica.law.floor_s > 0.0 && fit.start_up_s > 0.0);
    let json = serde_json::to_string(&fits).unwrap();
    assert_eq!(
        serde_json::from_str::<wva_models::exchange::Fits>(&json).unwrap(),
        fits
    );
}
