//! The chart as helm renders it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use wva_testbed::{component, or_skip};

/// Namespace and name of the release.
pub const NAMESPACE: &str = "wva-system";
pub const RELEASE: &str = "wva";

/// Sets of values in the chart's folder `ci`; the first is none at all.
pub const VALUES: [&str; 4] = ["", "full", "namespaced", "keda"];
/// These, and the one with the endpoint picker, whose objects are not the controller's.
pub const ALL_VALUES: [&str; 5] = ["", "full", "namespaced", "keda", "epp"];

/// A path from the root of the project.
pub fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub fn read(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap()
}

/// The chart's folder, as an argument.
pub fn chart() -> String {
    path("charts/wva").display().to_string()
}

/// The arguments that choose a set of values.
pub fn chosen(values: &str) -> Vec<String> {
    match values {
        "" => Vec::new(),
        name => vec![
            "--values".to_owned(),
            path(&format!("charts/wva/ci/{name}-values.yaml"))
                .display()
                .to_string(),
        ],
    }
}

/// What helm prints, or what it complains of; `None` where there is no helm.
pub fn helm(arguments: &[String]) -> Option<Result<String, String>> {
    let program = or_skip(component::folder("helm"))?.join("helm");
    let output = Command::new(program).args(arguments).output().unwrap();
    Some(if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    })
}

/// `helm template` with a set of values and further arguments, the last of which count.
pub fn template(values: &str, more: &[&str]) -> Option<Result<String, String>> {
    let namespace = format!("--namespace={NAMESPACE}");
    let mut arguments = ["template", RELEASE, &chart(), &namespace]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(chosen(values));
    arguments.extend(more.iter().map(|&word| word.to_owned()));
    helm(&arguments)
}

/// Everything that one set of values comes to.
pub struct Rendered {
    pub text: String,
    pub objects: Vec<Value>,
}

impl Rendered {
    /// `None` where there is no helm.
    pub fn of(values: &str) -> Option<Self> {
        Self::with(values, &[])
    }

    pub fn with(values: &str, more: &[&str]) -> Option<Self> {
        let text = template(values, more)?.unwrap();
        let documents = text.split("\n---\n").map(|part| {
            serde_saphyr::from_str::<Value>(part).unwrap_or_else(|e| panic!("{e}\n{part}"))
        });
        let objects = documents.filter(|value| !value.is_null()).collect();
        Some(Self { text, objects })
    }

    pub fn kind(&self, kind: &str) -> Vec<&Value> {
        let of_kind = self.objects.iter().filter(|o| o["kind"] == kind);
        of_kind.collect()
    }

    /// The only object of this kind and name.
    pub fn one(&self, kind: &str, name: &str) -> &Value {
        let found: Vec<&Value> = self
            .kind(kind)
            .into_iter()
            .filter(|o| o["metadata"]["name"] == name)
            .collect();
        let [one] = found.as_slice() else {
            panic!("{} of {kind} {name}", found.len());
        };
        one
    }

    /// The Deployment's only container.
    pub fn container(&self) -> &Value {
        let deployments = self.kind("Deployment");
        &deployments[0]["spec"]["template"]["spec"]["containers"][0]
    }

    /// The controller's configuration file.
    pub fn settings(&self) -> &str {
        let map = self.one("ConfigMap", "wva");
        map["data"]["wva.yaml"].as_str().unwrap()
    }
}
