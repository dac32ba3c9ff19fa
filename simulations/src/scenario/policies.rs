//! Which policies to compare, with their settings: a name, or `{name: {setting: value}}`.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use wva_models::catalogue::names;
use wva_optimizer::step::Settings;

use crate::policy::hpa_queue::HpaQueueSettings;
use crate::policy::keda_slo::KedaSloSettings;
use crate::policy::static_fleet::StaticSettings;

/// A policy and its settings.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicyChoice {
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
    /// Its name in files, on the command line and in results.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Wva(_) => NAMES[0],
            Self::Static(_) => NAMES[1],
            Self::HpaQueue(_) => NAMES[2],
            Self::KedaSlo(_) => NAMES[3],
        }
    }

    /// The policy of this name with its default settings.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "wva" => Self::Wva(Box::default()),
            "static" => Self::Static(StaticSettings::default()),
            "hpa-queue" => Self::HpaQueue(HpaQueueSettings::default()),
            "keda-slo" => Self::KedaSlo(KedaSloSettings::default()),
            _ => return None,
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
        let name: String = map
            .next_key()?
            .ok_or_else(|| de::Error::custom("a policy needs a name"))?;
        let choice = match name.as_str() {
            "wva" => PolicyChoice::Wva(map.next_value()?),
            "static" => PolicyChoice::Static(map.next_value()?),
            "hpa-queue" => PolicyChoice::HpaQueue(map.next_value()?),
            "keda-slo" => PolicyChoice::KedaSlo(map.next_value()?),
            _ => return Err(unknown(&name)),
        };
        match map.next_key::<String>()? {
            Some(second) => Err(de::Error::custom(format!(
                "`{name}` and `{second}` are two policies: begin each with its own dash"
            ))),
            None => Ok(choice),
        }
    }
}

fn unknown<E: de::Error>(name: &str) -> E {
    let near = names::nearest(name, NAMES, str::to_lowercase);
    E::custom(match near {
        Some(near) => format!("unknown policy `{name}`; did you mean `{near}`?"),
        None => format!("unknown policy `{name}`; known are {}", NAMES.join(", ")),
    })
}
