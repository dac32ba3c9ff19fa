//! `wva epp`: the Endpoint Picker behind an Envoy-based gateway.

mod flags;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use wva_epp::clock::Clock;
use wva_epp::discovery::variants::Variants;
use wva_epp::discovery::{Origin, discover};
use wva_epp::objectives;
use wva_epp::scrape::{ScrapeSettings, Scraper};
use wva_epp::server::shared::Handling;
use wva_epp::server::tls::Security;
use wva_epp::server::{ServeError, Server, Settings};
use wva_epp::store::Store;
use wva_epp_core::config::Config;

use crate::cluster::unreachable;
use crate::diagnostic::Diagnostic;
use crate::ending::Ending;
use crate::failure::{Failure, Verdict};
use crate::input::Input;
use flags::{Flags, Upstream};

/// Pick the model server of every request, for Envoy and gateways built on it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva epp --pool-name llama                             the pods of an InferencePool, on the cluster
  wva epp --pool-name llama --config-file epp.yaml      with plugins, weights and flow control of your own
  wva epp --endpoint-selector app=vllm --endpoint-target-ports 8000      pods without an InferencePool
  wva epp --endpoints servers.yaml --secure-serving=false               no cluster at all
  wva epp --config-file epp.yaml --check                say what is wrong with the file, and stop

Where requests may go is one of
  --pool-name           an InferencePool (v1 or v1alpha2), its selector and target ports
  --endpoint-selector   pods by their labels
  --endpoints           a file, read again when it changes:
                          endpoints: [{name: a, address: 10.0.0.1, port: 8000, labels: {llm-d.ai/role: decode}}]

The configuration file is the EndpointPickerConfig that you may already have (llm-d.ai/v1alpha1). Without one:
queue-scorer 2, kv-cache-utilization-scorer 2, prefix-cache-scorer 3. `slo-scorer` routes by predicted latency.
With `featureGates: [flowControl]` requests wait here instead of in the servers, and for the first server of a pool
that is scaled to zero: the metrics wva_epp_held_requests and llm_d_epp_flow_control_queue_size wake it.

A refused request has the header x-llm-d-request-dropped-reason, and retry-after where that is known.
Request headers: x-llm-d-inference-objective, x-llm-d-inference-fairness-id, x-slo-ttft-ms, x-slo-tpot-ms.

Envoy: ext_proc with FULL_DUPLEX_STREAMED bodies, headers and trailers SEND, on --grpc-port.
Served besides: gRPC health on both gRPC ports, and /metrics, /healthz, /readyz on --metrics-port.
SIGTERM stops it: health turns NOT_SERVING, and streams are finished for up to --drain-timeout.")]
pub struct Epp {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    upstream: Upstream,
}

impl Epp {
    /// What is logged unless asked for otherwise.
    pub const fn log_level(&self) -> &'static str {
        self.flags.log_level()
    }

    /// Serves until told to stop.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let config = self.config()?;
        for note in config.notes.iter().cloned().chain(self.upstream.notes()) {
            tracing::warn!("{note}");
        }
        if self.flags.check {
            return Ok(Verdict::Done);
        }
        if !self.flags.has_origin(config.endpoints_file.as_deref()) {
            self.flags.origin(None, "")?;
        }
        // Fails only where a provider is installed already, and this is the one place that installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = self.flags.threads {
            runtime.worker_threads(threads.get().into());
        }
        let runtime = runtime.enable_all().build();
        let runtime = runtime.map_err(|e| Diagnostic::new(format!("cannot start threads: {e}")))?;
        runtime.block_on(self.serve(config))?;
        Ok(Verdict::Done)
    }

    fn config(&self) -> Result<Config, Failure> {
        let input = match (&self.flags.config_file, &self.flags.config_text) {
            (Some(path), _) => Input::read(path, "an EndpointPickerConfig")?,
            (None, Some(text)) => Input {
                name: "--config-text".to_owned(),
                text: text.clone(),
            },
            (None, None) => return Ok(Config::standard()),
        };
        let config = Config::parse(&input.text, &input.name);
        Ok(config.map_err(|error| Diagnostic::placed(&error.to_string()))?)
    }

    async fn serve(&self, config: Config) -> Result<(), Failure> {
        let mut ending = Ending::new()
            .map_err(|e| Diagnostic::new(format!("cannot listen for signals: {e}")))?;
        let file = config.endpoints_file.as_deref();
        let (client, namespace) = match self.flags.needs_cluster(file) {
            true => self.cluster().await?,
            false => (None, String::new()),
        };
        let origin = self.flags.origin(file, &namespace)?;
        let (clock, store) = (
            Clock::start(),
            Arc::new(Store::new(config.picker.clone(), seed())),
        );
        let scraper = Scraper::new(
            Arc::clone(&store),
            clock,
            ScrapeSettings {
                interval: self.flags.refresh_metrics_interval,
                source: config.metrics.clone(),
                ..ScrapeSettings::default()
            },
        );
        let scraper = scraper.map_err(|error| Diagnostic::new(error.to_string()))?;
        let server = Server::bind(Arc::clone(&store), clock, self.settings(&origin, config)).await;
        let server = server.map_err(refused)?;
        tracing::info!(
            ?origin,
            grpc = self.flags.grpc_port,
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
        let mut feeds = tokio::task::JoinSet::new();
        if let Some(client) = client.clone() {
            feeds.spawn(follow_objectives(client, &origin, Arc::clone(&store)));
        }
        feeds.spawn(discover(
            origin,
            client,
            store,
            Arc::new(Variants::default()),
        ));
        feeds.spawn(scraper.run());
        server.run(ending.asked()).await;
        Ok(())
    }

    /// A client of the cluster, and the namespace of its context.
    async fn cluster(&self) -> Result<(Option<Client>, String), Failure> {
        let options = KubeConfigOptions::default();
        let config = match &self.flags.kubeconfig {
            None => kube::Config::infer().await.map_err(|e| e.to_string()),
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(read) => kube::Config::from_custom_kubeconfig(read, &options)
                    .await
                    .map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            },
        };
        let client = config.and_then(|config| {
            let namespace = config.default_namespace.clone();
            let client = Client::try_from(config).map_err(|e| e.to_string());
            client.map(|client| (Some(client), namespace))
        });
        client.map_err(|why| {
            unreachable(Diagnostic::new(why).help(
                "name a cluster with --kubeconfig or $KUBECONFIG, run inside of one, or list --endpoints in a file",
            ))
        })
    }

    fn settings(&self, origin: &Origin, config: Config) -> Settings {
        let flags = &self.flags;
        let at = |port| SocketAddr::from((flags.bind_address, port));
        let security = match (&flags.cert_path, flags.secure_serving) {
            (_, false) => Security::Plain,
            (None, true) => Security::SelfSigned,
            (Some(folder), true) => Security::Folder(folder.clone()),
        };
        let pool = match origin {
            Origin::Pool { name, .. } => name.clone(),
            _ => flags.pool_name.clone().unwrap_or_default(),
        };
        Settings {
            grpc: at(flags.grpc_port),
            health: at(flags.grpc_health_port),
            metrics: at(flags.metrics_port),
            security,
            most_message: flags.max_message_bytes,
            drain: flags.drain_timeout,
            handling: Handling {
                pool,
                most_body: flags.max_body_bytes,
                parsers: config.parsers,
                flow: config.flow,
                start_up_s: flags.start_up.as_secs_f64(),
            },
        }
    }
}

/// A future that follows objectives and rewrites of the origin's namespace.
fn follow_objectives(
    client: Client,
    origin: &Origin,
    store: Arc<Store>,
) -> impl Future<Output = ()> + Send + 'static {
    let of = match origin {
        Origin::Pool { namespace, name } => Some((namespace.clone(), Some(name.clone()))),
        Origin::Selector { namespace, .. } => Some((namespace.clone(), None)),
        Origin::File(_) => None,
    };
    async move {
        if let Some((namespace, pool)) = of {
            objectives::watch(client, namespace, pool, store).await;
        }
    }
}

/// Decides between equals; different in every process, so that several pickers do not all pick the same.
fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO);
    now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32)
}

fn refused(error: ServeError) -> Failure {
    let told = Diagnostic::new(error.to_string());
    match error {
        ServeError::Listen { .. } => told
            .help("choose another --grpc-port, --grpc-health-port or --metrics-port")
            .into(),
        ServeError::Tls(_) => told
            .help("--cert-path is a folder with tls.crt and tls.key")
            .into(),
    }
}
