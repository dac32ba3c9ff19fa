//! Prometheus' query API: what it may answer, and whose series is whose.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use wva_controllers::telemetry::exposition::{self, Syntax};
use wva_controllers::telemetry::gathered::{CountedBy, Gathered, Outcome};
use wva_controllers::telemetry::http::HttpSettings;
use wva_controllers::telemetry::prometheus::PrometheusSettings;
use wva_controllers::telemetry::reason::{Note, Reason};
use wva_controllers::telemetry::{Gatherer, TelemetrySettings, diagnose};

use crate::fleet::{finished, targets};
use crate::pages;
use crate::servers::crypto;

/// A few queries' worth of Prometheus.
#[derive(Default)]
struct Fake {
    now: f64,
    /// Labels, value, time of the scrape.
    series: Vec<(BTreeMap<String, String>, String, f64)>,
    warnings: Vec<String>,
    /// Answer to queries that contain the text.
    broken: Option<(&'static str, StatusCode, Value)>,
    /// Whether POST is refused, as some proxies do.
    get_only: bool,
    queries: Vec<String>,
}

type Shared = Arc<Mutex<Fake>>;

impl Fake {
    /// Adds a page as it looks when scraped with these target labels at `at`.
    fn scrape(&mut self, page: &str, target: &[(&str, &str)], at: f64) {
        exposition::read(page.as_bytes(), Syntax::Text, Some, |name, s| {
            let mut labels: BTreeMap<String, String> = s
                .labels
                .pairs()
                .map(|(k, v)| (k.to_owned(), v.into_owned()))
                .collect();
            labels.insert("__name__".into(), name.into());
            for (k, v) in target {
                // As Prometheus does without honor_labels.
                if let Some(own) = labels.insert((*k).into(), (*v).into()) {
                    labels.insert(format!("exported_{k}"), own);
                }
            }
            let value = if s.value.is_nan() {
                "NaN".to_owned()
            } else {
                format!("{}", s.value)
            };
            self.series.push((labels, value, at));
        });
    }

    fn answer(&mut self, query: &str) -> Response {
        self.queries.push(query.to_owned());
        if let Some((text, status, body)) = &self.broken
            && query.contains(text)
        {
            return (*status, Json(body.clone())).into_response();
        }
        let result = if query == "time()" {
            return Json(json!({"status": "success", "data": {"resultType": "scalar", "result": [self.now, self.now.to_string()]}}))
                .into_response();
        } else if query.contains("timestamp(") {
            let names: Vec<&str> = query
                .split("timestamp(")
                .skip(1)
                .filter_map(|q| q.split('{').next())
                .collect();
            self.select(&names, true)
        } else {
            let names = query
                .split("__name__=~\"")
                .nth(1)
                .and_then(|q| q.split('"').next())
                .unwrap_or("");
            self.select(&names.split('|').collect::<Vec<_>>(), false)
        };
        Json(json!({"status": "success", "data": {"resultType": "vector", "result": result}, "warnings": self.warnings}))
            .into_response()
    }

    fn select(&self, names: &[&str], times: bool) -> Vec<Value> {
        let named = self
            .series
            .iter()
            .filter(|(l, ..)| names.contains(&l["__name__"].as_str()));
        let shown = named.map(|(labels, value, at)| {
            let mut labels = labels.clone();
            if times {
                labels.remove("__name__");
                return json!({"metric": labels, "value": [self.now, at.to_string()]});
            }
            json!({"metric": labels, "value": [self.now, value]})
        });
        shown.collect()
    }
}

async fn post(
    State(fake): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let mut fake = fake.lock().unwrap();
    if fake.get_only {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let asked_at = form.get("time").map(|t| t.parse::<f64>().unwrap());
    assert!(
        asked_at.is_none_or(|t| t == fake.now),
        "queries are asked at the server's time"
    );
    assert_eq!(headers["x-scope-orgid"], "a");
    fake.answer(&form["query"])
}

async fn get(
    State(fake): State<Shared>,
    axum::extract::Query(form): axum::extract::Query<BTreeMap<String, String>>,
) -> Response {
    fake.lock().unwrap().answer(&form["query"])
}

async fn start(fake: Fake) -> (SocketAddr, Shared) {
    crypto();
    let shared = Arc::new(Mutex::new(fake));
    let app = Router::new()
        .route("/prefix/api/v1/query", axum::routing::get(get).post(post))
        .with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, shared)
}

fn gatherer(address: SocketAddr) -> Gatherer {
    let settings = TelemetrySettings {
        prometheus: Some(PrometheusSettings {
            url: format!("http://{address}/prefix"),
            timeout_seconds: 5.0,
            http: HttpSettings {
                headers: [("X-Scope-OrgID".to_owned(), "a".to_owned())].into(),
                ..HttpSettings::default()
            },
            ..PrometheusSettings::default()
        }),
        ..TelemetrySettings::default()
    };
    Gatherer::new(&settings).unwrap()
}

fn target<'a>(pod: &'a str, instance: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("namespace", "ml"),
        ("pod", pod),
        ("instance", instance),
        ("job", "vllm"),
    ]
}

fn page(n: f64) -> String {
    pages::vllm("meta/llama", &[finished(n)])
}

fn finished_of(g: &Gathered, pod: usize) -> f64 {
    g.pods[pod]
        .outcome
        .sample()
        .unwrap_or_else(|| panic!("{:?}", g.pods[pod]))
        .finished
}

#[tokio::test]
async fn raw_counters_come_with_the_time_of_their_scrape() {
    let mut fake = Fake {
        now: 1000.5,
        ..Fake::default()
    };
    fake.scrape(&page(10.0), &target("a", "10.0.0.1:8000"), 990.25);
    fake.scrape(&page(20.0), &target("b", "10.0.0.2:8000"), 700.0);
    let (address, shared) = start(fake).await;
    let mut gatherer = gatherer(address);
    let t = targets(&["a", "b", "c"]);
    // Our clock is half a minute behind.
    let g = gatherer.gather(&t, 970.5).await;
    let Outcome::Sample(a) = &g.pods[0].outcome else {
        panic!("{g:?}")
    };
    assert_eq!(
        (a.value.at, a.value.finished, a.notes.as_slice()),
        (970.5, 10.0, &[Note::ClockAhead][..])
    );
    let missing = |i: usize| g.pods[i].outcome.missing().unwrap();
    assert_eq!(
        (missing(1).reason, missing(1).age),
        (Reason::Stale, Some(270.5))
    );
    assert_eq!(missing(2).reason, Reason::NotInPrometheus);
    let health = &g.sources["prometheus"];
    assert_eq!(health.clock_skew_s, Some(30.0));
    assert!(health.series > 60 && health.last_success == Some(970.5));
    let skewed = diagnose(&t, &g)
        .into_iter()
        .find(|f| f.subject == "prometheus")
        .unwrap();
    assert_eq!(skewed.code.as_deref(), Some("clock-ahead"));
    assert_eq!(shared.lock().unwrap().queries.len(), 7);
}

#[tokio::test]
async fn arrivals_and_shapes_of_the_whole_model() {
    let mut fake = Fake {
        now: 1000.0,
        ..Fake::default()
    };
    fake.scrape(&page(10.0), &target("a", "10.0.0.1:8000"), 995.0);
    let (address, shared) = start(fake).await;
    let mut gatherer = gatherer(address);
    let t = targets(&["a"]);
    gatherer.gather(&t, 1000.0).await;
    {
        let mut fake = shared.lock().unwrap();
        fake.now = 1015.0;
        fake.series.clear();
        fake.scrape(&page(45.0), &target("a", "10.0.0.1:8000"), 1010.0);
    }
    let g = gatherer.gather(&t, 1015.0).await;
    let s = g.streams[0].outcome.sample().unwrap();
    assert_eq!(
        (s.arrivals, s.at, g.streams[0].counted_by),
        (35.0, 1010.0, Some(CountedBy::Engines))
    );
    assert_eq!(
        (s.input_tokens.count, s.output_tokens.sum),
        (35.0, 35.0 * 240.0)
    );
    assert_eq!((s.met, s.missed), (0.0, 35.0));
}

#[tokio::test]
async fn pods_are_found_by_whatever_names_them() {
    let mut fake = Fake {
        now: 1000.0,
        ..Fake::default()
    };
    // Rank suffix; the exporter's labels beside the pod's; only an address; host network, told apart by port.
    fake.scrape(
        &page(1.0),
        &[
            ("namespace", "ml"),
            ("pod", "a-rank-0"),
            ("instance", "x:1"),
        ],
        995.0,
    );
    fake.scrape(
        &page(1.0),
        &[
            ("namespace", "ml"),
            ("pod", "a-rank-1"),
            ("instance", "x:2"),
        ],
        995.0,
    );
    let relabelled = [
        ("namespace", "monitoring"),
        ("pod", "collector"),
        ("exported_namespace", "ml"),
        ("exported_pod", "b"),
        ("instance", "y:1"),
    ];
    fake.scrape(&page(3.0), &relabelled, 995.0);
    fake.scrape(&page(4.0), &[("instance", "10.0.0.3:8000")], 995.0);
    fake.scrape(&page(5.0), &[("instance", "10.0.0.9:8001")], 995.0);
    fake.scrape(&page(6.0), &[("instance", "10.0.0.9:8002")], 995.0);
    let (address, _) = start(fake).await;
    let mut t = targets(&["a", "b", "c", "d", "e"]);
    for (pod, ip) in t
        .pods
        .iter_mut()
        .zip(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9", "10.0.0.9"])
    {
        pod.ip = Some(ip.into());
    }
    (t.pods[3].endpoint.ports, t.pods[4].endpoint.ports) = (vec![8001], vec![8002]);
    let g = gatherer(address).gather(&t, 1000.0).await;
    let found: Vec<f64> = (0..5).map(|i| finished_of(&g, i)).collect();
    assert_eq!(found, [2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[tokio::test]
async fn a_pod_that_two_jobs_scrape_counts_once() {
    let mut fake = Fake {
        now: 1000.0,
        ..Fake::default()
    };
    for (job, at) in [("one", 990.0), ("two", 996.0)] {
        let mut labels = target("a", "10.0.0.1:8000");
        labels[3] = ("job", job);
        fake.scrape(&page(at), &labels, at);
    }
    let (address, _) = start(fake).await;
    let g = gatherer(address).gather(&targets(&["a"]), 1000.0).await;
    let Outcome::Sample(a) = &g.pods[0].outcome else {
        panic!("{g:?}")
    };
    assert_eq!(
        (a.value.finished, a.value.at, a.notes.as_slice()),
        (996.0, 996.0, &[Note::Duplicated][..])
    );
}

#[tokio::test]
async fn pickers_in_prometheus_count_offered_load() {
    let epp = |n: f64| {
        format!(
            "llm_d_epp_ready_endpoints{{name=\"p\"}} 1\nllm_d_epp_request_total{{model_name=\"llama\",priority=\"10\",fairness_id=\"x\"}} {n}\n"
        )
    };
    let mut fake = Fake {
        now: 1000.0,
        ..Fake::default()
    };
    fake.scrape(&epp(5.0), &target("epp-0", "10.0.1.1:9090"), 995.0);
    let (address, shared) = start(fake).await;
    let mut gatherer = gatherer(address);
    let t = targets(&[]);
    gatherer.gather(&t, 1000.0).await;
    {
        let mut fake = shared.lock().unwrap();
        fake.now = 1015.0;
        fake.series.clear();
        fake.scrape(&epp(12.0), &target("epp-0", "10.0.1.1:9090"), 1010.0);
    }
    let g = gatherer.gather(&t, 1015.0).await;
    assert_eq!(g.streams[1].outcome.sample().unwrap().arrivals, 7.0);
    assert_eq!(
        g.streams[0].outcome.missing().unwrap().reason,
        Reason::NoArrivals
    );
}

#[tokio::test]
async fn power_is_joined_and_a_sick_gpu_is_told() {
    let mut fake = Fake {
        now: 1000.0,
        ..Fake::default()
    };
    fake.scrape(&page(1.0), &target("a", "10.0.0.1:8000"), 995.0);
    let gpu = "DCGM_FI_DEV_POWER_USAGE{UUID=\"GPU-1\",Hostname=\"n\",namespace=\"ml\",pod=\"a\"} 350\n\
               DCGM_FI_DEV_XID_ERRORS{UUID=\"GPU-1\",Hostname=\"n\",namespace=\"ml\",pod=\"a\"} 79\n";
    fake.scrape(
        gpu,
        &[
            ("namespace", "gpu-operator"),
            ("pod", "dcgm-1"),
            ("job", "dcgm"),
        ],
        995.0,
    );
    let (address, _) = start(fake).await;
    let t = targets(&["a"]);
    let g = gatherer(address).gather(&t, 1000.0).await;
    assert_eq!(g.power_w("v"), Some(350.0));
    assert!(
        diagnose(&t, &g)
            .iter()
            .any(|f| f.code.as_deref() == Some("gpu-fatal-xid"))
    );
}

#[tokio::test]
async fn partial_answers_warnings_and_nan_are_told() {
    let mut fake = Fake {
        now: 1000.0,
        warnings: vec!["PromQL: a store was not reachable".into()],
        ..Fake::default()
    };
    fake.scrape(
        &page(1.0).replace("} 0.0\n", "} NaN\n"),
        &target("a", "10.0.0.1:8000"),
        995.0,
    );
    fake.broken = Some((
        "DCGM",
        StatusCode::UNPROCESSABLE_ENTITY,
        json!({"status": "error", "errorType": "execution", "error": "too many samples"}),
    ));
    let (address, _) = start(fake).await;
    let t = targets(&["a"]);
    let g = gatherer(address).gather(&t, 1000.0).await;
    let health = &g.sources["prometheus"];
    let error = health.last_error.as_ref().unwrap();
    assert_eq!(
        (error.reason, error.detail.as_str()),
        (Reason::PrometheusError, "GPUs: execution: too many samples")
    );
    let warning = "engines: PromQL: a store was not reachable".to_owned();
    assert!(health.warnings.contains(&warning));
    // Some of the numbers of this pod are no numbers: it is not believed.
    assert_eq!(g.pods[0].outcome.missing().unwrap().reason, Reason::Absurd);
}

#[tokio::test]
async fn failures_of_the_api_reach_every_pod_with_their_reason() {
    for (status, body, reason) in [
        (StatusCode::UNAUTHORIZED, json!({}), Reason::Unauthorized),
        (
            StatusCode::BAD_REQUEST,
            json!({"status": "error", "errorType": "bad_data", "error": "no"}),
            Reason::PrometheusError,
        ),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"status": "error", "errorType": "timeout", "error": "slow"}),
            Reason::Timeout,
        ),
    ] {
        let fake = Fake {
            now: 1000.0,
            broken: Some(("time()", status, body)),
            ..Fake::default()
        };
        let (address, _) = start(fake).await;
        let t = targets(&["a"]);
        let g = gatherer(address).gather(&t, 1000.0).await;
        assert_eq!(g.pods[0].outcome.missing().unwrap().reason, reason);
        assert!(g.sources["prometheus"].last_success.is_none());
        let fact = diagnose(&t, &g)
            .into_iter()
            .find(|f| f.subject == "prometheus")
            .unwrap();
        assert_eq!(fact.code.as_deref(), Some(reason.as_str()));
    }
    let (address, _) = crate::servers::plain(crate::servers::Answer::page(
        "text/html",
        "<html>login</html>",
    ))
    .await;
    let g = gatherer(address).gather(&targets(&["a"]), 0.0).await;
    assert_eq!(
        g.pods[0].outcome.missing().unwrap().reason,
        Reason::BadContentType
    );
}

#[tokio::test]
async fn where_post_is_refused_get_is_used() {
    let mut fake = Fake {
        now: 1000.0,
        get_only: true,
        ..Fake::default()
    };
    fake.scrape(&page(1.0), &target("a", "10.0.0.1:8000"), 995.0);
    let (address, _) = start(fake).await;
    let g = gatherer(address).gather(&targets(&["a"]), 1000.0).await;
    assert_eq!(finished_of(&g, 0), 1.0);
}
