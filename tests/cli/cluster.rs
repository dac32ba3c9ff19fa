//! The verbs of a cluster before a small API server, which answers from a list of pages: what a real one cannot show on
//! loopback (it passes nothing on to pods there) and what should look the same every time. The real one is in
//! `tests/cluster`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use wva_controllers::index::Kind;
use wva_optimizer::replay::{Bundle, Moment, Recorded};
use wva_optimizer::state::State;
use wva_optimizer::step::step;

use crate::{Folder, Ran};

/// Metrics of a model server.
const SERVER: &str = "\
vllm:num_requests_running{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 12
vllm:num_requests_waiting{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 3
vllm:kv_cache_usage_perc{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 0.5
";

/// What the controller publishes about `llm-d/llama`.
const CONTROLLER: &str = "\
wva_desired_replicas{variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"} 3
wva_planned_replicas{variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"} 4
wva_cost_dollars_per_hour{variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"} 7.5
wva_slo_margin_ratio{variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"} -0.2
wva_observed_ttft_seconds{variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"} 0.182
wva_predicted_ttft_seconds{variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"} 0.17
wva_model_trust_ratio{variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"} 0.8
wva_data_age_seconds{variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"} 4
wva_decision_reason{variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\",reason=\"demand-up\"} 1
# EOF
";

/// An API server with these pages, and the kubeconfig for it.
struct ApiServer {
    folder: Folder,
    // Pages are served as long as it runs.
    _runtime: Runtime,
}

impl ApiServer {
    fn start(pages: BTreeMap<String, String>) -> Self {
        let runtime = Runtime::new().expect("threads");
        let pages = Arc::new(pages);
        let answer = move |uri: Uri| {
            let pages = Arc::clone(&pages);
            async move { page(&pages, uri.path()) }
        };
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move {
            let app = Router::new().fallback(answer);
            axum::serve(listener, app).await.expect("it serves");
        });
        let folder = Folder::empty();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "llm-d"}}],
        });
        folder.write("config", &config.to_string());
        Self {
            folder,
            _runtime: runtime,
        }
    }

    fn wva(&self, arguments: &[&str]) -> Ran {
        self.folder
            .wva(&[arguments, &["--kubeconfig", "config"]].concat())
    }
}

fn page(pages: &BTreeMap<String, String>, path: &str) -> Response {
    if let Some(page) = pages.get(path) {
        return page.clone().into_response();
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": format!("nothing is at {path}"),
    });
    (StatusCode::NOT_FOUND, Json(status)).into_response()
}

/// The address of a list.
fn address(kind: Kind, namespace: &str) -> String {
    let (api_version, _, plural) = kind.names();
    let root = if api_version.contains('/') {
        "apis"
    } else {
        "api"
    };
    if kind.is_namespaced() && !namespace.is_empty() {
        format!("/{root}/{api_version}/namespaces/{namespace}/{plural}")
    } else {
        format!("/{root}/{api_version}/{plural}")
    }
}

fn list(items: &[Value]) -> String {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}).to_string()
}

/// A cluster with one HPA, its Deployment and pod, and a controller behind the proxy.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let version = json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.2", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
    });
    pages.insert("/version".to_owned(), version.to_string());
    for kind in Kind::ALL {
        pages.insert(address(kind, "llm-d"), list(&[]));
    }
    let hpa = json!({
        "metadata": {"name": "llama", "namespace": "llm-d", "annotations": {"llm-d.ai/managed": "true"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
            "maxReplicas": 8,
            "metrics": [{"type": "External", "external": {"metric": {"name": "wva_desired_replicas"},
                "target": {"type": "AverageValue", "averageValue": "1"}}}],
        },
    });
    let deployment = json!({
        "metadata": {"name": "llama", "namespace": "llm-d"},
        "spec": {"replicas": 2, "template": {"spec": {
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
            "containers": [{"name": "vllm", "image": "vllm/vllm-openai",
                "args": ["--model=meta-llama/Llama-3.1-8B-Instruct"],
                "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
        }}},
        "status": {"replicas": 2},
    });
    let pod = json!({
        "metadata": {"name": "llama-h-1", "namespace": "llm-d", "uid": "p", "labels": {"pod-template-hash": "h"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "llama-h", "uid": "r", "controller": true}]},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let class = json!({
        "metadata": {"name": "chat", "namespace": "llm-d"},
        "spec": {"priority": 1, "ttftMs": {"mean": 150}, "itlMs": {"p99": 60}},
    });
    pages.insert(
        address(Kind::HorizontalPodAutoscaler, "llm-d"),
        list(&[hpa]),
    );
    pages.insert(address(Kind::Deployment, "llm-d"), list(&[deployment]));
    pages.insert(address(Kind::Pod, "llm-d"), list(&[pod]));
    pages.insert(address(Kind::ServiceClass, "llm-d"), list(&[class]));
    let controller = json!({
        "metadata": {"name": "wva-0", "namespace": "wva-system", "labels": {"wva.llmd.ai/leader": "true"}},
        "spec": {"containers": [], "serviceAccountName": "wva"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    pages.insert("/api/v1/pods".to_owned(), list(&[controller]));
    let servers = "/api/v1/namespaces/llm-d/pods/llama-h-1:8000/proxy/metrics";
    pages.insert(servers.to_owned(), SERVER.to_owned());
    let proxy = "/api/v1/namespaces/wva-system/pods/wva-0:8080/proxy";
    pages.insert(format!("{proxy}/metrics"), CONTROLLER.to_owned());
    pages
}

#[test]
fn status_is_a_table() {
    let server = ApiServer::start(pages());
    insta::assert_snapshot!(server.wva(&["status"]).answered());
    insta::assert_snapshot!(server.wva(&["status", "-o", "wide"]).answered());
}

#[test]
fn status_is_data() {
    let server = ApiServer::start(pages());
    let answer = server.wva(&["status", "-o", "json"]).json("wva.status/v1");
    let llama = &answer["variants"][0];
    assert_eq!(
        (&llama["current"], &llama["ready"], &llama["desired"]),
        (&2.into(), &1.into(), &3.into())
    );
    assert_eq!(llama["reasons"], json!(["demand-up"]));
    assert_eq!(llama["slo_margin"], -0.2);
    assert_eq!(
        llama["ttft"]["slo"],
        json!({"statistic": "mean", "limit_ms": 150.0})
    );
    assert_eq!(llama["source"], "metrics");
    assert_eq!(answer["totals"]["cost_per_hour_usd"], 7.5);
    assert_eq!(answer["controller"]["reached"], true);
    let none = server.wva(&["status", "lama"]);
    none.refused(&[
        "no variant is called `lama` in namespace llm-d",
        "did you mean `llama`?",
    ]);
}

#[test]
fn without_metrics_the_objects_still_tell() {
    let mut pages = pages();
    pages.retain(|path, _| !path.contains("/proxy/"));
    let server = ApiServer::start(pages);
    let ran = server.wva(&["status", "-o", "json"]);
    let answer = ran.json("wva.status/v1");
    assert!(
        ran.err.contains("the controller's metrics cannot be read"),
        "{}",
        ran.err
    );
    assert_eq!(answer["variants"][0]["desired"], Value::Null, "nobody says");
    assert_eq!(answer["variants"][0]["source"], "none");
    assert_eq!(answer["controller"]["reached"], false);
}

#[test]
fn top_adds_what_the_servers_say() {
    let server = ApiServer::start(pages());
    let answer = server
        .wva(&["top", "--once", "-o", "json"])
        .json("wva.top/v1");
    let load = &answer["variants"][0]["load"];
    assert_eq!(
        (&load["running"], &load["waiting"], &load["kv_usage"]),
        (&12.0.into(), &3.0.into(), &0.5.into())
    );
    insta::assert_snapshot!(server.wva(&["top", "--once"]).answered());
}

/// Into a pipe, `top` writes plain lines until its reader has enough.
#[test]
fn top_writes_lines_where_there_is_no_terminal() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    let server = ApiServer::start(pages());
    let mut child = server
        .folder
        .command(&["top", "--every", "0.5", "--kubeconfig", "config"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("wva starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("another line").expect("text");
        assert!(
            line.contains(" llm-d/llama current=2 ready=1 desired=3 running=12"),
            "{line}"
        );
        assert!(!line.contains('\x1b'));
    }
    drop(lines);
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "a closed pipe is no failure");
}

/// The last cycle of a recorded run, as the controller shows it.
fn last_cycle(folder: &Folder) -> Moment {
    folder.write(
        "s.yaml",
        "name: s
duration_minutes: 30
variants: [{name: llm-d/llama, model: llama-3.1-8b, accelerator: H100}]
classes: [{name: chat, ttft_ms: {p99: 500}, itl_ms: {mean: 40}}]
traffic: [{model: llama-3.1-8b, class: chat, arrivals: {poisson: {rps: 20}}, shape: {input_tokens: 500, output_tokens: 100}}]
policies: [wva]
",
    );
    folder
        .wva(&["simulate", "s.yaml", "--record", "run.jsonl"])
        .answered();
    let text = std::fs::read(folder.path("run.jsonl")).expect("a bundle");
    let bundle = Bundle::open(text.as_slice(), "run").expect("a bundle");
    let autoscaler = bundle.autoscaler.clone();
    let mut state = State::default();
    let mut last = None;
    for next in bundle {
        let (_, Recorded { snapshot, cycle }) = next.expect("a cycle");
        let before = state.clone();
        state = step(&autoscaler, &snapshot, state).0;
        last = Some(Moment {
            autoscaler: autoscaler.clone(),
            state: before,
            snapshot,
            cycle,
        });
    }
    last.expect("at least one cycle")
}

#[test]
fn the_last_decision_of_a_controller_is_explained_like_a_recorded_one() {
    let mut pages = pages();
    let moment = last_cycle(&Folder::empty());
    let again = Moment::parse(&moment.to_json(), "here").expect("the same");
    assert_eq!(
        again.to_json(),
        moment.to_json(),
        "the document loses nothing"
    );
    let path = "/api/v1/namespaces/wva-system/pods/wva-0:8080/proxy/debug/cycle";
    pages.insert(path.to_owned(), moment.to_json());
    let server = ApiServer::start(pages);
    let answer = server
        .wva(&["explain", "llama", "-o", "json"])
        .json("wva.explain/v1");
    assert!(
        !answer["why"].as_array().expect("reasons").is_empty(),
        "{answer:#}"
    );
    assert!(
        !answer["binding"].as_array().expect("limits").is_empty(),
        "{answer:#}"
    );
    assert_eq!(answer["runner_up"]["without"], "llm-d/llama");
    assert_eq!(answer["mode"], "control");
    // The same document explains itself from a file.
    server.folder.write("cycle.json", &moment.to_json());
    let recorded = server.wva(&["explain", "cycle.json", "-o", "json", "--at", "1e12"]);
    assert_eq!(
        recorded.json("wva.explain/v1")["binding"],
        answer["binding"]
    );
}

#[test]
fn without_its_page_the_reasons_remain() {
    let server = ApiServer::start(pages());
    let ran = server.wva(&["explain", "llm-d/llama", "-o", "json"]);
    let answer = ran.json("wva.explain/v1");
    assert_eq!(answer["why"][0]["code"], "demand-up");
    assert_eq!(
        (
            &answer["decisions"][0]["target"],
            &answer["decisions"][0]["planned"]
        ),
        (&3.into(), &4.into())
    );
    assert!(
        ran.err.contains("what else could be done is not known"),
        "{}",
        ran.err
    );
}
