//! A server to ask, an API server that reviews, and reports to publish.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};
use wva_controllers::external_metrics::gate::Gate;
use wva_controllers::external_metrics::reviews::Reviewer;
use wva_controllers::external_metrics::trust::Trust;
use wva_controllers::published::{
    Entry, Latencies, Published, Publisher, Report, ScaleTarget, VariantKey, VariantReport,
};
use wva_controllers::serving::certificates::HotCertificate;
use wva_controllers::serving::{Transport, serve};
use wva_models::variant::Role;
use wva_optimizer::decision::Reason;

pub use crate::certificates::{Ca, Pair};

pub const BASE: &str = "/apis/external.metrics.k8s.io/v1beta1";

/// A server on loopback; it ends when this is dropped.
pub struct Served {
    pub address: SocketAddr,
    pub certificate: Arc<HotCertificate>,
    pub authority: Ca,
    _stop: oneshot::Sender<()>,
}

impl Served {
    pub async fn start(app: Router) -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let authority = Ca::new("serving");
        let pair = authority.server();
        let certificate = Arc::new(HotCertificate::new(&pair.certificate, &pair.key).unwrap());
        let (address, stop) = listen(Transport::tls(Arc::clone(&certificate)), app).await;
        Self {
            address,
            certificate,
            authority,
            _stop: stop,
        }
    }

    /// A client that trusts the server, with this certificate if any.
    pub fn client(&self, pair: Option<&Pair>) -> reqwest::Client {
        client(&self.authority.pem, pair)
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }
}

pub fn client(authority: &str, pair: Option<&Pair>) -> reqwest::Client {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let trusted = reqwest::Certificate::from_pem_bundle(authority.as_bytes()).unwrap();
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(trusted);
    if let Some(pair) = pair {
        let pem = format!("{}{}", pair.certificate, pair.key);
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

pub async fn listen(transport: Transport, app: Router) -> (SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(serve(listener, transport, app, async move {
        stopped.await.ok();
    }));
    (address, stop)
}

/// An API server that reviews: the token `good` is alice's, and alice, the HPA and the aggregator may do everything.
pub async fn reviewing() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/apis/authentication.k8s.io/v1/tokenreviews"))
        .respond_with(|request: &Request| {
            let mut review: Value = request.body_json().unwrap();
            review["status"] = if review["spec"]["token"] == "good" {
                json!({"authenticated": true, "user": {"username": "alice", "uid": "7", "groups": ["staff"]}})
            } else {
                json!({"authenticated": false, "error": "unknown token"})
            };
            ResponseTemplate::new(201).set_body_json(review)
        })
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/apis/authorization.k8s.io/v1/subjectaccessreviews"))
        .respond_with(|request: &Request| {
            let mut review: Value = request.body_json().unwrap();
            let user = review["spec"]["user"].as_str().unwrap_or_default();
            let allowed = [
                "alice",
                "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
                "system:aggregator",
            ]
            .contains(&user);
            review["status"] =
                json!({"allowed": allowed, "reason": if allowed { "" } else { "no rule" }});
            ResponseTemplate::new(201).set_body_json(review)
        })
        .mount(&server)
        .await;
    server
}

/// The access reviews that the API server was asked for.
pub async fn access_reviews(server: &MockServer) -> Vec<Value> {
    let requests = server.received_requests().await.unwrap();
    requests
        .iter()
        .filter(|request| request.url.path().ends_with("subjectaccessreviews"))
        .map(|request| request.body_json().unwrap())
        .collect()
}

pub fn reviewer(server: &MockServer) -> Reviewer {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let config = kube::Config::new(server.uri().parse().unwrap());
    Reviewer::new(kube::Client::try_from(config).unwrap())
}

/// The ConfigMap's data of a cluster with these authorities.
pub fn cluster_data(
    front_proxy: &Ca,
    clients: &Ca,
    allowed_names: &str,
) -> std::collections::BTreeMap<String, String> {
    [
        ("client-ca-file", clients.pem.as_str()),
        ("requestheader-client-ca-file", front_proxy.pem.as_str()),
        ("requestheader-allowed-names", allowed_names),
        ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
        (
            "requestheader-extra-headers-prefix",
            r#"["X-Remote-Extra-"]"#,
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// A whole installation: authorities, an API server, something published, the server of external metrics.
pub struct Installation {
    pub front_proxy: Ca,
    pub clients: Ca,
    pub trust: watch::Sender<Option<Arc<Trust>>>,
    pub kubernetes: MockServer,
    pub publisher: Publisher,
    pub served: Served,
}

impl Installation {
    pub async fn new() -> Self {
        Self::allowing(r#"["front-proxy-client"]"#).await
    }

    pub async fn allowing(allowed_names: &str) -> Self {
        let (front_proxy, clients) = (Ca::new("front proxy"), Ca::new("clients"));
        let trust = Trust::read(&cluster_data(&front_proxy, &clients, allowed_names)).unwrap();
        let (trust, trusted) = watch::channel(Some(Arc::new(trust)));
        let kubernetes = reviewing().await;
        let gate = Arc::new(Gate::new(trusted, reviewer(&kubernetes)));
        let (publisher, published) = Publisher::new();
        let app = wva_controllers::external_metrics::router(published, gate, None);
        Self {
            front_proxy,
            clients,
            trust,
            kubernetes,
            publisher,
            served: Served::start(app).await,
        }
    }

    /// A client with the front proxy's certificate.
    pub fn aggregator(&self) -> reqwest::Client {
        self.served
            .client(Some(&self.front_proxy.client("front-proxy-client", &[])))
    }

    /// What the aggregator is told on behalf of a member of `system:masters`.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.get_as(path, "application/json").await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> reqwest::Response {
        self.aggregator()
            .get(self.served.url(path))
            .header("X-Remote-User", "system:kube-aggregator")
            .header("X-Remote-Group", "system:masters")
            .header("Accept", accept)
            .send()
            .await
            .unwrap()
    }
}

pub fn key(namespace: &str, name: &str) -> VariantKey {
    VariantKey {
        namespace: namespace.into(),
        name: name.into(),
    }
}

pub fn reason(code: &str) -> Reason {
    Reason {
        code: code.into(),
        text: "in words".into(),
    }
}

/// A decision about a variant.
pub fn decided(namespace: &str, name: &str, current: u32, desired: u32) -> VariantReport {
    VariantReport {
        key: key(namespace, name),
        target: ScaleTarget {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: format!("{name}-servers"),
        },
        model: "meta-llama/Llama-3.1-8B".into(),
        accelerator: "H100".into(),
        role: Role::Both,
        current,
        ready: current,
        desired,
        planned: desired,
        cost_per_hour: Some(2.5 * f64::from(desired)),
        reasons: vec![reason("demand")],
        slo_margin: Some(0.25),
        predicted: Latencies {
            ttft: Some(0.2),
            itl: Some(0.02),
        },
        observed: Latencies::default(),
        trust: Some(0.8),
        data_age: Some(3.0),
        hpa_tolerance: None,
        in_control: true,
    }
}

pub fn report(at: f64, decisions: impl IntoIterator<Item = VariantReport>) -> Report {
    Report {
        at,
        entries: decisions
            .into_iter()
            .map(|d| Entry::Decided(Box::new(d)))
            .collect(),
        solver: None,
    }
}

pub fn held(namespace: &str, name: &str, current: u32) -> Entry {
    Entry::Held {
        key: key(namespace, name),
        current,
        ready: current,
        data_age: Some(120.0),
        reason: reason("stale-data"),
    }
}

/// What is published after these reports, one after the other.
pub fn after(reports: impl IntoIterator<Item = Report>) -> Published {
    reports
        .into_iter()
        .fold(Published::default(), |published, report| {
            published.next(report)
        })
}
