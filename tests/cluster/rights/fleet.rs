//! An installation that does all of its work: variants of every kind of target, and everything that is watched.

use std::net::SocketAddrV4;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use wva_testbed::kubelet::{EmulatedServers, NodeSpec};
use wva_testbed::process::Process;
use wva_testbed::{Access, ControlPlane, Error, Kubelet, Options, component, eventually};

use crate::installation::BASE;
use crate::load::{Load, MODEL};
use crate::site::{CHEAP, LARGE, Site, promises};

pub const NAMESPACE: &str = "wva-system";
pub const RELEASE: &str = "wva";

/// Where the controller serves, on the cluster's address.
const EXTERNAL_METRICS: u16 = 7443;
const HTTP: u16 = 7080;
/// Changes of one variant that are further apart are told one by one.
const TOLD_APART: Duration = Duration::from_secs(31);

/// The chart, installed, and models to scale.
pub struct Working {
    // Dropped in this order: whoever asks before whoever answers.
    process: Mutex<Option<Process>>,
    _load: Load,
    _kubelet: Kubelet,
    site: Site,
    account: Access,
    config: Value,
    pub cluster: ControlPlane,
}

impl Working {
    pub async fn start() -> Result<Self, Error> {
        let options = Options {
            audit: true,
            ..Options::default()
        };
        let cluster = ControlPlane::start(options).await?;
        let nodes = [CHEAP, LARGE].map(|v| NodeSpec::with_gpus(v.name, v.product, 8));
        let kubelet = Kubelet::start(&cluster, &nodes, EmulatedServers::new(1.0)).await?;
        define_others(&cluster).await?;
        install(&cluster).await?;
        let site = Site::new(&cluster, "models").await;
        let maps: Api<ConfigMap> = Api::namespaced(site.client.clone(), NAMESPACE);
        let map = maps.get(RELEASE).await.unwrap();
        let mut config: Value = serde_saphyr::from_str(&map.data.unwrap()["wva.yaml"]).unwrap();
        // Instead of the pod's address.
        let host = cluster.host();
        config["serve"]["http"] = json!(format!("{host}:{HTTP}"));
        config["serve"]["external_metrics"]["listen"] = json!(format!("{host}:{EXTERNAL_METRICS}"));
        config["classes"] = promises();
        let account = cluster.service_account(NAMESPACE, RELEASE).await?;
        targets(&site).await;
        Ok(Self {
            process: Mutex::default(),
            _load: site.load(&[(0.0, 1.0), (600.0, 1.0)]),
            _kubelet: kubelet,
            site,
            account,
            config,
            cluster,
        })
    }

    pub fn log(&self) -> String {
        let process = self.process.lock().unwrap();
        process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// One of the pods that the chart's Deployment has made, which no node suits.
    async fn pod(&self) -> String {
        let pods: Api<Pod> = Api::namespaced(self.site.client.clone(), NAMESPACE);
        let ours = ListParams::default().labels("app.kubernetes.io/name=wva");
        let found = eventually("a pod of wva", async || {
            let found = pods.list(&ours).await.map_err(|e| e.to_string())?;
            let first = found.items.into_iter().next().ok_or("none")?;
            first.metadata.name.ok_or("no name".to_owned())
        });
        found.await.unwrap()
    }

    async fn run(&self) {
        let pod = self.pod().await;
        let arguments = ["--namespace", NAMESPACE, "--name", &pod];
        let process = self
            .site
            .controller("wva", &self.account, &self.config, &arguments);
        *self.process.lock().unwrap() = Some(process);
    }

    /// Ends the process as a kubelet does, and waits for it.
    async fn end(&self) {
        let process = self.process.lock().unwrap().take().unwrap();
        process.signal("TERM").unwrap();
        eventually("wva to end", async || {
            process.ended().ok_or(process.log_tail())
        })
        .await
        .unwrap();
    }

    /// Everything that a controller does in its life: starts, scales, tells, tells again, is asked, stops, and starts where it was.
    pub async fn work(&self) {
        self.run().await;
        for (kind, name) in TARGETS {
            self.scaled(kind, name, 2).await;
        }
        let told = Instant::now();
        self.ask().await;
        tokio::time::sleep(TOLD_APART.saturating_sub(told.elapsed())).await;
        self.site.apply(&variant(&self.site, TARGETS[0], 3)).await;
        self.scaled(TARGETS[0].0, TARGETS[0].1, 3).await;
        self.end().await;
        self.run().await;
    }

    async fn scaled(&self, kind: &str, name: &str, replicas: u32) {
        let words = ["get", kind, name, "-n", &self.site.namespace];
        let words = [&words[..], &["-o", "jsonpath={.spec.replicas}"]].concat();
        let what = format!("{replicas} replicas of {kind} {name}");
        let scaled = eventually(&what, async || {
            let asked = self.site.admin().kubectl(&words).await;
            let asked = asked.map_err(|e| e.to_string())?;
            match asked.trim().parse::<u32>() {
                Ok(n) if n >= replicas => Ok(()),
                _ => Err(format!("asks for {asked}")),
            }
        });
        if let Err(error) = scaled.await {
            panic!("{error}\n{}", self.log());
        }
    }

    /// Somebody with a token asks for external metrics, not through the API server.
    async fn ask(&self) {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        let account = self.cluster.admin();
        let words = ["create", "token", "default", "-n", &self.site.namespace];
        let token = account.kubectl(&words).await.unwrap();
        let address = SocketAddrV4::new(self.cluster.host(), EXTERNAL_METRICS);
        let path = format!("namespaces/{}/wva_desired_replicas", self.site.namespace);
        let url = format!("https://{address}{BASE}/{path}");
        let answer = client
            .get(url)
            .bearer_auth(token.trim())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403, "known, and not allowed to");
    }
}

/// What is scaled, all of it for one model: kind and name.
const TARGETS: [(&str, &str); 3] = [
    ("Deployment", CHEAP.name),
    ("StatefulSet", "llama-set"),
    ("LeaderWorkerSet", "llama-group"),
];

fn variant(site: &Site, (kind, name): (&str, &str), least: u32) -> Value {
    let version = match kind {
        "LeaderWorkerSet" => "leaderworkerset.x-k8s.io/v1",
        _ => "apps/v1",
    };
    json!({
        "apiVersion": "llmd.ai/v1alpha1",
        "kind": "VariantAutoscaling",
        "metadata": {
            "name": name,
            "namespace": site.namespace,
            "labels": {"inference.optimization/acceleratorName": "L40S"},
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": name},
            "modelID": MODEL,
            "minReplicas": least,
            "maxReplicas": 8,
        },
    })
}

/// Model servers of one Deployment, and two more targets without any, all of which are to have two replicas.
async fn targets(site: &Site) {
    site.deploy(CHEAP, 1).await;
    let mut set = crate::site::deployment(&site.namespace, LARGE, MODEL, 0);
    set["kind"] = json!("StatefulSet");
    set["metadata"]["name"] = json!(TARGETS[1].1);
    set["spec"]["serviceName"] = json!("none");
    let template = set["spec"]["template"]["spec"].clone();
    site.apply(&set).await;
    site.apply(&json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": TARGETS[2].1, "namespace": site.namespace},
        "spec": {"replicas": 0, "leaderWorkerTemplate": {"size": 1, "workerTemplate": {"spec": template}}},
    }))
    .await;
    for target in TARGETS {
        site.apply(&variant(site, target, 2)).await;
    }
}

/// Installs the chart: its pods wait for a node that suits them, and this process does their work.
async fn install(cluster: &ControlPlane) -> Result<(), Error> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/wva");
    let namespace = format!("--namespace={NAMESPACE}");
    let admin = cluster.admin();
    admin
        .helm(&[
            "install",
            RELEASE,
            chart,
            &namespace,
            "--create-namespace",
            "--set=replicas=1,nodeSelector.none=none",
            "--set=settings.policy.cycle_seconds=1,scope.stock=unlimited",
            "--set=settings.telemetry.pods.interval_seconds=1",
            "--set=settings.defaults.class=chat",
        ])
        .await?;
    let established = ["wait", "--for=condition=Established", "crd", "--all"];
    admin.kubectl(&established).await.map(drop)
}

/// Definitions of other projects' kinds, cut down to what reading and scaling need.
async fn define_others(cluster: &ControlPlane) -> Result<(), Error> {
    let pools = |group: &str, version: &str| {
        definition(group, version, "InferencePool", "inferencepools", false)
    };
    let others = [
        pools("inference.networking.k8s.io", "v1"),
        pools("inference.networking.x-k8s.io", "v1alpha2"),
        definition(
            "leaderworkerset.x-k8s.io",
            "v1",
            "LeaderWorkerSet",
            "leaderworkersets",
            true,
        ),
    ];
    let admin = cluster.admin();
    for other in others {
        let create = ["create", "-f", "-"];
        admin.kubectl_reading(&other.to_string(), &create).await?;
    }
    let keda = component::folder("keda")?.join("keda.sh_scaledobjects.yaml");
    let keda = keda.display().to_string();
    admin.kubectl(&["create", "-f", &keda]).await.map(drop)
}

fn definition(group: &str, version: &str, kind: &str, plural: &str, scaled: bool) -> Value {
    let scale = json!({
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
    });
    let mut subresources = json!({"status": {}});
    if scaled {
        subresources["scale"] = scale;
    }
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    // Kubernetes keeps groups that end in its name to those who were reviewed.
    let approved = "https://github.com/kubernetes-sigs/gateway-api-inference-extension";
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": approved},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": schema},
                "subresources": subresources,
            }],
        },
    })
}
