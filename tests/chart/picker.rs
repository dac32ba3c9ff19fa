//! The endpoint picker as the chart installs it, and the Envoy in front of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wva_controllers::settings::Settings;
use wva_testbed::daemon::Recipe;
use wva_testbed::{Access, Daemon, Envoy, Sandbox, component, eventually, or_skip};

use crate::cluster::installed;
use crate::rendered::Rendered;

/// The picker's container.
fn container(rendered: &Rendered) -> &Value {
    &rendered.one("Deployment", "wva-epp")["spec"]["template"]["spec"]["containers"][0]
}

/// Its arguments, with the configuration where this process can write it.
fn arguments(rendered: &Rendered, file: &Path) -> Vec<String> {
    let map = rendered.one("ConfigMap", "wva-epp");
    let text = map["data"]["config.yaml"].as_str().unwrap();
    std::fs::write(file, text).unwrap();
    let arguments = container(rendered)["args"].as_array().unwrap().iter();
    let token = file.with_file_name("token");
    std::fs::write(&token, "secret").unwrap();
    let mounted = [
        ("/etc/wva/epp/config.yaml", file),
        ("/etc/wva/controller/token", &token),
    ];
    let here = |argument: &str| {
        mounted
            .iter()
            .fold(argument.to_owned(), |text, (from, to)| {
                text.replace(from, &to.display().to_string())
            })
    };
    arguments.map(|a| here(a.as_str().unwrap())).collect()
}

#[test]
fn the_configuration_is_understood() {
    let sandbox = Sandbox::new("picker").unwrap();
    let file = sandbox.folder().join("config.yaml");
    for (values, more) in [
        ("epp", &[][..]),
        (
            "",
            &["--set=endpointPicker.enabled=true,endpointPicker.pool.matchLabels.app=vllm"],
        ),
    ] {
        let Some(rendered) = Rendered::with(values, more) else {
            return;
        };
        let output = Command::new(env!("CARGO_BIN_EXE_wva"))
            .args(arguments(&rendered, &file))
            .arg("--check")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{values}: {said}");
    }
}

#[test]
fn it_reads_its_own_pool_and_writes_nothing() {
    let Some(rendered) = Rendered::of("epp") else {
        return;
    };
    let role = rendered.one("Role", "wva-epp");
    assert_eq!(role["metadata"]["namespace"], "models-a");
    for rule in role["rules"].as_array().unwrap() {
        assert_eq!(rule["verbs"], json!(["list", "watch"]), "{rule}");
        let pools = rule["resources"] == json!(["inferencepools"]);
        assert_eq!(pools, rule["resourceNames"] == json!(["llama"]), "{rule}");
    }
    let pod = &rendered.one("Deployment", "wva-epp")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let own = rendered.one("Service", "wva-epp");
    let controllers = rendered.one("Service", "wva-metrics");
    let name = |service: &Value| service["spec"]["selector"]["app.kubernetes.io/name"].clone();
    assert_eq!(
        (name(own), name(controllers)),
        (json!("wva-epp"), json!("wva"))
    );
}

#[test]
fn it_shares_a_token_with_the_controller_and_finds_it() {
    let Some(rendered) = Rendered::of("epp") else {
        return;
    };
    let tokens = rendered.kind("Secret").into_iter();
    let tokens = tokens.filter(|s| s["metadata"]["name"] == "wva-exchange");
    let tokens: Vec<(&Value, &Value)> = tokens
        .map(|s| (&s["metadata"]["namespace"], &s["data"]["token"]))
        .collect();
    let [(first, token), (second, same)] = tokens.as_slice() else {
        panic!("{tokens:?}");
    };
    assert_eq!([*first, *second], ["wva-system", "models-a"]);
    assert!(token == same && token.as_str().unwrap().len() > 40);
    let settings = Settings::parse(rendered.settings(), "wva.yaml").unwrap();
    let exchange = settings.serve.exchange.unwrap();
    assert!(exchange.bearer_token_file.is_some() && !exchange.deletion_cost);
    let port = exchange.listen.port();
    let ports = rendered.one("Service", "wva")["spec"]["ports"].as_array();
    let mut ports = ports.unwrap().iter();
    assert!(ports.any(|p| p["port"] == port && p["targetPort"] == "exchange"));
    let url = format!("--controller-url=http://wva.wva-system.svc:{port}");
    let arguments = container(&rendered)["args"].as_array().unwrap();
    assert!(arguments.contains(&json!(url)), "{arguments:?}");
    let without = Rendered::with(
        "epp",
        &[
            "--set=exchange.enabled=false",
            "--set-json=settings.telemetry.pods={}",
        ],
    );
    let without = without.unwrap();
    let told = container(&without)["args"].to_string();
    assert!(!told.contains("--controller"), "{told}");
}

/// Envoy's configuration of the chart, on addresses of this machine.
fn sample(rendered: &Rendered, front: Ipv4Addr, picker: Ipv4Addr) -> String {
    let map = rendered.one("ConfigMap", "wva-envoy");
    let text = map["data"]["envoy.yaml"].as_str().unwrap();
    assert!(text.contains("wva-epp.models-a.svc"), "{text}");
    text.replace("wva-epp.models-a.svc", &picker.to_string())
        .replace("0.0.0.0", &front.to_string())
}

/// A model server that says which one it is.
async fn server(address: SocketAddr) {
    let page =
        "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n";
    let router = Router::new()
        .route("/metrics", get(move || async move { page }))
        .route(
            "/v1/completions",
            post(move || async move { address.to_string() }),
        );
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
}

/// The objects of the picker, installed; the picker under the account that they give it, behind the sample's Envoy.
#[tokio::test]
async fn it_works_as_it_stands() {
    // TLS, as it is by default.
    let Some(rendered) = Rendered::with("epp", &["--set=endpointPicker.tls=true"]) else {
        return;
    };
    if or_skip(component::folder("envoy")).is_none() {
        return;
    }
    let Some(cluster) = installed().await else {
        return;
    };
    let admin = cluster.admin();
    let own = rendered
        .objects
        .iter()
        .filter(|o| o["metadata"]["namespace"] == "models-a");
    let own: Vec<&Value> = own.collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": own});
    let create = ["create", "-f", "-"];
    admin
        .kubectl_reading(&list.to_string(), &create)
        .await
        .unwrap();

    let sandbox = Sandbox::new("picker").unwrap();
    let (front, picker) = (sandbox.address(), sandbox.address());
    let pods: Vec<SocketAddr> = (0..2).map(|_| (sandbox.address(), 8000).into()).collect();
    for (number, address) in pods.iter().enumerate() {
        server(*address).await;
        ready(admin, &format!("vllm-{number}"), address).await;
    }
    let account = cluster
        .service_account("models-a", "wva-epp")
        .await
        .unwrap();
    let mut arguments = arguments(&rendered, &sandbox.folder().join("config.yaml"));
    arguments.push(format!("--kubeconfig={}", account.kubeconfig().display()));
    arguments.push(format!("--bind-address={picker}"));
    let recipe = Recipe {
        name: "epp",
        program: env!("CARGO_BIN_EXE_wva").into(),
        arguments,
        health: format!("http://{picker}:9090/readyz"),
        authority: None,
    };
    let daemon = Daemon::new(&sandbox, recipe);
    daemon.start().await.unwrap();
    let envoy = Envoy::start(|host| {
        // Envoy's administration is the testbed's own.
        sample(&rendered, front, picker).replace(
            &format!("address: {front}, port_value: 9901"),
            &format!("address: {host}, port_value: 9901"),
        )
    });
    let _envoy = envoy.await.unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let url = format!("http://{front}:8080/v1/completions");
    let ask = async || {
        let body = json!({"model": "m", "prompt": "one"}).to_string();
        let answer = client
            .post(&url)
            .body(body)
            .send()
            .await
            .map_err(|e| e.to_string())?;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        if status.is_success() {
            Ok(text)
        } else {
            Err(format!("{status} {text}"))
        }
    };
    let mut reached = std::collections::BTreeSet::new();
    eventually("an answer of each server", async || {
        reached.insert(ask().await?);
        if reached.len() == 2 {
            Ok(())
        } else {
            Err("one of them only".to_owned())
        }
    })
    .await
    .unwrap();
    assert!(
        pods.iter().all(|p| reached.contains(&p.to_string())),
        "{reached:?}"
    );
    assert!(!daemon.log().contains("orbidden"), "{}", daemon.log());
}

/// A pod of the pool at this address, as a kubelet would report it. It serves on one of the pool's ports.
async fn ready(admin: &Access, name: &str, address: &SocketAddr) {
    let ip = address.ip();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "models-a", "labels": {"app": "vllm"},
            "annotations": {"llm-d.ai/active-ports": "8000"},
        },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "vllm", "image": "vllm/vllm-openai"}],
        },
    });
    admin
        .kubectl_reading(&pod.to_string(), &["create", "-f", "-"])
        .await
        .unwrap();
    let status = json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    let status = status.to_string();
    let patch = [
        "patch",
        "pod",
        name,
        "-n",
        "models-a",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    admin.kubectl(&patch).await.unwrap();
}
