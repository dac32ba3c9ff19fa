//! The cluster as the command line sees it: one look at its objects, read the way the controller reads them, and what
//! the controller says about itself.
//!
//! ```text
//! kubeconfig ─► Cluster ─┬─► Objects ─► the controller's own index ─► Fleet ─┐
//!                        └─► Contact (/metrics of the leader) ─► Figures ────┴─► Roster: one entry per variant
//! ```
//! Variants are worked out by the controller's index and by nothing else, so that a verb cannot see another fleet than
//! the controller does. A watch would be the usual way; a verb looks once, so it lists.

pub mod arguments;
pub mod contact;
pub mod figures;
pub mod look;
pub mod objects;
pub mod roster;
pub mod servers;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use arguments::ClusterArguments;

/// Time for a connection to the API server.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for an answer of the API server.
const ANSWER: Duration = Duration::from_secs(30);

/// A cluster that answers.
#[derive(Clone)]
pub struct Cluster {
    /// Client of its API.
    pub client: Client,
    /// Namespace that is looked at; `None` for all.
    pub namespace: Option<String>,
    /// Version of its API server, as `v1.34.2`.
    pub version: String,
}

/// Runs `work` on the cluster that the arguments name.
pub fn on<T>(
    arguments: &ClusterArguments,
    work: impl AsyncFnOnce(Cluster) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // Fails only where a provider is installed already, and this is the one place that installs it for these verbs.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| Diagnostic::new(format!("cannot start: {e}")))?;
    runtime.block_on(async {
        let cluster = Cluster::connect(arguments).await?;
        work(cluster).await
    })
}

impl Cluster {
    async fn connect(arguments: &ClusterArguments) -> Result<Self, Failure> {
        let config = config(arguments).await?;
        let url = config.cluster_url.to_string();
        let namespace = arguments.namespace(&config.default_namespace);
        let client = Client::try_from(config).map_err(|e| unusable(&e.to_string()))?;
        let version = match client.apiserver_version().await {
            Ok(version) => version.git_version,
            // It answers; what it allows shows when it is asked for something.
            Err(kube::Error::Api(status)) if status.code == 403 => String::new(),
            Err(error) => return Err(refused(&format!("asking {url} for its version"), &error)),
        };
        Ok(Self {
            client,
            namespace,
            version,
        })
    }

    /// What is looked at, in words.
    pub fn scope(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("namespace {namespace}"),
            None => "all namespaces".to_owned(),
        }
    }
}

async fn config(arguments: &ClusterArguments) -> Result<Config, Failure> {
    let options = KubeConfigOptions {
        context: arguments.context.clone(),
        ..KubeConfigOptions::default()
    };
    let told = |e: KubeconfigError| unusable(&e.to_string());
    let mut config = match &arguments.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).map_err(told)?;
            Config::from_custom_kubeconfig(read, &options)
                .await
                .map_err(told)?
        }
        None if arguments.context.is_some() => {
            Config::from_kubeconfig(&options).await.map_err(told)?
        }
        None => Config::infer().await.map_err(|e| {
            tracing::debug!("{e}");
            unusable("there is no kubeconfig that can be read, and this is no pod of a cluster")
        })?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(ANSWER);
    // The environment's proxy is for the web; kubectl's own setting for a cluster's proxy is not supported.
    config.proxy_url = None;
    Ok(config)
}

fn unusable(why: &str) -> Failure {
    let told = Diagnostic::new(format!("no cluster can be reached: {why}"));
    unreachable(told.help(
        "name one with --kubeconfig or $KUBECONFIG, and a context with --context; `kubectl config get-contexts` lists them",
    ))
}

/// A failure that ends with exit code 3.
pub fn unreachable(diagnostic: Diagnostic) -> Failure {
    Failure::Unreachable(Box::new(diagnostic))
}

/// What an error of the API means for a verb that cannot go on without the answer.
pub fn refused(doing: &str, error: &kube::Error) -> Failure {
    let (why, help) = match error {
        kube::Error::Api(status) => match status.code {
            401 => (
                status.message.clone(),
                "log in again: the credentials of this context are not accepted",
            ),
            403 => (
                status.message.clone(),
                "ask for this right, or name a namespace where you have it with -n",
            ),
            _ => (
                status.message.clone(),
                "`kubectl get --raw /readyz?verbose` tells how the API server is",
            ),
        },
        other => (
            deepest(other),
            "`kubectl cluster-info` tells whether it answers; --context names another cluster",
        ),
    };
    unreachable(Diagnostic::new(format!("{doing}: {why}")).help(help))
}

/// The cause at the bottom: what is above it only says that something failed.
pub fn deepest(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    text
}

/// Seconds since the Unix epoch.
pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}
