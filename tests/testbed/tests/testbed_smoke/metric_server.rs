//! The smallest server of external metrics that kube-apiserver accepts: one metric, whose value the test sets.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::Listener;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use wva_testbed::aggregation::AggregatedApi;
use wva_testbed::certificates::Certificate;
use wva_testbed::{ControlPlane, use_ring};

/// The group that HPAs ask.
pub const GROUP: AggregatedApi<'static> = AggregatedApi {
    group: "external.metrics.k8s.io",
    version: "v1beta1",
    namespace: "default",
    service: "metrics",
};

/// A running server.
pub struct MetricServer {
    value: Arc<AtomicI64>,
}

impl MetricServer {
    /// Starts it behind kube-apiserver, and returns when that has reached it.
    pub async fn start(plane: &ControlPlane) -> Self {
        use_ring();
        let certificate = plane.certificate_for(&GROUP).expect("a certificate");
        let tcp = TcpListener::bind((plane.sandbox().address(), 8443));
        let tcp = tcp.await.expect("the address is free");
        let address = match tcp.local_addr() {
            Ok(std::net::SocketAddr::V4(address)) => address,
            other => panic!("{other:?} is not an IPv4 address"),
        };
        let value = Arc::new(AtomicI64::new(1));
        let base = "/apis/external.metrics.k8s.io/v1beta1";
        let router = Router::new()
            .route(base, get(resources))
            .route(
                &format!("{base}/namespaces/{{namespace}}/{{metric}}"),
                get(values),
            )
            .fallback(async |request: Request| (StatusCode::NOT_FOUND, request.uri().to_string()))
            .with_state(Arc::clone(&value));
        let listener = Tls {
            tcp,
            acceptor: acceptor(&certificate),
        };
        tokio::spawn(axum::serve(listener, router).into_future());
        register(plane, address).await;
        Self { value }
    }

    /// Sets the metric.
    pub fn set(&self, value: i64) {
        self.value.store(value, Ordering::Relaxed);
    }
}

async fn register(plane: &ControlPlane, address: SocketAddrV4) {
    plane.aggregate(&GROUP, address).await.expect("registered");
    plane.aggregated(&GROUP).await.expect("available");
}

async fn resources() -> Json<Value> {
    Json(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "external.metrics.k8s.io/v1beta1",
        "resources": [{
            "name": "externalmetrics",
            "singularName": "",
            "namespaced": true,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }],
    }))
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    label_selector: Option<String>,
}

async fn values(
    Path((_, metric)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    State(value): State<Arc<AtomicI64>>,
) -> Json<Value> {
    assert_eq!(asked.label_selector.as_deref(), Some("variant_name=d"));
    let value = value.load(Ordering::Relaxed);
    Json(json!({
        "kind": "ExternalMetricValueList",
        "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [{
            "metricName": metric,
            "metricLabels": {},
            "timestamp": k8s_openapi::jiff::Timestamp::from_second(2_000_000_000).expect("in range"),
            "value": value.to_string(),
        }],
    }))
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, peer)) = self.tcp.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

fn acceptor(certificate: &Certificate) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_slice(certificate.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![chain.expect("PEM")], key.expect("PEM"))
        .expect("they belong together");
    TlsAcceptor::from(Arc::new(config))
}
