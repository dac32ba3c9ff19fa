//! Whose series is this?
//!
//! Exporters and relabelling rules disagree on where a pod's name is: `pod` or `exported_pod`, `namespace` or
//! `exported_namespace`, with `-rank-N` appended for data-parallel ranks, or only an address in `instance`. Pods are looked
//! up by all of them, the most specific first. A pod that several jobs scrape is taken from one of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::answer::{Labels, Vector};
use crate::telemetry::exposition::LabelSet;
use crate::telemetry::targets::{PodTarget, Targets};

/// Looks pods up by what labels say.
pub(super) struct Owners<'t> {
    by_name: BTreeMap<(&'t str, &'t str), &'t PodTarget>,
    by_ip: BTreeMap<&'t str, Vec<&'t PodTarget>>,
}

impl<'t> Owners<'t> {
    pub fn new(targets: &'t Targets) -> Self {
        let mut by_ip: BTreeMap<&str, Vec<&PodTarget>> = BTreeMap::new();
        for pod in &targets.pods {
            if let Some(ip) = &pod.ip {
                by_ip.entry(ip).or_default().push(pod);
            }
        }
        Self {
            by_name: targets
                .pods
                .iter()
                .map(|p| ((p.namespace.as_str(), p.name.as_str()), p))
                .collect(),
            by_ip,
        }
    }

    pub fn of(&self, labels: &impl LabelSet) -> Option<&'t PodTarget> {
        let namespaces = ["exported_namespace", "namespace", "kubernetes_namespace"];
        let pods = ["exported_pod", "pod", "pod_name", "kubernetes_pod_name"];
        for pod in pods.iter().filter_map(|n| labels.label(n)) {
            for namespace in namespaces.iter().filter_map(|n| labels.label(n)) {
                let found = [&*pod, without_rank(&pod)]
                    .into_iter()
                    .find_map(|p| self.by_name.get(&(&*namespace, p)));
                if let Some(found) = found {
                    return Some(found);
                }
            }
        }
        self.at(&labels.label("instance")?)
    }

    /// The pod at an address `ip:port`; of several that share the host's address the one with that port.
    fn at(&self, instance: &str) -> Option<&'t PodTarget> {
        let (ip, port) = instance.rsplit_once(':')?;
        let here = self.by_ip.get(ip.trim_matches(['[', ']']))?;
        if let [only] = here.as_slice() {
            return Some(only);
        }
        let port: u16 = port.parse().ok()?;
        let mut with_port = here.iter().filter(|p| p.endpoint.ports.contains(&port));
        let first = with_port.next()?;
        with_port.next().is_none().then_some(*first)
    }
}

/// `name` without `-rank-N`.
fn without_rank(name: &str) -> &str {
    match name.rsplit_once("-rank-") {
        Some((base, rank)) if !rank.is_empty() && rank.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => name,
    }
}

/// One scrape target: an address as one job of one Prometheus sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scraped {
    pub instance: String,
    pub job: String,
}

impl Scraped {
    pub fn of(labels: &impl LabelSet) -> Self {
        let text = |name| labels.label(name).unwrap_or(Cow::Borrowed(""));
        let told_apart = [
            "job",
            "endpoint",
            "service",
            "container",
            "cluster",
            "prometheus",
            "prometheus_replica",
            "replica",
        ];
        Self {
            instance: text("instance").into_owned(),
            job: told_apart.map(text).join("/"),
        }
    }
}

/// For each owner the scrape targets to read, with the time of each: per address the job that scraped last. The flag says
/// that there were several.
pub(super) type Chosen = BTreeMap<String, (BTreeMap<String, (f64, String)>, bool)>;

pub(super) fn choose<'v>(
    beats: &'v Vector<'_>,
    owner: impl Fn(&'v Labels<'v>) -> Option<String>,
) -> Chosen {
    let mut chosen: Chosen = BTreeMap::new();
    for s in &beats.series {
        let at = s.number();
        let Some(owner) = owner(&s.metric).filter(|_| at.is_finite()) else {
            continue;
        };
        let Scraped { instance, job } = Scraped::of(&s.metric);
        let (instances, several) = chosen.entry(owner).or_default();
        match instances.get_mut(&instance) {
            Some((newest, held)) if *held == job => *newest = newest.max(at),
            Some(held) => {
                *several = true;
                // The fresher one, and of equally fresh ones always the same.
                if (at, &held.1) > (held.0, &job) {
                    *held = (at, job);
                }
            }
            None => {
                instances.insert(instance, (at, job));
            }
        }
    }
    chosen
}
