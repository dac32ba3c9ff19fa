//! GPUs as the DCGM exporter shows them: power for the energy bill, and whether one is sick. Never demand: a GPU is "used"
//! at any load.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::exposition::{self, Census, LabelSet, Syntax};

/// One GPU, or one slice of one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpu {
    /// UUID, with the slice where it is one.
    pub uuid: String,
    /// Host name of its node.
    pub node: String,
    /// Namespace of the pod that has it.
    pub namespace: Option<String>,
    /// Name of the pod that has it.
    pub pod: Option<String>,
    /// Power drawn now, W.
    pub power_w: Option<f64>,
    /// Energy used since the driver was loaded, J.
    pub energy_j: Option<f64>,
    /// Share of the time in which any kernel ran.
    pub utilisation: Option<f64>,
    /// Share of cycles in which the tensor cores were busy.
    pub tensor_active: Option<f64>,
    /// Share of cycles in which memory was read or written.
    pub dram_active: Option<f64>,
    /// Memory in use, MiB.
    pub memory_used_mib: Option<f64>,
    /// Memory free, MiB.
    pub memory_free_mib: Option<f64>,
    /// Last XID error; absent for none.
    pub xid: Option<u32>,
}

/// Whether a GPU can be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is known against it.
    Sound,
    /// It reported a fatal XID error: the device, not the program on it.
    FatalXid(u32),
    /// It is held by a pod that has requests running, and does nothing.
    Idle,
}

/// XID errors after which the device needs a reset, a reboot or a replacement (source: NVIDIA XID catalogue): double-bit
/// ECC, microcontroller halt, row remapping failure, NVLink, fallen off the bus, uncontained ECC, firmware. Errors that a
/// program brings about (13, 31, 43, 45) say nothing of the device.
const FATAL: &[u32] = &[48, 62, 64, 74, 79, 95, 119, 120, 140];

impl Gpu {
    /// Verdict, given whether the pod that has it says that requests are running.
    #[must_use]
    pub fn verdict(&self, running: bool) -> Verdict {
        if let Some(xid) = self.xid.filter(|x| FATAL.contains(x)) {
            return Verdict::FatalXid(xid);
        }
        let still =
            self.utilisation.is_some_and(|u| u < 0.01) && self.dram_active.unwrap_or(0.0) < 0.01;
        if running && still {
            Verdict::Idle
        } else {
            Verdict::Sound
        }
    }
}

/// Series that are read.
pub const NAMES: &[&str] = &[
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
    "DCGM_FI_PROF_DRAM_ACTIVE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_XID_ERRORS",
];

/// Collects GPUs.
#[derive(Debug, Default)]
pub struct GpuReader {
    gpus: BTreeMap<String, Gpu>,
}

impl GpuReader {
    /// Reads a page of the exporter itself.
    pub fn page(&mut self, page: &[u8], syntax: Syntax) -> Census {
        let want = |name| NAMES.contains(&name).then_some(name);
        exposition::read(page, syntax, want, |name, s| {
            self.take(name, &s.labels, s.value)
        })
    }

    /// Takes one series. Through Prometheus the workload's pod comes as `exported_pod`, and `pod` is the exporter's own.
    pub fn take(&mut self, name: &str, labels: &impl LabelSet, value: f64) {
        let text = |names: &[&str]| {
            names
                .iter()
                .find_map(|n| labels.label(n))
                .map(|v| v.into_owned())
        };
        let Some(mut uuid) = text(&["UUID", "uuid", "gpu"]) else {
            return;
        };
        if let Some(slice) = text(&["GPU_I_ID"]) {
            uuid = format!("{uuid}/{slice}");
        }
        if !(value.is_finite() && value >= 0.0) {
            return;
        }
        let node = text(&["Hostname", "node", "instance"]).unwrap_or_default();
        let gpu = self.gpus.entry(format!("{node}/{uuid}")).or_default();
        (gpu.uuid, gpu.node) = (uuid, node);
        let relabelled =
            labels.label("exported_namespace").is_some() || labels.label("exported_pod").is_some();
        let (pod, namespace) = if relabelled {
            (text(&["exported_pod"]), text(&["exported_namespace"]))
        } else {
            (text(&["pod"]), text(&["namespace"]))
        };
        (gpu.pod, gpu.namespace) = (pod, namespace);
        match name {
            "DCGM_FI_DEV_POWER_USAGE" => gpu.power_w = Some(value),
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION" => gpu.energy_j = Some(value / 1e3),
            "DCGM_FI_DEV_GPU_UTIL" => gpu.utilisation = Some(value / 100.0),
            "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE" => gpu.tensor_active = Some(value),
            "DCGM_FI_PROF_DRAM_ACTIVE" => gpu.dram_active = Some(value),
            "DCGM_FI_DEV_FB_USED" => gpu.memory_used_mib = Some(value),
            "DCGM_FI_DEV_FB_FREE" => gpu.memory_free_mib = Some(value),
            "DCGM_FI_DEV_XID_ERRORS" => gpu.xid = Some(value as u32).filter(|&x| x > 0),
            _ => {}
        }
    }

    /// All GPUs, by node and UUID.
    #[must_use]
    pub fn finish(self) -> Vec<Gpu> {
        self.gpus.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_by_the_workload_not_by_the_exporter() {
        let page = "DCGM_FI_DEV_POWER_USAGE{gpu=\"0\",UUID=\"GPU-1\",Hostname=\"n1\",namespace=\"ml\",pod=\"llama-0\"} 431.5\n\
            DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"GPU-1\",Hostname=\"n1\",namespace=\"ml\",pod=\"llama-0\"} 100\n\
            DCGM_FI_DEV_XID_ERRORS{gpu=\"0\",UUID=\"GPU-1\",Hostname=\"n1\",namespace=\"ml\",pod=\"llama-0\"} 79\n\
            DCGM_FI_DEV_POWER_USAGE{gpu=\"1\",UUID=\"GPU-2\",Hostname=\"n1\",namespace=\"gpu-operator\",pod=\"dcgm-x\",exported_namespace=\"ml\",exported_pod=\"llama-1\"} NaN\n\
            DCGM_FI_DEV_GPU_UTIL{gpu=\"1\",UUID=\"GPU-2\",Hostname=\"n1\",namespace=\"gpu-operator\",pod=\"dcgm-x\",exported_namespace=\"ml\",exported_pod=\"llama-1\"} 0\n";
        let mut reader = GpuReader::default();
        reader.page(page.as_bytes(), Syntax::Text);
        let gpus = reader.finish();
        assert_eq!(
            (gpus[0].pod.as_deref(), gpus[0].power_w),
            (Some("llama-0"), Some(431.5))
        );
        assert_eq!(gpus[0].verdict(true), Verdict::FatalXid(79));
        assert_eq!(
            (gpus[1].pod.as_deref(), gpus[1].power_w),
            (Some("llama-1"), None)
        );
        assert_eq!(
            (gpus[1].verdict(true), gpus[1].verdict(false)),
            (Verdict::Idle, Verdict::Sound)
        );
        assert_eq!(
            Gpu {
                xid: Some(43),
                ..Gpu::default()
            }
            .verdict(true),
            Verdict::Sound
        );
    }
}
