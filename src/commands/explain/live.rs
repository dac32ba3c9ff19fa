//! The last decision of a cluster's controller.
//!
//! The controller's page at `/debug/cycle` has the cycle with everything that it started from, so that it can be planned
//! once more here and now: reasons, what binds, runner-up, prices. Where that page cannot be had, the objects still say
//! what was decided and why.

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use wva_controllers::index::fleet::{VariantView, Way};
use wva_optimizer::decision::{Decision, Reason};

use super::answer::{Explained, Live, Said};
use super::moment::{Moment, Wanted};
use crate::cluster::Cluster;
use crate::cluster::arguments::{ClusterArguments, VariantName};
use crate::cluster::look::Look;
use crate::cluster::roster::Entry;
use crate::console::Console;
use crate::failure::Failure;
use crate::figures::age;

/// Path of the controller's last cycle.
const CYCLE: &str = "/debug/cycle";
/// Events that are shown at most.
const MOST_EVENTS: usize = 8;

/// Explains the last decision about a variant.
pub async fn explain(
    cluster: &Cluster,
    arguments: &ClusterArguments,
    name: &VariantName,
    console: &Console,
) -> Result<Explained, Failure> {
    let mut widened = cluster.clone();
    if name.namespace.is_some() {
        widened.namespace.clone_from(&name.namespace);
    }
    let look = Look::take(&widened, arguments).await?;
    let named = look.named(std::slice::from_ref(name), &widened.scope())?;
    let entry = *named.first().expect("a name means one entry or is refused");
    let view = look.fleet.variants.iter().find(|v| v.key == entry.key());
    let view = view.expect("entries are made of the fleet's variants");
    let optimizers_name = view.name();
    let wanted = Wanted {
        at: None,
        variant: Some(&optimizers_name),
    };
    let page = look.contact.page(&cluster.client, CYCLE).await;
    let cycle = page.and_then(|json| {
        Moment::document(&json, CYCLE).map_err(|_| "the page is not that of this version".into())
    });
    let cycle = cycle.and_then(|moment| {
        let known = moment.decisions.iter().any(|d| wanted.concerns(d));
        let unknown = "the last cycle took no decision about it".to_owned();
        known.then_some(moment).ok_or(unknown)
    });
    let decided = look.figures.as_ref().ok();
    let decided = decided.and_then(|f| f.variants.get(&entry.key()));
    let decided = decided.and_then(|f| f.gauge("decision_timestamp_seconds"));
    let (moment, at) = match cycle {
        Ok(moment) => {
            let at = Some(moment.at);
            (moment, at)
        }
        Err(why) => {
            console.note(&format!(
                "what limits it and what else could be done is not known: {why}"
            ));
            let at = decided.or_else(|| written(view));
            (stated(entry, &optimizers_name, at.unwrap_or(look.at)), at)
        }
    };
    let events = events(&widened, view, look.at).await;
    Ok(Explained::new(&moment, &wanted)?.with(Live {
        age_s: at.map(|at| (look.at - at).max(0.0)),
        mode: entry.mode.as_str(),
        remark: entry.remark.clone(),
        conditions: unmet(view),
        events,
    }))
}

/// When the controller last wrote the status.
fn written(view: &VariantView) -> Option<f64> {
    let Way::Autoscaling { status, .. } = &view.way else {
        return None;
    };
    let desired = status.desired_optimized_alloc.as_ref()?;
    Some(desired.last_run_time.as_ref()?.0.as_millisecond() as f64 / 1e3)
}

/// The decision as far as the objects and the metrics tell it.
fn stated(entry: &Entry, name: &str, at: f64) -> Moment {
    let desired = entry.desired;
    let decision = |target| Decision {
        variant: name.to_owned(),
        model: entry.model.clone().unwrap_or_default(),
        accelerator: entry.accelerator.clone().unwrap_or_default(),
        at,
        current: entry.current,
        planned: entry.planned.unwrap_or(target),
        target,
        reasons: entry
            .reasons
            .iter()
            .map(|code| Reason {
                code: code.clone(),
                text: code.clone(),
            })
            .collect(),
    };
    Moment {
        at,
        decisions: desired.map(decision).into_iter().collect(),
        cause: None,
    }
}

/// Conditions that do not hold.
fn unmet(view: &VariantView) -> Vec<Said> {
    let Way::Autoscaling { status, .. } = &view.way else {
        return Vec::new();
    };
    let unmet = status.conditions.iter().filter(|c| c.status != "True");
    unmet
        .map(|c| Said {
            what: c.type_.clone(),
            reason: c.reason.clone(),
            message: c.message.clone(),
        })
        .collect()
}

/// What was told about the variant's object, the latest first; nothing where events may not be seen.
async fn events(cluster: &Cluster, view: &VariantView, now: f64) -> Vec<Said> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &view.key.namespace);
    let fields = format!(
        "involvedObject.kind={},involvedObject.name={}",
        view.subject.kind, view.subject.name
    );
    let listed = api.list(&ListParams::default().fields(&fields)).await;
    let mut told: Vec<(f64, Event)> = listed
        .map(|l| l.items)
        .unwrap_or_default()
        .into_iter()
        .map(|event| (last_seen(&event), event))
        .collect();
    told.sort_by(|a, b| b.0.total_cmp(&a.0));
    told.into_iter()
        .take(MOST_EVENTS)
        .map(|(at, event)| Said {
            what: age((now - at).max(0.0)),
            reason: event.reason.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        })
        .collect()
}

/// When an event was last seen; writers use one field or another.
fn last_seen(event: &Event) -> f64 {
    let series = event
        .series
        .as_ref()
        .and_then(|s| s.last_observed_time.as_ref());
    let precise = series
        .or(event.event_time.as_ref())
        .map(|t| t.0.as_millisecond());
    let coarse = || event.last_timestamp.as_ref().map(|t| t.0.as_millisecond());
    let created = || Some(event.creation_timestamp()?.0.as_millisecond());
    precise.or_else(coarse).or_else(created).unwrap_or(0) as f64 / 1e3
}
