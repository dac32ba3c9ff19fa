//! Watches: one task per kind and namespace, feeding the index. A kind that the cluster does not have is a fact.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt as _, watcher::Error as WatchError};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Identity;
use crate::index::{Index, Key, Kind};
use crate::settings::Settings;

/// State of one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchState {
    /// Not listed yet.
    Pending,
    /// Everything is in the index.
    Synced,
    /// The cluster has no such kind.
    Absent,
    /// The role does not allow it.
    Forbidden(String),
}

/// How all watches are doing.
#[derive(Debug, Clone, Default)]
pub struct Watching(Arc<Mutex<BTreeMap<Place, WatchState>>>);

/// A kind in a namespace, or everywhere.
type Place = (Kind, Option<String>);

impl Watching {
    fn set(&self, scope: &Scope, state: WatchState) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = states.insert((scope.kind, scope.namespace.clone()), state.clone());
        if before.as_ref() != Some(&state) {
            tracing::debug!(kind = scope.kind.names().1, namespace = ?scope.namespace, ?state, "watch");
        }
    }

    /// What has not been listed yet; empty once the index may be believed.
    #[must_use]
    pub fn pending(&self) -> Vec<&'static str> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = states.iter().filter(|(_, s)| **s == WatchState::Pending);
        pending.map(|((kind, _), _)| kind.names().1).collect()
    }
}

/// What one task watches.
#[derive(Debug, Clone)]
struct Scope {
    kind: Kind,
    namespace: Option<String>,
}

/// Time before a kind that was not there is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

pub(super) fn start(
    client: &Client,
    settings: &Settings,
    identity: &Identity,
    index: &Arc<Mutex<Index>>,
    stopped: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Watching {
    let watching = Watching::default();
    for kind in Kind::ALL {
        for namespace in namespaces(kind, settings, identity) {
            let scope = Scope { kind, namespace };
            watching.set(&scope, WatchState::Pending);
            let follow = follow(client.clone(), scope, Arc::clone(index), watching.clone());
            let stop = super::until(stopped.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = follow => {}
                    () = stop => {}
                }
            });
        }
    }
    watching
}

/// ConfigMaps are read in the controller's own namespace only: there is no reason to see everybody's.
fn namespaces(kind: Kind, settings: &Settings, identity: &Identity) -> Vec<Option<String>> {
    if kind == Kind::ConfigMap {
        return vec![Some(identity.namespace.clone())];
    }
    if kind.is_namespaced() && !settings.watch.namespaces.is_empty() {
        return settings
            .watch
            .namespaces
            .iter()
            .cloned()
            .map(Some)
            .collect();
    }
    vec![None]
}

async fn follow(client: Client, scope: Scope, index: Arc<Mutex<Index>>, watching: Watching) {
    let resource = scope.kind.api_resource();
    let api: Api<DynamicObject> = match &scope.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    loop {
        let stream = watcher(api.clone(), watcher::Config::default()).default_backoff();
        let mut stream = std::pin::pin!(stream);
        let mut listed: Vec<DynamicObject> = Vec::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => take(&scope, &index, &watching, event, &mut listed),
                Err(error) => {
                    if let Some(state) = absence(&error) {
                        lock(&index).replace(scope.kind, scope.namespace.as_deref(), []);
                        watching.set(&scope, state);
                        break;
                    }
                    tracing::warn!(kind = scope.kind.names().1, %error, "watch failed; trying again");
                }
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn take(
    scope: &Scope,
    index: &Mutex<Index>,
    watching: &Watching,
    event: Event<DynamicObject>,
    listed: &mut Vec<DynamicObject>,
) {
    match event {
        Event::Apply(object) => lock(index).apply(scope.kind, &object),
        Event::Delete(object) => lock(index).delete(scope.kind, &Key::of(&object)),
        Event::Init => listed.clear(),
        Event::InitApply(object) => listed.push(object),
        Event::InitDone => {
            let objects = std::mem::take(listed);
            lock(index).replace(scope.kind, scope.namespace.as_deref(), &objects);
            watching.set(scope, WatchState::Synced);
        }
    }
}

/// What an error says of the kind as such; `None` for trouble that passes.
fn absence(error: &WatchError) -> Option<WatchState> {
    let (WatchError::InitialListFailed(error) | WatchError::WatchStartFailed(error)) = error else {
        return None;
    };
    match error {
        kube::Error::Api(status) if status.code == 404 => Some(WatchState::Absent),
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            Some(WatchState::Forbidden(status.message.clone()))
        }
        _ => None,
    }
}

pub(super) fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    // The index holds no state between two calls that a panic could have left half done.
    index.lock().unwrap_or_else(PoisonError::into_inner)
}
