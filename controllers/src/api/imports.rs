//! ConfigMaps of old installations, read into what they meant.
//!
//! | ConfigMap | meant | becomes |
//! |---|---|---|
//! | `service-classes-config` | mean TPOT and TTFT per class and model, priority 1 first | service classes, priority negated |
//! | `accelerator-unit-costs` | cents per hour and device | prices |
//! | `wva-model-scale-to-zero-config` | which models may go to zero, and after how long | bounds and keep-alive windows |
//! | `wva-saturation-scaling-config` | thresholds on KV cache and queues, GPU limiter | the limiter; latency models replace the thresholds |
//!
//! Every entry stands for itself: one that cannot be read is reported and the others count.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use wva_models::catalogue::from_yaml;

/// Names of the ConfigMaps that are imported; the last was called differently by its own samples.
pub const SERVICE_CLASSES: &str = "service-classes-config";
/// Prices of devices.
pub const ACCELERATOR_COSTS: &str = "accelerator-unit-costs";
/// Which models may go to zero.
pub const SCALE_TO_ZERO: &str = "wva-model-scale-to-zero-config";
/// Thresholds and the limiter.
pub const SATURATION: [&str; 2] = ["wva-saturation-scaling-config", "saturation-scaling-config"];

/// Whether a ConfigMap of this name is imported.
#[must_use]
pub fn is_imported(name: &str) -> bool {
    [SERVICE_CLASSES, ACCELERATOR_COSTS, SCALE_TO_ZERO].contains(&name)
        || SATURATION.contains(&name)
}

/// What a ConfigMap came to, and what in it could not be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported<T> {
    /// What was understood.
    pub value: T,
    /// What was not, in words, one entry a key.
    pub problems: Vec<String>,
}

/// A class with objectives per model.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassImport {
    /// Name of the class.
    pub name: String,
    /// Importance, higher first.
    pub priority: i32,
    /// Objectives per model id.
    pub models: Vec<ModelObjective>,
}

/// Objectives on means, for one model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ModelObjective {
    /// Model id.
    pub model: String,
    /// Greatest mean gap between output tokens, ms; 0 or absent means none.
    #[serde(default, rename = "slo-tpot")]
    pub tpot_ms: f64,
    /// Greatest mean time to first token, ms; 0 or absent means none.
    #[serde(default, rename = "slo-ttft")]
    pub ttft_ms: f64,
}

/// A device's price.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceleratorImport {
    /// Name that variants use.
    pub name: String,
    /// Name that node labels use, where stated.
    pub device: Option<String>,
    /// US dollars per device and hour.
    pub price_per_hour_usd: f64,
}

/// Which models may go to zero replicas.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScaleToZeroImport {
    /// The entry for all models.
    pub default: ZeroRule,
    /// Entries for one model each.
    pub models: Vec<ModelZeroRule>,
}

/// Whether, and after how long without a request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ZeroRule {
    /// Whether zero is allowed; absent means not said.
    pub enabled: Option<bool>,
    /// Time without a request before zero, seconds.
    pub retention_s: Option<f64>,
}

/// A rule for one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelZeroRule {
    /// Model id.
    pub model: String,
    /// Namespace; absent means all.
    pub namespace: Option<String>,
    /// The rule.
    pub rule: ZeroRule,
}

impl ScaleToZeroImport {
    /// The rule for a model in a namespace: its own, filled up with the default.
    #[must_use]
    pub fn rule(&self, namespace: &str, model: &str) -> ZeroRule {
        let own = |scoped: bool| {
            self.models.iter().find(|m| {
                m.model == model
                    && match &m.namespace {
                        Some(n) => scoped && n == namespace,
                        None => !scoped,
                    }
            })
        };
        let own = own(true).or_else(|| own(false)).map(|m| m.rule);
        let own = own.unwrap_or_default();
        ZeroRule {
            enabled: own.enabled.or(self.default.enabled),
            retention_s: own.retention_s.or(self.default.retention_s),
        }
    }
}

#[derive(Deserialize)]
struct ClassText {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    data: Vec<ModelObjective>,
}

#[derive(Deserialize)]
struct CostText {
    #[serde(default)]
    device: Option<String>,
    cost: NumberText,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberText {
    Number(f64),
    Text(String),
}

impl NumberText {
    fn value(&self) -> Option<f64> {
        let value = match self {
            Self::Number(n) => *n,
            Self::Text(t) => t.trim().parse().ok()?,
        };
        (value.is_finite() && value >= 0.0).then_some(value)
    }
}

#[derive(Deserialize)]
struct ZeroText {
    #[serde(default)]
    model_id: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    enable_scale_to_zero: Option<bool>,
    #[serde(default)]
    retention_period: Option<String>,
}

#[derive(Deserialize)]
struct SaturationText {
    #[serde(default, rename = "enableLimiter")]
    enable_limiter: bool,
}

/// The classes of `service-classes-config`, sorted by their keys.
#[must_use]
pub fn service_classes(data: &BTreeMap<String, String>) -> Imported<Vec<ClassImport>> {
    each(data, |key, text: ClassText| {
        if let Some(bad) = text
            .data
            .iter()
            .find(|m| !(sane(m.tpot_ms) && sane(m.ttft_ms)))
        {
            return Err(format!("objectives of {} are not times in ms", bad.model));
        }
        let fallback = key.split('.').next().unwrap_or(key).to_owned();
        Ok(ClassImport {
            name: text
                .name
                .filter(|n| !n.trim().is_empty())
                .unwrap_or(fallback),
            priority: text.priority.saturating_neg(),
            models: text.data,
        })
    })
}

fn sane(milliseconds: f64) -> bool {
    (0.0..=1e7).contains(&milliseconds)
}

/// The prices of `accelerator-unit-costs`.
#[must_use]
pub fn accelerator_costs(data: &BTreeMap<String, String>) -> Imported<Vec<AcceleratorImport>> {
    each(data, |key, text: CostText| {
        let cents = text.cost.value().ok_or("cost is not a number")?;
        Ok(AcceleratorImport {
            name: key.to_owned(),
            device: text.device,
            price_per_hour_usd: cents / 100.0,
        })
    })
}

/// The rules of `wva-model-scale-to-zero-config`.
#[must_use]
pub fn scale_to_zero(data: &BTreeMap<String, String>) -> Imported<ScaleToZeroImport> {
    let read = each(data, |key, text: ZeroText| {
        let retention_s = match text.retention_period {
            Some(text) => Some(duration(&text).ok_or(format!("`{text}` is not a duration"))?),
            None => None,
        };
        let rule = ZeroRule {
            enabled: text.enable_scale_to_zero,
            retention_s,
        };
        match text.model_id {
            Some(model) => Ok((Some((model, text.namespace)), rule)),
            None if key == "default" => Ok((None, rule)),
            None => Err("model_id is missing".to_owned()),
        }
    });
    let mut value = ScaleToZeroImport::default();
    for (model, rule) in read.value {
        match model {
            None => value.default = rule,
            Some((model, namespace)) => value.models.push(ModelZeroRule {
                model,
                namespace,
                rule,
            }),
        }
    }
    Imported {
        value,
        problems: read.problems,
    }
}

/// Whether `wva-saturation-scaling-config` limits the fleet to the devices that exist.
#[must_use]
pub fn limiter(data: &BTreeMap<String, String>) -> Imported<bool> {
    let read = each(data, |_, text: SaturationText| Ok(text.enable_limiter));
    Imported {
        value: read.value.into_iter().any(|on| on),
        problems: read.problems,
    }
}

fn each<T: DeserializeOwned, U>(
    data: &BTreeMap<String, String>,
    mut make: impl FnMut(&str, T) -> Result<U, String>,
) -> Imported<Vec<U>> {
    let mut out = Imported {
        value: Vec::new(),
        problems: Vec::new(),
    };
    for (key, text) in data {
        let made = from_yaml::<T>(text, key).map_err(|e| e.to_string());
        match made.and_then(|t| make(key, t).map_err(|why| format!("{key}: {why}"))) {
            Ok(value) => out.value.push(value),
            Err(problem) => out.problems.push(problem),
        }
    }
    out
}

/// Seconds of a duration such as `90s`, `15m`, `1h30m`.
#[must_use]
pub fn duration(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = [("ms", 1e-3), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, factor) = units.into_iter().find(|(u, _)| rest.starts_with(u))?;
        seconds += number * factor;
        rest = &rest[unit.len()..];
    }
    seconds.is_finite().then_some(seconds)
}
