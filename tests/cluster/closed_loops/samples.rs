//! The same day through VariantAutoscalings of every earlier form, unchanged, and the HPAs that their users had.

use serde_json::{Value, json};

use super::bed::{Bed, hpa};
use super::pods;
use super::timeline::{Target, Timeline};
use super::trace::{PATIENT, day};
use crate::forms::{V001, V04, V05};
use crate::groups::{Groups, leader_worker_sets};
use crate::load::MODEL;
use crate::plot::define;
use crate::site::{CHEAP, LARGE, Variant, deployment};

/// What the first form's users had.
const A100: Variant = Variant {
    name: "vllme-deployment",
    product: "NVIDIA-A100-SXM4-80GB",
    cost: "10.0",
};
/// The model of the last form's sample, on four devices.
const LARGE_MODEL: &str = "meta-llama/Llama-3.1-70B-Instruct";

/// The classes that the samples name, as their users keep them: bounds on means.
fn classes(namespace: &str) -> Value {
    let of = |model: &str| format!("  - {{model: {model}, slo-tpot: 80, slo-ttft: 2000}}\n");
    let premium = format!(
        "name: Premium\npriority: 1\ndata:\n{}{}",
        of("default/default"),
        of(MODEL)
    );
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "service-classes-config", "namespace": namespace},
        "data": {"premium.yaml": premium},
    })
}

/// The last form's target: a replica is a group of one pod with four devices.
fn set() -> Value {
    let mut template = deployment("llm-d", LARGE, LARGE_MODEL, 1)["spec"]["template"].clone();
    template["metadata"]["labels"] = json!({"app": "vllm-lws"});
    let container = &mut template["spec"]["containers"][0];
    container["command"] = json!(["vllm", "serve", LARGE_MODEL]);
    let words = [
        "--served-model-name",
        LARGE_MODEL,
        "--tensor-parallel-size",
        "4",
    ];
    container["args"] = json!(words);
    container["resources"]["limits"]["nvidia.com/gpu"] = json!("4");
    json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "vllm-lws", "namespace": "llm-d"},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 1, "workerTemplate": template}},
    })
}

/// What each sample scales: its object, the target, the pods' labels, and the name under which it is asked.
struct Sample {
    text: &'static str,
    title: &'static str,
    target: (&'static str, &'static str, &'static str),
    labels: &'static str,
    served: &'static str,
}

const SAMPLES: [Sample; 3] = [
    Sample {
        text: V001,
        title: "v0.0.1 on A100",
        target: ("apps/v1", "Deployment", A100.name),
        labels: "app=vllme-deployment",
        served: "default/default",
    },
    Sample {
        text: V04,
        title: "v0.4 on L40S",
        target: ("apps/v1", "Deployment", "llama-8b-l40s"),
        labels: "app=llama-8b-l40s",
        served: MODEL,
    },
    Sample {
        text: V05,
        title: "v0.5 on 4 H100",
        target: ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "vllm-lws"),
        labels: "app=vllm-lws",
        served: LARGE_MODEL,
    },
];

impl Sample {
    /// (namespace, name) of its object.
    fn place(&self) -> (String, String) {
        let written: Value = serde_saphyr::from_str(self.text).unwrap();
        let word = |key: &str| written["metadata"][key].as_str().unwrap().to_owned();
        (word("namespace"), word("name"))
    }

    /// Creates the object as it was written, and an HPA that follows it.
    async fn create(&self, bed: &Bed) {
        let admin = bed.admin();
        let create = ["create", "-f", "-"];
        admin.kubectl_reading(self.text, &create).await.unwrap();
        let (namespace, name) = self.place();
        let (version, kind, target) = self.target;
        let target = json!({"apiVersion": version, "kind": kind, "name": target});
        bed.apply(&hpa((&namespace, &name), &target, 1)).await;
    }

    fn timed(&self, bed: &Bed) -> Target {
        let (version, kind, name) = self.target;
        let place = (self.place().0, name);
        let place = (place.0.as_str(), place.1);
        Target::new(&bed.client, (version, kind), place, self.title)
    }
}

async fn servers(bed: &Bed) -> Groups {
    for namespace in ["llm-d-sim", "llm-d"] {
        let create = ["create", "namespace", namespace];
        bed.admin().kubectl(&create).await.unwrap();
    }
    let named = Variant {
        name: "llama-8b-l40s",
        ..CHEAP
    };
    bed.deploy_as("llm-d-sim", A100, "default/default", 1).await;
    bed.deploy_as("llm-d", named, MODEL, 1).await;
    bed.apply(&leader_worker_sets()).await;
    define(&bed.cluster).await.unwrap();
    bed.apply(&set()).await;
    bed.apply(&classes(bed.system())).await;
    Groups::keep(bed.client.clone(), "llm-d")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_a_real_service_by_the_objects_of_every_earlier_form() {
    let Some(bed) = Bed::on(&[A100, CHEAP, LARGE], 24).await else {
        return;
    };
    let _groups = servers(&bed).await;
    for sample in &SAMPLES {
        sample.create(&bed).await;
    }
    bed.promising(PATIENT, &pods()).await;
    let profile = day(6.0);
    let targets = SAMPLES.iter().map(|s| s.timed(&bed)).collect();
    let timeline = Timeline::of(targets, &profile);
    let loads = SAMPLES.each_ref().map(|sample| {
        let namespace = sample.place().0;
        let mut load = bed.load_at((&namespace, sample.labels), sample.served, &profile);
        load.promise = PATIENT;
        load
    });
    let outcomes = futures::future::join_all(loads.map(|load| load.end())).await;
    // Nobody asks any more.
    timeline.settles(&[1, 1, 1]).await;
    println!("{}", bed.decisions());
    let title = "A day of a service by the objects of earlier forms, unchanged, and HPAs";
    timeline.keep("day-by-samples", title, &outcomes);
    for (sample, (asked, outcome)) in SAMPLES.iter().zip(timeline.asked().iter().zip(&outcomes)) {
        let title = sample.title;
        let most = asked.iter().copied().max();
        assert!(most >= Some(2), "{title}: {asked:?}");
        assert_eq!(outcome.lost, 0, "{title}: {outcome:?}");
        assert!(
            outcome.judged < 150 || outcome.attainment >= 0.99,
            "{title}: {outcome:?}"
        );
    }
}
