//! `EndpointPickerConfig`: the format people already have, read into a [`Picker`] and its surroundings.
//!
//! Both API groups are read (`llm-d.ai/v1alpha1`, `inference.networking.x-k8s.io/v1alpha1`). Every plugin that the
//! upstream knows either works here or is refused by name with what to use instead; a name nobody knows is answered with
//! the nearest known one. Errors say line and column. The text is read into a tree that remembers where each value
//! stood, and not into types with derived readers: a plugin's parameters depend on its type, which may come after them.

mod duration;
mod error;
mod fields;
mod flow;
mod known;
mod others;
mod plugin;
mod profiles;
mod scheduling;
mod surroundings;
mod tree;

use std::collections::BTreeMap;

use wva_models::catalogue::from_yaml;

use crate::flow::FlowSettings;
use crate::picker::Picker;
pub use duration::seconds;
pub use error::ConfigError;
use fields::Fields;
pub use known::{Standing, known_plugins};
use plugin::{Plugin, Plugins};
use profiles::Scheduling;
pub use surroundings::{Engines, MetricsSource, Parser};
use tree::Tree;

/// API groups and versions that are read.
pub const API_VERSIONS: [&str; 2] = [
    "llm-d.ai/v1alpha1",
    "inference.networking.x-k8s.io/v1alpha1",
];

/// The configuration that holds when none is given.
pub const DEFAULT: &str = "\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: max-score-picker
- type: single-profile-handler
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
    weight: 2
  - pluginRef: kv-cache-utilization-scorer
    weight: 2
  - pluginRef: prefix-cache-scorer
    weight: 3
  - pluginRef: max-score-picker
";

/// Everything that the text says.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The choice.
    pub picker: Picker,
    /// Flow control; `None` while its feature gate is off.
    pub flow: Option<FlowSettings>,
    /// Request parsers, in order of trial.
    pub parsers: Vec<Parser>,
    /// How metrics are scraped.
    pub metrics: MetricsSource,
    /// File that lists endpoints, instead of a cluster.
    pub endpoints_file: Option<String>,
    /// Feature gates that are stated, and whether they are on.
    pub gates: BTreeMap<String, bool>,
    /// What is accepted without effect or goes by an old name.
    pub notes: Vec<String>,
}

impl Config {
    /// The configuration that holds when none is given.
    #[must_use]
    pub fn standard() -> Self {
        Self::parse(DEFAULT, "default").expect("the default configuration is valid")
    }

    /// Reads a configuration; `origin` names the file in errors.
    ///
    /// # Errors
    /// [`ConfigError`] for what is not YAML, not this format, or asks for what does not exist here.
    pub fn parse(yaml: &str, origin: &str) -> Result<Self, ConfigError> {
        let tree: Tree = from_yaml(yaml, origin)?;
        let mut fields = Fields::of(tree, origin, "EndpointPickerConfig")?;
        header(&mut fields)?;
        let mut notes = Vec::new();
        let plugins = Plugins::read(&mut fields, &mut notes)?;
        let scheduling = Scheduling::read(&mut fields, &plugins)?;
        let gates = gates(&mut fields)?;
        let flow = flow::read(&mut fields, &plugins)?;
        let detector = fields.optional_fields("saturationDetector")?;
        let detector = detector.map(|d| plugins.detector(d)).transpose()?;
        let surroundings = surroundings::read(&mut fields, &plugins)?;
        fields.finish()?;
        let mut picker = scheduling.picker(&plugins);
        if let Some(detector) = flow.detector.or(detector) {
            picker.detector = detector;
        } else if let Some(only) = plugins.only(|p| match p {
            Plugin::Detector(detector) => Some(*detector),
            _ => None,
        }) {
            picker.detector = only;
        }
        let on = gates.get("flowControl").copied().unwrap_or(false);
        Ok(Self {
            picker,
            flow: on.then_some(flow.settings),
            parsers: surroundings.parsers,
            metrics: surroundings.metrics,
            endpoints_file: surroundings.endpoints_file,
            gates,
            notes,
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::standard()
    }
}

fn header(fields: &mut Fields) -> Result<(), ConfigError> {
    let version = fields.text("apiVersion")?;
    if !API_VERSIONS.contains(&version.value.as_str()) {
        return Err(version.wrong("apiVersion", "llm-d.ai/v1alpha1"));
    }
    let kind = fields.text("kind")?;
    if kind.value != "EndpointPickerConfig" {
        return Err(kind.wrong("kind", "EndpointPickerConfig"));
    }
    // Kubernetes' own, should someone have kept it.
    fields.ignore("metadata");
    Ok(())
}

/// Gates as `name`, `name=true` or `name=false`.
fn gates(fields: &mut Fields) -> Result<BTreeMap<String, bool>, ConfigError> {
    let mut gates = BTreeMap::new();
    for gate in fields.list("featureGates")? {
        let gate = gate.into_text("a feature gate")?;
        let (name, on) = match gate.value.split_once('=') {
            None => (gate.value.clone(), true),
            Some((name, "true")) => (name.to_owned(), true),
            Some((name, "false")) => (name.to_owned(), false),
            Some(_) => return Err(gate.wrong("a feature gate", "name, name=true or name=false")),
        };
        gates.insert(name, on);
    }
    Ok(gates)
}
