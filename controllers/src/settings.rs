//! The configuration file of `wva controller`: one YAML document, everything optional.
//!
//! ```yaml
//! accelerators: [{name: H100, price_per_hour_usd: 2.5}]   # the catalogue's keys, on top of what is built in
//! models: [{name: acme-13b, parameters_b: 13, ...}]
//! classes: [{name: chat, ttft_ms: {p99: 800}, itl_ms: {p99: 60}}]
//! stock: {H100: 16}
//! policy: {cycle_seconds: 15, forecast_quantile: 0.7}     # how to decide
//! watch: {namespaces: [llm-d], instance: blue, stock: auto}
//! defaults: {accelerator: H100, class: chat}
//! telemetry: {pods: {}, prometheus: {url: "http://prometheus:9090"}}
//! serve: {http: "0.0.0.0:8080", external_metrics: {listen: "0.0.0.0:6443"}, exchange: {listen: "127.0.0.1:9444"}}
//! leader: {lease: wva-controller}
//! record: {decisions: /var/log/wva/decisions.jsonl, cycles: /var/log/wva}
//! ```
//! Unknown keys are errors with their line and column.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use wva_models::catalogue::{
    AcceleratorText, Catalogue, CatalogueError, CatalogueText, ModelText, Spanned, from_yaml,
    is_blank,
};
use wva_models::service_class::ServiceClassText;
use wva_optimizer::step::Settings as Policy;

use crate::index::fleet::{Base, StockSource};
use crate::run::records::RecordSettings;
use crate::telemetry::TelemetrySettings;

/// Everything that the file says, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the index starts from.
    pub base: Base,
    /// How to decide.
    pub policy: Policy,
    /// Which objects are looked at.
    pub watch: WatchSettings,
    /// Where telemetry comes from.
    pub telemetry: TelemetrySettings,
    /// What is served.
    pub serve: ServeSettings,
    /// Leadership.
    pub leader: LeaderSettings,
    /// What is written to files.
    pub record: RecordSettings,
}

/// Which objects are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchSettings {
    /// Namespaces; none means all of the cluster.
    pub namespaces: Vec<String>,
    /// Only objects labelled with this `wva.llmd.ai/controller-instance`.
    pub instance: Option<String>,
    /// Where device stock comes from.
    pub stock: StockSource,
}

/// What holds where objects say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DefaultSettings {
    accelerator: Option<String>,
    class: Option<String>,
}

/// What is served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeSettings {
    /// Health and Prometheus metrics, plain HTTP.
    pub http: SocketAddr,
    /// `external.metrics.k8s.io` for HPAs; absent for none.
    pub external_metrics: Option<TlsSettings>,
    /// KEDA's external scaler, gRPC; absent for none.
    pub keda: Option<KedaSettings>,
    /// What endpoint pickers push and learn; absent for none.
    pub exchange: Option<ExchangeSettings>,
    /// Also export the first releases' `inferno_*` names.
    pub legacy_metrics: bool,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            http: SocketAddr::from(([0, 0, 0, 0], 8080)),
            external_metrics: None,
            keda: None,
            exchange: None,
            legacy_metrics: false,
        }
    }
}

/// A TLS listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Address.
    pub listen: SocketAddr,
    /// Certificate chain and key, PEM files that may change; absent makes one that nobody can verify but through the
    /// APIService that it is put into.
    #[serde(default)]
    pub certificate: Option<CertificatePaths>,
    /// Names that a certificate of one's own is made for.
    #[serde(default)]
    pub names: Vec<String>,
    /// Secret in the controller's own namespace that keeps the authority of such certificates; it must exist. The
    /// APIService is told of the authority. Absent, each process has an authority of its own that nobody is told of.
    #[serde(default)]
    pub authority_secret: Option<String>,
}

/// Two PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificatePaths {
    /// Certificate chain, own first.
    pub chain_file: PathBuf,
    /// Key.
    pub key_file: PathBuf,
}

/// The KEDA scaler's listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KedaSettings {
    /// Address.
    pub listen: SocketAddr,
    /// TLS, where wanted.
    #[serde(default)]
    pub certificate: Option<CertificatePaths>,
}

/// The listener for endpoint pickers: pushes in, fits out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSettings {
    /// Address.
    pub listen: SocketAddr,
    /// TLS, where wanted.
    #[serde(default)]
    pub certificate: Option<CertificatePaths>,
    /// File with the token that pickers must show; needed unless only this machine reaches the address.
    #[serde(default)]
    pub bearer_token_file: Option<PathBuf>,
    /// Whether pods of Deployments that will be taken away get a deletion cost, so that those go that pickers have been
    /// told of; needs the right to patch pods.
    #[serde(default = "yes")]
    pub deletion_cost: bool,
}

const fn yes() -> bool {
    true
}

/// Leadership.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaderSettings {
    /// Whether a Lease is needed to write; without one there must be only one process.
    pub elect: bool,
    /// Name of the Lease, in the controller's own namespace; also of the ConfigMap that keeps what was learned.
    pub lease: String,
}

impl Default for LeaderSettings {
    fn default() -> Self {
        Self {
            elect: true,
            lease: "wva-controller".into(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileText {
    accelerators: Vec<Spanned<AcceleratorText>>,
    models: Vec<Spanned<ModelText>>,
    classes: Vec<Spanned<ServiceClassText>>,
    stock: std::collections::BTreeMap<String, Spanned<u32>>,
    policy: Policy,
    watch: WatchSettings,
    defaults: DefaultSettings,
    telemetry: Option<TelemetrySettings>,
    serve: ServeSettings,
    leader: LeaderSettings,
    record: RecordSettings,
}

impl Settings {
    /// Reads the file; `origin` names it in errors. An empty text means all defaults.
    ///
    /// # Errors
    /// [`CatalogueError`] with line and column.
    pub fn parse(yaml: &str, origin: &str) -> Result<Self, CatalogueError> {
        let text = if is_blank(yaml) {
            FileText::default()
        } else {
            from_yaml(yaml, origin)?
        };
        let catalogue = CatalogueText {
            accelerators: text.accelerators,
            models: text.models,
            variants: Some(Vec::new()),
            classes: text.classes,
            stock: text.stock,
        };
        let catalogue: Catalogue = catalogue.resolve(origin)?;
        // Pods are scraped directly unless the file says where else telemetry comes from.
        let telemetry = text.telemetry.unwrap_or_else(|| TelemetrySettings {
            pods: Some(Default::default()),
            ..TelemetrySettings::default()
        });
        Ok(Self {
            base: Base {
                catalogue,
                instance: text.watch.instance.clone(),
                default_accelerator: text.defaults.accelerator,
                default_class: text.defaults.class,
                stock: text.watch.stock,
            },
            policy: text.policy,
            watch: text.watch,
            telemetry,
            serve: text.serve,
            leader: text.leader,
            record: text.record,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_needed() {
        let settings = Settings::parse("# all defaults\n", "wva.yaml").expect("valid");
        assert!(settings.leader.elect && settings.telemetry.pods.is_some());
    }

    #[test]
    fn the_example_of_the_module_is_valid() {
        let yaml = "
accelerators: [{name: H100, price_per_hour_usd: 2.5}]
classes: [{name: chat, ttft_ms: {p99: 800}, itl_ms: {p99: 60}}]
stock: {H100: 16}
policy: {cycle_seconds: 15, forecast_quantile: 0.7}
watch: {namespaces: [llm-d], instance: blue, stock: auto}
defaults: {accelerator: H100, class: chat}
telemetry: {pods: {}, prometheus: {url: \"http://prometheus:9090\"}}
serve: {http: \"0.0.0.0:8080\", exchange: {listen: \"127.0.0.1:9444\"}, external_metrics: {listen: \"0.0.0.0:6443\"}}
leader: {lease: wva-controller}
record: {decisions: /var/log/wva/decisions.jsonl, cycles: /var/log/wva}
";
        let settings = Settings::parse(yaml, "wva.yaml").expect("valid");
        assert_eq!(settings.watch.namespaces, ["llm-d"]);
        assert_eq!(settings.base.catalogue.stock["H100"], 16);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let error =
            Settings::parse("watch: {namespace: [x]}", "wva.yaml").expect_err("unknown key");
        let text = error.to_string();
        assert!(
            text.starts_with("wva.yaml:1:") && text.contains("namespace"),
            "{text}"
        );
    }
}
