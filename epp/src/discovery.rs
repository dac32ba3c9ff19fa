//! Where the endpoints come from: the pods of an `InferencePool`, a label selector, or a file.
//!
//! ```text
//!  InferencePool ─► selector, ports ─┐
//!  Pods ─────────────────────────────┴► Roster ──changes──► store
//!  file, read again when it changes ──────────────────────►
//! ```
//! What is known stays known while the API server is away: a watch that breaks is taken up again, and only a complete new
//! list takes away what it does not have. A pod that is being deleted is no endpoint from then on: its server may refuse
//! requests already, and those who leave in order were drained before.

mod cluster;
pub mod file;
pub mod listing;
pub mod pod;
pub mod pool;
pub mod roster;
pub mod variants;
pub(crate) mod watching;

use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;

use crate::store::Store;
use pool::Membership;
use variants::Variants;

/// Where endpoints come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The pods of a pool.
    Pool {
        /// Namespace of the pool and its pods.
        namespace: String,
        /// Name of the pool.
        name: String,
    },
    /// The pods that a label selector selects, on these ports.
    Selector {
        /// Namespace of the pods.
        namespace: String,
        /// Selector, and ports.
        members: Membership,
    },
    /// The endpoints that a file lists.
    File(PathBuf),
}

/// Keeps the endpoints of `store` those of `origin`, for as long as it is polled. `client` is asked for where the origin
/// is a cluster.
///
/// # Panics
/// Where the origin is a cluster and there is no client.
pub async fn discover(
    origin: Origin,
    client: Option<Client>,
    store: Arc<Store>,
    variants: Arc<Variants>,
) {
    let client = || client.clone().expect("a cluster is reached by a client");
    match origin {
        Origin::File(path) => file::follow(&path, &store, &variants).await,
        Origin::Pool { namespace, name } => {
            cluster::follow_pool(client(), namespace, name, store, variants).await;
        }
        Origin::Selector { namespace, members } => {
            cluster::follow_selected(client(), namespace, members, store, variants).await;
        }
    }
}
