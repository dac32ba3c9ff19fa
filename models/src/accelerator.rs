//! Accelerators: the device types that model servers run on, with the figures that a roofline needs.

use serde::{Deserialize, Serialize};

use crate::model::Precision;
use crate::units::DollarsPerHour;

/// Bandwidth between devices that have no link of their own, GB/s: PCIe 4.0 ×16, less protocol.
const PCIE_GB_S: f64 = 25.0;

/// One accelerator device type. Peak figures are dense (no sparsity) datasheet values for a single device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accelerator {
    /// Name, unique in the catalogue: `H100`, `L40S`.
    pub name: String,
    /// Other names of the device, as node labels and clouds spell it; matched case-insensitively.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Device memory in GiB, as the driver reports it (what vendors call GB).
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
    /// Bandwidth to the other devices of the node, one direction, in GB/s; absent means PCIe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_gb_s: Option<f64>,
    /// Price of one device, US dollars per hour. Absent where no price is known: then any variant on it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_hour_usd: Option<DollarsPerHour>,
    /// Where the figures come from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl Accelerator {
    /// Device memory in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> f64 {
        self.memory_gb * f64::from(1u32 << 30)
    }

    /// Peak memory bandwidth in bytes per second.
    #[must_use]
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth_tb_s * 1e12
    }

    /// Peak FLOP/s for weights at `precision`: fp8 units where there are any, otherwise (and for 4-bit weights) 16 bit.
    #[must_use]
    pub fn flops(&self, precision: Precision) -> f64 {
        match (precision, self.fp8_tflops) {
            (Precision::Fp8, Some(fp8)) => fp8 * 1e12,
            _ => self.bf16_tflops * 1e12,
        }
    }

    /// Bandwidth to the other devices of the node, one direction, bytes per second.
    #[must_use]
    pub fn link_bandwidth(&self) -> f64 {
        self.link_gb_s.unwrap_or(PCIE_GB_S) * 1e9
    }
}
