//! The leader labels its own pod, so that the Service of the external metrics sends HPAs to the one that writes: two
//! replicas learn from the same data, but not in the same instants, and an HPA must not be told two things.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;

use super::Identity;
use crate::api::keys;
use crate::leader::Term;

/// Time between two looks at the term, which ends without anybody saying so.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the label true until told to stop, then takes it off.
pub(super) async fn follow(
    client: Client,
    identity: Identity,
    terms: watch::Receiver<Term>,
    mut stopped: watch::Receiver<bool>,
) {
    if !identity.is_pod {
        return;
    }
    let api: Api<Pod> = Api::namespaced(client, &identity.namespace);
    let (mut marked, mut told) = (None, None);
    loop {
        let leads = terms.borrow().left(Instant::now()).is_some() && !*stopped.borrow();
        if marked != Some(leads) {
            match mark(&api, &identity.name, leads).await {
                Ok(()) => (marked, told) = (Some(leads), None),
                Err(error) => {
                    // It is tried again every second, and told once.
                    let error = Some(error.to_string());
                    if told != error {
                        tracing::warn!(error, "cannot label this pod");
                        told = error;
                    }
                }
            }
        }
        if *stopped.borrow() {
            return;
        }
        tokio::select! {
            _ = stopped.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn mark(api: &Api<Pod>, name: &str, leads: bool) -> Result<(), kube::Error> {
    let value = leads.then_some("true");
    let patch = json!({"metadata": {"labels": {keys::LEADER: value}}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(drop)
}
