//! Writes effects to the cluster, each within the term of leadership, and reports what became of them.
//!
//! Statuses are applied server-side under a field manager of their own, so that nothing of the user's is touched, and with
//! the resource version that they were decided by; scales are read first and patched with the version that was read.
//! Whoever was faster wins, be it a user or the leader that came next, and the next cycle sees what they wanted. Nothing is retried here, since what is still wrong next cycle is asked for again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::api::keys;
use crate::api::status::VariantAutoscalingStatus;
use crate::cycle::effects::{Effect, WriteOutcome, Written};
use crate::index::fleet::Subject;
use crate::index::{Key, Kind};
use crate::leader::Term;

/// Name under which fields are owned.
pub const FIELD_MANAGER: &str = "wva";
/// Effects that wait at most; the cycle makes what does not fit again.
pub const QUEUE: usize = 4096;
/// Writes at a time.
const CONCURRENT: usize = 8;
/// Longest time for one write.
const LONGEST: Duration = Duration::from_secs(5);

/// Writes effects.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    recorder: Recorder,
    terms: watch::Receiver<Term>,
    troubles: Arc<Mutex<Troubles>>,
}

/// Why something about a variant could not be written when it was tried last, by the kind of effect. It is tried in each cycle,
/// and told once.
#[derive(Debug, Default)]
struct Troubles(BTreeMap<(&'static str, Option<String>), String>);

/// What is worth telling.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// It cannot be written, for this reason.
    Trouble(String),
    /// It can be written again.
    Over,
}

impl Troubles {
    fn change(
        &mut self,
        about: (&'static str, Option<String>),
        outcome: &WriteOutcome,
    ) -> Option<Change> {
        match outcome {
            WriteOutcome::Forbidden(why) | WriteOutcome::Failed(why) => {
                let before = self.0.insert(about, why.clone());
                (before.as_ref() != Some(why)).then(|| Change::Trouble(why.clone()))
            }
            WriteOutcome::Done => self.0.remove(&about).map(|_| Change::Over),
            WriteOutcome::Gone => {
                self.0.remove(&about);
                None
            }
            WriteOutcome::Conflict | WriteOutcome::NotLeader => None,
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Writes while `terms` has time left; events say that `instance` reports.
    #[must_use]
    pub fn new(client: Client, terms: watch::Receiver<Term>, instance: &str) -> Self {
        let reporter = Reporter {
            controller: FIELD_MANAGER.into(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            terms,
            troubles: Arc::default(),
        }
    }

    /// Writes what comes until the channel closes, a few at a time.
    pub async fn run(self, mut effects: mpsc::Receiver<Effect>, written: mpsc::Sender<Written>) {
        let mut open = JoinSet::new();
        while let Some(effect) = effects.recv().await {
            while open.len() >= CONCURRENT {
                open.join_next().await;
            }
            let (writer, written) = (self.clone(), written.clone());
            open.spawn(async move {
                let outcome = writer.write(&effect).await;
                if let Some(report) = report(&effect, outcome) {
                    // The receiver is the cycle; once it is gone nobody wants to know.
                    let _ = written.send(report).await;
                }
            });
        }
        while open.join_next().await.is_some() {}
    }

    /// Writes one effect, if there is time left.
    pub async fn write(&self, effect: &Effect) -> WriteOutcome {
        let Some(left) = self.terms.borrow().left(Instant::now()) else {
            return WriteOutcome::NotLeader;
        };
        let outcome = match tokio::time::timeout(left.min(LONGEST), self.send(effect)).await {
            Ok(outcome) => outcome,
            Err(_) => WriteOutcome::Failed("the API server did not answer in time".into()),
        };
        self.tell(effect, &outcome);
        outcome
    }

    fn tell(&self, effect: &Effect, outcome: &WriteOutcome) {
        let (kind, variant) = (kind(effect), effect.variant().map(ToString::to_string));
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match troubles.change((kind, variant.clone()), outcome) {
            Some(Change::Trouble(why)) => {
                tracing::warn!(effect = kind, ?variant, %why, "not written");
            }
            Some(Change::Over) => tracing::info!(effect = kind, ?variant, "written again"),
            None => {}
        }
    }

    async fn send(&self, effect: &Effect) -> WriteOutcome {
        let sent = match effect {
            Effect::Scale {
                variant,
                target,
                from,
                to,
            } => {
                return self.scale(variant, target, *from, *to).await;
            }
            Effect::Cost {
                variant,
                pod,
                uid,
                first,
            } => self.cost(variant, pod, uid, *first).await,
            Effect::Status {
                variant,
                version,
                status,
            } => self.status(variant, version.as_deref(), status).await,
            Effect::Event {
                variant,
                subject,
                reason,
                note,
                warning,
            } => self.event(variant, subject, reason, note, *warning).await,
            Effect::Keep { object } => self.keep(object).await,
        };
        sent.map_or_else(|e| failed(&e), |()| WriteOutcome::Done)
    }

    async fn scale(&self, variant: &Key, target: &Subject, from: u32, to: u32) -> WriteOutcome {
        let resource = resource_of(&target.api_version, &target.kind);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &variant.namespace, &resource);
        let now = match api.get_scale(&target.name).await {
            Ok(scale) => scale,
            Err(error) => return failed(&error),
        };
        let asked = now.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0);
        if asked != i32::try_from(from).unwrap_or(i32::MAX) {
            return WriteOutcome::Conflict;
        }
        // Again, since reading took time.
        if self.terms.borrow().left(Instant::now()).is_none() {
            return WriteOutcome::NotLeader;
        }
        let patch = json!({
            "metadata": {"resourceVersion": now.metadata.resource_version},
            "spec": {"replicas": to},
        });
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        match api
            .patch_scale(&target.name, &parameters, &Patch::Merge(patch))
            .await
        {
            Ok(_) => WriteOutcome::Done,
            Err(error) => failed(&error),
        }
    }

    /// With the UID, so that another pod of the name is left alone.
    async fn cost(
        &self,
        variant: &Key,
        pod: &str,
        uid: &str,
        first: bool,
    ) -> Result<(), kube::Error> {
        let resource = Kind::Pod.api_resource();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &variant.namespace, &resource);
        let cost = first.then(|| keys::LEAVES_FIRST.to_string());
        let patch = json!({"metadata": {"uid": uid, "annotations": {keys::DELETION_COST: cost}}});
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        api.patch(pod, &parameters, &Patch::Merge(patch))
            .await
            .map(drop)
    }

    async fn status(
        &self,
        variant: &Key,
        version: Option<&str>,
        status: &VariantAutoscalingStatus,
    ) -> Result<(), kube::Error> {
        let kind = Kind::VariantAutoscaling;
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &variant.namespace,
            &kind.api_resource(),
        );
        let mut patch = json!({
            "apiVersion": kind.names().0,
            "kind": kind.names().1,
            "metadata": {"name": variant.name, "namespace": variant.namespace},
            "status": status,
        });
        if let Some(version) = version {
            patch["metadata"]["resourceVersion"] = json!(version);
        }
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_status(&variant.name, &parameters, &Patch::Apply(patch))
            .await
            .map(drop)
    }

    async fn event(
        &self,
        variant: &Key,
        subject: &Subject,
        reason: &str,
        note: &str,
        warning: bool,
    ) -> Result<(), kube::Error> {
        let event = Event {
            type_: if warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: reason.to_owned(),
            note: Some(note.chars().take(MOST_NOTE).collect()),
            action: "Decide".into(),
            secondary: None,
        };
        let reference = ObjectReference {
            api_version: Some(subject.api_version.clone()),
            kind: Some(subject.kind.clone()),
            name: Some(subject.name.clone()),
            namespace: Some(variant.namespace.clone()).filter(|n| !n.is_empty()),
            uid: Some(subject.uid.clone()).filter(|u| !u.is_empty()),
            ..ObjectReference::default()
        };
        self.recorder.publish(&event, &reference).await
    }

    async fn keep(&self, object: &DynamicObject) -> Result<(), kube::Error> {
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let name = object.metadata.name.clone().unwrap_or_default();
        let resource = Kind::ConfigMap.api_resource();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &namespace, &resource);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&name, &parameters, &Patch::Apply(object))
            .await
            .map(drop)
    }
}

/// Longest note that the API takes, characters; it counts bytes, so with room to spare.
const MOST_NOTE: usize = 300;

fn kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Scale { .. } => "scale",
        Effect::Cost { .. } => "deletion cost",
        Effect::Status { .. } => "status",
        Effect::Event { .. } => "event",
        Effect::Keep { .. } => "state",
    }
}

/// What the cycle is told: of scales and statuses, since events and saved state decide nothing.
fn report(effect: &Effect, outcome: WriteOutcome) -> Option<Written> {
    let (variant, scale) = match effect {
        Effect::Scale { variant, to, .. } => (variant.clone(), Some(*to)),
        Effect::Status { variant, .. } => (variant.clone(), None),
        Effect::Cost { .. } | Effect::Event { .. } | Effect::Keep { .. } => return None,
    };
    Some(Written {
        variant,
        scale,
        outcome,
    })
}

fn failed(error: &kube::Error) -> WriteOutcome {
    match error {
        kube::Error::Api(status) => match status.code {
            404 => WriteOutcome::Gone,
            409 => WriteOutcome::Conflict,
            401 | 403 => WriteOutcome::Forbidden(status.message.clone()),
            code => WriteOutcome::Failed(format!("{code}: {}", status.message)),
        },
        other => WriteOutcome::Failed(other.to_string()),
    }
}

/// The address of a scale target; kinds that are not watched follow the usual plural.
fn resource_of(api_version: &str, kind: &str) -> ApiResource {
    if let Some(known) = Kind::of(api_version, kind) {
        return known.api_resource();
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_when_it_begins_or_changes_and_when_it_is_over() {
        let mut troubles = Troubles::default();
        let mut change = |outcome| troubles.change(("scale", Some("ns/v".into())), &outcome);
        let refused = |why: &str| WriteOutcome::Forbidden(why.into());
        let told = |why: &str| Some(Change::Trouble(why.into()));
        assert_eq!(change(WriteOutcome::Done), None);
        assert_eq!(change(refused("no right")), told("no right"));
        assert_eq!(change(refused("no right")), None);
        assert_eq!(change(WriteOutcome::Conflict), None);
        assert_eq!(change(refused("no right")), None);
        assert_eq!(change(refused("quota")), told("quota"));
        assert_eq!(change(WriteOutcome::Done), Some(Change::Over));
        assert_eq!(change(WriteOutcome::Done), None);
    }
}
