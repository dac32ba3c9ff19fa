//! Who leaves when replicas are taken away, and when the number may go down.
//!
//! ```text
//! fewer are wanted ─► choose who leaves ─► fits name them ─► pickers say that they have read so ─► ask for fewer
//!                                     └─► deletion cost, so that the ReplicaSet chooses the same ─┘
//! ```
//! A pod that is deleted while requests are on their way to it loses them. So those who will go get nothing new first, and
//! the number goes down by those of whom every endpoint picker that goes by our word has said so. Nothing waits without such a picker,
//! and never for long: one that does not answer must not keep a fleet large.
//!
//! Who leaves is chosen as the workload's own controller would, so that even without the right to set deletion costs the
//! choice is mostly right: pods that do not serve, then those of least cost, then the youngest; of a StatefulSet or
//! LeaderWorkerSet the highest numbers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use wva_models::exchange::Leaving;
use wva_optimizer::decision::Reason;

use super::effects::Effect;
use super::memory::VariantMemory;
use super::verdict::Verdict;
use crate::api::keys::LEAVES_FIRST;
use crate::index::fleet::{PodState, PodView, VariantView};
use crate::telemetry::pushed::Pushed;

/// Longest time for which one that leaves is waited for, seconds.
const PATIENCE_S: f64 = 30.0;
/// A picker that is silent for so long is not waited for, seconds.
const LIVES_S: f64 = 30.0;

/// Endpoint pickers that leave out whom we say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Followers {
    /// Time of the cycle that each goes by.
    fits_at: Vec<f64>,
    /// Whether deletion costs may be set.
    pub deletion_cost: bool,
}

impl Followers {
    /// Those that were heard of lately and go by fits.
    #[must_use]
    pub fn of(pushed: &Pushed, deletion_cost: bool, now: f64) -> Self {
        let alive = pushed.newest().filter(|(heard, _)| now - heard <= LIVES_S);
        Self {
            fits_at: alive.filter_map(|(_, push)| push.fits_at).collect(),
            deletion_cost,
        }
    }

    /// Whether all of them have read what was said at that time.
    fn know(&self, since: f64) -> bool {
        self.fits_at.iter().all(|at| *at >= since)
    }
}

/// What a variant's replicas are told.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// Pods that leave.
    pub leaving: Vec<Leaving>,
    /// Changes of deletion costs.
    pub effects: Vec<Effect>,
    /// Replicas that stay for now, where that is more than wanted, and why.
    pub waits: Option<(u32, Reason)>,
}

/// Chooses who leaves, and says what has to happen before.
pub(super) fn of(
    view: &VariantView,
    verdict: &Verdict<'_>,
    followers: &Followers,
    memory: &mut VariantMemory,
    now: f64,
) -> Drain {
    let wanted = match verdict {
        Verdict::Decided {
            wanted,
            carried_out: true,
            ..
        } => *wanted,
        _ => view.desired,
    };
    let chosen = match followers.fits_at.is_empty() {
        true => Vec::new(),
        false => chosen(view, wanted, &memory.leaving),
    };
    let since = |pod: &PodView| memory.leaving.get(&pod.uid).copied().unwrap_or(now);
    memory.leaving = chosen.iter().map(|p| (p.uid.clone(), since(p))).collect();
    let costs = followers.deletion_cost && view.target.kind == "Deployment";
    let drained = |pod: &&&PodView| {
        let since = memory.leaving[&pod.uid];
        let marked = !costs || pod.deletion_cost.is_some();
        (followers.know(since) && marked) || now - since >= PATIENCE_S
    };
    let waiting: Vec<&PodView> = chosen.iter().filter(|p| !drained(p)).copied().collect();
    let stay = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
    let stay = view.desired.min(wanted.saturating_add(stay));
    Drain {
        waits: (wanted < stay).then(|| (stay, reason(&waiting))),
        effects: match costs {
            true => costs_of(view, &chosen),
            false => Vec::new(),
        },
        leaving: chosen
            .iter()
            .map(|pod| Leaving {
                namespace: view.key.namespace.clone(),
                pod: pod.name.clone(),
                uid: pod.uid.clone(),
            })
            .collect(),
    }
}

fn reason(waiting: &[&PodView]) -> Reason {
    let names: Vec<&str> = waiting.iter().map(|p| p.name.as_str()).collect();
    Reason {
        code: "draining".into(),
        text: format!(
            "{} leave once endpoint pickers send them nothing new",
            names.join(", ")
        ),
    }
}

/// Pods that serve and leave when so many are wanted. Who was chosen before stays chosen.
fn chosen<'v>(
    view: &'v VariantView,
    wanted: u32,
    before: &BTreeMap<String, f64>,
) -> Vec<&'v PodView> {
    let active = view.pods.iter();
    let mut active: Vec<&PodView> = active.filter(|p| p.state != PodState::Draining).collect();
    let leaving = active.len().saturating_sub(wanted as usize);
    let serves = |p: &&PodView| matches!(p.state, PodState::Ready { .. });
    if view.target.kind != "Deployment" {
        active.sort_by_key(|p| Reverse(ordinal(&p.name)));
        active.truncate(leaving);
        active.retain(serves);
        return active;
    }
    let idle = active.iter().filter(|p| !serves(p)).count();
    active.retain(serves);
    active.sort_by(|a, b| {
        let rank = |p: &PodView| (cost(p), !before.contains_key(&p.uid));
        let age = |p: &PodView| match p.state {
            PodState::Ready { since, .. } => since,
            _ => 0.0,
        };
        let youngest = || age(b).total_cmp(&age(a));
        rank(a)
            .cmp(&rank(b))
            .then_with(youngest)
            .then_with(|| a.name.cmp(&b.name))
    });
    active.truncate(leaving.saturating_sub(idle));
    active
}

/// What somebody else has set, 0 where nobody has.
fn cost(pod: &PodView) -> i32 {
    let own = |cost: &i32| *cost != LEAVES_FIRST;
    pod.deletion_cost.filter(own).unwrap_or(0)
}

/// The number at the end of a pod's name.
fn ordinal(name: &str) -> Option<u32> {
    name.rsplit('-').next()?.parse().ok()
}

/// Sets our cost where there is none, and takes it from those who stay.
fn costs_of(view: &VariantView, chosen: &[&PodView]) -> Vec<Effect> {
    let change = |pod: &PodView| {
        let leaves = chosen.iter().any(|p| p.uid == pod.uid);
        match pod.deletion_cost {
            None => leaves.then_some(true),
            Some(LEAVES_FIRST) => (!leaves).then_some(false),
            Some(_) => None,
        }
    };
    let staying = view.pods.iter().filter(|p| p.state != PodState::Draining);
    let changes = staying.filter_map(|pod| Some((pod, change(pod)?)));
    changes
        .map(|(pod, first)| Effect::Cost {
            variant: view.key.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            first,
        })
        .collect()
}
