//! The whole loop: users, model servers, telemetry, `wva controller`, the aggregator and the real HPA.
//!
//! ```text
//! Load ──► emulated servers ──► telemetry ──► wva controller ──► external metric ──► HPA ──► Deployment ──► test kubelet
//!              ▲                                                                                                │
//!              └────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Servers run as fast as real ones do, so that what the controller believes of them is true; only start-up times and the
//! controller's windows are short.

mod asked;
mod bed;
mod forms;
mod load;
mod zero;

use std::net::SocketAddrV4;
use std::time::Duration;

use serde_json::json;
use wva_testbed::{Prometheus, or_skip};

use bed::{Bed, CHEAP, LARGE};

/// Pods read directly, each second.
fn pods() -> serde_json::Value {
    json!({"pods": {"interval_seconds": 1, "timeout_seconds": 2}, "gates": {"stale_after_seconds": 6}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_follow_the_load_on_the_cheaper_accelerator() {
    let Some(bed) = Bed::start().await else {
        return;
    };
    bed.deploy(CHEAP, 1).await;
    bed.deploy(LARGE, 0).await;
    bed.replicas(CHEAP, "a replica", |n| n == 1).await;
    bed.autoscale(CHEAP, 1).await;
    bed.autoscale(LARGE, 0).await;
    bed.controller(&pods()).await;
    let profile = [
        (0.0, 0.7),
        (10.0, 0.7),
        (30.0, 8.0),
        (45.0, 8.0),
        (50.0, 0.7),
        (75.0, 0.7),
    ];
    let timeline = bed.timeline(&profile);
    let outcome = bed.load(&profile).end().await;
    timeline.print("one model on two accelerators");
    println!("{outcome:?}\n{}", bed.decisions());
    let rows = timeline.rows();
    let most = rows.iter().map(|r| r.cheap.1).max().unwrap();
    let last = rows.last().unwrap();
    assert!(most >= 3, "at most {most} ready");
    assert!(last.cheap.0 < most, "{last:?}");
    let hours = |of: fn(&bed::Row) -> i32| rows.iter().map(of).sum::<i32>();
    assert!(
        hours(|r| r.cheap.1) > 3 * hours(|r| r.large.1),
        "the cheaper one is preferred"
    );
    assert_eq!(outcome.lost, 0, "{outcome:?}");
    assert!(
        outcome.requests > 150 && outcome.attainment >= 0.9,
        "{outcome:?}"
    );
}

/// Has Prometheus scrape the pods of the namespace, and perhaps a gateway, each second.
fn scraping(bed: &Bed, gateway: Option<SocketAddrV4>) -> String {
    let gateway = gateway.map(|address| {
        json!({
            "job_name": "gateway",
            "static_configs": [{
                "targets": [address.to_string()],
                "labels": {"namespace": bed.namespace, "pod": "gateway"},
            }],
        })
    });
    let servers = json!({
        "job_name": "vllm",
        "file_sd_configs": [{"files": [bed.discovery()]}],
    });
    let jobs: Vec<_> = std::iter::once(servers).chain(gateway).collect();
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": jobs,
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_down_while_prometheus_is_silent() {
    let Some(bed) = Bed::start().await else {
        return;
    };
    let Some(prometheus) = or_skip(Prometheus::start(&scraping(&bed, None)).await) else {
        return;
    };
    bed.deploy(CHEAP, 1).await;
    bed.replicas(CHEAP, "a replica", |n| n == 1).await;
    bed.autoscale(CHEAP, 1).await;
    bed.controller(&json!({
        "prometheus": {"url": prometheus.url(), "timeout_seconds": 2},
        "gates": {"stale_after_seconds": 6},
    }))
    .await;
    let profile = [
        (0.0, 0.7),
        (8.0, 0.7),
        (15.0, 6.0),
        (40.0, 6.0),
        (41.0, 0.5),
        (110.0, 0.5),
    ];
    let timeline = bed.timeline(&profile);
    let load = bed.load(&profile);
    bed.replicas(CHEAP, "three replicas or more", |n| n >= 3)
        .await;
    prometheus.daemon().freeze().unwrap();
    let frozen = timeline.rows().len();
    // Longer than data counts as fresh, the window before going down, and the load.
    tokio::time::sleep(Duration::from_secs(45)).await;
    let thawed = timeline.rows().len();
    prometheus.daemon().thaw().unwrap();
    let silent = timeline.rows()[frozen..thawed].to_vec();
    assert_eq!(
        silent.last().unwrap().rate,
        0.5,
        "the load is gone long since"
    );
    let steps = silent.windows(2).filter(|w| w[1].cheap.0 < w[0].cheap.0);
    assert_eq!(steps.count(), 0, "{silent:?}\n{}", bed.decisions());
    bed.replicas(CHEAP, "one replica again", |n| n == 1).await;
    timeline.print("Prometheus is silent for 45 s");
    println!(
        "frozen at {frozen}, thawed at {thawed}\n{}",
        bed.decisions()
    );
    drop(load);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_is_had_elsewhere_until_it_can() {
    let Some(bed) = Bed::start().await else {
        return;
    };
    let (gpus, few) = ("nvidia.com/gpu", 2);
    bed.kubelet
        .set_devices(CHEAP.name, gpus, few)
        .await
        .unwrap();
    bed.deploy(CHEAP, 1).await;
    bed.deploy(LARGE, 0).await;
    bed.replicas(CHEAP, "a replica", |n| n == 1).await;
    bed.autoscale(CHEAP, 1).await;
    bed.autoscale(LARGE, 0).await;
    bed.controller(&pods()).await;
    let profile = [(0.0, 0.7), (8.0, 0.7), (20.0, 8.0), (120.0, 8.0)];
    let timeline = bed.timeline(&profile);
    let load = bed.load(&profile);
    bed.replicas(LARGE, "a replica", |n| n >= 1).await;
    let row = *timeline.rows().last().unwrap();
    assert!(row.cheap.1 <= 2, "{row:?}");
    println!("spilled over at {row:?}");
    bed.kubelet.set_devices(CHEAP.name, gpus, 8).await.unwrap();
    bed.replicas(LARGE, "no replica", |n| n == 0).await;
    bed.replicas(CHEAP, "more than two", |n| n > 2).await;
    timeline.print("two devices of the cheap accelerator, then eight");
    println!("{}", bed.decisions());
    drop(load);
}
