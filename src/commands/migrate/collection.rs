//! What there is to migrate: the objects of files or of a cluster, and how they belong together.

use std::path::PathBuf;

use serde_json::Value;
use wva_controllers::index::Kind;
use wva_controllers::index::engine::EngineArgs;
use wva_controllers::settings::Settings;

use crate::cluster::arguments::ClusterArguments;
use crate::cluster::contact::{self, Contact};
use crate::cluster::objects::Objects;
use crate::cluster::{Cluster, deepest};
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::input::{self, Input};

use super::original::Original;

/// Kinds that scale.
pub const SCALERS: [Kind; 3] = [
    Kind::VariantAutoscaling,
    Kind::HorizontalPodAutoscaler,
    Kind::ScaledObject,
];
/// Names in images of model servers.
const SERVERS: [&str; 8] = [
    "vllm",
    "sglang",
    "tritonserver",
    "tensorrt",
    "trtllm",
    "text-generation-inference",
    "llm-d",
    "lmdeploy",
];
/// An object that the user names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    kind: Kind,
    name: String,
}

impl Named {
    /// Reads `hpa/NAME` and the like; also for clap.
    pub fn parse(text: &str) -> Result<Self, String> {
        let odd = || format!("`{text}` is not hpa/NAME, scaledobject/NAME or va/NAME");
        let (kind, name) = text.split_once('/').ok_or_else(odd)?;
        let kind = match kind.to_ascii_lowercase().as_str() {
            "hpa" | "horizontalpodautoscaler" | "horizontalpodautoscalers" => {
                Kind::HorizontalPodAutoscaler
            }
            "so" | "scaledobject" | "scaledobjects" => Kind::ScaledObject,
            "va" | "variantautoscaling" | "variantautoscalings" => Kind::VariantAutoscaling,
            _ => return Err(odd()),
        };
        if name.is_empty() {
            return Err(odd());
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.names().1, self.name)
    }
}

/// Everything that was given.
#[derive(Debug)]
pub struct Collection {
    /// Settings of the controller that will read it.
    pub settings: Settings,
    /// The objects that mean something here.
    pub objects: Vec<Original>,
    /// Kinds of the others, each once.
    pub ignored: Vec<String>,
    /// Where all this is from, in words.
    pub place: String,
    /// Whether it is what somebody chose to give, rather than all that is there.
    pub chosen: bool,
}

impl Collection {
    /// The objects of YAML or JSON files, lists taken apart.
    ///
    /// # Errors
    /// A message with the place that cannot be read.
    pub fn of_files(files: &[PathBuf]) -> Result<Self, Failure> {
        let names: Vec<String> = files.iter().map(|f| input::name_of(f)).collect();
        let mut collection = Self {
            settings: contact::defaults(),
            objects: Vec::new(),
            ignored: Vec::new(),
            place: names.join(", "),
            chosen: true,
        };
        for file in files {
            let input = Input::read(file, "Kubernetes objects")?;
            let documents: Vec<Value> = serde_saphyr::from_multiple(&input.text).map_err(|e| {
                let at = e.location();
                let line = |n: u64| usize::try_from(n).unwrap_or(0);
                let (line, column) = at.map_or((0, 0), |at| (line(at.line()), line(at.column())));
                input.complaint(format!("not YAML: {}", e.without_snippet()), line, column)
            })?;
            for document in documents {
                collection.take(document, &input.name);
            }
        }
        Ok(collection)
    }

    /// The scalers of a cluster with what they scale, and the old ConfigMaps.
    pub async fn of_cluster(
        cluster: &Cluster,
        arguments: &ClusterArguments,
    ) -> Result<Self, Failure> {
        let contact = Contact::find(cluster, arguments).await;
        let home = contact.namespace(arguments).map(str::to_owned);
        let home = home.or_else(|| cluster.namespace.clone());
        let objects = Objects::read(cluster, home.as_deref()).await?;
        let mut collection = Self {
            settings: contact.settings,
            objects: Vec::new(),
            ignored: Vec::new(),
            place: cluster.scope(),
            chosen: false,
        };
        for (_, object) in objects.all() {
            let value = serde_json::to_value(object).map_err(|e| Diagnostic::new(deepest(&e)))?;
            collection.take(value, "cluster");
        }
        Ok(collection)
    }

    /// Takes one document in.
    pub fn take(&mut self, document: Value, origin: &str) {
        if let Some(items) = document.get("items").and_then(Value::as_array) {
            for item in items {
                self.take(item.clone(), origin);
            }
            return;
        }
        let kind = document
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or("an object without kind");
        let kind = kind.to_owned();
        if document.is_null() {
            return;
        }
        match Original::read(document, origin) {
            Some(original) => self.objects.push(original),
            None if !self.ignored.contains(&kind) => self.ignored.push(kind),
            None => {}
        }
    }

    /// Whether it has the object.
    pub fn has(&self, named: &Named) -> bool {
        self.objects.iter().any(|o| is(o, named))
    }

    /// All of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Original> {
        self.objects.iter().filter(move |o| o.kind == kind)
    }

    /// The workload that a scaler scales.
    pub fn workload(&self, scaler: &Original) -> Option<&Original> {
        let (kind, name) = scaler.target();
        let kind = Kind::of_target(kind)?;
        self.of(kind)
            .find(|o| (o.namespace.as_str(), o.name.as_str()) == (&scaler.namespace, name))
    }

    /// The `VariantAutoscaling` with the same target.
    pub fn autoscaling(&self, scaler: &Original) -> Option<&Original> {
        self.of(Kind::VariantAutoscaling)
            .find(|va| va.scales_with(scaler))
    }

    /// The HPA or ScaledObject with the same target.
    pub fn scaler(&self, autoscaling: &Original) -> Option<&Original> {
        let scalers = [Kind::HorizontalPodAutoscaler, Kind::ScaledObject];
        let mut all = scalers.into_iter().flat_map(|kind| self.of(kind));
        all.find(|s| s.scales_with(autoscaling) && !by_keda(s))
    }

    /// Whether a scaler is to be migrated: named, given in a file, or one that scales a model server.
    pub fn means(&self, scaler: &Original, only: &[Named]) -> bool {
        if !only.is_empty() {
            return only.iter().any(|named| is(scaler, named));
        }
        if by_keda(scaler) {
            return false;
        }
        let ours = || {
            scaler.value.to_string().contains("wva_")
                || scaler.value.to_string().contains("inferno_")
        };
        let server = || {
            self.workload(scaler)
                .is_some_and(|w| !servers(w).is_empty())
        };
        self.chosen || self.autoscaling(scaler).is_some() || ours() || server()
    }

    /// The command line of the engine that a scaler scales.
    pub fn engine(&self, scaler: &Original) -> EngineArgs {
        let workload = self.workload(scaler);
        let containers = workload.map(|w| {
            let servers = servers(w);
            if servers.is_empty() {
                containers(w)
            } else {
                servers
            }
        });
        let first = containers.and_then(|c| c.first().copied());
        let words = |key: &str| -> Vec<&str> {
            let words = first.and_then(|c| c.get(key)).and_then(Value::as_array);
            words
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect()
        };
        EngineArgs::read(words("command").into_iter().chain(words("args")))
    }
}

fn is(object: &Original, named: &Named) -> bool {
    object.kind == named.kind && object.name == named.name
}

/// Made by KEDA for a ScaledObject.
fn by_keda(scaler: &Original) -> bool {
    let owners = scaler
        .value
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    owners
        .into_iter()
        .flatten()
        .any(|o| o["kind"] == "ScaledObject")
}

fn containers(workload: &Original) -> Vec<&Value> {
    let places = [
        "/spec/template/spec/containers",
        "/spec/leaderWorkerTemplate/leaderTemplate/spec/containers",
        "/spec/leaderWorkerTemplate/workerTemplate/spec/containers",
    ];
    let found = places
        .iter()
        .find_map(|p| workload.value.pointer(p)?.as_array());
    found.into_iter().flatten().collect()
}

/// The containers that serve a model: by the devices that they ask for, or by their image.
fn servers(workload: &Original) -> Vec<&Value> {
    let devices = |c: &Value| {
        let limits = c.pointer("/resources/limits").and_then(Value::as_object);
        let resources = limits.into_iter().flatten();
        resources.into_iter().any(|(name, _)| {
            let (vendor, device) = name.split_once('/').unwrap_or(("", ""));
            !vendor.is_empty()
                && (device.contains("gpu")
                    || device.contains("mig")
                    || device.contains("gaudi")
                    || device.contains("tpu"))
        })
    };
    let image = |c: &Value| {
        let image = c["image"].as_str().unwrap_or_default().to_ascii_lowercase();
        SERVERS.iter().any(|s| image.contains(s))
    };
    containers(workload)
        .into_iter()
        .filter(|c| devices(c) || image(c))
        .collect()
}
