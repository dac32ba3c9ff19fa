//! The whole controller: watches, cycles, writes, and what is served.
//!
//! ```text
//! API server ─ watches ─► Index ─┐               ┌─► Published ─► external metrics · KEDA · /metrics
//! pods, Prometheus, EPP ─► telemetry ─► cycle ───┤
//! Lease ─► term ─────────────────────────────────┴─► effects ─► writer ─► API server
//! ```
//! Every replica of the controller watches, gathers and decides; the one that holds the Lease writes. So a new leader has
//! seen everything already, and its first cycle is as good as its hundredth.

mod authority;
mod cycles;
mod keep;
pub mod last_cycle;
mod mark;
pub mod records;
mod servers;
mod watches;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::actuate::{QUEUE, Writer};
use crate::cycle::Departures;
use crate::cycle::memory::Memory;
use crate::exchange::ExchangeError;
use crate::exported::{Exported, Naming};
use crate::index::Index;
use crate::leader::{Term, campaign};
use crate::published::Publisher;
use crate::settings::Settings;
use crate::telemetry::Gatherer;
use crate::telemetry::http::SettingsError;

pub use watches::Watching;

/// Who this process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of the controller's own objects: Lease, learned state, imported ConfigMaps.
    pub namespace: String,
    /// Name of this process among its replicas; on a cluster, its pod's.
    pub name: String,
    /// Whether `name` is that of a pod, which the leader labels.
    pub is_pod: bool,
}

/// Why the controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API server cannot be reached.
    #[error("the API server cannot be reached: {0}")]
    Cluster(#[source] Box<kube::Error>),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The telemetry settings cannot be followed.
    #[error("telemetry: {0}")]
    Telemetry(#[from] SettingsError),
    /// The exchange with endpoint pickers cannot be served.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// A file cannot be written.
    #[error(transparent)]
    Record(#[from] records::RecordError),
    /// A certificate cannot be read or made.
    #[error("certificate: {0}")]
    Certificate(String),
}

/// Runs until `stop` is done; then gives leadership up and lets open requests finish.
///
/// # Errors
/// [`RunError`] where it cannot start.
pub async fn run(
    client: Client,
    settings: Settings,
    identity: Identity,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    client
        .apiserver_version()
        .await
        .map_err(|e| RunError::Cluster(Box::new(e)))?;
    let (stop_sender, stopped) = watch::channel(false);
    let index = Arc::new(Mutex::new(Index::default()));
    let mut tasks = JoinSet::new();
    let watching = watches::start(&client, &settings, &identity, &index, &stopped, &mut tasks);
    let (terms_sender, terms) = watch::channel(Term::default());
    let (publisher, published) = Publisher::new();
    let (last, last_seen) = watch::channel(None);
    let (departures, departures_seen) = watch::channel(Departures::default());
    let (exported, meters) = Exported::new(
        published.clone(),
        Naming {
            instance: settings.watch.instance.clone(),
            legacy: settings.serve.legacy_metrics,
        },
    );
    let gatherer = Gatherer::new(&settings.telemetry)?;
    let records = records::Records::open(&settings.record)?;
    let servers = servers::Servers {
        client: client.clone(),
        namespace: identity.namespace.clone(),
        settings: settings.clone(),
        meters: meters.clone(),
        published,
        exported: Arc::new(exported),
        last: last_seen,
        departures: departures_seen,
        pushed: gatherer.pushed(),
        watching: watching.clone(),
        stopped: stopped.clone(),
    };
    servers.start(&mut tasks).await?;
    let (effects_sender, effects) = mpsc::channel(QUEUE);
    let (written_sender, written) = mpsc::channel(QUEUE);
    let writer = Writer::new(client.clone(), terms.clone(), &identity.name);
    let writing = tokio::spawn(writer.run(effects, written_sender));
    tasks.spawn(mark::follow(
        client.clone(),
        identity.clone(),
        terms.clone(),
        stopped.clone(),
    ));
    let kept = keep::load(&client, &identity.namespace, &settings.leader.lease).await;
    let cycles = cycles::Cycles {
        index,
        gatherer,
        publisher,
        last,
        departures,
        meters,
        effects: effects_sender,
        written,
        terms,
        watching,
        memory: kept.unwrap_or_else(Memory::default),
        keeper: keep::Keeper::new(&identity.namespace, &settings.leader.lease),
        settings: settings.clone(),
        told: BTreeMap::new(),
        records,
    };
    let cycling = tokio::spawn(cycles.run(stopped.clone()));
    let (retire_sender, retired) = watch::channel(false);
    let campaigning = elect(client, &settings, identity, terms_sender, retired);
    stop.await;
    tracing::info!("stopping");
    stop_sender.send_replace(true);
    // First the cycle, so that no effects come any more; then what is queued is written; then the Lease is given up.
    let _ = cycling.await;
    let _ = tokio::time::timeout(crate::leader::SLACK, writing).await;
    retire_sender.send_replace(true);
    let _ = campaigning.await;
    let _ = tokio::time::timeout(FAREWELL, async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    tasks.shutdown().await;
    Ok(())
}

/// Time for open requests to finish at the end.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(6);

/// Campaigns for the Lease, or leads for good where there is no election.
fn elect(
    client: Client,
    settings: &Settings,
    identity: Identity,
    terms: watch::Sender<Term>,
    stopped: watch::Receiver<bool>,
) -> tokio::task::JoinHandle<()> {
    let (elect, lease) = (settings.leader.elect, settings.leader.lease.clone());
    tokio::spawn(async move {
        if elect {
            let stop = until(stopped);
            campaign(
                client,
                identity.namespace,
                lease,
                identity.name,
                terms,
                stop,
            )
            .await;
        } else {
            terms.send_replace(Term::unrivalled(Instant::now()));
            until(stopped).await;
            terms.send_replace(Term::default());
        }
    })
}

/// Done once told to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end as well.
    let _ = stopped.wait_for(|s| *s).await;
}
