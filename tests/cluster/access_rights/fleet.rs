//! An installation that does all of its work: variants of every kind of target, and everything that is watched.

use std::net::SocketAddrV4;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use wva_testbed::process::Process;
use wva_testbed::{Access, ControlPlane, Error, component, eventually};

use crate::closed_loops::bed::hpa;
use crate::groups::leader_worker_sets;
use crate::installation::{API, BASE};
use crate::load::{Load, MODEL};
use crate::plot::Ground;
use crate::site::{CHEAP, LARGE, Site, promises};

pub const RELEASE: &str = "wva";

/// What endpoint pickers show to a controller.
const TOKEN: &str = "the-token-of-the-exchange";

/// Changes of one variant that are further apart are told one by one.
const TOLD_APART: Duration = Duration::from_secs(31);

/// One way to install the chart.
pub struct Form {
    /// How the names of its namespaces begin.
    pub label: &'static str,
    /// The chart's example values with which it is installed.
    pub values: Option<&'static str>,
    pub more: &'static [&'static str],
    /// Whether it is confined to the namespace of the models.
    pub confined: bool,
    /// Whether it scales by itself what nobody else does.
    pub scales: bool,
    /// What it asks for once, is refused, and does without.
    pub refused: &'static [&'static str],
}

/// What has no namespace: devices, prices, budgets.
const OF_THE_CLUSTER: &[&str] = &[
    "list /namespaces",
    "list /nodes",
    "list wva.llmd.ai/accelerators",
    "list wva.llmd.ai/fleetpolicies",
];

/// All of the cluster, and external metrics by certificates of its own.
pub const EVERYWHERE: Form = Form {
    label: "everywhere",
    values: None,
    more: &["--set=scope.stock=unlimited", "--set=exchange.enabled=true"],
    confined: false,
    scales: true,
    refused: &[],
};

/// A namespace, external metrics by somebody else's certificate, and HPAs that scale.
pub const CONFINED: Form = Form {
    label: "confined",
    values: Some("namespaced"),
    more: &["--set=samples.create=null"],
    confined: true,
    scales: false,
    refused: OF_THE_CLUSTER,
};

/// A namespace, KEDA, and an endpoint picker beside the models.
pub const KEDA: Form = Form {
    label: "keda",
    values: Some("keda"),
    more: &[
        "--set=samples.create=null",
        "--set=exchange.enabled=true",
        "--set=endpointPicker.enabled=true,endpointPicker.pool.name=llama",
        "--set=endpointPicker.pool.matchLabels.app=llama,endpointPicker.tls=false",
    ],
    confined: true,
    scales: true,
    refused: OF_THE_CLUSTER,
};

/// The chart, installed, and models to scale.
pub struct Working<'g> {
    // Dropped in this order: whoever asks before whoever answers.
    process: Mutex<Option<Process>>,
    _load: Load,
    pub site: Site,
    pub form: &'static Form,
    /// The release's namespace.
    pub system: String,
    account: Access,
    config: Value,
    /// Where its external metrics are, if it has any.
    external_metrics: Option<SocketAddrV4>,
    /// Where endpoint pickers push to, if they may.
    exchange: Option<SocketAddrV4>,
    pub ground: &'g Ground,
}

impl<'g> Working<'g> {
    pub async fn start(ground: &'g Ground, form: &'static Form) -> Result<Self, Error> {
        static PORT: AtomicU16 = AtomicU16::new(7080);
        let cluster = &ground.cluster;
        let site = Site::new(cluster, form.label).await;
        let system = cluster.namespace(&format!("{}-system", form.label)).await?;
        install(cluster, form, &system, &site.namespace).await?;
        let maps: Api<ConfigMap> = Api::namespaced(site.client.clone(), &system);
        let map = maps.get(RELEASE).await.unwrap();
        let mut config: Value = serde_saphyr::from_str(&map.data.unwrap()["wva.yaml"]).unwrap();
        // Instead of the pod's address.
        let place = || SocketAddrV4::new(cluster.host(), PORT.fetch_add(1, Ordering::Relaxed));
        let serve = &mut config["serve"];
        serve["http"] = json!(place());
        if serve["keda"].is_object() {
            serve["keda"]["listen"] = json!(place());
        }
        let external_metrics = serve["external_metrics"].is_object().then(place);
        if let Some(address) = external_metrics {
            serve["external_metrics"]["listen"] = json!(address);
        }
        let exchange = serve["exchange"].is_object().then(place);
        if let Some(address) = exchange {
            let file = format!("{}/token", form.label);
            let token = cluster.sandbox().write(&file, TOKEN)?;
            serve["exchange"]["listen"] = json!(address);
            serve["exchange"]["bearer_token_file"] = json!(token);
        }
        if serve["external_metrics"]["certificate"].is_object() {
            serve["external_metrics"]["certificate"] = certificate(cluster)?;
        }
        config["classes"] = promises();
        let account = cluster.service_account(&system, RELEASE).await?;
        targets(&site).await;
        if !form.scales {
            followers(&site).await;
        }
        Ok(Self {
            process: Mutex::default(),
            _load: site.load(&[(0.0, 1.0), (600.0, 1.0)]),
            site,
            form,
            system,
            account,
            config,
            external_metrics,
            exchange,
            ground,
        })
    }

    pub fn log(&self) -> String {
        let process = self.process.lock().unwrap();
        process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// One of the pods that the chart's Deployment has made, which no node suits.
    async fn pod(&self) -> String {
        let pods: Api<Pod> = Api::namespaced(self.site.client.clone(), &self.system);
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
        let arguments = ["--namespace", &self.system, "--name", &pod];
        let log = format!("wva-{}", self.form.label);
        let process = self
            .site
            .controller(&log, &self.account, &self.config, &arguments);
        *self.process.lock().unwrap() = Some(process);
    }

    /// Ends the process as a kubelet does, and waits for it.
    pub async fn end(&self) {
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
        for target in TARGETS {
            self.decided(target, 2).await;
        }
        let told = Instant::now();
        if let Some(address) = self.external_metrics {
            self.ask(address).await;
        }
        tokio::time::sleep(TOLD_APART.saturating_sub(told.elapsed())).await;
        self.site.apply(&variant(&self.site, TARGETS[0], 3)).await;
        self.decided(TARGETS[0], 3).await;
        if self.exchange.is_some() {
            self.leave().await;
        }
        self.end().await;
        self.kept().await;
        self.run().await;
    }

    /// What the process that ended has learned is there for the next one.
    async fn kept(&self) {
        let maps: Api<ConfigMap> = Api::namespaced(self.site.client.clone(), &self.system);
        let map = maps.get(&format!("{RELEASE}-state")).await.unwrap();
        let packed = &map.binary_data.unwrap()["state.json.gz"].0;
        assert!(packed.starts_with(b"\x1f\x8b"), "no gzip: {packed:?}");
    }

    /// Has something change now and then, far enough apart to be told each time.
    pub async fn go_on(&self) {
        for least in [4, 3].into_iter().cycle() {
            tokio::time::sleep(TOLD_APART).await;
            let variant = variant(&self.site, TARGETS[0], least);
            self.site.apply(&variant).await;
        }
    }

    /// Has pods leave, of whom an endpoint picker is told and which are marked to go first.
    async fn leave(&self) {
        let three = |n| n >= 3;
        self.site.replicas(CHEAP, "three replicas", three).await;
        // Nobody keeps groups here: one that is wanted would be waited for.
        let namespace = &self.site.namespace;
        let delete = ["delete", "va", TARGETS[2].1, "-n", namespace];
        self.site.admin().kubectl(&delete).await.unwrap();
        let one = bounded(&self.site, TARGETS[0], (1, 1));
        self.site.apply(&one).await;
        self.site.replicas(CHEAP, "one replica", |n| n == 1).await;
    }

    /// The arguments of an endpoint picker that pushes to this release.
    pub fn pushes(&self) -> Vec<String> {
        let address = self.exchange.expect("endpoint pickers may push");
        let token = self.config["serve"]["exchange"]["bearer_token_file"].as_str();
        vec![
            format!("--controller-url=http://{address}"),
            format!("--controller-token-file={}", token.expect("it is a file")),
            "--controller-interval=250ms".to_owned(),
        ]
    }

    /// Waits until so many replicas are asked for, or wanted where somebody else is to ask for them.
    async fn decided(&self, (kind, name): (&str, &str), replicas: u32) {
        let (kind, field) = match self.form.scales {
            true => (kind, ".spec.replicas"),
            false => ("va", ".status.desiredOptimizedAlloc.numReplicas"),
        };
        let field = format!("jsonpath={{{field}}}");
        let words = ["get", kind, name, "-n", &self.site.namespace, "-o", &field];
        let what = format!("{replicas} replicas of {kind} {name}");
        let decided = eventually(&what, async || {
            let asked = self.site.admin().kubectl(&words).await;
            let asked = asked.map_err(|e| e.to_string())?;
            match asked.trim().parse::<u32>() {
                Ok(n) if n >= replicas => Ok(()),
                _ => Err(format!("{asked} replicas")),
            }
        });
        if let Err(error) = decided.await {
            panic!("{error}\n{}", self.log());
        }
    }

    /// Somebody with a token asks for external metrics, not through the API server.
    async fn ask(&self, address: SocketAddrV4) {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        let words = ["create", "token", "default", "-n", &self.site.namespace];
        let token = self.site.admin().kubectl(&words).await.unwrap();
        let path = format!("namespaces/{}/wva_desired_replicas", self.site.namespace);
        let url = format!("https://{address}{BASE}/{path}");
        let known = eventually("somebody to be known, and not allowed to", async || {
            let asked = client.get(&url).bearer_auth(token.trim()).send().await;
            match asked.map_err(|e| e.to_string())?.status().as_u16() {
                403 => Ok(()),
                other => Err(other.to_string()),
            }
        });
        known.await.unwrap();
    }
}

/// What is scaled, all of it for one model: kind and name.
const TARGETS: [(&str, &str); 3] = [
    ("Deployment", CHEAP.name),
    ("StatefulSet", "llama-set"),
    ("LeaderWorkerSet", "llama-group"),
];

fn variant(site: &Site, target: (&str, &str), least: u32) -> Value {
    bounded(site, target, (least, 8))
}

fn bounded(site: &Site, (kind, name): (&str, &str), (least, most): (u32, u32)) -> Value {
    let version = api_version(kind);
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
            "maxReplicas": most,
        },
    })
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "LeaderWorkerSet" => "leaderworkerset.x-k8s.io/v1",
        _ => "apps/v1",
    }
}

/// HPAs of all targets.
async fn followers(site: &Site) {
    for (kind, name) in TARGETS {
        let target = json!({"apiVersion": api_version(kind), "kind": kind, "name": name});
        site.apply(&hpa((&site.namespace, name), &target, 1)).await;
    }
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
async fn install(
    cluster: &ControlPlane,
    form: &Form,
    system: &str,
    models: &str,
) -> Result<(), Error> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/wva");
    let mut words = vec![
        "install".to_owned(),
        RELEASE.to_owned(),
        chart.to_owned(),
        format!("--namespace={system}"),
    ];
    if let Some(values) = form.values {
        words.push(format!("--values={chart}/ci/{values}-values.yaml"));
    }
    if form.confined {
        words.push(format!("--set=scope.namespaces={{{models}}}"));
        words.push(format!("--set=endpointPicker.namespace={models}"));
    }
    let all = [
        "--set=replicas=1,nodeSelector.none=none",
        "--set=settings.policy.cycle_seconds=1",
        "--set=settings.telemetry.pods.interval_seconds=1",
        "--set=settings.defaults.class=chat",
    ];
    let more = form.more.iter().chain(&all);
    words.extend(more.map(|word| (*word).to_owned()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let admin = cluster.admin();
    admin.helm(&words).await?;
    admin.established().await
}

/// Files with a certificate, as a Secret would be mounted.
fn certificate(cluster: &ControlPlane) -> Result<Value, Error> {
    let pair = cluster.certificate_for(&API)?;
    let chain = cluster.sandbox().write("wva/tls.crt", &pair.certificate)?;
    let key = cluster.sandbox().write("wva/tls.key", &pair.key)?;
    Ok(json!({"chain_file": chain, "key_file": key}))
}

/// A cluster with definitions of other projects' kinds too: those of inference pools as `wva crds --epp` prints them, KEDA's own,
/// and one cut down to what reading and scaling need.
pub async fn ground() -> Result<Ground, Error> {
    let ground = Ground::start().await?;
    let admin = ground.cluster.admin();
    let pools = wva_epp::api::definitions().into_iter().map(|d| json!(d));
    for definition in pools.chain([leader_worker_sets()]) {
        let create = ["create", "-f", "-"];
        admin
            .kubectl_reading(&definition.to_string(), &create)
            .await?;
    }
    let keda = component::folder("keda")?.join("keda.sh_scaledobjects.yaml");
    let keda = keda.display().to_string();
    admin.kubectl(&["create", "-f", &keda]).await?;
    Ok(ground)
}
