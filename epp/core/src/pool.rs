//! The pool: all endpoints as columns of numbers, a snapshot that requests read while the next is made.
//!
//! ```text
//!  pods, scrapes ──► Directory ──pool()──► Arc<Pool>, swapped by the caller ──► pick
//!                    (one writer)          (any number of readers)
//! ```
//! Columns instead of a list of records: a scorer reads one or two numbers of every endpoint, and nothing else. An
//! endpoint keeps its place for life, so every other table (requests in flight, prefixes) is indexed alike and no
//! look-up by name happens while picking.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::endpoint::{Endpoint, Lora, Metrics, Roles, Sent, Slot};
use crate::paths::Path;
use crate::predict::VariantModel;

/// What rarely changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    /// Differs between any two states of one directory.
    pub version: u64,
    pub endpoints: Vec<Option<Endpoint>>,
    pub generation: Vec<u32>,
    pub roles: Vec<Roles>,
    pub variant: Vec<Option<u32>>,
    /// Takers of new work.
    pub ready: Vec<Slot>,
    /// Takers of new work when there are no others.
    pub draining: Vec<Slot>,
    pub by_ip: HashMap<IpAddr, Vec<Slot>>,
    pub by_pod: HashMap<String, Vec<Slot>>,
    /// Pods (`namespace/name`) that leave, whatever their endpoints say.
    pub leaving: HashSet<String>,
}

/// What every scrape changes. NaN is unknown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Load {
    pub at: Vec<f64>,
    pub waiting: Vec<f64>,
    pub running: Vec<f64>,
    pub kv_usage: Vec<f64>,
    pub kv_tokens: Vec<f64>,
    /// What this picker had sent then; `None` corrects nothing.
    pub sent: Vec<Option<Sent>>,
    pub lora: Vec<Option<Arc<Lora>>>,
}

/// What an endpoint's last scrape said. NaN is unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scraped {
    /// Requests waiting in the engine.
    pub waiting: f64,
    /// Requests running.
    pub running: f64,
    /// Share of the KV cache in use, 0 to 1.
    pub kv_usage: f64,
}

/// A snapshot of all endpoints.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    pub(crate) members: Arc<Members>,
    pub(crate) load: Load,
    pub(crate) models: Arc<Vec<Option<VariantModel>>>,
    paths: Arc<Vec<Path>>,
}

impl Pool {
    /// The endpoint at a place; `None` where it is vacant.
    #[must_use]
    pub fn endpoint(&self, slot: Slot) -> Option<&Endpoint> {
        self.members.endpoints.get(slot.index())?.as_ref()
    }

    /// The place of an address.
    #[must_use]
    pub fn slot(&self, address: &SocketAddr) -> Option<Slot> {
        let of_ip = self.members.by_ip.get(&address.ip())?;
        of_ip
            .iter()
            .copied()
            .find(|&s| self.endpoint(s).is_some_and(|e| e.address == *address))
    }

    /// All occupied places, those draining last.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        let members = &self.members;
        members.ready.iter().chain(&members.draining).copied()
    }

    /// Those that new work goes to: the ones that drain only where there are no others.
    #[must_use]
    pub fn takers(&self) -> &[Slot] {
        let members = &self.members;
        match members.ready.is_empty() {
            true => &members.draining,
            false => &members.ready,
        }
    }

    /// Paths that requests take in shares; none where any endpoint will do.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Number of endpoints.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.ready.len() + self.members.draining.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places ever used: the length of every table beside this one.
    #[must_use]
    pub fn places(&self) -> usize {
        self.members.endpoints.len()
    }

    /// Age of an endpoint's metrics in seconds; `None` if it never had any.
    #[must_use]
    pub fn age(&self, slot: Slot, now: f64) -> Option<f64> {
        let at = *self.load.at.get(slot.index())?;
        at.is_finite().then_some(now - at)
    }

    /// What the endpoint's last scrape said; `None` where the place was never used.
    #[must_use]
    pub fn scraped(&self, slot: Slot) -> Option<Scraped> {
        let (load, i) = (&self.load, slot.index());
        Some(Scraped {
            waiting: *load.waiting.get(i)?,
            running: *load.running.get(i)?,
            kv_usage: *load.kv_usage.get(i)?,
        })
    }

    /// The latency model of the endpoint's variant.
    #[must_use]
    pub fn model(&self, slot: Slot) -> Option<&VariantModel> {
        let variant = (*self.members.variant.get(slot.index())?)?;
        self.models.get(variant as usize)?.as_ref()
    }
}

/// The writer's side of a [`Pool`].
#[derive(Debug, Clone, Default)]
pub struct Directory {
    pool: Pool,
    by_address: HashMap<SocketAddr, Slot>,
    vacant: Vec<Slot>,
    stale: bool,
}

impl Directory {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an endpoint, or replaces the one at its address. Another pod at a known address is a new endpoint: nothing
    /// known of the old one holds for it.
    pub fn apply(&mut self, endpoint: Endpoint) -> Slot {
        let known = self.by_address.get(&endpoint.address).copied();
        let same_pod = known.is_some_and(|slot| {
            let old = self.pool.endpoint(slot);
            old.is_some_and(|o| o.pod == endpoint.pod && o.namespace == endpoint.namespace)
        });
        if !same_pod {
            self.remove(&endpoint.address);
        }
        let slot = match known.filter(|_| same_pod) {
            Some(slot) => slot,
            None => self.place(endpoint.address),
        };
        let members = Arc::make_mut(&mut self.pool.members);
        members.roles[slot.index()] = endpoint.roles();
        members.variant[slot.index()] = endpoint.variant;
        members.endpoints[slot.index()] = Some(endpoint);
        self.stale = true;
        slot
    }

    fn place(&mut self, address: SocketAddr) -> Slot {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            let members = Arc::make_mut(&mut self.pool.members);
            members.endpoints.push(None);
            members.generation.push(0);
            members.roles.push(Roles::default());
            members.variant.push(None);
            let load = &mut self.pool.load;
            for column in [&mut load.at, &mut load.waiting, &mut load.running] {
                column.push(f64::NAN);
            }
            load.kv_usage.push(f64::NAN);
            load.kv_tokens.push(f64::NAN);
            load.sent.push(None);
            load.lora.push(None);
            Slot(
                u32::try_from(members.endpoints.len() - 1).expect("fewer endpoints than addresses"),
            )
        });
        self.by_address.insert(address, slot);
        slot
    }

    /// Takes an endpoint out; whether it was there.
    pub fn remove(&mut self, address: &SocketAddr) -> bool {
        let Some(slot) = self.by_address.remove(address) else {
            return false;
        };
        let (i, load) = (slot.index(), &mut self.pool.load);
        for column in [&mut load.at, &mut load.waiting, &mut load.running] {
            column[i] = f64::NAN;
        }
        (load.kv_usage[i], load.kv_tokens[i]) = (f64::NAN, f64::NAN);
        load.sent[i] = None;
        load.lora[i] = None;
        let members = Arc::make_mut(&mut self.pool.members);
        members.endpoints[i] = None;
        members.generation[i] = members.generation[i].wrapping_add(1);
        self.vacant.push(slot);
        self.stale = true;
        true
    }

    /// Notes a scrape; whether the address is known. Numbers that cannot be become unknown.
    pub fn observe(&mut self, address: &SocketAddr, metrics: &Metrics) -> bool {
        let Some(slot) = self.by_address.get(address) else {
            return false;
        };
        let (i, load) = (slot.index(), &mut self.pool.load);
        let sound = |x: f64| {
            if x.is_finite() && x >= 0.0 {
                x
            } else {
                f64::NAN
            }
        };
        load.at[i] = metrics.at;
        load.waiting[i] = sound(metrics.waiting);
        load.running[i] = sound(metrics.running);
        load.kv_usage[i] = sound(metrics.kv_usage.clamp(f64::MIN, 1.0));
        load.sent[i] = metrics.sent;
        if let Some(tokens) = metrics
            .cache
            .map(|c| c.tokens())
            .filter(|t| *t != load.kv_tokens[i])
        {
            load.kv_tokens[i] = tokens;
            // Tables that are as long as the cache follow the members' version.
            self.stale = true;
        }
        if let Some(lora) = &metrics.lora {
            load.lora[i] = Some(Arc::clone(lora));
        }
        true
    }

    /// Sets or clears the latency model of a variant.
    pub fn set_model(&mut self, variant: u32, model: Option<VariantModel>) {
        let models = Arc::make_mut(&mut self.pool.models);
        let place = variant as usize;
        if models.len() <= place {
            models.resize(place + 1, None);
        }
        models[place] = model;
    }

    /// Lets these pods (`namespace/name`) drain, and no others but those whose endpoints say so themselves; whether that
    /// changed anything.
    pub fn set_leaving(&mut self, leaving: HashSet<String>) -> bool {
        if self.pool.members.leaving == leaving {
            return false;
        }
        Arc::make_mut(&mut self.pool.members).leaving = leaving;
        self.stale = true;
        true
    }

    /// Sets the paths that requests take; whether they are others than before.
    pub fn set_paths(&mut self, paths: Vec<Path>) -> bool {
        let others = *self.pool.paths != paths;
        if others {
            self.pool.paths = Arc::new(paths);
        }
        others
    }

    /// The latency models of variants, by number.
    #[must_use]
    pub fn models(&self) -> &[Option<VariantModel>] {
        &self.pool.models
    }

    /// The place of an address.
    #[must_use]
    pub fn slot(&self, address: &SocketAddr) -> Option<Slot> {
        self.by_address.get(address).copied()
    }

    /// The snapshot of now. Copies the numbers; the members only where they have changed.
    pub fn pool(&mut self) -> Pool {
        if std::mem::take(&mut self.stale) {
            Arc::make_mut(&mut self.pool.members).index();
        }
        self.pool.clone()
    }
}

impl Members {
    fn index(&mut self) {
        self.version += 1;
        self.ready.clear();
        self.draining.clear();
        self.by_ip.clear();
        self.by_pod.clear();
        for (i, endpoint) in self.endpoints.iter().enumerate() {
            let Some(endpoint) = endpoint else { continue };
            let slot = Slot(i as u32);
            let name = endpoint.full_name();
            match endpoint.draining || self.leaving.contains(&name) {
                true => self.draining.push(slot),
                false => self.ready.push(slot),
            }
            let ip = endpoint.address.ip();
            self.by_ip.entry(ip).or_default().push(slot);
            self.by_pod.entry(name).or_default().push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(last: u8, pod: &str) -> Endpoint {
        Endpoint::new(SocketAddr::from(([10, 0, 0, last], 8000)), "ns", pod)
    }

    #[test]
    fn places_are_kept_and_used_again_under_another_generation() {
        let mut directory = Directory::new();
        let (a, b) = (
            directory.apply(endpoint(1, "a")),
            directory.apply(endpoint(2, "b")),
        );
        assert_eq!(directory.apply(endpoint(1, "a")), a);
        let before = directory.pool();
        assert!(directory.remove(&endpoint(1, "a").address));
        assert!(!directory.remove(&endpoint(1, "a").address));
        assert_eq!(directory.apply(endpoint(3, "c")), a);
        let after = directory.pool();
        assert_ne!(
            before.members.generation[a.index()],
            after.members.generation[a.index()]
        );
        assert_eq!((after.len(), after.places()), (2, 2));
        assert_eq!(
            before.endpoint(a).map(|e| e.pod.as_str()),
            Some("a"),
            "a snapshot stays"
        );
        assert_eq!(after.slot(&endpoint(2, "b").address), Some(b));
        assert_eq!(after.slot(&endpoint(1, "a").address), None);
    }

    #[test]
    fn another_pod_at_an_address_inherits_nothing() {
        let mut directory = Directory::new();
        directory.apply(endpoint(1, "a"));
        let metrics = Metrics {
            at: 5.0,
            waiting: 9.0,
            ..Metrics::default()
        };
        let address = endpoint(1, "a").address;
        assert!(directory.observe(&address, &metrics));
        let slot = directory.apply(endpoint(1, "a"));
        assert_eq!(directory.pool().age(slot, 7.0), Some(2.0));
        let slot = directory.apply(endpoint(1, "b"));
        assert_eq!(directory.pool().age(slot, 7.0), None);
        assert!(!directory.observe(&SocketAddr::from(([9, 9, 9, 9], 1)), &metrics));
    }

    #[test]
    fn who_leaves_takes_new_work_only_when_alone() {
        let mut directory = Directory::new();
        let (a, b) = (
            directory.apply(endpoint(1, "a")),
            directory.apply(endpoint(2, "b")),
        );
        let leaving = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        assert!(directory.set_leaving(leaving(&["ns/a", "ns/gone"])));
        assert!(!directory.set_leaving(leaving(&["ns/a", "ns/gone"])));
        let pool = directory.pool();
        assert_eq!((pool.takers(), pool.len()), (&[b][..], 2));
        directory.remove(&endpoint(2, "b").address);
        assert_eq!(directory.pool().takers(), [a]);
        directory.apply(endpoint(2, "b"));
        directory.set_leaving(HashSet::new());
        assert_eq!(directory.pool().takers(), [a, b]);
    }

    #[test]
    fn absurd_numbers_are_unknown() {
        let mut directory = Directory::new();
        let slot = directory.apply(endpoint(1, "a"));
        let metrics = Metrics {
            waiting: -1.0,
            running: f64::INFINITY,
            kv_usage: 7.0,
            ..Metrics::default()
        };
        directory.observe(&endpoint(1, "a").address, &metrics);
        let load = directory.pool().load;
        assert!(load.waiting[slot.index()].is_nan() && load.running[slot.index()].is_nan());
        assert_eq!(load.kv_usage[slot.index()], 1.0);
    }
}
