//! Pods as they come and go, and what that changes for the endpoints.
//!
//! Pure and synchronous: the watch feeds it, the store takes its changes, and tests need no cluster.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use wva_epp_core::endpoint::Endpoint;
use wva_epp_core::pool::Directory;

use super::pod;
use super::variants::Variants;

/// One change of the endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is new, or different.
    Apply(Box<Endpoint>),
    /// It is gone.
    Remove(SocketAddr),
}

impl Change {
    /// Makes the change.
    pub fn make(self, directory: &mut Directory) {
        match self {
            Self::Apply(endpoint) => {
                directory.apply(*endpoint);
            }
            Self::Remove(address) => {
                directory.remove(&address);
            }
        }
    }
}

/// Endpoints by address, each with the pod that it is of.
type Told = HashMap<SocketAddr, (String, Endpoint)>;

/// The pods that are meant, and the endpoints that they are.
#[derive(Debug, Default)]
pub struct Roster {
    variants: Arc<Variants>,
    ports: Vec<u16>,
    /// Whether these are the ports of pods that are not listed yet, and not those of the pods here.
    unlisted: bool,
    pods: BTreeMap<String, Pod>,
    /// What was told last.
    told: Told,
}

impl Roster {
    /// No pods yet.
    #[must_use]
    pub fn new(variants: Arc<Variants>) -> Self {
        Self {
            variants,
            ..Self::default()
        }
    }

    /// Sets the ports that all pods serve on.
    pub fn set_ports(&mut self, ports: &[u16]) -> Vec<Change> {
        self.ports = ports.to_vec();
        match self.unlisted {
            true => Vec::new(),
            false => self.tell_all(),
        }
    }

    /// Others are meant from now on, who serve on these ports. Those of before stay as they were until it is known who the
    /// others are, which the next complete list tells: they do not serve on the others' ports.
    pub fn expect_others(&mut self, ports: &[u16]) {
        self.ports = ports.to_vec();
        self.unlisted = true;
    }

    /// Takes in a new or changed pod.
    pub fn apply(&mut self, pod: Pod) -> Vec<Change> {
        let (name, pod) = entry(pod);
        let endpoints = pod::endpoints(&pod, &self.ports, &self.variants);
        self.pods.insert(name.clone(), pod);
        self.tell(&name, endpoints)
    }

    /// Takes out a pod.
    pub fn delete(&mut self, pod: &Pod) -> Vec<Change> {
        let name = name(pod);
        self.pods.remove(&name);
        self.tell(&name, Vec::new())
    }

    /// Takes in a complete list: who is not on it is gone.
    pub fn replace(&mut self, pods: Vec<Pod>) -> Vec<Change> {
        self.pods = pods.into_iter().map(entry).collect();
        self.unlisted = false;
        self.tell_all()
    }

    fn tell_all(&mut self) -> Vec<Change> {
        let mut now = Told::new();
        for (name, pod) in &self.pods {
            for endpoint in pod::endpoints(pod, &self.ports, &self.variants) {
                enter(&mut now, name, endpoint);
            }
        }
        let gone = self.told.keys().filter(|a| !now.contains_key(a));
        let mut changes: Vec<Change> = gone.copied().map(Change::Remove).collect();
        let new = now.iter().filter(|(a, e)| self.told.get(a) != Some(*e));
        changes.extend(new.map(|(_, (_, e))| Change::Apply(Box::new(e.clone()))));
        self.told = now;
        changes
    }

    /// The changes that one pod's endpoints make. An address that another pod has by now is left to it.
    fn tell(&mut self, name: &str, endpoints: Vec<Endpoint>) -> Vec<Change> {
        let mut changes = Vec::new();
        let kept = |a: &SocketAddr| endpoints.iter().any(|e| e.address == *a);
        self.told.retain(|address, (owner, _)| {
            let gone = owner == name && !kept(address);
            if gone {
                changes.push(Change::Remove(*address));
            }
            !gone
        });
        for endpoint in endpoints {
            let address = endpoint.address;
            let before = self.told.get(&address).cloned();
            enter(&mut self.told, name, endpoint);
            let now = &self.told[&address];
            if before.as_ref() != Some(now) {
                changes.push(Change::Apply(Box::new(now.1.clone())));
            }
        }
        changes
    }
}

/// Of two pods at one address, the one that does not drain is the one that answers there.
fn enter(told: &mut Told, name: &str, endpoint: Endpoint) {
    let held = told.get(&endpoint.address);
    let older = held.is_some_and(|(owner, e)| owner != name && endpoint.draining && !e.draining);
    if !older {
        told.insert(endpoint.address, (name.to_owned(), endpoint));
    }
}

/// The pod under its name, without what is never looked at.
fn entry(mut pod: Pod) -> (String, Pod) {
    pod.metadata.managed_fields = None;
    pod.spec = None;
    (name(&pod), pod)
}

fn name(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, last: u8, ready: bool, deleting: bool) -> Pod {
        let metadata = if deleting {
            json!({"name": name, "namespace": "ns", "deletionTimestamp": "2026-11-21T20:00:00Z"})
        } else {
            json!({"name": name, "namespace": "ns"})
        };
        let ready = if ready { "True" } else { "False" };
        let status = json!({
            "podIP": format!("10.0.0.{last}"), "conditions": [{"type": "Ready", "status": ready}],
        });
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    }

    fn said(changes: &[Change]) -> Vec<String> {
        let one = |change: &Change| match change {
            Change::Apply(e) if e.draining => format!("~{}", e.address),
            Change::Apply(e) => format!("+{}", e.address),
            Change::Remove(a) => format!("-{a}"),
        };
        let mut all: Vec<String> = changes.iter().map(one).collect();
        all.sort();
        all
    }

    fn roster() -> Roster {
        let mut roster = Roster::default();
        roster.set_ports(&[80]);
        roster
    }

    #[test]
    fn only_what_changes_is_told() {
        let mut roster = roster();
        let mut apply = |ready, deleting| said(&roster.apply(pod("a", 1, ready, deleting)));
        assert_eq!(apply(false, false), [""; 0]);
        assert_eq!(apply(true, false), ["+10.0.0.1:80"]);
        assert_eq!(apply(true, false), [""; 0]);
        assert_eq!(said(&roster.set_ports(&[80, 81])), ["+10.0.0.1:81"]);
        let moved = ["+10.0.0.1:81", "-10.0.0.1:80"];
        assert_eq!(said(&roster.set_ports(&[81])), moved);
        let going = pod("a", 1, true, true);
        assert_eq!(said(&roster.apply(going.clone())), ["-10.0.0.1:81"]);
        assert_eq!(said(&roster.delete(&going)), [""; 0]);
    }

    #[test]
    fn a_new_list_takes_away_what_it_does_not_have() {
        let mut roster = roster();
        roster.apply(pod("a", 1, true, false));
        roster.apply(pod("b", 2, true, false));
        let list = vec![pod("b", 2, true, false), pod("c", 3, true, false)];
        let changes = said(&roster.replace(list));
        assert_eq!(changes, ["+10.0.0.3:80", "-10.0.0.1:80"]);
        assert_eq!(said(&roster.replace(vec![])).len(), 2);
    }

    #[test]
    fn pods_that_are_no_longer_meant_do_not_get_the_ports_of_those_that_are() {
        let mut roster = roster();
        roster.apply(pod("a", 1, true, false));
        roster.expect_others(&[90]);
        assert_eq!(said(&roster.set_ports(&[90, 91])), [""; 0]);
        let changes = said(&roster.replace(vec![pod("b", 2, true, false)]));
        let others = ["+10.0.0.2:90", "+10.0.0.2:91", "-10.0.0.1:80"];
        assert_eq!(changes, others);
        let listed = said(&roster.set_ports(&[90]));
        assert_eq!(listed, ["-10.0.0.2:91"]);
    }

    #[test]
    fn an_address_that_is_used_again_belongs_to_the_new_pod() {
        let mut roster = roster();
        let (old, new) = (pod("old", 1, true, true), pod("new", 1, true, false));
        roster.apply(old.clone());
        assert_eq!(said(&roster.apply(new.clone())), ["+10.0.0.1:80"]);
        assert_eq!(said(&roster.apply(old.clone())), [""; 0]);
        assert_eq!(said(&roster.delete(&old)), [""; 0]);
        assert_eq!(said(&roster.delete(&new)), ["-10.0.0.1:80"]);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Apply(u8, u8, bool, bool),
        Delete(u8),
        Ports(Vec<u16>),
        Replace(Vec<(u8, u8)>),
    }

    fn event() -> impl Strategy<Value = Event> {
        let apply = (0..4_u8, 0..4_u8, any::<bool>(), any::<bool>());
        prop_oneof![
            4 => apply.prop_map(|(n, i, r, d)| Event::Apply(n, i, r, d)),
            2 => (0..4_u8).prop_map(Event::Delete),
            1 => prop::collection::vec(80..84_u16, 1..3).prop_map(Event::Ports),
            1 => prop::collection::vec((0..4_u8, 0..4_u8), 0..4).prop_map(Event::Replace),
        ]
    }

    fn happen(roster: &mut Roster, event: Event) -> Vec<Change> {
        let named = |n: u8, i, r, d| pod(&n.to_string(), i, r, d);
        match event {
            Event::Apply(n, i, r, d) => roster.apply(named(n, i, r, d)),
            Event::Delete(n) => roster.delete(&named(n, 0, true, false)),
            Event::Ports(ports) => roster.set_ports(&ports),
            Event::Replace(list) => {
                let pods = list.into_iter().map(|(n, i)| named(n, i, true, false));
                roster.replace(pods.collect())
            }
        }
    }

    proptest! {
        /// Whatever happened: who followed the changes has what was told in all, and never an address that no ready pod
        /// serves at.
        #[test]
        fn changes_add_up(events in prop::collection::vec(event(), 0..40)) {
            let (mut roster, mut directory) = (roster(), Directory::new());
            for event in events {
                let changes = happen(&mut roster, event);
                changes.into_iter().for_each(|c| c.make(&mut directory));
                let pool = directory.pool();
                let known = pool.slots().filter_map(|s| pool.endpoint(s));
                let known: HashMap<_, _> = known.map(|e| (e.address, e.clone())).collect();
                let told = roster.told.iter().map(|(a, (_, e))| (*a, e.clone()));
                prop_assert_eq!(known, told.collect::<HashMap<_, _>>());
                let pods = roster.pods.values();
                let served = pods.flat_map(|p| pod::endpoints(p, &roster.ports, &roster.variants));
                let served: HashSet<SocketAddr> = served.map(|e| e.address).collect();
                prop_assert!(roster.told.keys().all(|a| served.contains(a)));
            }
        }
    }
}
