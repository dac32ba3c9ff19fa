//! What `wva epp` and `wva gateway` have in common around their servers: the configuration, where the endpoints come from,
//! and the tasks that keep them true.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::task::JoinSet;
use wva_epp::clock::Clock;
use wva_epp::discovery::variants::Variants;
use wva_epp::discovery::{Origin, discover, listing};
use wva_epp::objectives;
use wva_epp::scrape::{ScrapeSettings, Scraper};
use wva_epp::server::ServeError;
use wva_epp::server::shared::{Handling, Shared};
use wva_epp::server::tls::Security;
use wva_epp::store::Store;
use wva_epp_core::config::Config;

use super::controller::Controller;
use super::flags::Flags;
use crate::cluster::unreachable;
use crate::diagnostic::Diagnostic;
use crate::ending::Ending;
use crate::failure::{Failure, Verdict};
use crate::input::Input;

/// Being told to end.
pub type Stop<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A picker that is about to serve, and what it is fed from.
pub struct Feeds {
    config: Config,
    origin: Origin,
    client: Option<Client>,
    clock: Clock,
    store: Arc<Store>,
    scraper: Scraper,
}

impl Flags {
    /// Reads the configuration, finds out where the endpoints come from, and serves by `serve` until told to stop, with at
    /// least so many endpoints for each request.
    pub fn run(
        &self,
        at_least: usize,
        serve: impl AsyncFnOnce(Feeds, Stop<'_>) -> Result<(), Failure>,
    ) -> Result<Verdict, Failure> {
        let config = self.config()?;
        for note in &config.notes {
            tracing::warn!("{note}");
        }
        self.listed(config.endpoints_file.as_deref())?;
        if self.check {
            return Ok(Verdict::Done);
        }
        if !self.has_origin(config.endpoints_file.as_deref()) {
            self.origin(None, "")?;
        }
        // Fails only where a provider is installed already, and this is the one place that installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = self.threads {
            runtime.worker_threads(threads.get().into());
        }
        let runtime = runtime.enable_all().build();
        let runtime = runtime.map_err(|e| Diagnostic::new(format!("cannot start threads: {e}")))?;
        runtime.block_on(async {
            let mut ending = Ending::new()
                .map_err(|e| Diagnostic::new(format!("cannot listen for signals: {e}")))?;
            let feeds = self.feeds(config, at_least).await?;
            serve(feeds, Box::pin(ending.asked())).await
        })?;
        Ok(Verdict::Done)
    }

    fn config(&self) -> Result<Config, Failure> {
        let input = match (&self.config_file, &self.config_text) {
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

    /// Reads the list of endpoints, where one is named: what is wrong with it should not be found out by the first request.
    /// Later a wrong list changes nothing.
    fn listed(&self, configured: Option<&str>) -> Result<(), Failure> {
        if self.needs_cluster(configured) {
            return Ok(());
        }
        let Origin::File(path) = self.origin(configured, "")? else {
            return Ok(());
        };
        if path == Path::new("-") {
            return Err(
                Diagnostic::new("the list of endpoints is read again when it changes")
                    .help("name a file, not stdin")
                    .into(),
            );
        }
        let Input { name, text } = Input::read(&path, "a list of endpoints")?;
        let listed = listing::read(&text, &name, &Variants::default()).map_err(|error| {
            Diagnostic::placed(&error.to_string())
                .or_help("list them as `endpoints: [{name: a, address: 10.0.0.1, port: 8000}]`")
        })?;
        if listed.is_empty() {
            tracing::warn!(file = name, "no endpoints are listed yet");
        }
        Ok(())
    }

    async fn feeds(&self, config: Config, at_least: usize) -> Result<Feeds, Failure> {
        let file = config.endpoints_file.as_deref();
        let (client, namespace) = match self.needs_cluster(file) {
            true => self.cluster().await?,
            false => (None, String::new()),
        };
        let origin = self.origin(file, &namespace)?;
        let clock = Clock::start();
        let picker = config.picker.clone().with_at_least(at_least);
        let store = Arc::new(Store::new(picker, seed()));
        let settings = ScrapeSettings {
            interval: self.refresh_metrics_interval,
            source: config.metrics.clone(),
            ..ScrapeSettings::default()
        };
        let scraper = Scraper::new(Arc::clone(&store), clock, settings);
        Ok(Feeds {
            config,
            origin,
            client,
            clock,
            store,
            scraper: scraper.map_err(|error| Diagnostic::new(error.to_string()))?,
        })
    }

    /// A client of the cluster, and the namespace of its context.
    async fn cluster(&self) -> Result<(Option<Client>, String), Failure> {
        let options = KubeConfigOptions::default();
        let config = match &self.kubeconfig {
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

    /// The certificate to serve with, if `secure`.
    pub fn security(&self, secure: bool) -> Security {
        match (&self.cert_path, secure) {
            (_, false) => Security::Plain,
            (None, true) => Security::SelfSigned,
            (Some(folder), true) => Security::Folder(folder.clone()),
        }
    }
}

impl Feeds {
    /// What requests read and write.
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// The clock of the process.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Where the endpoints come from.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How requests are handled.
    pub fn handling(&self, flags: &Flags) -> Handling {
        let pool = match &self.origin {
            Origin::Pool { name, .. } => name.clone(),
            _ => flags.pool_name.clone().unwrap_or_default(),
        };
        Handling {
            pool,
            most_body: flags.max_body_bytes,
            parsers: self.config.parsers.clone(),
            flow: self.config.flow.clone(),
            start_up_s: flags.start_up.as_secs_f64(),
        }
    }

    /// Starts to follow endpoints, their metrics, objectives, and the controller, for what its requests share; it ends when
    /// the set is dropped.
    pub fn start(
        self,
        controller: &Controller,
        shared: &Arc<Shared>,
    ) -> Result<JoinSet<()>, Diagnostic> {
        let mut tasks = JoinSet::new();
        let variants = Arc::new(Variants::default());
        if let Some(coupling) = controller.coupling(&self.origin, shared, &variants)? {
            tasks.spawn(coupling.run());
        }
        if let Some(client) = self.client.clone() {
            let store = Arc::clone(&self.store);
            tasks.spawn(follow_objectives(client, &self.origin, store));
        }
        tasks.spawn(discover(self.origin, self.client, self.store, variants));
        tasks.spawn(self.scraper.run());
        Ok(tasks)
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

/// Why there is no server; `ports` are the flags that say where it listens.
pub fn refused(error: ServeError, ports: &str) -> Failure {
    let told = Diagnostic::new(error.to_string());
    match error {
        ServeError::Listen { .. } => told.help(format!("choose another {ports}")).into(),
        ServeError::Tls(_) => told
            .help("--cert-path is a folder with tls.crt and tls.key")
            .into(),
    }
}
