//! One control plane for all the tests that do not break it.

use tokio::sync::OnceCell;
use wva_testbed::{ControlPlane, Error, Options, or_skip};

/// The shared cluster, started by the first who asks; `None` where tests without components are skipped.
pub async fn cluster() -> Option<&'static ControlPlane> {
    static CLUSTER: OnceCell<Result<ControlPlane, Error>> = OnceCell::const_new();
    let started = CLUSTER.get_or_init(|| ControlPlane::start(Options::default()));
    or_skip(started.await.as_ref())
}
