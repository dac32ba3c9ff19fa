//! `wva gateway`: the Endpoint Picker with a reverse proxy of its own.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Args};
use wva_epp::gateway::{Gateway as Server, Passing, Settings};

use super::epp::feeds::{Feeds, refused};
use super::epp::flags::{Flags, duration};
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};

/// Serve many model servers as one, each request at the one that suits it best, without Envoy
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva gateway --endpoints servers.yaml                  these servers, at http://localhost:8080/v1
  wva gateway --pool-name llama                         the pods of an InferencePool
  wva gateway --endpoint-selector app=vllm --endpoint-target-ports 8000      pods by their labels
  wva gateway --endpoints servers.yaml --config-file epp.yaml       with plugins, weights and flow control of your own
  wva gateway --endpoints servers.yaml --cert-path /tls --port 8443          by TLS, HTTP/1.1 and HTTP/2

The file of servers is read again when it changes:
  endpoints: [{name: a, address: 10.0.0.1, port: 8000}, {name: b, address: 10.0.0.2, port: 8000}]

Requests are those of the model servers: whatever speaks OpenAI's or Anthropic's API is pointed here instead.
  curl localhost:8080/v1/chat/completions -d '{\"model\": \"llama\", \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}'
Headers that matter: x-llm-d-inference-objective, x-llm-d-inference-fairness-id, x-slo-ttft-ms, x-slo-tpot-ms.

Where a request goes, who waits and who is refused is decided as by `wva epp`, from the same configuration file
(EndpointPickerConfig). A request whose server cannot be reached, or says 503, goes to the next best one; so does one whose
connection breaks before the answer, if asking twice does no harm (completions, chats, messages, embeddings, GET). What has
begun to be answered is never tried again: it is cut. A server that fails is left out for a second, then two, up to 30.

Errors have OpenAI's form, the header x-llm-d-request-dropped-reason, and retry-after where that is known.
Paths that manage servers (/sleep, /metrics and so on) are not passed on; see --paths.
Served besides: /health on --port; /metrics, /healthz, /readyz on --metrics-port.
SIGTERM stops it: /readyz and /health turn 503, and answers are finished for up to --drain-timeout.")]
pub struct Gateway {
    /// Port of requests
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    #[command(flatten)]
    flags: Flags,
    /// Serve by TLS: self-signed, or by --cert-path, with which it is the default
    #[arg(long, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    secure_serving: Option<bool>,
    /// Most further tries of a request before the first byte of an answer
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    retries: u8,
    /// Time to connect to a server
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    connect_timeout: Duration,
    /// Time until a server begins to answer; absent, for as long as the client waits
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    first_byte_timeout: Option<Duration>,
    /// Time between two pieces of an answer
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    idle_timeout: Duration,
    /// Paths that are passed on, by their beginnings; `/` for all
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', default_values_t = Passing::default().paths)]
    paths: Vec<String>,
}

impl Gateway {
    /// What is logged unless asked for otherwise.
    pub const fn log_level(&self) -> &'static str {
        self.flags.log_level()
    }

    /// Serves until told to stop.
    pub fn run(&self) -> Result<Verdict, Failure> {
        self.flags
            .run(1 + usize::from(self.retries), async |feeds, stop| {
                let settings = self.settings(&feeds);
                let server = Server::bind(feeds.store(), feeds.clock(), settings).await;
                let server = server.map_err(|error| refused(error, "--port or --metrics-port"))?;
                let at = server
                    .addresses()
                    .map_err(|e| Diagnostic::new(e.to_string()))?;
                let origin = feeds.origin().clone();
                let fed = feeds.start(&self.flags.controller, server.shared())?;
                tracing::info!(
                    ?origin,
                    http = %at.http,
                    metrics = %at.metrics,
                    version = env!("CARGO_PKG_VERSION"),
                    "serving"
                );
                server.run(stop).await;
                drop(fed);
                Ok(())
            })
    }

    fn settings(&self, feeds: &Feeds) -> Settings {
        let flags = &self.flags;
        let secure = self.secure_serving.unwrap_or(flags.cert_path.is_some());
        let at = |port| SocketAddr::from((flags.bind_address, port));
        Settings {
            http: at(self.port),
            metrics: at(flags.metrics_port),
            security: flags.security(secure),
            drain: flags.drain_timeout,
            handling: feeds.handling(flags),
            passing: Passing {
                paths: self.paths.clone(),
                retries: self.retries.into(),
                connect: self.connect_timeout,
                first_byte: self.first_byte_timeout,
                idle: self.idle_timeout,
                ..Passing::default()
            },
        }
    }
}
