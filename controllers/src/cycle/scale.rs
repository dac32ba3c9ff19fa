//! Patches of `/scale`, only where nothing else scales the target.

use super::Part;
use super::effects::Effect;
use super::memory::VariantMemory;
use super::verdict::Verdict;
use crate::index::fleet::Path;

/// Asks for the wanted replicas where the target asks for others. Also notes when somebody else changed what was asked, and
/// forgets what kept them from being written once there is nothing to write.
pub(super) fn effect(part: &Part<'_>, memory: &mut VariantMemory, now: f64) -> Option<Effect> {
    let effect = wanted(part, memory, now);
    if effect.is_none() {
        memory.failure = None;
    }
    effect
}

fn wanted(part: &Part<'_>, memory: &mut VariantMemory, now: f64) -> Option<Effect> {
    if !matches!(part.view.path, Path::Scale) {
        memory.asked = None;
        return None;
    }
    memory.see(part.view.desired, now);
    let Verdict::Decided {
        wanted,
        carried_out: true,
        ..
    } = part.verdict
    else {
        return None;
    };
    let from = part.view.desired;
    (wanted != from && !memory.contested(now)).then(|| Effect::Scale {
        variant: part.view.key.clone(),
        target: part.view.target.clone(),
        from,
        to: wanted,
    })
}
