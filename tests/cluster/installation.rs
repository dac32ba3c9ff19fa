//! wva's external metrics behind a real aggregator, with the rights that its chart grants; the values are the tests' own.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, watch};
use wva_controllers::external_metrics::gate::Gate;
use wva_controllers::external_metrics::reviews::Reviewer;
use wva_controllers::external_metrics::{router, trust};
use wva_controllers::published::{
    Entry, Latencies, Publisher, Report, ScaleTarget, VariantKey, VariantReport,
};
use wva_controllers::serving::authority::{AUTHORITY_LIFE, SETTLE, Saved, SelfMade};
use wva_controllers::serving::certificates::HotCertificate;
use wva_controllers::serving::{Transport, serve};
use wva_testbed::aggregation::AggregatedApi;
use wva_testbed::{Access, ControlPlane, Error, Options, eventually, or_skip};

pub const BASE: &str = "/apis/external.metrics.k8s.io/v1beta1";

pub const API: AggregatedApi<'static> = AggregatedApi {
    group: "external.metrics.k8s.io",
    version: "v1beta1",
    namespace: "kube-system",
    service: "wva",
};

/// A cluster with wva's external metrics in it.
pub struct Installation {
    pub cluster: ControlPlane,
    pub address: SocketAddrV4,
    pub certificate: Arc<HotCertificate>,
    /// The authority that wva made itself, in the cluster with the gate; the other's is the cluster's.
    pub own: Option<Mutex<SelfMade>>,
    publisher: Publisher,
    decisions: Mutex<BTreeMap<VariantKey, VariantReport>>,
    asked: Arc<AtomicU64>,
    // Tests have runtimes of their own, which end before the cluster does.
    _runtime: Runtime,
}

/// A cluster as it comes: an HPA's tolerance is dropped in silence.
pub async fn without_gate() -> Option<&'static Installation> {
    static SHARED: OnceCell<Result<Installation, Error>> = OnceCell::const_new();
    or_skip(
        SHARED
            .get_or_init(|| Installation::start(false))
            .await
            .as_ref(),
    )
}

/// A cluster that keeps the tolerance of an HPA, and in which wva makes its own certificates.
pub async fn with_gate() -> Option<&'static Installation> {
    static SHARED: OnceCell<Result<Installation, Error>> = OnceCell::const_new();
    or_skip(
        SHARED
            .get_or_init(|| Installation::start(true))
            .await
            .as_ref(),
    )
}

impl Installation {
    async fn start(tolerance_gate: bool) -> Result<Self, Error> {
        let options = Options {
            tolerance_gate,
            ..Options::default()
        };
        let cluster = ControlPlane::start(options).await?;
        let access = delegated(&cluster).await?;
        let own = tolerance_gate.then(long_lived);
        let certificate = match &own {
            Some(own) => own.certificate(),
            None => {
                let pair = cluster.certificate_for(&API)?;
                Arc::new(HotCertificate::new(&pair.certificate, &pair.key).unwrap())
            }
        };
        let (publisher, published) = Publisher::new();
        let asked = Arc::new(AtomicU64::new(0));
        let runtime = Runtime::new().unwrap();
        let (served, counted) = (Arc::clone(&certificate), Arc::clone(&asked));
        let host = cluster.host();
        let address = runtime.spawn(async move {
            let client = access.client().await.unwrap();
            let (trust, trusted) = watch::channel(None);
            tokio::spawn(trust::follow(client.clone(), trust));
            let gate = Arc::new(Gate::new(trusted, Reviewer::new(client)));
            let count = move |request: Request, next: Next| {
                let values = request.uri().path().contains("/namespaces/");
                counted.fetch_add(u64::from(values), Ordering::Relaxed);
                next.run(request)
            };
            let app = router(published, gate, None).layer(from_fn(count));
            let listener = TcpListener::bind((host, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(serve(
                listener,
                Transport::tls(served),
                app,
                std::future::pending(),
            ));
            address
        });
        let SocketAddr::V4(address) = address.await.unwrap() else {
            unreachable!("the host's address is of version 4");
        };
        cluster.aggregate(&API, address).await?;
        if let Some(own) = &own {
            trust_servers(&cluster, &own.bundle()).await;
        }
        cluster.aggregated(&API).await?;
        Ok(Self {
            cluster,
            address,
            certificate,
            own: own.map(Mutex::new),
            publisher,
            decisions: Mutex::default(),
            asked,
            _runtime: runtime,
        })
    }

    /// Decides about a variant, beside what was decided about others.
    pub fn decide(&self, report: VariantReport) {
        let mut decisions = self.decisions.lock().unwrap();
        decisions.insert(report.key.clone(), report);
        let entries = decisions.values().cloned();
        self.publisher.publish(Report {
            at: 1_700_000_000.0,
            entries: entries
                .map(|report| Entry::Decided(Box::new(report)))
                .collect(),
            solver: None,
        });
    }

    /// Waits until values have been asked for this many times more: the HPA looks once a second.
    pub async fn asked_again(&self, times: u64) {
        let until = self.asked.load(Ordering::Relaxed) + times;
        eventually("questions of the HPA", async || {
            let asked = self.asked.load(Ordering::Relaxed);
            if asked >= until {
                Ok(())
            } else {
                Err(format!("{asked} of {until}"))
            }
        })
        .await
        .unwrap();
    }

    /// A path of wva, not through the aggregator.
    pub fn direct(&self, path: &str) -> String {
        format!("https://{}:{}{path}", API.host_name(), self.address.port())
    }

    /// A client of wva that goes around the aggregator, perhaps with a certificate.
    pub fn outsider(&self, identity: Option<reqwest::Identity>) -> reqwest::Client {
        wva_testbed::use_ring();
        let authority =
            reqwest::Certificate::from_pem(self.cluster.authority().as_bytes()).unwrap();
        let builder = reqwest::Client::builder()
            .no_proxy()
            .resolve(&API.host_name(), SocketAddr::V4(self.address))
            .tls_certs_only([authority]);
        match identity {
            Some(identity) => builder.identity(identity).build().unwrap(),
            None => builder.build().unwrap(),
        }
    }

    /// Waits until a Deployment asks for, and has, this many replicas.
    pub async fn scaled(&self, namespace: &str, name: &str, replicas: i32) {
        let client = self.cluster.admin().client().await.unwrap();
        let deployments: Api<Deployment> = Api::namespaced(client, namespace);
        eventually(&format!("{replicas} replicas of {name}"), async || {
            let deployment = deployments.get(name).await.map_err(|e| e.to_string())?;
            let asked = deployment.spec.and_then(|s| s.replicas);
            let present = deployment.status.and_then(|s| s.replicas);
            if (asked, present) == (Some(replicas), Some(replicas)) {
                Ok(())
            } else {
                Err(format!("asked for {asked:?}, has {present:?}"))
            }
        })
        .await
        .unwrap();
    }
}

/// An authority past two thirds of its life, with a fresh serving certificate.
fn long_lived() -> SelfMade {
    let now = SystemTime::now();
    let saved = Saved::new(now - AUTHORITY_LIFE * 2 / 3 - 3 * SETTLE).unwrap();
    SelfMade::new(Some(saved), vec![API.host_name()], now).unwrap()
}

/// Has the aggregator trust servers of these authorities, as wva does when its own changes.
pub async fn trust_servers(cluster: &ControlPlane, bundle: &str) {
    let client = cluster.admin().client().await.unwrap();
    let services: Api<APIService> = Api::all(client);
    let patch = json!({ "spec": { "caBundle": ByteString(bundle.as_bytes().to_vec()) } });
    services
        .patch(&API.name(), &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

/// A service account that may have tokens and access reviewed and read whom to trust, and nothing else.
async fn delegated(cluster: &ControlPlane) -> Result<Access, Error> {
    let access = cluster.service_account("kube-system", "wva").await?;
    let admin = cluster.admin();
    let subject = "--serviceaccount=kube-system:wva";
    admin
        .kubectl(&[
            "create",
            "clusterrolebinding",
            "wva-reviews",
            "--clusterrole=system:auth-delegator",
            subject,
        ])
        .await?;
    let role = "--role=extension-apiserver-authentication-reader";
    admin
        .kubectl(&[
            "create",
            "rolebinding",
            "wva-trust",
            "-n",
            "kube-system",
            role,
            subject,
        ])
        .await?;
    Ok(access)
}

/// A decision about a variant that scales the Deployment of its name.
pub fn decided(namespace: &str, name: &str, current: u32, desired: u32) -> VariantReport {
    VariantReport {
        key: VariantKey {
            namespace: namespace.into(),
            name: name.into(),
        },
        target: ScaleTarget {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: name.into(),
        },
        model: "llama".into(),
        accelerator: "H100".into(),
        role: wva_models::variant::Role::Both,
        current,
        ready: 0,
        desired,
        planned: desired,
        cost_per_hour: None,
        reasons: Vec::new(),
        slo_margin: None,
        predicted: Latencies::default(),
        observed: Latencies::default(),
        trust: None,
        data_age: None,
        hpa_tolerance: None,
        in_control: true,
    }
}
