//! The Kubernetes API as this controller speaks it: our own resources, the parts of other people's that are read, and the
//! labels, annotations and ConfigMaps that carry intent.
//!
//! ```text
//! llmd.ai/v1alpha1      VariantAutoscaling      every schema that was ever deployed, in one
//! wva.llmd.ai/v1alpha1  ServiceClass            latency promises, priorities, deadlines
//!                       Accelerator             prices and device figures
//!                       FleetPolicy             budget, stock, headroom, defaults
//! read only             InferencePool, ScaledObject, LeaderWorkerSet, and what Kubernetes itself has
//! ```
//! Objects of other projects are read into small types that ask for nothing: a field that is absent or new must never
//! cost more than itself.

pub mod crds;
pub mod foreign;
pub mod imports;
pub mod keys;
pub mod policy;
pub mod quantity;
pub mod status;
pub mod variant_autoscaling;

pub use policy::{Accelerator, FleetPolicy, ServiceClass};
pub use status::VariantAutoscalingStatus;
pub use variant_autoscaling::{VariantAutoscaling, VariantAutoscalingSpec};
