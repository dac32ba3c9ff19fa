//! Prometheus and Envoy.

use wva_testbed::{Envoy, Prometheus, eventually, or_skip};

#[tokio::test]
async fn prometheus_scrapes_and_remembers() {
    let configuration = |interval: &str| {
        // It scrapes itself, so that nothing else has to be there.
        format!(
            "global: {{scrape_interval: {interval}}}\n\
             scrape_configs:\n\
             - job_name: itself\n  \
               static_configs: [{{targets: ['PLACE']}}]\n"
        )
    };
    let nothing = "scrape_configs: []\n";
    let Some(prometheus) = or_skip(Prometheus::start(nothing).await) else {
        return;
    };
    assert_eq!(prometheus.query("up").await.unwrap(), serde_json::json!([]));
    let place = prometheus.url().trim_start_matches("http://");
    let itself = configuration("1s").replace("PLACE", place);
    prometheus.configure(&itself).await.unwrap();
    let scraped = async || {
        let up = prometheus.query("up{job=\"itself\"}").await.unwrap();
        (up[0]["value"][1] == "1").then_some(()).ok_or(up)
    };
    eventually("a first scrape", scraped).await.unwrap();
    prometheus.daemon().stop();
    prometheus.query("up").await.unwrap_err();
    prometheus.daemon().start().await.unwrap();
    eventually("a scrape after the restart", scraped)
        .await
        .unwrap();
    let refused = prometheus.configure("nonsense: true\n").await.unwrap_err();
    assert!(refused.to_string().contains("nonsense"), "{refused}");
}

#[tokio::test]
async fn envoy_answers() {
    let configuration = |host| {
        format!(
            r#"
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: {host}, port_value: 8080}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, direct_response: {{status: 418}}}}]}}
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"#
        )
    };
    let Some(envoy) = or_skip(Envoy::start(configuration).await) else {
        return;
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let url = format!("http://{}:8080/", envoy.host());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 418);
    envoy.daemon().restart().await.unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().status(), 418);
}
