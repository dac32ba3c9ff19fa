//! Real components on loopback, started and stopped by the tests: etcd, kube-apiserver, the HPA, Prometheus, Envoy.
//!
//! What wva does only counts against the components it will meet: an API server that validates and drops fields
//! in silence, an HPA with a tolerance, a Prometheus that answers with NaN. So tests start those, and nothing of
//! them is imitated. What cannot run without a container engine and devices is the node, so that alone is ours:
//! [`kubelet`] makes nodes with devices, schedules pods onto them and runs a model server for each pod.
//!
//! ```text
//!                 Sandbox: a folder, 127.N.0.0/16, a watchdog
//!   127.N.0.1     etcd ── kube-apiserver ── kube-controller-manager (Deployments, HPA)
//!                              │       └── wva under test, as a user with limited rights
//!   127.N.x.y     Kubelet: nodes, scheduling, one model server for each pod
//! ```
//!
//! Everything goes when the [`Sandbox`] goes, also when the test is killed: a small watchdog process
//! notices. After a panic the logs stay and their place is printed.
//!
//! A test that needs a component says so with [`or_skip`], which keeps the contract of `cargo xtask test`:
//!
//! ```no_run
//! # use wva_testbed::{ControlPlane, Options, or_skip};
//! #[tokio::test]
//! async fn pods_are_listed() {
//!     let Some(cluster) = or_skip(ControlPlane::start(Options::default()).await) else { return };
//!     let client = cluster.admin().client().await.unwrap();
//! }
//! ```

pub mod access;
pub mod aggregation;
pub mod certificates;
pub mod component;
pub mod control_plane;
pub mod daemon;
pub mod envoy;
pub mod error;
pub mod kubelet;
pub mod process;
pub mod prometheus;
pub mod sandbox;

pub use access::Access;
pub use component::or_skip;
pub use control_plane::{ControlPlane, Options};
pub use daemon::{Daemon, eventually};
pub use envoy::Envoy;
pub use error::Error;
pub use kubelet::Kubelet;
pub use prometheus::Prometheus;
pub use sandbox::Sandbox;

/// Makes ring the crypto provider of this process; harmless when it is already. Everything here that speaks TLS
/// calls it, so a test that starts a component need not.
pub fn use_ring() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok(); // an error means that there is a provider, and the project has only this one
}
