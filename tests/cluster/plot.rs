//! A cluster that tests share, each with a namespace and a controller of its own in it, which scales by `/scale`.

use std::ops::Deref;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use wva_controllers::api::crds;
use wva_controllers::index::Kind;
use wva_testbed::kubelet::{EmulatedServers, NodeSpec};
use wva_testbed::process::Process;
use wva_testbed::{ControlPlane, Error, Kubelet, Options, eventually, or_skip};

use crate::load::Load;
use crate::site::{CHEAP, LARGE, Site, Variant, counts, decisions, promises};

/// Everything is so many times as fast as by default.
const FASTER: f64 = 30.0;
/// Ten minutes in that time: more than twice the 90 s for which data counts as fresh and the 240 s before going down.
pub const TEN_MINUTES: Duration = Duration::from_secs(20);
/// Requests per second that several replicas are needed for, and that one has to spare.
pub const BUSY: f64 = 7.0;
pub const IDLE: f64 = 0.5;

/// A cluster with nodes of two accelerators and our definitions.
pub struct Ground {
    // Dropped in this order: whoever asks before whoever answers.
    _kubelet: Kubelet,
    pub cluster: ControlPlane,
}

/// The cluster of most tests; nothing of it is broken.
pub async fn shared() -> Option<&'static Ground> {
    static SHARED: OnceCell<Result<Ground, Error>> = OnceCell::const_new();
    or_skip(SHARED.get_or_init(Ground::start).await.as_ref())
}

impl Ground {
    pub async fn start() -> Result<Self, Error> {
        let options = Options {
            audit: true,
            ..Options::default()
        };
        let cluster = ControlPlane::start(options).await?;
        let nodes = [CHEAP, LARGE].map(|v| NodeSpec::with_gpus(v.name, v.product, 200));
        let kubelet = Kubelet::start(&cluster, &nodes, EmulatedServers::new(1.0)).await?;
        define(&cluster).await?;
        Ok(Self {
            _kubelet: kubelet,
            cluster,
        })
    }
}

/// Installs our definitions.
pub async fn define(cluster: &ControlPlane) -> Result<(), Error> {
    let documents: Vec<String> = crds::all().iter().map(|(_, crd)| crds::yaml(crd)).collect();
    let apply = ["apply", "--server-side", "-f", "-"];
    let admin = cluster.admin();
    admin
        .kubectl_reading(&documents.join("---\n"), &apply)
        .await?;
    admin.established().await
}

/// A namespace with model servers, and another for its controller.
pub struct Plot<'a> {
    pub cluster: &'a ControlPlane,
    pub system: String,
    site: Site,
}

impl Deref for Plot<'_> {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl<'a> Plot<'a> {
    pub async fn new(cluster: &'a ControlPlane, label: &str) -> Self {
        let site = Site::new(cluster, label).await;
        let system = cluster.namespace(&format!("{label}-system")).await.unwrap();
        Self {
            cluster,
            system,
            site,
        }
    }

    /// A configuration for this namespace alone.
    pub fn config(&self, telemetry: &Value) -> Value {
        static PORT: AtomicU16 = AtomicU16::new(7100);
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let mut telemetry = telemetry.clone();
        telemetry["gates"] = json!({"stale_after_seconds": 90.0 / FASTER});
        json!({
            "classes": promises(),
            "defaults": {"class": "chat"},
            "policy": {
                "cycle_seconds": 15.0 / FASTER,
                "stale_after_seconds": 90.0 / FASTER,
                "pending_too_long_seconds": 180.0 / FASTER,
                "forecast": {"slot_s": 2, "outcome_s": 6},
                "stabilise": {"down_window_seconds": 240.0 / FASTER},
            },
            "watch": {"stock": "unlimited", "namespaces": [self.namespace]},
            "telemetry": telemetry,
            "serve": {"http": format!("{}:{port}", self.cluster.host())},
        })
    }

    /// Starts a controller that needs no Lease.
    pub fn start(&self, telemetry: &Value) -> Process {
        let alone = ["--no-leader-election", "--namespace", &self.system];
        let name = format!("wva-{}", self.namespace);
        let config = self.config(telemetry);
        self.controller(&name, self.cluster.admin(), &config, &alone)
    }

    /// The variant of a Deployment.
    pub fn variant(&self, variant: Variant) -> Value {
        self.autoscaling(variant, (1, 8))
    }

    pub fn variants(&self) -> Api<DynamicObject> {
        let kind = Kind::VariantAutoscaling.api_resource();
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// The variant's status, once it is as wanted.
    pub async fn status(&self, name: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let variants = self.variants();
        let what = format!("{} of {name}", what);
        let found = eventually(&what, async || {
            let object = variants.get(name).await.map_err(|e| e.to_string())?;
            let status = &object.data["status"];
            fits(status)
                .then(|| status.clone())
                .ok_or_else(|| status.to_string())
        });
        found.await.unwrap()
    }

    /// Three replicas that are needed, under a controller that knows it.
    pub async fn busy(&self, telemetry: &Value) -> Busy<'_> {
        self.deploy(CHEAP, 3).await;
        self.replicas(CHEAP, "three replicas", |n| n == 3).await;
        self.apply(&self.variant(CHEAP)).await;
        let load = self.load(&[(0.0, BUSY), (600.0, BUSY)]);
        let controller = self.start(telemetry);
        self.known().await;
        Busy {
            asked: Asked::of(self, CHEAP),
            plot: self,
            load,
            controller,
        }
    }

    /// Waits until the controller decides by what it knows, which is that more than one replica is needed.
    pub async fn known(&self) {
        self.status(CHEAP.name, "a decision by data", |s| {
            let wanted = s["desiredOptimizedAlloc"]["numReplicas"].as_i64();
            condition(s, "OptimizationReady").0 == "True" && wanted >= Some(2)
        })
        .await;
    }
}

/// (status, reason) of a condition.
pub fn condition<'a>(status: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let found = conditions.find(|c| c["type"] == kind);
    let word = |key: &str| found.and_then(|c| c[key].as_str()).unwrap_or("absent");
    (word("status"), word("reason"))
}

/// A fleet at work.
pub struct Busy<'a> {
    // Dropped first: what it logs after its cluster is gone helps nobody.
    pub controller: Process,
    pub plot: &'a Plot<'a>,
    pub load: Load,
    pub asked: Asked,
}

impl Busy<'_> {
    /// Waits until the controller says that it knows nothing, lets the requests cease, and sees that ten minutes later all
    /// replicas are there. Returns the reason of the condition.
    pub async fn stays_while_nothing_is_known(&mut self) -> String {
        let unknown = |s: &Value| condition(s, "OptimizationReady").0 == "False";
        let what = "trouble in the status";
        self.plot.status(CHEAP.name, what, unknown).await;
        self.stays().await;
        let status = self.plot.status(CHEAP.name, what, unknown).await;
        condition(&status, "MetricsAvailable").1.to_owned()
    }

    /// Lets the requests cease, and sees that ten minutes later all replicas are there.
    pub async fn stays(&mut self) {
        let (before, _) = counts(&self.plot.deployments(), CHEAP).await.unwrap();
        assert!(before >= 2, "{before}");
        let from = self.asked.values().len().saturating_sub(1);
        self.load.again(&[(0.0, IDLE), (600.0, IDLE)]);
        tokio::time::sleep(TEN_MINUTES).await;
        self.controller.must_run().unwrap();
        let asked = self.asked.values()[from..].to_vec();
        assert!(
            asked.iter().all(|n| *n >= before),
            "{before}, then {asked:?}\n{}",
            decisions(&self.controller.log())
        );
    }

    /// Waits until fewer replicas are asked for, since it is seen again that few are needed.
    pub async fn goes_down(&self) {
        let gone = self.plot.replicas(CHEAP, "one replica", |n| n == 1);
        gone.await;
        self.controller.must_run().unwrap();
    }
}

/// All numbers of replicas that a Deployment asked for since.
pub struct Asked {
    values: Arc<Mutex<Vec<i32>>>,
    task: JoinHandle<()>,
}

impl Asked {
    pub fn of(site: &Site, variant: Variant) -> Self {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", variant.name));
        let watched = watcher::watcher(site.deployments(), config).default_backoff();
        let values: Arc<Mutex<Vec<i32>>> = Arc::default();
        let kept = Arc::clone(&values);
        let task = tokio::spawn(async move {
            let mut changes = std::pin::pin!(watched.applied_objects());
            while let Some(change) = changes.next().await {
                let replicas = change.ok().and_then(|d| d.spec?.replicas);
                let mut kept = kept.lock().unwrap();
                if let Some(replicas) = replicas.filter(|n| kept.last() != Some(n)) {
                    kept.push(replicas);
                }
            }
        });
        Self { values, task }
    }

    pub fn values(&self) -> Vec<i32> {
        self.values.lock().unwrap().clone()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}
