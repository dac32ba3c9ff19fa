//! What the decisions rest on: do the servers report, under the name that the variant says, and does it arrive in time?

use std::collections::BTreeMap;

use serde_json::Value;
use wva_controllers::api::keys;
use wva_controllers::index::Kind;
use wva_controllers::index::fleet::VariantView;
use wva_controllers::telemetry::Reason;
use wva_models::catalogue::Catalogue;

use super::evidence::Evidence;
use super::finding::Examination;
use super::variants::subject;
use crate::cluster::roster::Mode;
use crate::cluster::servers::ServerPage;
use crate::figures::age;

/// Age from which on data is stale, seconds.
const STALE_S: f64 = 60.0;

/// Judges the telemetry.
pub fn judge(evidence: &Evidence, exam: &mut Examination) {
    exam.area("model servers");
    for view in &evidence.look.fleet.variants {
        servers(evidence, view, exam);
    }
    exam.area("routing");
    routing(evidence, exam);
    exam.area("data of the controller");
    arrived(evidence, exam);
    exam.area("Prometheus");
    prometheus(evidence, exam);
}

fn servers(evidence: &Evidence, view: &VariantView, exam: &mut Examination) {
    let pages: Vec<&ServerPage> = evidence
        .pages
        .iter()
        .filter(|p| p.variant == view.key)
        .collect();
    exam.looked_at(pages.len());
    let unread: Vec<(&str, &String)> = pages
        .iter()
        .filter_map(|p| Some((p.pod.as_str(), p.reading.as_ref().err()?)))
        .collect();
    if let Some((pod, why)) = unread.first() {
        if why.contains("known engine") {
            let object = format!("Pod {}/{pod}", view.key.namespace);
            exam.error(
                "NoEngineMetrics",
                object,
                why.as_str(),
                Reason::NoEngineMetrics.fix(),
            );
        } else {
            // That we cannot reach a pod says little about the controller, which has another way.
            exam.not_done(format!("{pod}: {why}"));
        }
    }
    for page in pages {
        let Ok(reading) = &page.reading else { continue };
        if reading.mismatch {
            exam.warning(
                "EngineMismatch",
                subject(view),
                format!(
                    "its pods are labelled {} but serve with {}",
                    view.engine,
                    reading.dialect.as_str()
                ),
                format!(
                    "label the pods {}={}",
                    keys::ENGINE_TYPE,
                    reading.dialect.as_str()
                ),
            );
        }
        if let Some(other) = named_otherwise(view, &reading.models) {
            exam.error(
                "ModelNameMismatch",
                subject(view),
                format!(
                    "its servers serve `{other}`, but it says `{}`: arrivals cannot be attributed to it",
                    view.model.as_ref().map_or("", |m| m.id.as_str())
                ),
                format!(
                    "kubectl -n {} annotate {} {} --overwrite {}={other}",
                    view.key.namespace,
                    view.subject.kind.to_ascii_lowercase(),
                    view.subject.name,
                    keys::MODEL_ID
                ),
            );
        }
    }
}

/// The name under which it is served, where that is not a name of its model.
fn named_otherwise<'a>(view: &VariantView, served: &'a [String]) -> Option<&'a str> {
    let model = view.model.as_ref()?;
    let catalogue = Catalogue::builtin();
    let known = |name: &str| catalogue.model(name).map(|m| m.name.clone());
    let stated = view.args.served_name.as_deref();
    let same = |name: &String| {
        name.eq_ignore_ascii_case(&model.id)
            || stated.is_some_and(|s| s.eq_ignore_ascii_case(name))
            || (known(name).is_some() && known(name) == known(&model.id))
    };
    let first = served.first()?;
    (!served.iter().any(same)).then_some(first.as_str())
}

/// Pods that no pool selects get no traffic from the router, and their arrivals are not counted there.
fn routing(evidence: &Evidence, exam: &mut Examination) {
    let objects = &evidence.look.objects;
    let pools: Vec<_> = [Kind::InferencePool, Kind::InferencePoolAlpha]
        .into_iter()
        .flat_map(|kind| objects.of(kind))
        .collect();
    exam.looked_at(pools.len());
    if pools.is_empty() {
        return exam.info(
            "NoPool",
            "cluster",
            "no InferencePool is there: arrivals are counted at the engines, which do not see what is refused before them",
            None,
        );
    }
    for view in &evidence.look.fleet.variants {
        let Some(kind) = Kind::of_target(&view.target.kind) else {
            continue;
        };
        let Some(workload) = objects.find(kind, &view.key.namespace, &view.target.name) else {
            continue;
        };
        let labels = labels(&workload.data);
        let selected = pools.iter().any(|pool| {
            let here = pool.metadata.namespace.as_deref() == Some(&view.key.namespace);
            here && selects(&pool.data, &labels)
        });
        if !selected {
            exam.warning(
                "NotRouted",
                format!("{} {}/{}", view.target.kind, view.key.namespace, view.target.name),
                "no InferencePool of its namespace selects its pods: the router sends them nothing",
                "add the labels of the pool's selector to the pod template, or correct the selector",
            );
        }
    }
}

/// Labels of the pods that a workload makes.
fn labels(workload: &Value) -> BTreeMap<String, String> {
    let places = [
        "/spec/template/metadata/labels",
        "/spec/leaderWorkerTemplate/leaderTemplate/metadata/labels",
        "/spec/leaderWorkerTemplate/workerTemplate/metadata/labels",
    ];
    let found = places.iter().find_map(|p| workload.pointer(p)?.as_object());
    let text = |(k, v): (&String, &Value)| Some((k.clone(), v.as_str()?.to_owned()));
    found.into_iter().flatten().filter_map(text).collect()
}

/// Whether a pool of either version selects pods with these labels.
fn selects(pool: &Value, labels: &BTreeMap<String, String>) -> bool {
    let selector = pool
        .pointer("/spec/selector/matchLabels")
        .or_else(|| pool.pointer("/spec/selector"));
    let selector = selector.and_then(Value::as_object);
    selector.is_some_and(|s| {
        !s.is_empty()
            && s.iter()
                .all(|(k, v)| labels.get(k).map(String::as_str) == v.as_str())
    })
}

fn arrived(evidence: &Evidence, exam: &mut Examination) {
    let Ok(figures) = &evidence.look.figures else {
        return exam.not_done("its metrics cannot be read");
    };
    for entry in &evidence.look.entries {
        exam.looked_at(1);
        let object = format!("variant {}/{}", entry.namespace, entry.name);
        let explain = format!("wva explain {}/{}", entry.namespace, entry.name);
        if !figures.variants.contains_key(&entry.key()) {
            exam.error(
                "NoDecision",
                object,
                "the controller has never decided about it",
                explain,
            );
            continue;
        }
        if entry.mode == Mode::Held {
            let why = entry.reasons.first().map_or("", String::as_str);
            exam.error(
                "Held",
                object.as_str(),
                format!("replicas are held where they are, because not enough is known ({why})"),
                explain,
            );
        }
        match entry.data_age_s {
            Some(old) if old > STALE_S => {
                let problem = format!("its newest data is {} old", age(old));
                exam.error("Stale", object, problem, Reason::Stale.fix());
            }
            None if entry.ready > 0 => {
                exam.error(
                    "NoData",
                    object,
                    "nothing is heard from its servers",
                    Reason::NoSource.fix(),
                );
            }
            _ => {}
        }
    }
}

fn prometheus(evidence: &Evidence, exam: &mut Examination) {
    let Some((url, answer)) = &evidence.prometheus else {
        return exam.not_done("none is named: --prometheus URL");
    };
    exam.looked_at(1);
    match answer {
        Err(why) => exam.error(
            "PrometheusUnreachable",
            url.as_str(),
            why.as_str(),
            Reason::PrometheusError.fix(),
        ),
        Ok(series) if *series < 1.0 => exam.error(
            "NotInPrometheus",
            url.as_str(),
            "it has no series of any model server",
            Reason::NotInPrometheus.fix(),
        ),
        Ok(_) => {}
    }
}
