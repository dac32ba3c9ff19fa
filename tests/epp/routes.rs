//! Envoy's configuration: one listener for each place, as a gateway that follows the endpoint picker protocol is set up.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use crate::bed::Place;

/// Header by which a client of the tests says what a gateway would: which endpoints are allowed.
pub const SUBSET_HEADER: &str = "x-test-subset";

/// The configuration with a listener for each place.
pub fn configuration(host: Ipv4Addr) -> String {
    let (mut listeners, mut clusters) = (String::new(), String::new());
    for place in Place::ALL {
        listener(&mut listeners, host, place).unwrap();
        picker(&mut clusters, host, place).unwrap();
        fleet(&mut clusters, host, place).unwrap();
    }
    format!("static_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}")
}

fn listener(text: &mut String, host: Ipv4Addr, place: Place) -> std::fmt::Result {
    let (number, port, open) = (place.number(), place.port(), place.fails_open());
    writeln!(
        text,
        r#"  - name: front{number}
    address: {{socket_address: {{address: {host}, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front{number}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /}}
                route:
                  cluster: fleet{number}
                  timeout: 60s
                  retry_policy: {{retry_on: "5xx,connect-failure,refused-stream,reset", num_retries: 2}}
          http_filters:
          - name: subset
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
              request_rules:
              - header: {SUBSET_HEADER}
                on_header_present: {{metadata_namespace: envoy.lb.subset_hint, key: x-gateway-destination-endpoint-subset, type: STRING}}
                remove: true
          - name: picker
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service:
                envoy_grpc: {{cluster_name: picker{number}}}
                timeout: 60s
                retry_policy: {{num_retries: 8, retry_on: "connect-failure,refused-stream,reset,unavailable", retry_back_off: {{base_interval: 0.05s, max_interval: 0.5s}}}}
              failure_mode_allow: {open}
              message_timeout: 60s
              processing_mode:
                request_header_mode: SEND
                response_header_mode: SEND
                request_body_mode: FULL_DUPLEX_STREAMED
                response_body_mode: FULL_DUPLEX_STREAMED
                request_trailer_mode: SEND
                response_trailer_mode: SEND
              metadata_options:
                forwarding_namespaces: {{untyped: ["envoy.lb.subset_hint", "envoy.lb"]}}
                receiving_namespaces: {{untyped: ["envoy.lb"]}}
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"#
    )
}

/// How Envoy reaches the pickers. Where there are several it asks about their health, as gateways do, and asks none that
/// is not well, even if that is half of them.
fn picker(text: &mut String, host: Ipv4Addr, place: Place) -> std::fmt::Result {
    let number = place.number();
    let pickers = place
        .pickers(host)
        .into_iter()
        .map(|ip| endpoint((ip, 9002).into()));
    let pickers = pickers.collect::<Vec<_>>().join(", ");
    let tls = r#"
    transport_socket:
      name: tls
      typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: {alpn_protocols: [h2]}}"#;
    let tls = if place.has_tls() { tls } else { "" };
    let health = r#"
    health_checks: [{timeout: 1s, interval: 0.1s, no_traffic_interval: 0.1s, unhealthy_threshold: 1, healthy_threshold: 1, grpc_health_check: {}}]
    common_lb_config: {healthy_panic_threshold: {value: 0}, update_merge_window: 0s}"#;
    let several = place.pickers(host).len() > 1;
    let health = if several { health } else { "" };
    writeln!(
        text,
        r#"  - name: picker{number}
    type: STATIC
    connect_timeout: 10s{tls}
    circuit_breakers: {{thresholds: [{{max_retries: 1000}}]}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: picker{number}
      endpoints: [{{lb_endpoints: [{pickers}]}}]{health}"#
    )
}

fn endpoint(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}")
}

/// How Envoy reaches the model servers: wherever the picker says, or among those that it knows itself, so that there is
/// somewhere to go without a picker and when a server is gone.
fn fleet(text: &mut String, host: Ipv4Addr, place: Place) -> std::fmt::Result {
    let number = place.number();
    if !place.knows_servers() {
        return writeln!(
            text,
            r#"  - name: fleet{number}
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 10s
    original_dst_lb_config: {{use_http_header: true, http_header_name: x-gateway-destination-endpoint}}"#
        );
    }
    let servers: Vec<String> = (0..3).map(|i| endpoint(place.pod(host, i))).collect();
    let servers = servers.join(", ");
    writeln!(
        text,
        r#"  - name: fleet{number}
    type: STATIC
    connect_timeout: 10s
    load_balancing_policy:
      policies:
      - typed_extension_config:
          name: envoy.load_balancing_policies.override_host
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost
            override_host_sources: [{{header: x-gateway-destination-endpoint}}]
            fallback_policy:
              policies:
              - typed_extension_config:
                  name: envoy.load_balancing_policies.round_robin
                  typed_config: {{"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin}}
    load_assignment:
      cluster_name: fleet{number}
      endpoints: [{{lb_endpoints: [{servers}]}}]"#
    )
}
