//! The life of one pod on its node, from the start of its server to the end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

use super::probe::{Readiness, Streak};
use super::server::{Assignment, Server, ServerFactory};
use super::status::{History, Stage, patch};

/// Between two attempts to tell the API server something, or to start a server.
const RETRY: Duration = Duration::from_millis(300);

/// What can happen to a pod from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Its process dies, and is started again.
    Crash,
    /// It was deleted, with this time to come to an end.
    End(Duration),
    /// Its node is gone.
    Lose,
    /// It is not in the API any more.
    Forget,
}

/// What all pods share.
pub struct Surroundings {
    /// The administrator's.
    pub client: Client,
    /// For probes.
    pub http: reqwest::Client,
    /// Starts servers.
    pub servers: Box<dyn ServerFactory>,
}

/// Now, in the whole seconds that Kubernetes writes.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.map_or(0, |s| s.as_secs());
    Timestamp::from_second(seconds.cast_signed()).unwrap_or_default()
}

/// Lives through a pod's life; returns when the pod is gone.
pub async fn live(
    surroundings: Arc<Surroundings>,
    assignment: Assignment,
    mut orders: UnboundedReceiver<Order>,
) {
    let mut record = Record::new(surroundings, assignment);
    loop {
        match run_server(&mut record, &mut orders).await {
            Order::Crash => record.history.restarts += 1,
            Order::End(_) | Order::Lose => return record.remove().await,
            Order::Forget => return,
        }
    }
}

/// One run of the server: returns what ended it.
async fn run_server(record: &mut Record, orders: &mut UnboundedReceiver<Order>) -> Order {
    let started = tokio::select! {
        order = next(orders) => return order,
        started = start(record) => started,
    };
    let server = match started {
        Ok(server) => server,
        Err(reason) => return back_off(record, orders, reason).await,
    };
    let order = tokio::select! {
        order = next(orders) => order,
        never = serve(record) => match never {},
    };
    if let Order::End(grace) = order {
        // Drained while the rest of the cluster is told, and cut when a second order says so.
        let drained = async { tokio::join!(record.write(Stage::Running), server.drain()) };
        tokio::select! {
            _ = timeout(grace, drained) => {}
            _ = cut_short(orders) => {}
        }
    }
    server.kill().await;
    order
}

/// The next order. Without a kubelet there is nobody to give one: the pod is not looked after any more.
async fn next(orders: &mut UnboundedReceiver<Order>) -> Order {
    orders.recv().await.unwrap_or(Order::Forget)
}

/// Returns when a pod that is ending must end at once.
async fn cut_short(orders: &mut UnboundedReceiver<Order>) {
    while let Order::End(_) = next(orders).await {}
}

async fn start(record: &mut Record) -> Result<Box<dyn Server>, String> {
    record.write(Stage::Creating).await;
    let servers = &record.surroundings.servers;
    servers.start(record.assignment.clone()).await
}

async fn back_off(
    record: &mut Record,
    orders: &mut UnboundedReceiver<Order>,
    reason: String,
) -> Order {
    let told = async {
        record.write(Stage::Failing(reason)).await;
        sleep(RETRY).await;
    };
    tokio::select! {
        order = next(orders) => order,
        () = told => Order::Crash,
    }
}

/// Start-up, then probes for as long as the server lives.
async fn serve(record: &mut Record) -> Infallible {
    record.history.started = now();
    record.write(Stage::Running).await;
    sleep(record.assignment.startup()).await;
    let Some(probe) = Readiness::of(&record.assignment) else {
        record.write(Stage::Ready).await;
        return std::future::pending().await;
    };
    sleep(probe.delay).await;
    let (mut streak, mut ready) = (Streak::default(), false);
    loop {
        let passed = probe.passes(&record.surroundings.http).await;
        let before = ready;
        ready = streak.next(&probe, ready, passed);
        if ready != before {
            let stage = if ready { Stage::Ready } else { Stage::Running };
            record.write(stage).await;
        }
        sleep(probe.period).await;
    }
}

/// The pod's entry in the API, as far as kubelet writes it.
struct Record {
    surroundings: Arc<Surroundings>,
    assignment: Assignment,
    pods: Api<Pod>,
    history: History,
    ready: bool,
}

impl Record {
    fn new(surroundings: Arc<Surroundings>, assignment: Assignment) -> Self {
        let namespace = assignment.pod.metadata.namespace.as_deref();
        let pods = Api::namespaced(surroundings.client.clone(), namespace.unwrap_or_default());
        let now = now();
        Self {
            surroundings,
            assignment,
            pods,
            history: History {
                bound: now,
                started: now,
                turned: now,
                restarts: 0,
            },
            ready: false,
        }
    }

    fn name(&self) -> &str {
        let name = self.assignment.pod.metadata.name.as_deref();
        name.unwrap_or_default()
    }

    /// Writes the status; does not give up while the API server is away, as kubelet does not.
    async fn write(&mut self, stage: Stage) {
        let ready = stage == Stage::Ready;
        if ready != self.ready {
            self.ready = ready;
            self.history.turned = now();
        }
        let patch = patch(&self.assignment, &stage, &self.history);
        let parameters = PatchParams::default();
        while let Err(error) = self
            .pods
            .patch_status(self.name(), &parameters, &Patch::Strategic(&patch))
            .await
        {
            if refused(&error) {
                return;
            }
            sleep(RETRY).await;
        }
    }

    /// Takes the pod out of the API: only its kubelet may do so once it is bound.
    async fn remove(&self) {
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: self.assignment.pod.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        while let Err(error) = self.pods.delete(self.name(), &parameters).await {
            if refused(&error) {
                return;
            }
            sleep(RETRY).await;
        }
    }
}

/// Whether the API server understood and said no: as when the pod is gone, or another has its name. All else may
/// pass.
pub fn refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..429).contains(&status.code))
}
