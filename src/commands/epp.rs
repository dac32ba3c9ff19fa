//! `wva epp`: the Endpoint Picker behind an Envoy-based gateway.

pub mod controller;
pub mod feeds;
pub mod flags;

use std::net::SocketAddr;

use clap::Args;
use wva_epp::server::{Server, Settings};

use crate::failure::{Failure, Verdict};
use feeds::{Feeds, refused};
use flags::{Flags, Grpc, Upstream};

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

With --controller-url the controller is told what arrives, class by class, so that it needs no Prometheus; from it come the
fitted laws for `slo-scorer` and `slo-concurrency-detector`, start-up times, and the pods that leave next, which get
nothing new. Without the controller, its last word counts for a while (metric wva_epp_controller_state).

A refused request has the header x-llm-d-request-dropped-reason, and retry-after where that is known.
Request headers: x-llm-d-inference-objective, x-llm-d-inference-fairness-id, x-slo-ttft-ms, x-slo-tpot-ms.

Envoy: ext_proc with FULL_DUPLEX_STREAMED bodies, headers and trailers SEND, on --grpc-port.
Served besides: gRPC health on both gRPC ports, and /metrics, /healthz, /readyz on --metrics-port.
SIGTERM stops it: health turns NOT_SERVING, and streams are finished for up to --drain-timeout.")]
pub struct Epp {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    grpc: Grpc,
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
        for note in self.upstream.notes() {
            tracing::warn!("{note}");
        }
        self.flags.run(1, async |feeds, stop| {
            let settings = self.settings(&feeds);
            let server = Server::bind(feeds.store(), feeds.clock(), settings).await;
            let server = server.map_err(|error| {
                refused(error, "--grpc-port, --grpc-health-port or --metrics-port")
            })?;
            let origin = feeds.origin().clone();
            let fed = feeds.start(&self.flags.controller, server.shared())?;
            tracing::info!(
                ?origin,
                grpc = self.grpc.grpc_port,
                version = env!("CARGO_PKG_VERSION"),
                "serving"
            );
            server.run(stop).await;
            drop(fed);
            Ok(())
        })
    }

    fn settings(&self, feeds: &Feeds) -> Settings {
        let (flags, grpc) = (&self.flags, &self.grpc);
        let at = |port| SocketAddr::from((flags.bind_address, port));
        Settings {
            grpc: at(grpc.grpc_port),
            health: at(grpc.grpc_health_port),
            metrics: at(flags.metrics_port),
            security: flags.security(grpc.secure_serving),
            most_message: grpc.max_message_bytes,
            drain: flags.drain_timeout,
            handling: feeds.handling(flags),
        }
    }
}
