//! One control plane with nodes for all the tests that do not break it.

use tokio::sync::OnceCell;
use wva_testbed::kubelet::NodeSpec;
use wva_testbed::{ControlPlane, Error, Kubelet, Options, or_skip};

use crate::fleet::PlainServers;

/// A cluster, and its nodes: `a100-a` with eight devices, `small` with none.
pub struct Cluster {
    pub kubelet: Kubelet,
    pub plane: ControlPlane,
}

impl Cluster {
    /// A cluster of its own for a test.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let plane = ControlPlane::start(options).await?;
        let nodes = [
            NodeSpec::with_gpus("a100-a", "NVIDIA-A100-SXM4-80GB", 8),
            NodeSpec::new("small"),
        ];
        let kubelet = Kubelet::start(&plane, &nodes, PlainServers).await?;
        Ok(Self { kubelet, plane })
    }
}

/// The shared cluster, started by the first who asks; `None` where tests without components are skipped.
pub async fn shared() -> Option<&'static Cluster> {
    static CLUSTER: OnceCell<Result<Cluster, Error>> = OnceCell::const_new();
    let started = CLUSTER.get_or_init(|| Cluster::start(Options::default()));
    or_skip(started.await.as_ref())
}
