//! The loop that watches pods and nodes, and has pods live once they have a node.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::reflector::{Store, store};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::life::{self, Order, Surroundings};
use super::scheduler::{Scheduler, is_over, node_name, uid};
use super::server::{Assignment, ServerFactory};
use crate::{Access, Error, Sandbox};

/// How often everything is looked at again without an event: what could not be told the API server is tried again.
const TICK: Duration = Duration::from_millis(500);

/// What a test asks for.
#[derive(Debug)]
pub enum Command {
    /// The server of a pod dies.
    Crash {
        namespace: String,
        pod: String,
        /// Whether there was one.
        reply: oneshot::Sender<bool>,
    },
}

/// What the agent is started with.
pub struct Start {
    pub access: Access,
    pub sandbox: Sandbox,
    pub servers: Box<dyn ServerFactory>,
}

impl Start {
    /// Runs until nobody can give commands any more.
    pub fn run(
        self,
        commands: UnboundedReceiver<Command>,
        started: oneshot::Sender<Result<(), Error>>,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("kubelet")
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                started
                    .send(Err(Error::system("cannot start a runtime")(error)))
                    .ok();
                return;
            }
        };
        runtime.block_on(async {
            match self.agent().await {
                Ok(mut agent) => {
                    started.send(Ok(())).ok();
                    agent.watch(commands).await;
                }
                Err(error) => {
                    started.send(Err(error)).ok();
                }
            }
        });
        // What a server holds in a blocking thread must not hold up the end of a test.
        runtime.shutdown_timeout(Duration::from_secs(1));
    }

    async fn agent(self) -> Result<Agent, Error> {
        let client = self.access.client().await?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true) // as kubelet's probes do
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::Answer {
                what: "HTTP client".to_owned(),
                answer: error.to_string(),
            })?;
        let surroundings = Surroundings {
            client: client.clone(),
            http,
            servers: self.servers,
        };
        Ok(Agent {
            client: client.clone(),
            surroundings: Arc::new(surroundings),
            sandbox: self.sandbox,
            lives: HashMap::new(),
            running: JoinSet::new(),
            scheduler: Scheduler::new(client),
        })
    }
}

struct Agent {
    client: Client,
    surroundings: Arc<Surroundings>,
    sandbox: Sandbox,
    /// By uid of the pod: who takes orders for it.
    lives: HashMap<String, Life>,
    running: JoinSet<()>,
    scheduler: Scheduler,
}

struct Life {
    task: tokio::task::Id,
    orders: UnboundedSender<Order>,
    /// Given last: an order is given once.
    last: Option<Order>,
}

impl Life {
    fn order(&mut self, order: Order) {
        if self.last != Some(order) {
            self.last = Some(order);
            self.orders.send(order).ok();
        }
    }
}

impl Agent {
    async fn watch(&mut self, mut commands: UnboundedReceiver<Command>) {
        let (pods, pod_writer) = store::<Pod>();
        let (nodes, node_writer) = store::<Node>();
        let mut pod_events = pin!(events(self.client.clone(), pod_writer));
        let mut node_events = pin!(events(self.client.clone(), node_writer));
        let mut tick = tokio::time::interval(TICK);
        let (mut seen_pods, mut seen_nodes) = (false, false);
        loop {
            tokio::select! {
                listed = pod_events.next() => seen_pods |= listed == Some(true),
                listed = node_events.next() => seen_nodes |= listed == Some(true),
                command = commands.recv() => match command {
                    Some(command) => self.obey(&pods, command),
                    None => return,
                },
                Some(ended) = self.running.join_next_with_id() => {
                    let task = ended.map_or_else(|panic| panic.id(), |(task, ())| task);
                    self.lives.retain(|_, life| life.task != task);
                }
                _ = tick.tick() => {}
            }
            if seen_pods && seen_nodes {
                let (pods, nodes) = (pods.state(), nodes.state());
                self.look_after(&pods, &nodes);
                self.scheduler.schedule(&pods, &nodes).await;
            }
        }
    }

    fn obey(&mut self, pods: &Store<Pod>, command: Command) {
        let Command::Crash {
            namespace,
            pod,
            reply,
        } = command;
        let found = pods.find(|p| {
            p.metadata.name.as_ref() == Some(&pod)
                && p.metadata.namespace.as_ref() == Some(&namespace)
        });
        let life = found.and_then(|p| self.lives.get(uid(&p)));
        let sent = life.map(|life| life.orders.send(Order::Crash));
        reply.send(matches!(sent, Some(Ok(())))).ok();
    }

    /// Starts the lives of pods that came to a node, and tells those that live what happened to them.
    fn look_after(&mut self, pods: &[Arc<Pod>], nodes: &[Arc<Node>]) {
        let present: HashMap<&str, &Arc<Pod>> = pods.iter().map(|p| (uid(p), p)).collect();
        for (uid, life) in &mut self.lives {
            if !present.contains_key(uid.as_str()) {
                life.order(Order::Forget);
            }
        }
        for pod in pods.iter().filter(|pod| !is_over(pod)) {
            let Some(name) = node_name(pod) else { continue };
            let node = nodes
                .iter()
                .find(|n| n.metadata.name.as_deref() == Some(name));
            let life = self.lives.entry(uid(pod).to_owned()).or_insert_with(|| {
                let assignment = Assignment {
                    pod: Arc::clone(pod),
                    node: node.cloned().unwrap_or_default(),
                    address: self.sandbox.address(),
                };
                let (orders, receiver) = unbounded_channel();
                let surroundings = Arc::clone(&self.surroundings);
                let life = life::live(surroundings, assignment, receiver);
                Life {
                    task: self.running.spawn(life).id(),
                    orders,
                    last: None,
                }
            });
            if node.is_none() {
                life.order(Order::Lose);
            } else if pod.metadata.deletion_timestamp.is_some() {
                let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
                life.order(Order::End(Duration::from_secs(seconds.unsigned_abs())));
            }
        }
    }
}

/// Fills the store. Each item says whether the store is complete for the first time, or again.
fn events<K>(
    client: Client,
    writer: reflector::store::Writer<K>,
) -> impl futures::Stream<Item = bool>
where
    K: Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    watcher(Api::<K>::all(client), watcher::Config::default())
        .backoff(Promptly)
        .reflect(writer)
        .map(|event| matches!(event, Ok(watcher::Event::InitDone)))
}

/// A test that brings the API server back does not want to wait for half a minute.
struct Promptly;

impl Iterator for Promptly {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(TICK)
    }
}

impl Backoff for Promptly {
    fn reset(&mut self) {}
}
