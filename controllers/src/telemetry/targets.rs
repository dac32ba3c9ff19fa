//! What to gather for: pods, variants, models and endpoint pickers, as plain data.
//!
//! The controller fills this from its watch index each cycle; nothing here asks the cluster.

mod endpoint;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wva_models::iteration::ReplicaModel;

use super::engine::Dialect;

pub use endpoint::{Endpoint, Scheme};

/// Everything to gather for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Targets {
    /// Pods of all variants, draining ones included.
    pub pods: Vec<PodTarget>,
    /// Variants.
    pub variants: Vec<VariantTarget>,
    /// Models.
    pub models: Vec<ModelTarget>,
    /// Endpoint pickers whose pages are read directly; ones that Prometheus scrapes need not be named.
    pub routers: Vec<RouterTarget>,
}

/// One pod of a variant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodTarget {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID: identity over the pod's life.
    pub uid: String,
    /// Address, once it has one.
    pub ip: Option<String>,
    /// Where its metrics are.
    pub endpoint: Endpoint,
    /// Engine by the label `llm-d.ai/engine-type`; otherwise the page tells.
    pub engine: Option<Dialect>,
    /// Name of its variant.
    pub variant: String,
    /// Whether it is ready and stays: only then is its absence from the metrics worth a word.
    pub serving: bool,
    /// When its containers started, seconds since the Unix epoch.
    pub started_at: Option<f64>,
}

/// Which part of a request a variant serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Prompts only; each of its requests comes to a decode pod too.
    Prefill,
    /// Tokens after the first.
    Decode,
    /// Whole requests.
    #[default]
    Both,
}

/// One variant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VariantTarget {
    /// Name, unique.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Name of its model.
    pub model: String,
    /// Which part of a request it serves.
    pub part: Part,
    /// What one replica can do at most, as far as it is known.
    pub bounds: Option<Bounds>,
}

/// What one replica can do at most; what is far beyond is not large but wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Sequences that run at once.
    pub sequences: f64,
    /// Tokens per second, prompts and answers together.
    pub tokens_per_second: f64,
}

impl Bounds {
    /// By what the models believe of it, at its best: batches full, no overhead, no attention.
    #[must_use]
    pub fn of(replica: &ReplicaModel) -> Self {
        let rate = |tokens: f64| tokens / replica.law.compute(tokens);
        let limits = &replica.limits;
        let best = rate(limits.token_budget).max(rate(limits.max_sequences));
        let known = |value: f64, default: f64| match value {
            v if v.is_finite() && v > 0.0 => v,
            _ => default,
        };
        let default = Self::default();
        Self {
            sequences: known(limits.max_sequences, default.sequences),
            tokens_per_second: known(best, default.tokens_per_second),
        }
    }

    /// The larger of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            sequences: self.sequences.max(other.sequences),
            tokens_per_second: self.tokens_per_second.max(other.tokens_per_second),
        }
    }
}

impl Default for Bounds {
    /// More than any one replica of today: 1,024 sequences, 200,000 tokens/s.
    fn default() -> Self {
        Self {
            sequences: 1024.0,
            tokens_per_second: 200_000.0,
        }
    }
}

/// One model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelTarget {
    /// Name in the catalogue, unique.
    pub name: String,
    /// Further names under which engines and endpoint pickers report it (served names, adapters).
    pub served_as: BTreeSet<String>,
    /// Class of requests that say nothing of their class.
    pub default_class: String,
    /// Its classes, the default one included.
    pub classes: Vec<ClassTarget>,
}

/// One class of a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassTarget {
    /// Name.
    pub name: String,
    /// Values of class or objective labels that mean it, besides its name.
    pub objectives: BTreeSet<String>,
    /// Priority by which the endpoint picker reports it.
    pub priority: Option<i64>,
    /// Bound on time to first token, seconds: what counts as met.
    pub ttft_s: Option<f64>,
    /// Bound on the mean gap between output tokens, seconds.
    pub tpot_s: Option<f64>,
}

/// One endpoint picker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RouterTarget {
    /// Namespace.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// Pod UID.
    pub uid: String,
    /// Address.
    pub ip: Option<String>,
    /// Where its metrics are; port 9090 unless told otherwise.
    pub endpoint: Endpoint,
    /// The whole URL, for one that is no pod.
    pub url: Option<String>,
}

impl RouterTarget {
    /// Where its metrics are; `None` while it has no address, or where it must not be asked.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        if self.url.is_some() {
            return self.url.clone();
        }
        let ip = self.ip.as_ref().filter(|_| !self.endpoint.disabled)?;
        let mut endpoint = self.endpoint.clone();
        if endpoint.ports.is_empty() {
            endpoint.ports.push(ROUTER_PORT);
        }
        endpoint.urls(ip, None).into_iter().next()
    }
}

/// Port of an endpoint picker's metrics unless told otherwise.
const ROUTER_PORT: u16 = 9090;

impl Targets {
    /// The variant called `name`.
    #[must_use]
    pub fn variant(&self, name: &str) -> Option<&VariantTarget> {
        self.variants.iter().find(|v| v.name == name)
    }

    /// The model called `name` in the catalogue.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&ModelTarget> {
        self.models.iter().find(|m| m.name == name)
    }

    /// The model that is reported as `served`, preferring one with a variant in `namespace` where several claim the name.
    #[must_use]
    pub fn served(&self, served: &str, namespace: Option<&str>) -> Option<&ModelTarget> {
        let mut claims = self.models.iter().filter(|m| m.is_served_as(served));
        let first = claims.next()?;
        let (Some(namespace), Some(second)) = (namespace, claims.next()) else {
            return Some(first);
        };
        let here = |m: &&ModelTarget| {
            self.variants
                .iter()
                .any(|v| v.model == m.name && v.namespace == namespace)
        };
        [first, second]
            .into_iter()
            .chain(claims)
            .find(here)
            .or(Some(first))
    }
}

impl ModelTarget {
    /// Whether `served` is one of its names.
    #[must_use]
    pub fn is_served_as(&self, served: &str) -> bool {
        self.name == served || self.served_as.contains(served)
    }

    /// The class that a request belongs to which was counted under this class label and priority.
    #[must_use]
    pub fn class_of(&self, label: Option<&str>, priority: Option<i64>) -> &str {
        let by_label = label.and_then(|l| {
            self.classes
                .iter()
                .find(|c| c.name == l || c.objectives.contains(l))
        });
        let by_priority =
            || priority.and_then(|p| self.classes.iter().find(|c| c.priority == Some(p)));
        by_label
            .or_else(by_priority)
            .map_or(&self.default_class, |c| &c.name)
    }
}

impl PodTarget {
    /// Identity for the optimizer: the first 64 bits of an FNV-1a hash of the UID and an incarnation.
    #[must_use]
    pub fn id(&self, incarnation: u32) -> u64 {
        let bytes = self.uid.bytes().chain(incarnation.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelTarget {
        ModelTarget {
            name: "llama".into(),
            default_class: "standard".into(),
            classes: vec![
                ClassTarget {
                    name: "standard".into(),
                    ..ClassTarget::default()
                },
                ClassTarget {
                    name: "premium".into(),
                    objectives: ["gold".to_owned()].into(),
                    priority: Some(10),
                    ..ClassTarget::default()
                },
            ],
            ..ModelTarget::default()
        }
    }

    #[test]
    fn classes_go_by_label_then_priority_then_default() {
        let m = model();
        assert_eq!(m.class_of(Some("gold"), Some(0)), "premium");
        assert_eq!(m.class_of(Some("standard"), Some(10)), "standard");
        assert_eq!(m.class_of(Some("tenant-7"), Some(10)), "premium");
        assert_eq!(m.class_of(None, Some(3)), "standard");
    }

    #[test]
    fn a_name_two_models_claim_goes_by_namespace() {
        let named = |name: &str| ModelTarget {
            name: name.into(),
            served_as: ["chat".to_owned()].into(),
            ..ModelTarget::default()
        };
        let variant = |model: &str, namespace: &str| VariantTarget {
            model: model.into(),
            namespace: namespace.into(),
            ..VariantTarget::default()
        };
        let targets = Targets {
            models: vec![named("a"), named("b")],
            variants: vec![variant("a", "x"), variant("b", "y")],
            ..Targets::default()
        };
        assert_eq!(targets.served("chat", Some("y")).unwrap().name, "b");
        assert_eq!(targets.served("chat", None).unwrap().name, "a");
        assert!(targets.served("other", None).is_none());
    }

    #[test]
    fn identities_differ_by_pod_and_incarnation() {
        let pod = |uid: &str| PodTarget {
            uid: uid.into(),
            ..PodTarget::default()
        };
        assert_eq!(pod("a").id(0), pod("a").id(0));
        assert_ne!(pod("a").id(0), pod("a").id(1));
        assert_ne!(pod("a").id(0), pod("b").id(0));
    }
}
