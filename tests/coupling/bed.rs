//! One cluster and one Envoy for all tests; each test has a namespace, a controller and a picker of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use serde_json::{Value, json};
use tokio::sync::OnceCell;
use wva_controllers::api::crds;
use wva_testbed::daemon::Recipe;
use wva_testbed::kubelet::{EmulatedServers, NodeSpec};
use wva_testbed::process::Process;
use wva_testbed::{ControlPlane, Daemon, Envoy, Error, Kubelet, Options, eventually, or_skip};

use crate::envoy;
use crate::site::{CHEAP, LARGE, Site, decisions, promises};
use crate::users::{Users, ask};

/// Tests, each with a place in front of Envoy.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    Pushes,
    Wakes,
    Drains,
}

/// Names of their pickers.
const PICKERS: [&str; 3] = ["epp-pushes", "epp-wakes", "epp-drains"];
const TOKEN: &str = "known-to-both";

/// What tests share.
struct Ground {
    // Dropped in this order: whoever asks before whoever answers.
    envoy: Envoy,
    _kubelet: Kubelet,
    cluster: ControlPlane,
    pickers: Vec<Ipv4Addr>,
}

async fn ground() -> Option<&'static Ground> {
    static SHARED: OnceCell<Result<Ground, Error>> = OnceCell::const_new();
    or_skip(SHARED.get_or_init(Ground::start).await.as_ref())
}

impl Ground {
    async fn start() -> Result<Self, Error> {
        let cluster = ControlPlane::start(Options::default()).await?;
        let pickers: Vec<Ipv4Addr> = PICKERS.map(|_| cluster.sandbox().address()).to_vec();
        let envoy = Envoy::start(|host| envoy::configuration(host, &pickers)).await?;
        let nodes = [CHEAP, LARGE].map(|v| NodeSpec::with_gpus(v.name, v.product, 64));
        let kubelet = Kubelet::start(&cluster, &nodes, EmulatedServers::new(1.0)).await?;
        let documents: Vec<String> = crds::all().iter().map(|(_, crd)| crds::yaml(crd)).collect();
        let apply = ["apply", "--server-side", "-f", "-"];
        let admin = cluster.admin();
        admin
            .kubectl_reading(&documents.join("---\n"), &apply)
            .await?;
        admin.established().await?;
        Ok(Self {
            envoy,
            _kubelet: kubelet,
            cluster,
            pickers,
        })
    }
}

/// A namespace with model servers, its controller, and its picker behind Envoy.
pub struct Bed {
    // Dropped first: what it logs after its cluster is gone helps nobody.
    controller: Process,
    picker: Daemon,
    site: Site,
    front: SocketAddr,
    picker_address: Ipv4Addr,
}

impl Deref for Bed {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Bed {
    /// The model on the cheap accelerator with this many replicas, and between these bounds from then on.
    pub async fn start(place: Place, replicas: u32, bounds: (u32, u32)) -> Option<Self> {
        let ground = ground().await?;
        let number = place as usize;
        let site = Site::new(&ground.cluster, &format!("{place:?}").to_lowercase()).await;
        let label = format!("{place:?}-system").to_lowercase();
        let system = ground.cluster.namespace(&label).await.unwrap();
        site.apply(&json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "wva-model-scale-to-zero-config", "namespace": system},
            "data": {"default": "enable_scale_to_zero: true\nretention_period: \"3s\"\n"},
        }))
        .await;
        site.deploy(CHEAP, replicas).await;
        let all = |n: i32| u32::try_from(n) == Ok(replicas);
        site.replicas(CHEAP, "the replicas to begin with", all)
            .await;
        let bed = Self {
            controller: controller(ground, &site, &system, number),
            picker: picker(ground, &site, number),
            front: envoy::front(ground.envoy.host(), number),
            picker_address: ground.pickers[number],
            site,
        };
        bed.picker.start().await.unwrap();
        bed.picks("fresh").await;
        bed.bound(bounds).await;
        Some(bed)
    }

    /// Lets the controller ask for so many replicas at least, and at most.
    pub async fn bound(&self, bounds: (u32, u32)) {
        self.apply(&self.autoscaling(CHEAP, bounds)).await;
    }

    /// So many users per second, who all go through Envoy.
    pub fn users(&self, rate: f64) -> Users {
        Users::come(self.front, rate)
    }

    /// One request through Envoy.
    pub async fn ask(&self) -> Result<(), String> {
        let client = reqwest::Client::builder().no_proxy().build();
        ask(client.map_err(|e| e.to_string())?, self.front, 0).await
    }

    /// Waits until a request is held for a server that is to start.
    pub async fn holds(&self) {
        let held = eventually("a request that is held", async || {
            let held = self.metric("wva_epp_held_without_endpoints").await;
            (held > 0.0).then_some(()).ok_or(format!("{held} are held"))
        });
        held.await.unwrap();
    }

    /// Waits until the picker says that this is how it stands with the controller.
    async fn picks(&self, state: &str) {
        let series = format!("wva_epp_controller_state{{state=\"{state}\"}} 1");
        let look = async || {
            let page = self.page().await?;
            page.contains(&series).then_some(()).ok_or(page)
        };
        let told = eventually(&format!("the controller to be {state}"), look).await;
        told.unwrap_or_else(|e| panic!("{e}\n{}\n{}", self.picker.log(), self.controller.log()));
    }

    /// The picker's metrics.
    pub async fn page(&self) -> Result<String, String> {
        let client = reqwest::Client::builder().no_proxy().build();
        let url = format!("http://{}:9090/metrics", self.picker_address);
        let asked = client.map_err(|e| e.to_string())?.get(url).send().await;
        let text = asked.map_err(|e| e.to_string())?.text().await;
        text.map_err(|e| e.to_string())
    }

    /// The sum of a metric's series.
    pub async fn metric(&self, name: &str) -> f64 {
        let page = self.page().await.unwrap();
        let own = page.lines().filter(|l| {
            l.strip_prefix(name)
                .is_some_and(|r| r.starts_with(['{', ' ']))
        });
        own.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// What the controller decided, a line each.
    pub fn decisions(&self) -> String {
        decisions(&self.controller.log())
    }
}

fn controller(ground: &Ground, site: &Site, system: &str, number: usize) -> Process {
    let host = ground.cluster.host();
    // A file of its own: one that another test writes again may be empty just when it is read.
    let token = format!("controller-{number}/token");
    let token = ground.cluster.sandbox().write(&token, TOKEN).unwrap();
    let config = json!({
        "classes": promises(),
        "defaults": {"class": "chat"},
        "policy": {
            "cycle_seconds": 0.5,
            "stale_after_seconds": 6,
            "pending_too_long_seconds": 10,
            "forecast": {"slot_s": 2, "outcome_s": 6},
            "stabilise": {"down_window_seconds": 10},
        },
        "watch": {"stock": "unlimited", "namespaces": [site.namespace]},
        "telemetry": {"pods": null, "gates": {"stale_after_seconds": 6}},
        "serve": {
            "http": format!("{host}:{}", 7080 + number),
            "exchange": {
                "listen": exchange(host, number).to_string(),
                "bearer_token_file": token,
            },
        },
    });
    let name = format!("wva-{number}");
    let alone = ["--no-leader-election", "--namespace", system];
    site.controller(&name, ground.cluster.admin(), &config, &alone)
}

fn exchange(host: Ipv4Addr, number: usize) -> SocketAddr {
    let port = u16::try_from(number).expect("few tests") + 9440;
    SocketAddr::from((host, port))
}

/// Waiting for a server rather than at one, which is full when its law says so; for as long as it takes on a busy machine.
fn picker_config() -> Value {
    json!({
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
        "featureGates": ["flowControl"],
        "plugins": [
            {"type": "slo-scorer"},
            {"type": "slo-concurrency-detector", "name": "full", "parameters": {"maxConcurrency": 64}},
        ],
        "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": "slo-scorer", "weight": 1}]}],
        "flowControl": {
            "saturationDetector": {"pluginRef": "full"},
            "defaultRequestTTL": "200s",
            "noEndpointRequestTTL": "200s",
        },
    })
}

fn picker(ground: &Ground, site: &Site, number: usize) -> Daemon {
    let sandbox = ground.cluster.sandbox();
    let (address, host) = (ground.pickers[number], ground.cluster.host());
    let file = format!("epp-{number}/config.yaml");
    let config = sandbox.write(&file, &picker_config().to_string()).unwrap();
    let token = sandbox
        .write(&format!("epp-{number}/token"), TOKEN)
        .unwrap();
    let arguments = vec![
        "epp".to_owned(),
        format!("--bind-address={address}"),
        format!("--config-file={}", config.display()),
        "--secure-serving=false".to_owned(),
        "--threads=1".to_owned(),
        "--endpoint-selector=served=true".to_owned(),
        "--endpoint-target-ports=8000".to_owned(),
        format!("--pool-namespace={}", site.namespace),
        format!("--kubeconfig={}", site.admin().kubeconfig().display()),
        format!("--controller-url=http://{}", exchange(host, number)),
        format!("--controller-token-file={}", token.display()),
        "--controller-interval=250ms".to_owned(),
    ];
    let recipe = Recipe {
        name: PICKERS[number],
        program: env!("CARGO_BIN_EXE_wva").into(),
        arguments,
        health: format!("http://{address}:9090/readyz"),
        authority: None,
    };
    Daemon::new(sandbox, recipe)
}
