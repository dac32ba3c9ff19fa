//! One variant's view: every question about it answered from the objects that may know, the most specific first.

use std::collections::BTreeMap;

use wva_models::accelerator::Accelerator;
use wva_models::catalogue::Catalogue;

use super::{Candidate, Relations};
use crate::api::imports::ZeroRule;
use crate::api::variant_autoscaling::{PerfParms, VariantAutoscalingSpec};
use crate::index::config::ConfigFacts;
use crate::index::devices::{self, Device};
use crate::index::fleet::{
    Base, Finding, ModelKey, Path, PodView, Prior, Subject, VariantView, Way,
};
use crate::index::intent::Intent;
use crate::index::kinds::Kind;
use crate::index::workload::ServerFacts;
use crate::index::{Index, Key, ownership};

/// The cost that old objects carry when nobody stated one.
const OLD_DEFAULT_COST: f64 = 10.0;

impl Index {
    pub(super) fn variant(
        &self,
        candidate: &Candidate<'_>,
        base: &Base,
        catalogue: &Catalogue,
        relations: &Relations<'_>,
        slices: &mut BTreeMap<String, Accelerator>,
    ) -> VariantView {
        let mut notes = Notes::new(candidate);
        let intent = candidate.intent();
        notes.all("Misread", &intent.problems);
        let spec = candidate
            .autoscaling
            .map(|(_, a)| a.spec.clone())
            .unwrap_or_default();
        let server = candidate
            .workload
            .map(|(_, _, w)| w.server.clone())
            .unwrap_or_default();
        notes.all("Misread", &server.args.problems);
        let model = spec.model_id.clone().filter(|m| !m.trim().is_empty());
        let model = model.or_else(|| intent.model.clone());
        let model = model.or_else(|| server.args.served_name.clone());
        let model = model.or_else(|| server.args.model.clone());
        let pods = self.pods_of(candidate, relations, &intent, &server);
        let accelerator = self.accelerator(
            candidate, &spec, &intent, base, catalogue, relations, slices, &mut notes,
        );
        let profile = profile(&spec, catalogue, accelerator.as_deref());
        let (min, max) = bounds(candidate, &spec, &mut notes);
        let zero = model.as_deref().map_or_else(ZeroRule::default, |m| {
            self.zero_rule(candidate.namespace, m)
        });
        let workload = candidate.workload.map(|(_, _, w)| w);
        VariantView {
            key: Key::new(candidate.namespace, &candidate.name),
            way: candidate.way.clone(),
            subject: subject(candidate),
            target: target(candidate),
            found: workload.is_some(),
            model: model.map(|id| ModelKey {
                namespace: candidate.namespace.to_owned(),
                id,
            }),
            devices: device_count(&server, &spec, profile.count),
            resource: server.resource.clone(),
            accelerator,
            role: intent.role.unwrap_or_default(),
            engine: engine(&intent, &server),
            max_batch: profile.max_batch,
            kv_cache_tokens: intent.kv_cache_tokens,
            cost: cost(&spec, &intent, &mut notes),
            min,
            max,
            zero,
            prior: profile.prior,
            start_up_s: intent.start_up_s,
            path: self.path(candidate, relations, &intent),
            paused: intent.paused,
            desired: workload.map_or(0, |w| w.replicas),
            existing: workload.map_or(0, |w| w.existing),
            args: server.args,
            pods,
            findings: notes.findings,
        }
    }

    fn pods_of(
        &self,
        candidate: &Candidate<'_>,
        relations: &Relations<'_>,
        intent: &Intent,
        server: &ServerFacts,
    ) -> Vec<PodView> {
        let Some((kind, key, _)) = candidate.workload else {
            return Vec::new();
        };
        let pods = relations.pods.get(&(kind, key));
        let port = intent.metrics_port.or(server.port).or(candidate.pool_port);
        pods.into_iter()
            .flatten()
            .map(|(key, pod)| {
                let mut endpoint = pod.endpoint.clone();
                if endpoint.ports.is_empty() {
                    endpoint.ports.extend(port);
                }
                PodView {
                    name: key.name.clone(),
                    uid: pod.uid.clone(),
                    ip: pod.ip.clone(),
                    endpoint,
                    started_at: pod.started_at,
                    failing: pod.failing.clone(),
                    deletion_cost: pod.deletion_cost,
                    state: pod.state,
                }
            })
            .collect()
    }

    fn path(&self, candidate: &Candidate<'_>, relations: &Relations<'_>, intent: &Intent) -> Path {
        let target = (
            candidate.namespace.to_owned(),
            candidate.target.0.clone(),
            candidate.target.1.clone(),
        );
        let claims = relations.autoscalings.get(&target);
        if let Some(claims) = claims.filter(|c| c.len() > 1) {
            return Path::Advice {
                code: "TwoScalers",
                text: format!(
                    "VariantAutoscalings {} have the same target; remove all but one",
                    ownership::list(claims.iter().map(|k| k.name.clone()))
                ),
            };
        }
        let discovered = matches!(candidate.way, Way::Discovered { .. });
        if intent.advise == Some(true) || (discovered && intent.advise.is_none()) {
            return Path::Advice {
                code: "AdviceOnly",
                text: if discovered {
                    format!(
                        "it was found behind a pool; label it {}=true to have it scaled",
                        crate::api::keys::MANAGED
                    )
                } else {
                    format!("{} asks for advice only", crate::api::keys::MODE)
                },
            };
        }
        ownership::path(&candidate.scalers, candidate.workload.map(|(_, _, w)| w))
    }

    /// The accelerator: as stated, as scheduling rules want it, as the nodes of its pods are, as all nodes are.
    #[expect(
        clippy::too_many_arguments,
        reason = "every one of them may know the answer"
    )]
    fn accelerator(
        &self,
        candidate: &Candidate<'_>,
        spec: &VariantAutoscalingSpec,
        intent: &Intent,
        base: &Base,
        catalogue: &Catalogue,
        relations: &Relations<'_>,
        slices: &mut BTreeMap<String, Accelerator>,
        notes: &mut Notes,
    ) -> Option<String> {
        let server = candidate.workload.map(|(_, _, w)| &w.server);
        let resource = server.and_then(|s| s.resource.as_deref());
        let sliced = |product: &str| devices::with_slice(product, resource);
        let stated = [intent.accelerator.clone(), spec.accelerator.clone()];
        let wanted = server
            .into_iter()
            .flat_map(|s| s.wanted.iter().map(|w| sliced(w)));
        let placed = || self.node_product(candidate, relations).map(sliced);
        let profiled = spec.model_profile.iter().flat_map(|p| &p.accelerators);
        let known_by = (stated.into_iter().flatten())
            .chain(wanted)
            .chain(std::iter::once_with(placed).flatten())
            .chain(profiled.map(|p| p.acc.clone()))
            .chain(std::iter::once_with(|| self.only_product(resource).map(sliced)).flatten())
            .chain(base.default_accelerator.clone());
        for written in known_by.filter(|w| !w.trim().is_empty()) {
            let written = written.as_str();
            match devices::resolve(catalogue, written) {
                Device::Known(name) => return Some(name),
                Device::Slice(slice) => {
                    let name = slice.name.clone();
                    slices.insert(name.clone(), *slice);
                    return Some(name);
                }
                Device::Unknown(near) => notes.add("UnknownAccelerator", unknown(written, near)),
            }
        }
        if notes
            .findings
            .iter()
            .all(|f| f.code != "UnknownAccelerator")
        {
            notes.add(
                "UnknownAccelerator",
                format!(
                    "nothing says which accelerator it runs on; label it {}=NAME",
                    crate::api::keys::ACCELERATOR
                ),
            );
        }
        None
    }

    /// The device of a node that one of its pods is on; replicas of one workload are alike.
    fn node_product(&self, candidate: &Candidate<'_>, relations: &Relations<'_>) -> Option<&str> {
        let (kind, key, _) = candidate.workload?;
        let mut pods = relations.pods.get(&(kind, key))?.iter();
        pods.find_map(|(_, pod)| self.product_of_node(pod.node.as_deref()?))
    }

    fn zero_rule(&self, namespace: &str, model: &str) -> ZeroRule {
        let maps = self.config.get(&Kind::ConfigMap).into_iter().flatten();
        maps.filter_map(|(_, f)| f.as_ref().ok())
            .find_map(|f| match f {
                ConfigFacts::OldScaleToZero(rules) => Some(rules.value.rule(namespace, model)),
                _ => None,
            })
            .unwrap_or_default()
    }
}

/// Collects what is to be told about a variant.
struct Notes {
    subject: String,
    findings: Vec<Finding>,
}

impl Notes {
    fn new(candidate: &Candidate<'_>) -> Self {
        let subject = subject(candidate);
        Self {
            subject: format!("{} {}/{}", subject.kind, candidate.namespace, subject.name),
            findings: Vec::new(),
        }
    }

    fn add(&mut self, code: &'static str, text: impl Into<String>) {
        self.findings.push(Finding {
            subject: self.subject.clone(),
            code,
            text: text.into(),
        });
    }

    fn all(&mut self, code: &'static str, texts: &[String]) {
        texts.iter().for_each(|t| self.add(code, t.clone()));
    }
}

fn unknown(written: &str, near: Option<String>) -> String {
    let written: String = written.chars().take(80).collect();
    match near {
        Some(near) => format!("no accelerator is called `{written}`; did you mean `{near}`?"),
        None => format!(
            "no accelerator is called `{written}`; describe it in an Accelerator object or in the configuration file"
        ),
    }
}

fn subject(candidate: &Candidate<'_>) -> Subject {
    let by_scaler = |kind: Kind| candidate.scalers.iter().find(|s| s.kind == kind);
    let of_scaler = |s: &ownership::Scaler<'_>| Subject {
        api_version: s.kind.names().0.into(),
        kind: s.kind.names().1.into(),
        name: s.key.name.clone(),
        uid: s.facts.uid.clone(),
    };
    match (&candidate.way, candidate.autoscaling) {
        (Way::Autoscaling { .. }, Some((key, facts))) => Subject {
            api_version: Kind::VariantAutoscaling.names().0.into(),
            kind: Kind::VariantAutoscaling.names().1.into(),
            name: key.name.clone(),
            uid: facts.uid.clone(),
        },
        (Way::Hpa, _) => {
            by_scaler(Kind::HorizontalPodAutoscaler).map_or_else(|| target(candidate), of_scaler)
        }
        (Way::ScaledObject, _) => {
            by_scaler(Kind::ScaledObject).map_or_else(|| target(candidate), of_scaler)
        }
        _ => target(candidate),
    }
}

fn target(candidate: &Candidate<'_>) -> Subject {
    let (kind, name) = candidate.target.clone();
    let known = Kind::of_target(&kind).map(|k| k.names().0);
    let stated = candidate.autoscaling.and_then(|(_, a)| {
        let reference = a.spec.scale_target_ref.as_ref()?;
        reference.api_version.as_deref()
    });
    Subject {
        api_version: known.or(stated).unwrap_or("apps/v1").to_owned(),
        kind,
        name,
        uid: candidate
            .workload
            .map(|(_, _, w)| w.uid.clone())
            .unwrap_or_default(),
    }
}

fn engine(intent: &Intent, server: &ServerFacts) -> String {
    let named = intent.engine.clone().map(|e| e.to_ascii_lowercase());
    named.unwrap_or_else(|| {
        let image = server.image.to_ascii_lowercase();
        let marks = [
            ("sglang", "sglang"),
            ("triton", "triton"),
            ("tensorrt", "trtllm"),
            ("trtllm", "trtllm"),
        ];
        let found = marks.iter().find(|(mark, _)| image.contains(mark));
        found.map_or("vllm", |(_, engine)| engine).to_owned()
    })
}

fn device_count(server: &ServerFacts, spec: &VariantAutoscalingSpec, profiled: Option<u32>) -> u32 {
    let args = &server.args;
    let by_args = args
        .tensor_parallel
        .map(|tp| tp * args.pipeline_parallel.unwrap_or(1));
    let stated = spec
        .accelerator_count
        .and_then(|n| u32::try_from(n).ok())
        .or(profiled);
    let counted = (server.devices > 0).then_some(server.devices);
    counted
        .or(stated)
        .or(by_args)
        .unwrap_or(1)
        .clamp(1, MOST_DEVICES)
}

/// Most devices of one replica that are believed.
const MOST_DEVICES: u32 = 1024;

fn cost(spec: &VariantAutoscalingSpec, intent: &Intent, notes: &mut Notes) -> Option<f64> {
    let written = spec.variant_cost.clone().or_else(|| intent.cost.clone())?;
    match written.trim().parse::<f64>() {
        Ok(cost) if cost.is_finite() && (0.0..=1e9).contains(&cost) => {
            (cost != OLD_DEFAULT_COST).then_some(cost)
        }
        _ => {
            let written: String = written.chars().take(80).collect();
            notes.add(
                "Misread",
                format!(
                    "cost `{written}` is not a number of dollars; the catalogue's price counts"
                ),
            );
            None
        }
    }
}

/// Bounds: the scaler in front enforces its own, so the narrower of both.
fn bounds(
    candidate: &Candidate<'_>,
    spec: &VariantAutoscalingSpec,
    notes: &mut Notes,
) -> (u32, Option<u32>) {
    let whole = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
    let scaler = match candidate.scalers.as_slice() {
        [one] => Some(one.facts),
        _ => None,
    };
    let own_min = candidate.autoscaling.and(whole(spec.min_replicas));
    let min = own_min.or(scaler.map(|s| s.min)).unwrap_or(1);
    let min = scaler.map_or(min, |s| min.max(s.min));
    let max = match (whole(spec.max_replicas), scaler.and_then(|s| s.max)) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    match max {
        Some(max) if max < min => {
            notes.add("Misread", format!("at least {min} and at most {max} replicas contradict each other; at most {max} counts"));
            (max, Some(max))
        }
        max => (min, max),
    }
}

struct Profile {
    prior: Option<Prior>,
    max_batch: Option<u32>,
    count: Option<u32>,
}

/// Measured parameters that old objects carry for this accelerator.
fn profile(
    spec: &VariantAutoscalingSpec,
    catalogue: &Catalogue,
    accelerator: Option<&str>,
) -> Profile {
    let whole = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    if let Some(profile) = &spec.variant_profile {
        return Profile {
            prior: profile.perf_parms.as_ref().and_then(prior),
            max_batch: whole(profile.max_batch_size),
            count: None,
        };
    }
    let profiles = spec
        .model_profile
        .as_ref()
        .map(|p| p.accelerators.as_slice())
        .unwrap_or_default();
    let same = |name: &str| {
        catalogue
            .accelerator(name)
            .is_some_and(|a| Some(a.name.as_str()) == accelerator)
    };
    let Some(found) = profiles.iter().find(|p| same(&p.acc)).or(profiles.first()) else {
        return Profile {
            prior: None,
            max_batch: None,
            count: None,
        };
    };
    let early = || {
        let mut parms = PerfParms::default();
        parms
            .decode_parms
            .insert("alpha".into(), found.alpha.clone()?);
        parms
            .decode_parms
            .insert("beta".into(), found.beta.clone()?);
        Some(parms)
    };
    Profile {
        prior: found
            .perf_parms
            .clone()
            .or_else(early)
            .as_ref()
            .and_then(prior),
        max_batch: whole(found.max_batch_size),
        count: whole(found.acc_count),
    }
}

fn prior(parms: &PerfParms) -> Option<Prior> {
    let seconds = |map: &BTreeMap<String, String>, key: &str| {
        let ms = map.get(key)?.trim().parse::<f64>().ok()?;
        (0.0..=1e6).contains(&ms).then_some(ms / 1e3)
    };
    let alpha_s = seconds(&parms.decode_parms, "alpha").filter(|a| *a > 0.0)?;
    Some(Prior {
        alpha_s,
        beta_s: seconds(&parms.decode_parms, "beta").unwrap_or(0.0),
        gamma_s: seconds(&parms.prefill_parms, "gamma").unwrap_or(0.0),
        delta_s: seconds(&parms.prefill_parms, "delta").unwrap_or(0.0),
    })
}
