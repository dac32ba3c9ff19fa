//! An authority of our own: shared by the replicas through a Secret, and told to the API server through the APIService.
//!
//! ```text
//! Secret ─ adopt ─► SelfMade ─ tick ─► certificate that is served
//!    └◄── store ───────┘ └── bundle ─► APIService.spec.caBundle
//! ```
//! What is not stored is never announced: a bundle that the other replicas do not issue by would shut them out. Two that
//! store at once cannot both succeed, since each names the version that it read; the loser adopts what the winner stored.
//! No leader is needed for that, and a replica that does not lead yet can be verified from its first moment.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::actuate::FIELD_MANAGER;
use crate::exported::{Meters, Stage};
use crate::serving::authority::{AuthorityError, Saved, SelfMade};
use crate::serving::certificates::HotCertificate;

/// Time between two looks at the Secret and the APIService.
const LOOK: Duration = Duration::from_secs(60);
/// Time until the next try after one that failed.
const RETRY: Duration = Duration::from_secs(5);
/// Key in the Secret.
const KEY: &str = "authority.json";
/// The APIService that must trust us.
const API_SERVICE: &str = "v1beta1.external.metrics.k8s.io";

/// Why the authority is not shared or announced.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("Secret {secret}: {source}")]
    Secret {
        secret: String,
        source: Box<kube::Error>,
    },
    #[error("Secret {secret}, key {KEY}: {source}; delete the key to have another made")]
    Nonsense {
        secret: String,
        source: serde_json::Error,
    },
    #[error("APIService {API_SERVICE}: {0}")]
    ApiService(#[source] Box<kube::Error>),
    #[error(
        "APIService {API_SERVICE} leads to {0}, which is not us; only one can serve external metrics"
    )]
    NotOurs(String),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// An authority that is kept in a Secret.
pub(super) struct Kept {
    client: Client,
    namespace: String,
    secret: String,
    names: Vec<String>,
    made: SelfMade,
}

impl Kept {
    /// Serves by a new authority until the Secret has been read; `names` are what the API server may call us.
    pub fn new(
        client: Client,
        namespace: &str,
        secret: &str,
        names: Vec<String>,
    ) -> Result<Self, AuthorityError> {
        Ok(Self {
            client,
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            made: SelfMade::new(None, names.clone(), SystemTime::now())?,
            names,
        })
    }

    /// The certificate to serve, now and later.
    pub fn certificate(&self) -> Arc<HotCertificate> {
        self.made.certificate()
    }

    /// Keeps Secret, certificate and APIService in step for ever.
    pub async fn follow(mut self, meters: Meters) {
        let mut told = None;
        loop {
            let pause = match self.look(SystemTime::now()).await {
                Ok(()) => {
                    told = None;
                    LOOK
                }
                Err(error) => {
                    meters.error(Stage::Serving);
                    let text = error.to_string();
                    if told.as_ref() != Some(&text) {
                        tracing::warn!(%error, "HPAs may not get external metrics");
                        told = Some(text);
                    }
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&mut self, now: SystemTime) -> Result<(), KeepError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = secrets.get(&self.secret).await;
        let mut secret = found.map_err(|e| self.about_secret(e))?;
        let stored = self.stored(&secret)?;
        if let Some(saved) = stored.clone() {
            self.made.adopt(saved, now)?;
        }
        self.made.tick(now)?;
        if stored.as_ref() != Some(self.made.saved()) {
            let text =
                serde_json::to_vec(self.made.saved()).expect("text and maps of text serialise");
            let data = secret.data.get_or_insert_default();
            data.insert(KEY.to_owned(), ByteString(text));
            let parameters = PostParams::default();
            let replaced = secrets.replace(&self.secret, &parameters, &secret).await;
            replaced.map_err(|e| self.about_secret(e))?;
            tracing::info!(secret = self.secret, "stored a serving authority");
        }
        self.announce().await
    }

    fn stored(&self, secret: &Secret) -> Result<Option<Saved>, KeepError> {
        let text = secret.data.as_ref().and_then(|data| data.get(KEY));
        let saved = text.map(|text| serde_json::from_slice(&text.0)).transpose();
        saved.map_err(|source| KeepError::Nonsense {
            secret: self.secret.clone(),
            source,
        })
    }

    fn about_secret(&self, source: kube::Error) -> KeepError {
        KeepError::Secret {
            secret: self.secret.clone(),
            source: Box::new(source),
        }
    }

    /// Has the API server trust what we serve by, if it is us that it asks.
    async fn announce(&self) -> Result<(), KeepError> {
        let about = |e| KeepError::ApiService(Box::new(e));
        let services: Api<APIService> = Api::all(self.client.clone());
        let spec = services.get(API_SERVICE).await.map_err(about)?.spec;
        let spec = spec.unwrap_or_default();
        let service = spec.service.unwrap_or_default();
        let host = format!(
            "{}.{}.svc",
            service.name.unwrap_or_default(),
            service.namespace.unwrap_or_default()
        );
        if !self.names.contains(&host) {
            return Err(KeepError::NotOurs(host));
        }
        let bundle = ByteString(self.made.bundle().into_bytes());
        if spec.ca_bundle.as_ref() == Some(&bundle) {
            return Ok(());
        }
        let patch = json!({"spec": {"caBundle": bundle}});
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        services
            .patch(API_SERVICE, &parameters, &Patch::Merge(patch))
            .await
            .map_err(about)?;
        tracing::info!("told the API server by which authority to verify us");
        Ok(())
    }
}
