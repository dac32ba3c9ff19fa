//! Sources that are down, old, or not to be believed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wva_testbed::{Prometheus, or_skip};

use super::lies::{Liar, Lie};
use crate::plot::{IDLE, Plot, TEN_MINUTES, shared};

fn asking(url: &str) -> Value {
    json!({"prometheus": {"url": url, "timeout_seconds": 2}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_that_is_down_for_ten_minutes() {
    let Some(ground) = shared().await else { return };
    let plot = Plot::new(&ground.cluster, "down").await;
    let started = Prometheus::start(&plot.scraping("1s", &[])).await;
    let Some(prometheus) = or_skip(started) else {
        return;
    };
    let mut busy = plot.busy(&asking(prometheus.url())).await;
    // First it hangs, then it is gone.
    prometheus.daemon().freeze().unwrap();
    let reason = busy.stays_while_nothing_is_known().await;
    println!("hangs: {reason}");
    prometheus.daemon().stop();
    busy.stays().await;
    prometheus.daemon().start().await.unwrap();
    busy.goes_down().await;
}

/// It answers at once, and what it answers was scraped long ago, as one does that nothing arrives at any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_that_answers_with_old_samples() {
    let Some(ground) = shared().await else { return };
    let plot = Plot::new(&ground.cluster, "old").await;
    let started = Prometheus::start(&plot.scraping("1s", &[])).await;
    let Some(prometheus) = or_skip(started) else {
        return;
    };
    let liar = Liar::start(plot.cluster.host(), prometheus.url()).await;
    let mut busy = plot.busy(&asking(&liar.url)).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    liar.tell(Lie::AsOf(now.as_secs_f64()));
    let reason = busy.stays_while_nothing_is_known().await;
    assert_eq!(reason, "MetricsStale");
    liar.tell(Lie::None);
    busy.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_that_says_nan_or_a_thousand_times_too_much() {
    let Some(ground) = shared().await else { return };
    let plot = Plot::new(&ground.cluster, "lies").await;
    let started = Prometheus::start(&plot.scraping("1s", &[])).await;
    let Some(prometheus) = or_skip(started) else {
        return;
    };
    let liar = Liar::start(plot.cluster.host(), prometheus.url()).await;
    let mut busy = plot.busy(&asking(&liar.url)).await;
    // A single leap is no news.
    let before = busy.asked.values().len();
    liar.tell(Lie::Times(1000.0));
    tokio::time::sleep(Duration::from_millis(700)).await;
    liar.tell(Lie::None);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let after = busy.asked.values()[before.saturating_sub(1)..].to_vec();
    assert!(after.iter().all(|n| (2..8).contains(n)), "{after:?}");
    // A lie that lasts is no knowledge.
    liar.tell(Lie::NaN);
    let reason = busy.stays_while_nothing_is_known().await;
    println!("NaN: {reason}");
    // Nor is one of a thousand times too much, of which no device is capable: nothing is asked for because of it.
    let before = busy.asked.values();
    let most = before.iter().copied().max().unwrap();
    liar.tell(Lie::Times(1000.0));
    tokio::time::sleep(TEN_MINUTES / 2).await;
    let after = busy.asked.values()[before.len().saturating_sub(1)..].to_vec();
    assert!(
        after.iter().all(|n| *n <= most),
        "{before:?}, then {after:?}"
    );
    liar.tell(Lie::None);
    plot.known().await;
}

/// Hours apart from ours, and then hours the other way: ages are by the clock of whoever scraped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_whose_clock_is_wrong() {
    let Some(ground) = shared().await else { return };
    let plot = Plot::new(&ground.cluster, "clock").await;
    let started = Prometheus::start(&plot.scraping("1s", &[])).await;
    let Some(prometheus) = or_skip(started) else {
        return;
    };
    let liar = Liar::start(plot.cluster.host(), prometheus.url()).await;
    liar.tell(Lie::Clock(7200.0));
    let busy = plot.busy(&asking(&liar.url)).await;
    let before = busy.asked.values().len();
    for ahead in [-7200.0, 7200.0, 0.0] {
        liar.tell(Lie::Clock(ahead));
        tokio::time::sleep(TEN_MINUTES / 4).await;
    }
    // All the while the replicas were needed.
    let after = busy.asked.values()[before.saturating_sub(1)..].to_vec();
    assert!(after.iter().all(|n| *n >= 2), "{after:?}");
    liar.tell(Lie::Clock(7200.0));
    plot.known().await;
    let mut busy = busy;
    busy.load.again(&[(0.0, IDLE), (600.0, IDLE)]);
    busy.goes_down().await;
}
