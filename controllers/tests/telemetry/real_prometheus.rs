//! The same against a real Prometheus that scrapes real pages.

use std::time::Duration;

use wva_controllers::telemetry::clock;
use wva_controllers::telemetry::gathered::{CountedBy, Outcome};
use wva_controllers::telemetry::prometheus::PrometheusSettings;
use wva_controllers::telemetry::reason::{Reason, Source};
use wva_controllers::telemetry::{Gatherer, TelemetrySettings};
use wva_emulator::{Config, Emulator, ServerSpec};
use wva_testbed::{Prometheus, or_skip};

use crate::fleet::targets;
use crate::other_pages;
use crate::pages::{self, LOAD};
use crate::servers::{Answer, plain};

const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Two jobs over the same model server, an endpoint picker, and a pod that only its address names.
fn configuration([server, picker, bare, emulated]: [u16; 4]) -> String {
    let job = |name: &str, port: u16, labels: &str| {
        format!(
            "- job_name: {name}\n  static_configs:\n  - targets: ['127.0.0.1:{port}']\n    labels: {{{labels}}}\n"
        )
    };
    format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n{}{}{}{}{}",
        job("servers", server, "namespace: ml, pod: a"),
        job("servers-again", server, "namespace: ml, pod: a"),
        job("picker", picker, "namespace: ml, pod: epp-0"),
        job("bare", bare, ""),
        job("emulated", emulated, "namespace: ml, pod: emulated-rank-0"),
    )
}

#[tokio::test]
async fn samples_come_out_of_a_real_prometheus() {
    let (server, _) = plain(Answer::page(
        PLAIN,
        &pages::vllm("meta/llama", &[LOAD, LOAD]),
    ))
    .await;
    let (bare, _) = plain(Answer::page(
        PLAIN,
        &other_pages::sglang("meta/llama", &[LOAD]),
    ))
    .await;
    let (picker, _) = plain(Answer::page(
        PLAIN,
        "# TYPE llm_d_epp_ready_endpoints gauge\nllm_d_epp_ready_endpoints{name=\"p\"} 1\n\
         # TYPE llm_d_epp_request_total counter\nllm_d_epp_request_total{model_name=\"llama\",priority=\"10\"} 5\n",
    ))
    .await;
    let emulated = Emulator::start(Config::default()).unwrap();
    let spec = ServerSpec::of("llama-3.1-8b", "h100", "127.0.0.1:0".parse().unwrap()).unwrap();
    let emulated = emulated.spawn_server(spec).unwrap();
    let ports = [
        server.port(),
        picker.port(),
        bare.port(),
        emulated.address().port(),
    ];
    let Some(prometheus) = or_skip(Prometheus::start(&configuration(ports)).await) else {
        return;
    };
    let mut t = targets(&["a", "b", "c", "emulated"]);
    t.pods[0].ip = None;
    t.pods[1].endpoint.ports.push(bare.port());
    t.pods[2].ip = Some("127.9.9.9".into());
    let settings = TelemetrySettings {
        prometheus: Some(PrometheusSettings {
            url: prometheus.url().to_owned(),
            ..PrometheusSettings::default()
        }),
        ..TelemetrySettings::default()
    };
    let mut gatherer = Gatherer::new(&settings).unwrap();
    let mut gathered = gatherer.gather(&t, clock::system()).await;
    for _ in 0..300 {
        let heard = |i: usize| gathered.pods[i].outcome.sample().is_some();
        if heard(0) && heard(1) && heard(3) && gathered.streams[1].outcome.sample().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        gathered = gatherer.gather(&t, clock::system()).await;
    }
    let health = &gathered.sources[Source::Prometheus.as_str()];
    assert_eq!(
        (&health.last_error, health.warnings.as_slice()),
        (&None, &[][..])
    );
    let Outcome::Sample(a) = &gathered.pods[0].outcome else {
        panic!("{gathered:?}");
    };
    assert_eq!(
        (a.value.running, a.value.finished, a.value.iterations),
        (24.0, 2000.0, 10_000.0)
    );
    assert!((a.value.ttft.sum - 400.0).abs() < 1e-6 && a.value.kv_usage == 0.3);
    let b = gathered.pods[1].outcome.sample().unwrap();
    assert_eq!((b.running, b.finished), (12.0, 1005.0));
    assert_eq!(
        gathered.pods[2].outcome.missing().unwrap().reason,
        Reason::NotInPrometheus
    );
    let idle = gathered.pods[3].outcome.sample().unwrap();
    assert_eq!((idle.running, idle.waiting, idle.finished), (0.0, 0.0, 0.0));
    assert!(gathered.pods[3].engine.as_ref().unwrap().kv_tokens > Some(1e5));
    assert_eq!(gathered.streams[1].counted_by, Some(CountedBy::Router));
}
