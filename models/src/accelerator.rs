//! Accelerators: the device types that model servers run on, with the figures that a roofline needs.

use serde::{Deserialize, Serialize};

use crate::units::DollarsPerHour;

/// One accelerator device type. Peak figures are dense (no sparsity) datasheet values for a single device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accelerator {
    /// Name, unique in the catalogue: `H100`, `L40S`.
    pub name: String,
    /// Device memory in GB (10⁹ bytes).
    pub memory_gb: f64,
    /// Peak memory bandwidth in TB/s.
    pub bandwidth_tb_s: f64,
    /// Peak dense bf16 (fp16 where there is no bf16) TFLOPS.
    pub bf16_tflops: f64,
    /// Peak dense fp8 TFLOPS; absent where the device has no fp8 units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fp8_tflops: Option<f64>,
    /// Board power in watts; absent where unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    /// Price of one device, US dollars per hour. Absent where no price is known: then any variant on it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_hour_usd: Option<DollarsPerHour>,
    /// Where the figures come from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}
