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
pub mod bed;
mod samples;
mod timeline;
mod trace;
mod zero;

use serde_json::json;

use bed::Bed;

use crate::site::{CHEAP, LARGE};

/// Pods read directly, each second.
fn pods() -> serde_json::Value {
    json!({"pods": {"interval_seconds": 1, "timeout_seconds": 2}, "gates": {"stale_after_seconds": 6}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_follow_the_load_on_the_cheaper_accelerator() {
    let Some(bed) = Bed::start().await else {
        return;
    };
    bed.both().await;
    bed.controller(&pods()).await;
    let profile = [
        (0.0, 0.7),
        (10.0, 0.7),
        (30.0, 8.0),
        (43.0, 8.0),
        (48.0, 0.7),
        (60.0, 0.7),
    ];
    let timeline = bed.timeline(&profile);
    let outcome = bed.load(&profile).end().await;
    let peak = timeline.asked()[0].iter().copied().max().unwrap();
    bed.replicas(CHEAP, "fewer than at the peak", |n| i64::from(n) < peak)
        .await;
    timeline.print("one model on two accelerators");
    println!("{outcome:?}\n{}", bed.decisions());
    let rows = timeline.rows();
    let most = rows.iter().map(|r| r.replicas[0].1).max().unwrap();
    assert!(most >= 3, "at most {most} ready");
    let served = timeline.served();
    assert!(served[0] > 3 * served[1], "the cheaper one is preferred");
    assert_eq!(outcome.lost, 0, "{outcome:?}");
    assert!(
        outcome.requests > 130 && (outcome.judged < 50 || outcome.attainment >= 0.85),
        "{outcome:?}"
    );
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
    bed.both().await;
    // Twice as long as a pod takes on an idle machine.
    bed.impatient(6, &pods()).await;
    let profile = [(0.0, 0.7), (4.0, 0.7), (12.0, 8.0), (600.0, 8.0)];
    let timeline = bed.timeline(&profile);
    let load = bed.load(&profile);
    bed.replicas(LARGE, "a replica", |n| n >= 1).await;
    let row = timeline.rows().pop().unwrap();
    assert!(row.replicas[0].1 <= 2, "{row:?}");
    println!("spilled over at {row:?}");
    bed.kubelet.set_devices(CHEAP.name, gpus, 8).await.unwrap();
    bed.replicas(LARGE, "no replica", |n| n == 0).await;
    bed.replicas(CHEAP, "more than two", |n| n > 2).await;
    timeline.print("two devices of the cheap accelerator, then eight");
    println!("{}", bed.decisions());
    drop(load);
}
