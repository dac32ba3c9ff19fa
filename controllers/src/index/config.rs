//! Objects that say how things are rather than what is to be scaled: classes, prices, policies, quotas, namespaces, and
//! the ConfigMaps of old installations.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde::Deserialize;

use super::intent::Intent;
use super::kinds::Kind;
use super::text::field;
use super::workload::QuantityText;
use crate::api::imports::{self, AcceleratorImport, ClassImport, Imported, ScaleToZeroImport};
use crate::api::policy::{AcceleratorSpec, FleetPolicySpec, ServiceClassSpec};

/// What one such object says.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigFacts {
    /// A class of requests.
    Class(ServiceClassSpec),
    /// A device.
    Accelerator(AcceleratorSpec),
    /// Limits of the fleet.
    Policy(FleetPolicySpec),
    /// Devices that a namespace may ask for, by resource.
    Quota(BTreeMap<String, u32>),
    /// What a namespace's labels say.
    Namespace(Box<Intent>),
    /// Classes of an old installation.
    OldClasses(Imported<Vec<ClassImport>>),
    /// Prices of an old installation.
    OldCosts(Imported<Vec<AcceleratorImport>>),
    /// Scale-to-zero rules of an old installation.
    OldScaleToZero(Imported<ScaleToZeroImport>),
    /// Whether an old installation limited the fleet to existing devices.
    OldLimiter(Imported<bool>),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct QuotaText {
    hard: BTreeMap<String, QuantityText>,
}

impl ConfigFacts {
    /// `None` for an object that means nothing here.
    pub(super) fn read(kind: Kind, object: &DynamicObject) -> Option<Result<Self, String>> {
        match kind {
            Kind::ServiceClass => Some(field(object, "spec").map(Self::Class)),
            Kind::Accelerator => Some(field(object, "spec").map(Self::Accelerator)),
            Kind::FleetPolicy => Some(field(object, "spec").map(Self::Policy)),
            Kind::Namespace => {
                let intent = Intent::read(&object.metadata);
                (intent != Intent::default()).then(|| Ok(Self::Namespace(Box::new(intent))))
            }
            Kind::ResourceQuota => quota(object),
            Kind::ConfigMap => config_map(object),
            _ => None,
        }
    }

    /// What could not be read in it.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        match self {
            Self::OldClasses(i) => &i.problems,
            Self::OldCosts(i) => &i.problems,
            Self::OldScaleToZero(i) => &i.problems,
            Self::OldLimiter(i) => &i.problems,
            _ => &[],
        }
    }
}

fn quota(object: &DynamicObject) -> Option<Result<ConfigFacts, String>> {
    let text: QuotaText = match field(object, "spec") {
        Ok(text) => text,
        Err(why) => return Some(Err(why)),
    };
    let devices: BTreeMap<String, u32> = text
        .hard
        .iter()
        .filter_map(|(name, q)| Some((name.strip_prefix("requests.")?, q)))
        .filter(|(name, _)| super::devices::is_device_resource(name))
        .filter_map(|(name, q)| Some((name.to_owned(), q.devices()?)))
        .collect();
    (!devices.is_empty()).then_some(Ok(ConfigFacts::Quota(devices)))
}

fn config_map(object: &DynamicObject) -> Option<Result<ConfigFacts, String>> {
    let name = object.metadata.name.as_deref()?;
    if !imports::is_imported(name) {
        return None;
    }
    let data: BTreeMap<String, String> = match field(object, "data") {
        Ok(data) => data,
        Err(why) => return Some(Err(why)),
    };
    Some(Ok(match name {
        imports::SERVICE_CLASSES => ConfigFacts::OldClasses(imports::service_classes(&data)),
        imports::ACCELERATOR_COSTS => ConfigFacts::OldCosts(imports::accelerator_costs(&data)),
        imports::SCALE_TO_ZERO => ConfigFacts::OldScaleToZero(imports::scale_to_zero(&data)),
        _ => ConfigFacts::OldLimiter(imports::limiter(&data)),
    }))
}
