//! The flags of `wva epp` and `wva gateway`: ours, and those of the upstream's picker that scripts and charts pass.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use wva_epp::discovery::Origin;
use wva_epp::discovery::pool::Membership;
use wva_epp_core::config::seconds;

use super::controller::Controller;
use crate::diagnostic::Diagnostic;

/// Flags of both.
#[derive(Debug, Args)]
pub struct Flags {
    /// InferencePool whose pods are picked from
    #[arg(long, value_name = "NAME")]
    pub pool_name: Option<String>,
    /// Namespace of the pool or the pods; absent, this pod's or the context's
    #[arg(long, env = "NAMESPACE", value_name = "NAME")]
    pub pool_namespace: Option<String>,
    /// Pick from the pods with these labels, without a pool
    #[arg(long, value_name = "SELECTOR", conflicts_with = "pool_name")]
    pub endpoint_selector: Option<String>,
    /// Ports of those pods, one for each data-parallel rank
    #[arg(
        long,
        value_name = "PORT",
        value_delimiter = ',',
        requires = "endpoint_selector"
    )]
    pub endpoint_target_ports: Vec<i32>,
    /// File that lists the endpoints
    #[arg(long, value_name = "FILE", conflicts_with = "endpoint_selector")]
    pub endpoints: Option<PathBuf>,
    /// EndpointPickerConfig, `-` for stdin
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// EndpointPickerConfig as text
    #[arg(long, value_name = "YAML", conflicts_with = "config_file")]
    pub config_text: Option<String>,
    /// Check the configuration file and stop
    #[arg(long)]
    pub check: bool,
    /// Kubeconfig to use instead of $KUBECONFIG, ~/.kube/config or the pod's own account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    pub bind_address: IpAddr,
    /// Port of /metrics, /healthz and /readyz
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    pub metrics_port: u16,
    /// Folder with tls.crt and tls.key, read again when they change
    #[arg(long, value_name = "FOLDER")]
    pub cert_path: Option<PathBuf>,
    /// Time between two scrapes of a server's metrics
    #[arg(long, visible_alias = "refresh-prometheus-metrics-interval", value_name = "DURATION",
        default_value = "500ms", value_parser = duration)]
    pub refresh_metrics_interval: Duration,
    /// Longest request body
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20)]
    pub max_body_bytes: usize,
    /// Time that a first server takes to start, until seen: bounds how long requests wait for it
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub start_up: Duration,
    /// Time to finish streams after SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// Worker threads; absent, one for each core
    #[arg(long, value_name = "NUMBER")]
    pub threads: Option<NonZeroU16>,
    /// How much to log: 3 each request, 5 everything
    #[arg(short, long, alias = "v", value_name = "LEVEL", default_value_t = 0)]
    pub verbosity: u8,
    /// How the controller is reached
    #[command(flatten)]
    pub controller: Controller,
}

/// Flags of the external processor.
#[derive(Debug, Args)]
pub struct Grpc {
    /// Port of external processing
    #[arg(long, value_name = "PORT", default_value_t = 9002)]
    pub grpc_port: u16,
    /// Port of gRPC health checks
    #[arg(long, value_name = "PORT", default_value_t = 9003)]
    pub grpc_health_port: u16,
    /// Serve external processing with TLS, self-signed unless --cert-path says otherwise
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub secure_serving: bool,
    /// Longest gRPC message
    #[arg(long, visible_alias = "grpc-max-recv-msg-size", value_name = "BYTES", default_value_t = 4 << 20)]
    pub max_message_bytes: usize,
}

/// Flags of the upstream's picker without a counterpart here.
#[derive(Debug, Args)]
pub struct Upstream {
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    metrics_endpoint_auth: Option<bool>,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tracing: Option<bool>,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    zap_devel: Option<bool>,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_cert_reload: Option<bool>,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    health_checking: Option<bool>,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_pprof: Option<bool>,
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ha_enable_leader_election: Option<bool>,
    #[arg(long, hide = true)]
    zap_encoder: Option<String>,
    #[arg(long, hide = true)]
    pool_group: Option<String>,
    #[arg(long, hide = true)]
    metrics_staleness_threshold: Option<String>,
}

impl Upstream {
    /// What to tell of those that change nothing though one might think so.
    pub fn notes(&self) -> Vec<String> {
        let told = [
            (
                self.metrics_endpoint_auth,
                "--metrics-endpoint-auth has no effect: keep others from the metrics port with a NetworkPolicy",
            ),
            (
                self.tracing,
                "--tracing has no effect: no spans are exported; -v 3 logs each request with its id",
            ),
            (
                self.ha_enable_leader_election,
                "--ha-enable-leader-election has no effect: all replicas answer, each with its own view of the prefixes",
            ),
            (self.enable_pprof, "--enable-pprof has no effect"),
        ];
        let asked = told.into_iter().filter(|(asked, _)| *asked == Some(true));
        asked.map(|(_, note)| note.to_owned()).collect()
    }
}

/// Reads a duration as `500ms`, `30s` or `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = seconds(text).and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.ok_or_else(|| "must be a duration as 500ms, 30s or 2m".to_owned())
}

impl Flags {
    /// What is logged unless asked for otherwise.
    pub const fn log_level(&self) -> &'static str {
        match self.verbosity {
            0..=2 => "info",
            3 | 4 => "info,wva_epp=debug",
            _ => "debug,wva_epp=trace",
        }
    }

    /// Whether the endpoints are a cluster's; `configured` is the configuration's own file of endpoints.
    pub const fn needs_cluster(&self, configured: Option<&str>) -> bool {
        self.endpoints.is_none()
            && (self.pool_name.is_some()
                || self.endpoint_selector.is_some()
                || configured.is_none())
    }

    /// Where the endpoints come from, in a cluster whose context has this namespace.
    pub fn origin(&self, configured: Option<&str>, context: &str) -> Result<Origin, Diagnostic> {
        let namespace = self
            .pool_namespace
            .clone()
            .unwrap_or_else(|| context.to_owned());
        if let Some(file) = &self.endpoints {
            return Ok(Origin::File(file.clone()));
        }
        if let Some(name) = self.pool_name.clone() {
            return Ok(Origin::Pool { namespace, name });
        }
        if let Some(selector) = self.endpoint_selector.clone() {
            let members = Membership::selecting(selector, &self.endpoint_target_ports);
            let members = members.map_err(|wrong| {
                Diagnostic::new(format!("--endpoint-target-ports: {wrong}"))
                    .help("list the ports on which the pods serve: --endpoint-target-ports 8000")
            })?;
            return Ok(Origin::Selector { namespace, members });
        }
        match configured {
            Some(file) => Ok(Origin::File(file.into())),
            None => Err(Diagnostic::new("which endpoints should be picked from?").help(
                "give --pool-name, --endpoint-selector with --endpoint-target-ports, or --endpoints FILE",
            )),
        }
    }

    /// Whether anything says where the endpoints come from.
    pub const fn has_origin(&self, configured: Option<&str>) -> bool {
        self.endpoints.is_some()
            || self.pool_name.is_some()
            || self.endpoint_selector.is_some()
            || configured.is_some()
    }
}
