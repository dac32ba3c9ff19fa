//! `wva controller`: the autoscaler on a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use wva_controllers::run::{Identity, RunError, run};
use wva_controllers::settings::Settings;

use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use crate::input::Input;

/// Scale the model servers of a Kubernetes cluster
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva controller                                     this cluster (or the one of your kubeconfig), all defaults
  wva controller --config wva.yaml
  wva controller --config wva.yaml --check           say what is wrong with the file, and stop
  wva controller --record cycles --decisions decisions.jsonl   then: wva explain decisions.jsonl; wva replay cycles/*.jsonl
  wva controller --no-leader-election --http 127.0.0.1:8080   beside a test

What is scaled:
  An HPA or a KEDA ScaledObject of yours with the annotation llm-d.ai/managed: \"true\", which reads the external metric
  wva_desired_replicas; a VariantAutoscaling (`wva crds`), whose target is patched if nothing else scales it; and advice
  for everything behind an InferencePool. wva.llmd.ai/mode: advise makes any of them advice only, and
  wva.llmd.ai/paused: \"true\" holds the replicas where they are.

The configuration file, all of it optional:
  accelerators: [{name: H100, price_per_hour_usd: 2.5}]        # prices and devices, as in `wva plan`
  classes: [{name: chat, ttft_ms: {p99: 800}, itl_ms: {p99: 60}}]
  policy: {cycle_seconds: 15}                                  # how to decide
  watch: {namespaces: [llm-d], instance: blue, stock: auto}    # what to look at
  defaults: {accelerator: H100, class: chat}                   # where objects say nothing
  telemetry: {pods: {}, prometheus: {url: \"http://prometheus:9090\"}}
  serve: {http: \"0.0.0.0:8080\", external_metrics: {listen: \"0.0.0.0:6443\"}, keda: {listen: \"0.0.0.0:9443\"},
          exchange: {listen: \"0.0.0.0:9444\", bearer_token_file: /etc/wva/token}}   # POST /v1/push, GET /v1/fits
  record: {decisions: decisions.jsonl, cycles: cycles}         # audit lines, and the last cycles to replay

Served: /healthz, /readyz and /metrics. SIGTERM stops it: leadership is given up at once.")]
pub struct Controller {
    /// YAML file, `-` for stdin
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration file and stop
    #[arg(long)]
    check: bool,
    /// Kubeconfig to use instead of $KUBECONFIG, ~/.kube/config or the pod's own account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace of the controller's own objects: Lease, learned state, imported ConfigMaps
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,
    /// Name of this replica; on a cluster, its pod's
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    name: Option<String>,
    /// Write without a Lease; there must be no second process
    #[arg(long)]
    no_leader_election: bool,
    /// Append each changed decision to this file, one JSON object a line, for `wva explain FILE`
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Keep the last cycles in this folder, for `wva replay` and `wva explain`
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Address of /healthz, /readyz and /metrics, instead of the file's
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
}

impl Controller {
    /// Runs until told to stop.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let settings = self.settings()?;
        if self.check {
            return Ok(Verdict::Done);
        }
        // Fails only where a provider is installed already, and this is the one place that installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| Diagnostic::new(format!("cannot start threads: {e}")))?;
        runtime.block_on(self.serve(settings))?;
        Ok(Verdict::Done)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let input = self
            .config
            .as_deref()
            .map(|path| Input::read(path, "a configuration"));
        let input = input.transpose()?;
        let (text, name) = match &input {
            Some(input) => (input.text.as_str(), input.name.as_str()),
            None => ("", "defaults"),
        };
        let mut settings = Settings::parse(text, name)?;
        if self.no_leader_election {
            settings.leader.elect = false;
        }
        if let Some(address) = self.http {
            settings.serve.http = address;
        }
        let record = &mut settings.record;
        record.decisions = self.decisions.clone().or(record.decisions.take());
        record.cycles = self.record.clone().or(record.cycles.take());
        Ok(settings)
    }

    async fn serve(&self, settings: Settings) -> Result<(), Failure> {
        let config = self.cluster().await?;
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|e| unreachable(&e.to_string()))?;
        let identity = Identity {
            namespace,
            name: self.name.clone().unwrap_or_else(identity),
            is_pod: self.name.is_some(),
        };
        tracing::info!(
            namespace = identity.namespace,
            name = identity.name,
            version = env!("CARGO_PKG_VERSION"),
            "starting"
        );
        run(client, settings, identity, stop())
            .await
            .map_err(|error| match error {
                RunError::Cluster(_) => unreachable(&error.to_string()),
                other => Diagnostic::new(other.to_string()).into(),
            })
    }

    async fn cluster(&self) -> Result<Config, Failure> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &self.kubeconfig {
            Some(path) => {
                let read = Kubeconfig::read_from(path).map_err(|e| unreachable(&e.to_string()))?;
                Config::from_custom_kubeconfig(read, &options).await
            }
            None if self.context.is_some() => Config::from_kubeconfig(&options).await,
            None => {
                return Config::infer()
                    .await
                    .map_err(|e| unreachable(&e.to_string()));
            }
        };
        config.map_err(|e| unreachable(&e.to_string()))
    }
}

/// A name that no other process has.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|h| !h.is_empty());
    format!(
        "{}-{}",
        host.unwrap_or_else(|| "wva".into()),
        std::process::id()
    )
}

fn unreachable(why: &str) -> Failure {
    let told = Diagnostic::new(why.to_owned());
    Failure::Unreachable(Box::new(told.help(
        "name a cluster with --kubeconfig or $KUBECONFIG, or run inside of one; `kubectl cluster-info` tells whether it answers",
    )))
}

/// Done on SIGTERM or Ctrl-C.
async fn stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => drop(terminated.recv().await),
            // Without the handler only Ctrl-C is left.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
