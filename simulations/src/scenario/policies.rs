//! Which policies to compare, with their settings: a name, `{name: {setting: value}}`, or the latter with a label, so that
//! one policy can be compared with itself: `{wva: {scale_to_zero: true}, label: wva-to-zero}`. With `separate_batch: true`
//! it runs batch work on a fleet of its own.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use wva_models::catalogue::names;
use wva_optimizer::step::Settings;

use crate::policy::hpa_queue::HpaQueueSettings;
use crate::policy::keda_slo::KedaSloSettings;
use crate::policy::static_fleet::StaticSettings;

/// A policy to run, and what to call it in results.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyChoice {
    label: String,
    /// Whether batch classes get a fleet of their own, run by a policy of their own.
    pub separate_batch: bool,
    /// Which policy, with its settings.
    pub policy: PolicySettings,
}

/// A policy with its settings.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicySettings {
    /// This project's own cycle.
    Wva(Box<Settings>),
    /// The cheapest constant fleet in hindsight.
    Static(StaticSettings),
    /// A HorizontalPodAutoscaler on requests per replica.
    HpaQueue(HpaQueueSettings),
    /// KEDA with llm-d's SLO-aware law.
    KedaSlo(KedaSloSettings),
}

/// Names of all policies, in the order of reports.
pub const NAMES: [&str; 4] = ["wva", "static", "hpa-queue", "keda-slo"];

impl PolicyChoice {
    /// Its name on the command line and in results: the label if it has one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.label
    }

    /// The policy of this name with its default settings.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let policy = match name {
            "wva" => PolicySettings::Wva(Box::default()),
            "static" => PolicySettings::Static(StaticSettings::default()),
            "hpa-queue" => PolicySettings::HpaQueue(HpaQueueSettings::default()),
            "keda-slo" => PolicySettings::KedaSlo(KedaSloSettings::default()),
            _ => return None,
        };
        Some(Self {
            label: name.to_owned(),
            separate_batch: false,
            policy,
        })
    }
}

impl<'de> Deserialize<'de> for PolicyChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChoiceVisitor)
    }
}

struct ChoiceVisitor;

impl<'de> Visitor<'de> for ChoiceVisitor {
    type Value = PolicyChoice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a policy, or {name: {setting: value}}")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<PolicyChoice, E> {
        PolicyChoice::named(name).ok_or_else(|| unknown(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PolicyChoice, A::Error> {
        let (mut chosen, mut label): (Option<(String, PolicySettings)>, Option<String>) =
            (None, None);
        let mut separate_batch = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "label" {
                label = Some(map.next_value()?);
                continue;
            }
            if key == "separate_batch" {
                separate_batch = map.next_value()?;
                continue;
            }
            if let Some((first, _)) = &chosen {
                return Err(de::Error::custom(format!(
                    "`{first}` and `{key}` are two policies: begin each with its own dash"
                )));
            }
            let policy = match key.as_str() {
                "wva" => PolicySettings::Wva(map.next_value()?),
                "static" => PolicySettings::Static(map.next_value()?),
                "hpa-queue" => PolicySettings::HpaQueue(map.next_value()?),
                "keda-slo" => PolicySettings::KedaSlo(map.next_value()?),
                _ => return Err(unknown(&key)),
            };
            chosen = Some((key, policy));
        }
        let (name, policy) = chosen.ok_or_else(|| de::Error::custom("a policy needs a name"))?;
        Ok(PolicyChoice {
            label: label.filter(|l| !l.is_empty()).unwrap_or(name),
            separate_batch,
            policy,
        })
    }
}

fn unknown<E: de::Error>(name: &str) -> E {
    let near = names::nearest(name, NAMES, str::to_lowercase);
    E::custom(match near {
        Some(near) => format!("unknown policy `{name}`; did you mean `{near}`?"),
        None => format!("unknown policy `{name}`; known are {}", NAMES.join(", ")),
    })
}
