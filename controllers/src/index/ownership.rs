//! Who scales a target, and whether there is room for one more.
//!
//! Never two writers: a target that several scalers claim, or that a tool keeps at the count in its manifest, is advised
//! on and not touched. The rule is decided from what the API shows (scalers that name the target, and the managed fields
//! of `spec.replicas`); a writer that shows only by its deeds is caught by the cycle, which sees its own writes undone.

use super::Key;
use super::fleet::Path;
use super::kinds::Kind;
use super::scaler::ScalerFacts;
use super::workload::WorkloadFacts;

/// A scaler of a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaler<'a> {
    pub kind: Kind,
    pub key: &'a Key,
    pub facts: &'a ScalerFacts,
}

/// Field managers that put a count back whenever it differs from their manifest.
const RECONCILERS: [&str; 5] = [
    "argocd",
    "kustomize-controller",
    "helm-controller",
    "flux",
    "fleet-agent",
];

/// How decisions reach a target that these scalers claim.
pub(super) fn path(scalers: &[Scaler<'_>], workload: Option<&WorkloadFacts>) -> Path {
    match scalers {
        [] => alone(workload),
        [one] => one.path(),
        several => Path::Advice {
            code: "TwoScalers",
            text: format!(
                "{} scale the same target; remove all but one",
                list(
                    several
                        .iter()
                        .map(|s| format!("{} {}", s.kind.names().1, s.key.name))
                )
            ),
        },
    }
}

impl Scaler<'_> {
    fn path(&self) -> Path {
        let name = self.key.name.clone();
        let kind = self.kind.names().1;
        if !self.facts.reads_us {
            return Path::Advice {
                code: "ScaledByOther",
                text: format!(
                    "{kind} {name} scales the target by other signals; give it the external metric wva_desired_replicas"
                ),
            };
        }
        if self.kind == Kind::ScaledObject {
            Path::Keda { name }
        } else {
            Path::Hpa {
                name,
                tolerance: self.facts.tolerance,
            }
        }
    }
}

fn alone(workload: Option<&WorkloadFacts>) -> Path {
    let writers = workload.map(|w| w.writers.as_slice()).unwrap_or_default();
    let reconciler = writers
        .iter()
        .find(|w| RECONCILERS.iter().any(|r| w.starts_with(r)));
    reconciler.map_or(Path::Scale, |manager| Path::Advice {
        code: "ScaledByOther",
        text: format!(
            "{manager} keeps spec.replicas at the count in its manifest; leave the field out there"
        ),
    })
}

pub(super) fn list(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}
