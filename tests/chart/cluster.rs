//! The chart on the real API server: strict about every field, and installed with the rights it asks for.

use serde_json::{Value, json};
use tokio::sync::OnceCell;
use wva_testbed::{Access, ControlPlane, Error, Options, component, eventually, or_skip};

use crate::rendered::{ALL_VALUES, NAMESPACE, RELEASE, Rendered, chart, chosen};

/// Definitions that the chart's objects need beside its own: component, and the files of it.
const DEFINITIONS: [(&str, &[&str]); 3] = [
    ("keda", &["keda.sh_scaledobjects"]),
    (
        "prometheus-operator",
        &[
            "monitoring.coreos.com_servicemonitors",
            "monitoring.coreos.com_prometheusrules",
        ],
    ),
    (
        "cert-manager",
        &["cert-manager.io_certificates", "cert-manager.io_issuers"],
    ),
];

/// A cluster on which helm has installed the chart with its default values, definitions included.
pub async fn installed() -> Option<&'static ControlPlane> {
    static CLUSTER: OnceCell<Result<ControlPlane, Error>> = OnceCell::const_new();
    or_skip(CLUSTER.get_or_init(install).await.as_ref())
}

async fn install() -> Result<ControlPlane, Error> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let admin = cluster.admin();
    for (name, files) in DEFINITIONS {
        let folder = component::folder(name)?;
        for file in files {
            let file = folder.join(format!("{file}.yaml"));
            let file = file.display().to_string();
            admin.kubectl(&["create", "-f", &file]).await?;
        }
    }
    let definitions = wva_epp::api::definitions();
    let definitions = json!({"apiVersion": "v1", "kind": "List", "items": definitions});
    let words = ["create", "-f", "-"];
    admin
        .kubectl_reading(&definitions.to_string(), &words)
        .await?;
    for namespace in ["models-a", "models-b", "trial"] {
        admin.kubectl(&["create", "namespace", namespace]).await?;
    }
    let namespace = format!("--namespace={NAMESPACE}");
    let chart = chart();
    let words = ["install", RELEASE, &chart, &namespace, "--create-namespace"];
    admin.helm(&words).await?;
    admin.established().await?;
    Ok(cluster)
}

/// What the API server says to objects that it checks as if they were created, unknown fields included.
async fn judged(admin: &Access, text: &str) -> Result<String, Error> {
    let words = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    admin.kubectl_reading(text, &words).await
}

#[tokio::test]
async fn every_object_is_taken() {
    let Some(cluster) = installed().await else {
        return;
    };
    for values in ALL_VALUES {
        // As if there were no other: what is installed already would be changed, and not made.
        let elsewhere = ["--namespace=trial", "--set=fullnameOverride=trial"];
        let Some(rendered) = Rendered::with(values, &elsewhere) else {
            return;
        };
        let said = judged(cluster.admin(), &rendered.text).await.unwrap();
        let taken = said.lines().filter(|l| l.ends_with("(server dry run)"));
        assert_eq!(taken.count(), rendered.objects.len(), "{values}: {said}");
    }
}

/// Whatever the chart can render is checked above: no template is left out by all sets of values.
#[tokio::test]
async fn every_kind_is_among_them() {
    let mut kinds: Vec<String> = Vec::new();
    for values in ALL_VALUES {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        let of_values = rendered.objects.iter().map(|o| o["kind"].as_str().unwrap());
        kinds.extend(of_values.map(str::to_owned));
    }
    // An Issuer of our own, where none is named.
    let own = Rendered::with("", &["--set=certificates.source=cert-manager"]).unwrap();
    own.one("Issuer", "wva-self-signed");
    let Some(cluster) = installed().await else {
        return;
    };
    judged(cluster.admin(), &own.text).await.unwrap();
    for template in std::fs::read_dir(crate::rendered::path("charts/wva/templates")).unwrap() {
        let text = std::fs::read_to_string(template.unwrap().path()).unwrap();
        for kind in text.lines().filter_map(|l| l.strip_prefix("kind: ")) {
            assert!(
                kind == "Issuer" || kinds.iter().any(|k| k == kind),
                "{kind}"
            );
        }
    }
}

/// The check above would notice: a field that nobody knows is refused, in our kinds and in others'.
#[tokio::test]
async fn unknown_fields_are_refused() {
    let Some(cluster) = installed().await else {
        return;
    };
    let Some(rendered) = Rendered::of("full") else {
        return;
    };
    for kind in [
        "Deployment",
        "ServiceMonitor",
        "Certificate",
        "VariantAutoscaling",
    ] {
        let mut object = rendered.kind(kind)[0].clone();
        object["spec"]["noSuchField"] = json!(true);
        let refusal = judged(cluster.admin(), &object.to_string()).await;
        let refusal = refusal.unwrap_err().to_string();
        assert!(refusal.contains("noSuchField"), "{kind}: {refusal}");
    }
}

/// wva's own account, as the chart has made it.
async fn account(cluster: &ControlPlane) -> Access {
    cluster.service_account(NAMESPACE, "wva").await.unwrap()
}

async fn may(access: &Access, question: &str) -> bool {
    let words: Vec<&str> = ["auth", "can-i"]
        .into_iter()
        .chain(question.split(' '))
        .collect();
    match access.kubectl(&words).await {
        Ok(answer) => answer.trim() == "yes",
        Err(Error::Command { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_account_may_do_its_work_and_no_more() {
    let Some(cluster) = installed().await else {
        return;
    };
    let wva = account(cluster).await;
    let own = format!("-n {NAMESPACE}");
    for question in [
        "watch pods -A",
        "list scaledobjects.keda.sh -A",
        "patch variantautoscalings.llmd.ai/x --subresource=status -n models-a",
        "patch deployments.apps/x --subresource=scale -n models-a",
        "create tokenreviews.authentication.k8s.io",
        "create subjectaccessreviews.authorization.k8s.io",
        "watch configmaps/extension-apiserver-authentication -n kube-system",
        &format!("update leases.coordination.k8s.io/wva {own}"),
        &format!("update secrets/wva-authority {own}"),
        "patch apiservices.apiregistration.k8s.io/v1beta1.external.metrics.k8s.io",
    ] {
        eventually(question, async || match may(&wva, question).await {
            true => Ok(()),
            false => Err("it may not"),
        })
        .await
        .unwrap();
    }
    for question in [
        "patch deployments.apps/x -n models-a",
        "delete pods/x -n models-a",
        "patch pods/x -n models-a",
        "get secrets/x -n models-a",
        &format!("list secrets {own}"),
        &format!("get secrets/another {own}"),
        &format!("create secrets {own}"),
        "list configmaps -n models-a",
        "patch variantautoscalings.llmd.ai/x -n models-a",
        "patch apiservices.apiregistration.k8s.io/v1.apps",
        "create pods --subresource=exec -n models-a",
    ] {
        assert!(!may(&wva, question).await, "{question}");
    }
}

#[tokio::test]
async fn people_with_view_and_edit_see_and_change_what_is_theirs() {
    let Some(cluster) = installed().await else {
        return;
    };
    for (role, question, expected) in [
        ("view", "get variantautoscalings.llmd.ai -n models-b", true),
        (
            "view",
            "create variantautoscalings.llmd.ai -n models-b",
            false,
        ),
        (
            "edit",
            "create variantautoscalings.llmd.ai -n models-b",
            true,
        ),
        (
            "edit",
            "delete serviceclasses.wva.llmd.ai -n models-b",
            true,
        ),
        (
            "edit",
            "patch variantautoscalings.llmd.ai --subresource=status -n models-b",
            false,
        ),
        ("edit", "create accelerators.wva.llmd.ai", false),
    ] {
        let person = cluster.user(&format!("{role}-person"), None).unwrap();
        let binding = [
            "create",
            "rolebinding",
            &format!("{role}-person"),
            &format!("--clusterrole={role}"),
            &format!("--user={role}-person"),
            "-n",
            "models-b",
        ];
        // There already, the second time.
        cluster.admin().kubectl(&binding).await.ok();
        eventually(question, async || {
            match may(&person, question).await == expected {
                true => Ok(()),
                false => Err(format!("{role}: not {expected}")),
            }
        })
        .await
        .unwrap();
    }
}

async fn seen(access: &Access, words: &[&str]) -> Value {
    let words = [&["get", "-o", "json"], words].concat();
    let text = access.kubectl(&words).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// wva fills the Secret and the bundle with its own rights, and neither an upgrade nor a roll-back takes them away.
#[tokio::test]
async fn an_upgrade_keeps_what_wva_wrote() {
    let Some(cluster) = installed().await else {
        return;
    };
    let (admin, wva) = (cluster.admin(), account(cluster).await);
    let namespace = format!("--namespace={NAMESPACE}");
    let secret_words = ["secret", "wva-authority", &namespace];
    let service_words = ["apiservice", "v1beta1.external.metrics.k8s.io"];
    let mut secret = seen(&wva, &secret_words).await;
    assert_eq!(secret["data"], Value::Null);
    secret["data"] = json!({"authority.json": "e30="});
    wva.kubectl_reading(&secret.to_string(), &["replace", "-f", "-"])
        .await
        .unwrap();
    let bundle = json!({"spec": {"caBundle": "e30="}}).to_string();
    let patch = [
        &["patch"],
        &service_words[..],
        &["--type=merge", "-p", &bundle],
    ]
    .concat();
    wva.kubectl(&patch).await.unwrap();
    let chart = chart();
    for replicas in ["3", "2"] {
        let values = format!("--set=replicas={replicas},commonLabels.round=r{replicas}");
        let words = ["upgrade", RELEASE, &chart, &namespace, &values];
        admin.helm(&words).await.unwrap();
        let deployment = seen(admin, &["deployment", "wva", &namespace]).await;
        assert_eq!(deployment["spec"]["replicas"].to_string(), replicas);
        let secret = seen(&wva, &secret_words).await;
        assert_eq!(secret["data"]["authority.json"], "e30=");
        assert_eq!(
            secret["metadata"]["labels"]["round"],
            format!("r{replicas}")
        );
        let service = seen(&wva, &service_words).await;
        assert_eq!(service["spec"]["caBundle"], "e30=");
    }
}

/// Only one can serve external metrics: the chart says who does, and what to do.
#[tokio::test]
async fn another_owner_of_external_metrics_is_named() {
    let Some(cluster) = installed().await else {
        return;
    };
    let chart = chart();
    let second = [
        "install",
        "second",
        &chart,
        "--namespace=models-b",
        "--dry-run=server",
    ];
    let refusal = cluster.admin().helm(&second).await.unwrap_err().to_string();
    assert!(
        refusal.contains("served by wva-system/wva") && refusal.contains("keda.enabled=true"),
        "{refusal}"
    );
    let mut beside: Vec<String> = second.iter().map(|&w| w.to_owned()).collect();
    beside.extend(chosen("keda"));
    let beside: Vec<&str> = beside.iter().map(String::as_str).collect();
    let notes = cluster.admin().helm(&beside).await.unwrap();
    assert!(
        notes.contains("wva.models-b.svc:9443") || notes.contains("second-wva.models-b.svc:9443")
    );
}

/// The notes know the cluster, and the commands in them are for this installation.
#[tokio::test]
async fn the_notes_say_what_to_do_next() {
    let Some(cluster) = installed().await else {
        return;
    };
    let namespace = format!("--namespace={NAMESPACE}");
    let words = ["get", "notes", RELEASE, &namespace];
    let notes = cluster.admin().helm(&words).await.unwrap();
    for said in [
        "watching the whole cluster",
        "kubectl -n wva-system rollout status deployment/wva",
        "llm-d.ai/managed=true",
        "This cluster has the Prometheus operator",
        "This cluster has KEDA",
    ] {
        assert!(notes.contains(said), "{said:?} is not in\n{notes}");
    }
}
