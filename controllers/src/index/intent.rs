//! What users write on objects: one reading of all labels and annotations, and which of several objects is heard first.

use kube::core::ObjectMeta;
use wva_models::variant::Role;

use crate::api::keys;

/// What an object's labels and annotations ask for; what is absent was not said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Intent {
    /// Opted in.
    pub managed: bool,
    /// Left alone.
    pub excluded: bool,
    /// Replicas stay where they are.
    pub paused: bool,
    /// Advice only.
    pub advise: Option<bool>,
    /// Model id.
    pub model: Option<String>,
    /// Cost per replica and hour, as written.
    pub cost: Option<String>,
    /// Part of serving.
    pub role: Option<Role>,
    /// Name of the variant.
    pub variant: Option<String>,
    /// Serving engine.
    pub engine: Option<String>,
    /// Accelerator, as written.
    pub accelerator: Option<String>,
    /// Controller installation.
    pub instance: Option<String>,
    /// Service class.
    pub class: Option<String>,
    /// Start-up time, seconds.
    pub start_up_s: Option<f64>,
    /// Tokens of KV cache.
    pub kv_cache_tokens: Option<u32>,
    /// Port of the metrics.
    pub metrics_port: Option<u16>,
    /// What was written and not understood.
    pub problems: Vec<String>,
}

impl Intent {
    /// Reads an object's labels and annotations.
    #[must_use]
    pub fn read(meta: &ObjectMeta) -> Self {
        let text = |key| keys::said(meta, key).map(str::to_owned);
        let mut problems = Vec::new();
        let mut odd = |key: &str, value: &str, expected: &str| {
            problems.push(format!("{key} is `{value}`; expected {expected}"));
        };
        let role = keys::said(meta, keys::ROLE).and_then(|value| {
            role(value).or_else(|| {
                odd(keys::ROLE, value, "prefill, decode or both");
                None
            })
        });
        let advise = keys::said(meta, keys::MODE).and_then(|value| match value {
            "advise" | "advisory" => Some(true),
            "control" => Some(false),
            _ => {
                odd(keys::MODE, value, "control or advise");
                None
            }
        });
        let mut number = |key: &str, most: f64| {
            let value = keys::said(meta, key)?;
            let parsed = value.parse::<f64>().ok();
            let parsed = parsed.filter(|n| n.is_finite() && *n > 0.0 && *n <= most);
            if parsed.is_none() {
                odd(key, value, "a number above 0");
            }
            parsed
        };
        let start_up_s = number(keys::START_UP_SECONDS, 86_400.0);
        let kv_cache_tokens = number(keys::KV_CACHE_TOKENS, 4e9).map(|n| n as u32);
        let metrics_port = number(keys::METRICS_PORT, 65_535.0).map(|n| n as u16);
        Self {
            managed: keys::yes(meta, keys::MANAGED),
            excluded: keys::yes(meta, keys::EXCLUDE),
            paused: keys::yes(meta, keys::PAUSED),
            advise,
            model: text(keys::MODEL_ID),
            cost: text(keys::VARIANT_COST),
            role,
            variant: text(keys::VARIANT),
            engine: text(keys::ENGINE_TYPE),
            accelerator: text(keys::ACCELERATOR),
            instance: text(keys::INSTANCE),
            class: text(keys::SERVICE_CLASS),
            start_up_s,
            kv_cache_tokens,
            metrics_port,
            problems,
        }
    }

    /// This, filled up with what `other` says. Exclusion and pauses of either hold.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let mut problems = self.problems;
        problems.extend(other.problems.iter().cloned());
        Self {
            managed: self.managed || other.managed,
            excluded: self.excluded || other.excluded,
            paused: self.paused || other.paused,
            advise: self.advise.or(other.advise),
            model: self.model.or_else(|| other.model.clone()),
            cost: self.cost.or_else(|| other.cost.clone()),
            role: self.role.or(other.role),
            variant: self.variant.or_else(|| other.variant.clone()),
            engine: self.engine.or_else(|| other.engine.clone()),
            accelerator: self.accelerator.or_else(|| other.accelerator.clone()),
            instance: self.instance.or_else(|| other.instance.clone()),
            class: self.class.or_else(|| other.class.clone()),
            start_up_s: self.start_up_s.or(other.start_up_s),
            kv_cache_tokens: self.kv_cache_tokens.or(other.kv_cache_tokens),
            metrics_port: self.metrics_port.or(other.metrics_port),
            problems,
        }
    }
}

fn role(value: &str) -> Option<Role> {
    Some(match value.to_ascii_lowercase().as_str() {
        "prefill" => Role::Prefill,
        "decode" => Role::Decode,
        "both" | "prefill-decode" | "decode-prefill" => Role::Both,
        _ => return None,
    })
}
