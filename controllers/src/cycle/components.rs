//! The fleet in parts that have nothing to do with each other, each decided for itself and several at a time.
//!
//! Models are coupled only by what runs out: an accelerator of limited stock, a namespace's quota, or the budget. Where nothing does, every
//! model is a problem of its own, and a cycle over ten thousand variants is thousands of small ones that share the cores.
//! It also keeps trouble where it is: what cannot be planned holds the models of its own part.
//!
//! Why here and not in the optimizer: there a fleet is one problem with one memory, which is what is recorded and
//! replayed. Parts are a matter of how fast a large cluster is decided.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use wva_models::catalogue::Catalogue;
use wva_models::variant::Variant;
use wva_optimizer::planner::{CapacityTable, Memo};
use wva_optimizer::snapshot::{Quota, Snapshot};
use wva_optimizer::state::{State, stream_key};
use wva_optimizer::step::{Autoscaler, Cycle, step};

/// One part: a question and what is remembered of it.
struct Part {
    autoscaler: Autoscaler,
    snapshot: Snapshot,
    state: State,
}

/// Capacities found for each part, by the name of its first model, and answers to equal questions; only a cache.
#[derive(Debug, Clone, Default)]
pub struct Capacities {
    of_part: BTreeMap<String, CapacityTable>,
    memo: Memo,
}

/// Only a cache: whatever is in it, the same is decided.
impl PartialEq for Capacities {
    fn eq(&self, other: &Self) -> bool {
        self.of_part == other.of_part
    }
}

impl Capacities {
    /// All of them in one table.
    pub(super) fn whole(&self) -> CapacityTable {
        let mut whole = CapacityTable::default();
        let parts = self.of_part.values().cloned();
        parts.for_each(|table| whole.extend(table));
        whole
    }
}

/// One cycle over all parts: the outcome as if it were one, and the memory put together again. Capacities that `state`
/// brings along are shared out.
pub fn decide(
    autoscaler: &Autoscaler,
    snapshot: &Snapshot,
    state: State,
    capacities: &mut Capacities,
) -> (State, Cycle) {
    let groups = groups(autoscaler, snapshot);
    let (parts, mut rest) = divide(autoscaler, snapshot, state, &groups, capacities);
    let order: BTreeMap<&str, usize> = (autoscaler.catalogue.variants.iter().enumerate())
        .map(|(i, v)| (v.name.as_str(), i))
        .collect();
    let mut whole = Cycle::default();
    for (name, (state, cycle)) in run(parts) {
        join(&mut whole, cycle);
        let State {
            streams,
            variants,
            history,
            settled,
            carried,
            capacities: table,
        } = state;
        rest.streams.extend(streams);
        rest.variants.extend(variants);
        rest.history.extend(history);
        rest.settled.extend(settled);
        rest.carried.extend(carried);
        capacities.of_part.insert(name, table);
    }
    whole
        .decisions
        .sort_by_key(|d| order.get(d.variant.as_str()).copied());
    (rest, whole)
}

/// The part that each model belongs to.
fn groups(autoscaler: &Autoscaler, snapshot: &Snapshot) -> BTreeMap<String, usize> {
    let catalogue = &autoscaler.catalogue;
    let number: BTreeMap<&str, usize> = (catalogue.models.iter().enumerate())
        .map(|(i, m)| (m.name.as_str(), i))
        .collect();
    let mut parent: Vec<usize> = (0..catalogue.models.len()).collect();
    let mut first_on: BTreeMap<&str, usize> = BTreeMap::new();
    let all = autoscaler.settings.planner.budget_per_hour_usd.is_some();
    for variant in &catalogue.variants {
        let Some(&model) = number.get(variant.model.as_str()) else {
            continue;
        };
        let runs_out = snapshot.stock.contains_key(&variant.accelerator)
            || catalogue.stock.contains_key(&variant.accelerator);
        if all || runs_out {
            let shared = if all {
                ""
            } else {
                variant.accelerator.as_str()
            };
            let other = *first_on.entry(shared).or_insert(model);
            let (a, b) = (root(&mut parent, model), root(&mut parent, other));
            parent[a] = b;
        }
    }
    for quota in snapshot.quotas.values() {
        let within = |v: &&Variant| quota.variants.contains(&v.name);
        let sharing = catalogue.variants.iter().filter(within);
        let mut models = sharing.filter_map(|v| number.get(v.model.as_str()).copied());
        let Some(first) = models.next() else { continue };
        for model in models {
            let (a, b) = (root(&mut parent, model), root(&mut parent, first));
            parent[a] = b;
        }
    }
    let mut groups = BTreeMap::new();
    for (i, model) in catalogue.models.iter().enumerate() {
        groups.insert(model.name.clone(), root(&mut parent, i));
    }
    groups
}

fn root(parent: &mut [usize], mut i: usize) -> usize {
    while parent[i] != i {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    i
}

/// The parts, each under the name of its first model, and the memory that belongs to none of them.
fn divide(
    autoscaler: &Autoscaler,
    snapshot: &Snapshot,
    mut state: State,
    groups: &BTreeMap<String, usize>,
    capacities: &mut Capacities,
) -> (BTreeMap<String, Part>, State) {
    let models = &autoscaler.catalogue.models;
    let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
    for model in models {
        let part = parts
            .entry(groups[&model.name])
            .or_insert_with(|| empty(autoscaler, snapshot));
        part.autoscaler.catalogue.models.push(model.clone());
        move_entry(&mut state.settled, &mut part.state.settled, &model.name);
        move_entry(&mut state.carried, &mut part.state.carried, &model.name);
    }
    let mut of_variant: BTreeMap<&str, usize> = BTreeMap::new();
    for variant in &autoscaler.catalogue.variants {
        let Some(part) = groups.get(&variant.model).and_then(|g| parts.get_mut(g)) else {
            continue;
        };
        of_variant.insert(&variant.name, groups[&variant.model]);
        part.autoscaler.catalogue.variants.push(variant.clone());
        move_entry(&mut state.variants, &mut part.state.variants, &variant.name);
        move_entry(&mut state.history, &mut part.state.history, &variant.name);
    }
    for sample in &snapshot.variants {
        let group = of_variant.get(sample.name.as_str());
        if let Some(part) = group.and_then(|g| parts.get_mut(g)) {
            part.snapshot.variants.push(sample.clone());
        }
    }
    for sample in &snapshot.streams {
        if let Some(part) = groups.get(&sample.model).and_then(|g| parts.get_mut(g)) {
            let key = stream_key(&sample.model, &sample.class);
            move_entry(&mut state.streams, &mut part.state.streams, &key);
            part.snapshot.streams.push(sample.clone());
        }
    }
    let mut known = std::mem::take(&mut capacities.of_part);
    let all = autoscaler.catalogue.variants.len().max(1) as f64;
    let named = parts.into_values().enumerate().map(|(i, mut part)| {
        finish(&mut part, autoscaler, snapshot);
        let share = part.autoscaler.catalogue.variants.len() as f64 / all;
        part.autoscaler.settings.planner.capacity_refreshes =
            turns(autoscaler, snapshot.at, share, i);
        let name = part.autoscaler.catalogue.models[0].name.clone();
        let mut table = known.remove(&name).unwrap_or_default();
        if !state.capacities.is_empty() {
            let own = part.autoscaler.catalogue.variants.iter();
            table.extend(state.capacities.split_off(own.map(|v| v.name.as_str())));
        }
        part.state.capacities = table.shared(capacities.memo.clone());
        (name, part)
    });
    let named = named.collect();
    (named, state)
}

/// Capacities that part number `i`, with this share of all variants, may find anew in the cycle `at`: over the cycles its
/// share of what the fleet may, and small parts take turns.
fn turns(autoscaler: &Autoscaler, at: f64, share: f64, i: usize) -> usize {
    let settings = &autoscaler.settings;
    let fair = settings.planner.capacity_refreshes as f64 * share;
    let cycle = (at / settings.cycle_seconds.max(0.1)).floor();
    // Multiples of the golden ratio spread the parts evenly, however many there are.
    let phase = (i as f64 * 0.618_033_988_749_895).fract();
    let so_far = |cycle: f64| (cycle * fair + phase).floor();
    (so_far(cycle + 1.0) - so_far(cycle)).max(0.0) as usize
}

fn empty(autoscaler: &Autoscaler, snapshot: &Snapshot) -> Part {
    Part {
        autoscaler: Autoscaler {
            catalogue: Catalogue::default(),
            settings: autoscaler.settings.clone(),
        },
        snapshot: Snapshot {
            at: snapshot.at,
            ..Snapshot::default()
        },
        state: State::default(),
    }
}

/// Gives a part the accelerators, classes and limits that its variants have to do with.
fn finish(part: &mut Part, autoscaler: &Autoscaler, snapshot: &Snapshot) {
    let whole = &autoscaler.catalogue;
    let own = &mut part.autoscaler.catalogue;
    let used = |name: &str| own.variants.iter().any(|v| v.accelerator == name);
    let accelerators = whole
        .accelerators
        .iter()
        .filter(|a| used(&a.name))
        .cloned()
        .collect();
    let limited = |stock: &BTreeMap<String, u32>| -> BTreeMap<String, u32> {
        let limited = stock.iter().filter(|(name, _)| used(name));
        limited.map(|(name, n)| (name.clone(), *n)).collect()
    };
    let (stock, seen) = (limited(&whole.stock), limited(&snapshot.stock));
    let classes = part.snapshot.streams.iter().map(|s| s.class.as_str());
    let classes: std::collections::BTreeSet<&str> = classes.collect();
    own.classes = (whole.classes.iter())
        .filter(|c| classes.contains(c.name.as_str()))
        .cloned()
        .collect();
    let concerned = |quota: &Quota| {
        own.variants
            .iter()
            .any(|v| quota.variants.contains(&v.name))
    };
    let quotas = snapshot.quotas.iter().filter(|(_, q)| concerned(q));
    part.snapshot.quotas = quotas.map(|(n, q)| (n.clone(), q.clone())).collect();
    own.accelerators = accelerators;
    own.stock = stock;
    part.snapshot.stock = seen;
    let warm = own
        .models
        .iter()
        .filter(|m| snapshot.warm.contains(&m.name));
    part.snapshot.warm = warm.map(|m| m.name.clone()).collect();
}

fn move_entry<T>(from: &mut BTreeMap<String, T>, to: &mut BTreeMap<String, T>, key: &str) {
    if let Some((key, value)) = from.remove_entry(key) {
        to.insert(key, value);
    }
}

/// What became of a part, by its name.
type Decided = (String, (State, Cycle));

/// Decides the parts, on as many cores as there are.
fn run(parts: BTreeMap<String, Part>) -> Vec<Decided> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(parts.len());
    let parts: Vec<Mutex<Option<(String, Part)>>> = parts
        .into_iter()
        .map(|part| Mutex::new(Some(part)))
        .collect();
    let done: Vec<Mutex<Option<Decided>>> = parts.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < parts.len())
        {
            let taken = parts[i]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some((name, part)) = taken {
                let outcome = step(&part.autoscaler, &part.snapshot, part.state);
                *done[i].lock().unwrap_or_else(PoisonError::into_inner) = Some((name, outcome));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let finished = done.into_iter();
    finished
        .filter_map(|d| d.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

fn join(whole: &mut Cycle, part: Cycle) {
    whole.decisions.extend(part.decisions);
    whole.shares.extend(part.shares);
    whole.batch_limits.extend(part.batch_limits);
    whole.unmet.extend(part.unmet);
    whole.streams.extend(part.streams);
    whole.cost = match (whole.cost, part.cost) {
        (Some((a, b)), Some((c, d))) => Some((a + c, b + d)),
        (a, b) => a.or(b),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use wva_models::catalogue::Catalogue;
    use wva_optimizer::snapshot::VariantSample;
    use wva_optimizer::step::Settings;

    fn fleet() -> (Autoscaler, Snapshot) {
        let yaml = "variants:
- {name: a, model: llama-3.1-8b, accelerator: H100}
- {name: b, model: llama-3.1-8b, accelerator: L40S}
- {name: c, model: qwen3-8b, accelerator: H100}
- {name: d, model: mistral-small-24b, accelerator: A100-80GB}";
        let mut catalogue = Catalogue::parse(yaml, "test").expect("valid");
        let used = |name: &str| catalogue.variants.iter().any(|v| v.model == name);
        catalogue.models = catalogue
            .models
            .iter()
            .filter(|m| used(&m.name))
            .cloned()
            .collect();
        let snapshot = Snapshot {
            at: 1.0,
            variants: (catalogue.variants.iter())
                .map(|v| VariantSample {
                    name: v.name.clone(),
                    desired: 2,
                    ready: 2,
                    ..VariantSample::default()
                })
                .collect(),
            ..Snapshot::default()
        };
        (
            Autoscaler {
                catalogue,
                settings: Settings::default(),
            },
            snapshot,
        )
    }

    fn parts(autoscaler: &Autoscaler, snapshot: &Snapshot) -> usize {
        let groups = groups(autoscaler, snapshot);
        groups
            .values()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    }

    #[test]
    fn models_are_coupled_by_what_runs_out() {
        let (mut autoscaler, mut snapshot) = fleet();
        assert_eq!(parts(&autoscaler, &snapshot), 3);
        snapshot.stock.insert("H100".into(), 8);
        assert_eq!(parts(&autoscaler, &snapshot), 2);
        let variants = ["b", "d"].map(str::to_owned).into();
        let quota = Quota {
            devices: 4,
            variants,
        };
        snapshot.quotas.insert("ns/nvidia.com/gpu".into(), quota);
        assert_eq!(parts(&autoscaler, &snapshot), 1);
        snapshot.quotas.clear();
        autoscaler.settings.planner.budget_per_hour_usd = Some(100.0);
        assert_eq!(parts(&autoscaler, &snapshot), 1);
    }

    #[test]
    fn parts_come_to_what_the_whole_comes_to() {
        let (autoscaler, snapshot) = fleet();
        let (whole_state, whole) = step(&autoscaler, &snapshot, State::default());
        let mut capacities = Capacities::default();
        let (state, cycle) = decide(&autoscaler, &snapshot, State::default(), &mut capacities);
        assert_eq!(cycle.decisions, whole.decisions);
        assert_eq!(
            (state.variants, state.settled),
            (whole_state.variants, whole_state.settled)
        );
    }

    #[test]
    fn small_parts_take_turns_and_get_their_share() {
        let (mut autoscaler, _) = fleet();
        autoscaler.settings.planner.capacity_refreshes = 10;
        let (parts, cycles) = (40, 400);
        let mut of_part = vec![0; parts];
        for cycle in 0..cycles {
            let at = 1.79e9 + f64::from(cycle) * 15.0;
            let turns: Vec<usize> = (0..parts)
                .map(|i| turns(&autoscaler, at, 1.0 / parts as f64, i))
                .collect();
            let all: usize = turns.iter().sum();
            assert!((8..=12).contains(&all), "{all}");
            of_part.iter_mut().zip(turns).for_each(|(sum, n)| *sum += n);
        }
        assert!(
            of_part.iter().all(|n| (99..=101).contains(n)),
            "{of_part:?}"
        );
        assert_eq!(turns(&autoscaler, 7.0, 1.0, 0), 10);
    }

    #[test]
    fn nothing_remembered_is_lost() {
        let (autoscaler, snapshot) = fleet();
        let mut state = State::default();
        state.settled.insert("gone".into(), 1.0);
        let (state, _) = decide(&autoscaler, &snapshot, state, &mut Capacities::default());
        assert_eq!(state.settled.get("gone"), Some(&1.0));
    }
}
