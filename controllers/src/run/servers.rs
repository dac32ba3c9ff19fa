//! Everything that is served: health and metrics, external metrics for HPAs, the scaler for KEDA.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::authority::Kept;
use super::last_cycle::{self, LastCycle};
use super::{RunError, Watching, until};
use crate::cycle::Departures;
use crate::exchange::{self, Admission};
use crate::exported::{self, Exported, Meters};
use crate::external_metrics::gate::Gate;
use crate::external_metrics::reviews::Reviewer;
use crate::external_metrics::{self, trust};
use crate::keda;
use crate::published::Published;
use crate::serving::authority::{AuthorityError, SelfMade};
use crate::serving::certificates::{CertificateFiles, HotCertificate};
use crate::serving::{Transport, alive, serve};
use crate::settings::{CertificatePaths, Settings, TlsSettings};
use crate::telemetry::clock;
use crate::telemetry::pushed::Pushed;

/// Time between two looks at certificate files.
const CERTIFICATES: Duration = Duration::from_secs(60);

pub(super) struct Servers {
    pub client: Client,
    /// Of the controller's own objects.
    pub namespace: String,
    pub settings: Settings,
    pub meters: Meters,
    pub published: watch::Receiver<Arc<Published>>,
    pub exported: Arc<Exported>,
    pub last: watch::Receiver<LastCycle>,
    pub departures: watch::Receiver<Departures>,
    pub pushed: Arc<Mutex<Pushed>>,
    pub watching: Watching,
    pub stopped: watch::Receiver<bool>,
}

impl Servers {
    /// Listens on every address that the settings name.
    pub async fn start(self, tasks: &mut JoinSet<()>) -> Result<(), RunError> {
        let health = Router::new()
            .route("/readyz", get(ready))
            .with_state(self.watching.clone())
            .merge(alive(&["/healthz", "/livez"]))
            .merge(exported::router(Arc::clone(&self.exported)))
            .merge(last_cycle::router(self.last.clone()));
        self.listen(self.settings.serve.http, Transport::Plain, health, tasks)
            .await?;
        if let Some(tls) = &self.settings.serve.external_metrics {
            self.external_metrics(tls, tasks).await?;
        }
        if let Some(keda) = &self.settings.serve.keda {
            let transport = match &keda.certificate {
                Some(paths) => Transport::tls(self.certificate(paths, tasks).await?),
                None => Transport::Plain,
            };
            let router = keda::router(self.published.clone());
            self.listen(keda.listen, transport, router, tasks).await?;
        }
        if let Some(settings) = &self.settings.serve.exchange {
            let transport = match &settings.certificate {
                Some(paths) => Transport::tls(self.certificate(paths, tasks).await?),
                None => Transport::Plain,
            };
            let admission = Admission::new(settings.listen, settings.bearer_token_file.clone())?;
            let heard = exchange::Heard {
                last: self.last.clone(),
                departures: self.departures.clone(),
            };
            let pushed = Arc::clone(&self.pushed);
            let router = exchange::router(pushed, heard, admission, clock::system);
            self.listen(settings.listen, transport, router, tasks)
                .await?;
        }
        Ok(())
    }

    async fn external_metrics(
        &self,
        tls: &TlsSettings,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), RunError> {
        let certificate = match &tls.certificate {
            Some(paths) => self.certificate(paths, tasks).await?,
            None => self
                .own_certificate(tls, tasks)
                .map_err(|e| RunError::Certificate(e.to_string()))?,
        };
        let (sender, trusted) = watch::channel(None);
        self.spawn(trust::follow(self.client.clone(), sender), tasks);
        let gate = Arc::new(Gate::new(trusted, Reviewer::new(self.client.clone())));
        let instance = self.settings.watch.instance.as_deref().map(Arc::from);
        let router = external_metrics::router(self.published.clone(), gate, instance);
        self.listen(tls.listen, Transport::tls(certificate), router, tasks)
            .await
    }

    /// A certificate by an authority of our own, which is shared and announced where there is a Secret to keep it in.
    fn own_certificate(
        &self,
        tls: &TlsSettings,
        tasks: &mut JoinSet<()>,
    ) -> Result<Arc<HotCertificate>, AuthorityError> {
        let names = if tls.names.is_empty() {
            vec!["localhost".to_owned()]
        } else {
            tls.names.clone()
        };
        let Some(secret) = &tls.authority_secret else {
            return Ok(SelfMade::new(None, names, SystemTime::now())?.certificate());
        };
        let kept = Kept::new(self.client.clone(), &self.namespace, secret, names)?;
        let served = kept.certificate();
        self.spawn(kept.follow(self.meters.clone()), tasks);
        Ok(served)
    }

    async fn certificate(
        &self,
        paths: &CertificatePaths,
        tasks: &mut JoinSet<()>,
    ) -> Result<Arc<HotCertificate>, RunError> {
        let opened = CertificateFiles::open(&paths.chain_file, &paths.key_file).await;
        let (files, certificate) = opened.map_err(|e| RunError::Certificate(e.to_string()))?;
        self.spawn(files.follow(Arc::clone(&certificate), CERTIFICATES), tasks);
        Ok(certificate)
    }

    /// Runs something that never ends until told to stop.
    fn spawn(&self, forever: impl Future<Output = ()> + Send + 'static, tasks: &mut JoinSet<()>) {
        let stop = until(self.stopped.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = forever => {}
                () = stop => {}
            }
        });
    }

    async fn listen(
        &self,
        address: SocketAddr,
        transport: Transport,
        router: Router,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), RunError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| RunError::Listen { address, source })?;
        let bound = listener.local_addr().unwrap_or(address);
        tracing::info!(address = %bound, "listening");
        tasks.spawn(serve(
            listener,
            transport,
            router,
            until(self.stopped.clone()),
        ));
        Ok(())
    }
}

/// Ready once every kind has been listed: a replica that does not know the fleet must not be asked about it.
async fn ready(State(watching): State<Watching>) -> (StatusCode, String) {
    let pending = watching.pending();
    if pending.is_empty() {
        (StatusCode::OK, "ok".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not listed yet: {}", pending.join(", ")),
        )
    }
}
