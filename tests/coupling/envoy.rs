//! Envoy in front of each test's picker: it goes where the picker says, and nowhere else.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

/// Where Envoy takes the requests of the test with this number.
pub fn front(host: Ipv4Addr, number: usize) -> SocketAddr {
    let port = u16::try_from(number).expect("few tests") + 8100;
    SocketAddr::from((host, port))
}

/// The configuration for these pickers.
pub fn configuration(host: Ipv4Addr, pickers: &[Ipv4Addr]) -> String {
    let (mut listeners, mut clusters) = (String::new(), String::new());
    for (number, picker) in pickers.iter().enumerate() {
        let port = front(host, number).port();
        listener(&mut listeners, host, port, number).expect("a text takes everything");
        behind(&mut clusters, *picker, number).expect("a text takes everything");
    }
    format!("static_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}")
}

fn listener(text: &mut String, host: Ipv4Addr, port: u16, number: usize) -> std::fmt::Result {
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
          stream_idle_timeout: 240s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: fleet{number}, timeout: 240s}}}}]
          http_filters:
          - name: picker
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service: {{envoy_grpc: {{cluster_name: picker{number}}}, timeout: 240s}}
              failure_mode_allow: false
              message_timeout: 220s
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

fn behind(text: &mut String, picker: Ipv4Addr, number: usize) -> std::fmt::Result {
    writeln!(
        text,
        r#"  - name: picker{number}
    type: STATIC
    connect_timeout: 10s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: picker{number}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {picker}, port_value: 9002}}}}}}}}]}}]
  - name: fleet{number}
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 10s
    original_dst_lb_config: {{use_http_header: true, http_header_name: x-gateway-destination-endpoint}}"#
    )
}
