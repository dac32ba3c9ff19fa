//! From the names that nodes, selectors and people use for devices to the accelerators of the catalogue, slices included.
//!
//! A MIG slice is a device of its own: `NVIDIA-A100-SXM4-80GB-MIG-2g.20gb` has 2 of 7 compute slices and 20 of 80 GB, so
//! the catalogue gets an accelerator that has 2/7 of the FLOPS and 20/80 of memory, bandwidth and price. NVIDIA divides
//! memory in eighths and compute in sevenths (MIG User Guide, "Supported MIG profiles"), hence the two fractions.

use std::collections::BTreeMap;

use wva_models::accelerator::Accelerator;
use wva_models::catalogue::{Catalogue, names};
use wva_models::units::DollarsPerHour;

/// Node labels that name the device, most exact first.
const PRODUCT_LABELS: [&str; 9] = [
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "beta.amd.com/gpu.product-name",
    "gpu.intel.com/product",
    "habana.ai/gaudi.product",
    "cloud.google.com/gke-accelerator",
    "cloud.google.com/gke-tpu-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "kubernetes.azure.com/accelerator",
];

/// Whether a container resource is a device that model servers run on.
#[must_use]
pub fn is_device_resource(name: &str) -> bool {
    matches!(
        name,
        "nvidia.com/gpu"
            | "nvidia.com/gpu.shared"
            | "amd.com/gpu"
            | "gpu.intel.com/i915"
            | "gpu.intel.com/xe"
            | "habana.ai/gaudi"
            | "google.com/tpu"
    ) || name.starts_with("nvidia.com/mig-")
}

/// Whether a label names the device of a node.
#[must_use]
pub fn is_product_label(key: &str) -> bool {
    PRODUCT_LABELS.contains(&key)
}

/// The device that labels (of a node, or of a node selector) name.
#[must_use]
pub fn product(labels: &BTreeMap<String, String>) -> Option<&str> {
    PRODUCT_LABELS
        .iter()
        .find_map(|key| labels.get(*key))
        .map(String::as_str)
        .filter(|v| !v.trim().is_empty())
}

/// The name of a device of this product that is asked for as this resource: mixed MIG nodes name the slice in the
/// resource (`nvidia.com/mig-2g.20gb`), not in the product.
#[must_use]
pub fn with_slice(product: &str, resource: Option<&str>) -> String {
    match resource.and_then(|r| r.strip_prefix("nvidia.com/mig-")) {
        Some(profile) if slice_of(product).is_none() => format!("{product}-MIG-{profile}"),
        _ => product.to_owned(),
    }
}

/// An accelerator that was asked for by some name.
#[derive(Debug, Clone, PartialEq)]
pub enum Device {
    /// One of the catalogue.
    Known(String),
    /// A slice of one of the catalogue; the slice itself.
    Slice(Box<Accelerator>),
    /// None; the nearest name, if one is near.
    Unknown(Option<String>),
}

/// What a device name stands for.
#[must_use]
pub fn resolve(catalogue: &Catalogue, written: &str) -> Device {
    let name = written.strip_suffix("-SHARED").unwrap_or(written);
    if let Some(known) = catalogue.accelerator(name) {
        return Device::Known(known.name.clone());
    }
    if let Some((base, profile)) = slice_of(name)
        && let Some(slice) = catalogue.accelerator(base).and_then(|a| slice(a, profile))
    {
        return Device::Slice(Box::new(slice));
    }
    let known = catalogue.accelerators.iter().map(|a| a.name.as_str());
    Device::Unknown(names::nearest(name, known, names::device_key).map(str::to_owned))
}

/// Product and profile of `PRODUCT-MIG-2g.20gb`.
fn slice_of(name: &str) -> Option<(&str, &str)> {
    let at = name.find("-MIG-").or_else(|| name.find("-mig-"))?;
    Some((&name[..at], &name[at + "-MIG-".len()..]))
}

/// The slice of a device that a profile such as `2g.20gb`, or `1g.10gb+me`, describes.
fn slice(device: &Accelerator, profile: &str) -> Option<Accelerator> {
    let profile = profile.to_ascii_lowercase();
    let (compute, memory) = profile.split_once("g.")?;
    let compute = compute.parse::<u8>().ok().filter(|n| (1..=7).contains(n))?;
    let digits = memory.find("gb")?;
    let memory_gb = memory[..digits].parse::<f64>().ok()?;
    if !(memory_gb > 0.0 && memory_gb <= device.memory_gb) {
        return None;
    }
    let compute = f64::from(compute) / 7.0;
    let memory = memory_gb / device.memory_gb;
    let price = device.price_per_hour_usd.map(|p| p.get() * memory);
    Some(Accelerator {
        name: format!("{}-MIG-{profile}", device.name),
        aliases: Vec::new(),
        memory_gb,
        bandwidth_tb_s: device.bandwidth_tb_s * memory,
        bf16_tflops: device.bf16_tflops * compute,
        fp8_tflops: device.fp8_tflops.map(|f| f * compute),
        power_w: device.power_w.map(|w| w * memory),
        link_gb_s: None,
        price_per_hour_usd: price.and_then(|p| DollarsPerHour::new(p).ok()),
        source: format!("slice of {}", device.name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_known_by_the_labels_of_the_operators() {
        let catalogue = Catalogue::builtin();
        let known = |name: &str| resolve(&catalogue, name);
        for (label, name) in [
            ("NVIDIA-H100-80GB-HBM3", "H100"),
            ("NVIDIA-A100-SXM4-80GB", "A100-80GB"),
            ("NVIDIA-L4-SHARED", "L4"),
            ("nvidia-h100-80gb", "H100"),
            ("AMD_Instinct_MI300X_OAM", "MI300X"),
            ("h200", "H200"),
        ] {
            assert_eq!(known(label), Device::Known(name.into()), "{label}");
        }
        assert_eq!(known("H10O"), Device::Unknown(Some("H100".into())));
        assert_eq!(known("abacus"), Device::Unknown(None));
    }

    #[test]
    fn a_slice_is_a_fraction_of_its_device() {
        let catalogue = Catalogue::builtin();
        let Device::Slice(slice) = resolve(&catalogue, "NVIDIA-A100-SXM4-80GB-MIG-2g.20gb") else {
            panic!("a slice");
        };
        let whole = catalogue.accelerator("A100-80GB").expect("built in");
        assert_eq!(slice.name, "A100-80GB-MIG-2g.20gb");
        assert_eq!(slice.memory_gb, 20.0);
        assert!((slice.bf16_tflops - whole.bf16_tflops * 2.0 / 7.0).abs() < 1e-9);
        assert!((slice.bandwidth_tb_s - whole.bandwidth_tb_s / 4.0).abs() < 1e-9);
        let mixed = with_slice("NVIDIA-A100-SXM4-80GB", Some("nvidia.com/mig-2g.20gb"));
        assert_eq!(resolve(&catalogue, &mixed), Device::Slice(slice));
        for odd in [
            "A100-80GB-MIG-9g.20gb",
            "A100-80GB-MIG-",
            "A100-80GB-MIG-1g.900gb",
        ] {
            assert!(
                matches!(resolve(&catalogue, odd), Device::Unknown(_)),
                "{odd}"
            );
        }
    }
}
