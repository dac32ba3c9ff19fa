//! Pools and pods of a cluster, watched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::watch;

use super::pool::Membership;
use super::roster::{Change, Roster};
use super::variants::Variants;
use super::watching::{Told, follow};
use crate::api::{LEGACY_GROUP, POOL_GROUP, resource};
use crate::store::Store;

/// What the two groups say of the pool; `None` is not known yet, `Some(None)` is that there is none.
type Said = [Option<Option<Membership>>; 2];

/// Keeps the endpoints those of the pool.
pub(super) async fn follow_pool(
    client: Client,
    namespace: String,
    name: String,
    store: Arc<Store>,
    variants: Arc<Variants>,
) {
    let (members, wanted) = watch::channel(None);
    let said = Mutex::new(Said::default());
    let hear = |place: usize, membership: Option<Membership>| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said[place] = Some(membership);
        // Both must have been asked before it can be said that there is none; the current group goes first.
        let now = match &*said {
            [Some(Some(current)), _] => Some(Some(current.clone())),
            [Some(None), Some(legacy)] => Some(legacy.clone()),
            _ => return,
        };
        members.send_if_modified(|before| {
            let differs = *before != now;
            if differs {
                tracing::info!(pool = name, members = ?now, "pool");
                *before = now;
            }
            differs
        });
    };
    let current = follow_one(&client, &namespace, &name, POOL_GROUP, |m| hear(0, m));
    let legacy = follow_one(&client, &namespace, &name, LEGACY_GROUP, |m| hear(1, m));
    let pods = follow_pods(client.clone(), namespace.clone(), wanted, store, variants);
    tokio::join!(current, legacy, pods);
}

/// Tells what one group's pool of that name says.
async fn follow_one(
    client: &Client,
    namespace: &str,
    name: &str,
    group: &str,
    tell: impl Fn(Option<Membership>),
) {
    let current = group == POOL_GROUP;
    let version = if current { "v1" } else { "v1alpha2" };
    let read = if current {
        Membership::of_pool
    } else {
        Membership::of_legacy_pool
    };
    let resource = resource(group, version, "InferencePool", "inferencepools");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let hear = |object: &DynamicObject| match read(object) {
        Ok(membership) => tell(Some(membership)),
        // What it said before is more likely meant than nothing.
        Err(error) => tracing::warn!(pool = name, group, error, "pool not understood"),
    };
    follow(api, config, "InferencePool", |told| match told {
        Told::All(objects) => match objects.first() {
            Some(object) => hear(object),
            None => tell(None),
        },
        Told::Applied(object) => hear(&object),
        Told::Deleted(_) | Told::Absent => tell(None),
    })
    .await;
}

/// Keeps the endpoints those of the selected pods.
pub(super) async fn follow_selected(
    client: Client,
    namespace: String,
    members: Membership,
    store: Arc<Store>,
    variants: Arc<Variants>,
) {
    let (_sender, wanted) = watch::channel(Some(Some(members)));
    follow_pods(client, namespace, wanted, store, variants).await;
}

/// Keeps the endpoints those of the pods that are wanted now. Another selector is another watch; other ports are not.
async fn follow_pods(
    client: Client,
    namespace: String,
    mut wanted: watch::Receiver<Option<Option<Membership>>>,
    store: Arc<Store>,
    variants: Arc<Variants>,
) {
    let members = Members {
        roster: Mutex::new(Roster::new(variants)),
        store,
    };
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    loop {
        let now = wanted.borrow_and_update().clone();
        let told = now.is_some();
        let Some(now) = now.flatten().filter(|m| !m.selector.is_empty()) else {
            if told {
                members.change(|roster| roster.replace(Vec::new()));
            }
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        members.roster().expect_others(&now.ports);
        let config = watcher::Config::default().labels(&now.selector);
        tokio::select! {
            () = follow(pods.clone(), config, "Pod", |told| members.hear(told)) => return,
            () = members.other_selector(&mut wanted, &now.selector) => {}
        }
    }
}

/// Pods, and the store that is told of them.
struct Members {
    roster: Mutex<Roster>,
    store: Arc<Store>,
}

impl Members {
    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, make: impl FnOnce(&mut Roster) -> Vec<Change>) {
        let mut roster = self.roster();
        let changes = make(&mut roster);
        if !changes.is_empty() {
            let update = |directory: &mut _| changes.into_iter().for_each(|c| c.make(directory));
            self.store.update(update);
        }
    }

    fn hear(&self, told: Told<Pod>) {
        match told {
            Told::All(pods) => {
                self.change(|roster| roster.replace(pods));
                self.store.set_synced();
            }
            Told::Applied(pod) => self.change(|roster| roster.apply(pod)),
            Told::Deleted(pod) => self.change(|roster| roster.delete(&pod)),
            Told::Absent => {}
        }
    }

    /// Follows the ports until another selector is wanted.
    async fn other_selector(
        &self,
        wanted: &mut watch::Receiver<Option<Option<Membership>>>,
        selector: &str,
    ) {
        loop {
            if wanted.changed().await.is_err() {
                // Nobody is left who could say so.
                return std::future::pending().await;
            }
            let now = wanted.borrow_and_update().clone();
            match now.flatten().filter(|m| m.selector == selector) {
                Some(now) => self.change(|roster| roster.set_ports(&now.ports)),
                None => return,
            }
        }
    }
}
