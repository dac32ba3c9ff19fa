//! A manifest as users write it becomes a model server that answers.

use serde_json::{Value, json};
use wva_testbed::kubelet::{EmulatedServers, NodeSpec, STARTUP_ANNOTATION};
use wva_testbed::{ControlPlane, Kubelet, Options, Prometheus, eventually, or_skip};

fn deployment() -> Value {
    let labels = json!({"app": "llama"});
    let container = json!({
        "name": "vllm",
        "image": "vllm/vllm-openai",
        "command": ["vllm", "serve", "meta-llama/Llama-3.1-8B-Instruct"],
        "args": ["--served-model-name", "llama", "--port", "8000"],
        "ports": [{"containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1},
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {STARTUP_ANNOTATION: "1"}},
                "spec": {"containers": [container]},
            },
        },
    })
}

#[tokio::test]
async fn a_deployment_of_vllm_answers_and_is_scraped() {
    let Some(plane) = or_skip(ControlPlane::start(Options::default()).await) else {
        return;
    };
    let nodes = [NodeSpec::with_gpus("l40s-a", "NVIDIA-L40S", 1)];
    let servers = EmulatedServers::new(100.0);
    let kubelet = Kubelet::start(&plane, &nodes, servers).await.unwrap();
    let admin = plane.admin();
    let manifest = deployment().to_string();
    let applied = admin
        .kubectl_reading(&manifest, &["apply", "-f", "-"])
        .await;
    applied.unwrap();
    let rollout = ["rollout", "status", "deployment/llama", "--timeout=4m"];
    admin.kubectl(&rollout).await.unwrap();
    let ip = [
        "get",
        "pods",
        "-l",
        "app=llama",
        "-o",
        "jsonpath={.items[0].status.podIP}",
    ];
    let address = format!("{}:8000", admin.kubectl(&ip).await.unwrap());

    let request = json!({"model": "llama", "prompt": "Why is the sky blue?", "max_tokens": 5});
    let answer = reqwest::Client::new()
        .post(format!("http://{address}/v1/completions"))
        .json(&request)
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["usage"]["completion_tokens"], 5, "{answer}");

    let scrape = format!(
        "scrape_configs: [{{job_name: vllm, scrape_interval: 1s, static_configs: [{{targets: ['{address}']}}]}}]"
    );
    let Some(prometheus) = or_skip(Prometheus::start(&scrape).await) else {
        return;
    };
    let query = "vllm:request_success_total{model_name=\"llama\"} > 0";
    let succeeded = eventually("the request in Prometheus", async || {
        let found = prometheus.query(query).await.map_err(|e| e.to_string())?;
        let value = found[0]["value"][1].as_str().map(str::to_owned);
        value.ok_or_else(|| found.to_string())
    });
    assert_eq!(succeeded.await.unwrap(), "1");
    drop(kubelet);
    reqwest::get(format!("http://{address}/health"))
        .await
        .unwrap_err();
}
