//! The catalogue: accelerators, models, variants and service classes by name, with a built-in set.

use std::collections::BTreeMap;

use crate::accelerator::Accelerator;
use crate::model::Model;
use crate::service_class::ServiceClass;
use crate::variant::Variant;

/// Everything that has a name. Cross references are valid: a `Catalogue` cannot be made otherwise.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalogue {
    /// Device types: the built-in ones and the file's, the file's first where names are equal.
    pub accelerators: Vec<Accelerator>,
    /// Model architectures: likewise.
    pub models: Vec<Model>,
    /// Variants of the file.
    pub variants: Vec<Variant>,
    /// Service classes of the file.
    pub classes: Vec<ServiceClass>,
    /// Devices that exist per accelerator; absent means unlimited.
    pub stock: BTreeMap<String, u32>,
}
