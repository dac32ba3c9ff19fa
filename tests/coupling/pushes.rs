//! The number of replicas from pushes alone.

use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use wva_testbed::{Sandbox, eventually};

use crate::bed::{Bed, Place};
use crate::load::MODEL;
use crate::metronome::Metronome;
use crate::site::{CHEAP, counts, promises};
use crate::users::{ANSWER, PROMPT};

/// Requests per second.
const RATE: f64 = 12.0;

/// Replicas that the plan on paper has for this rate.
fn on_paper() -> i64 {
    let sandbox = Sandbox::new("plan").unwrap();
    let variants =
        json!([{"name": "v", "model": MODEL, "accelerator": "L40S", "price_per_hour_usd": 1.0}]);
    let file = json!({
        "variants": variants,
        "classes": promises(),
        "demands": [{
            "model": MODEL, "class": "chat", "rate_rps": RATE,
            "shape": {"input_tokens": PROMPT, "output_tokens": ANSWER},
        }],
    });
    let file = sandbox.write("plan.yaml", &file.to_string()).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_wva"))
        .args(["plan", "-o", "json"])
        .arg(file)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    let plan: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e} {told}"));
    plan["replicas"][0]["replicas"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_follow_what_pickers_push() {
    let Some(bed) = Bed::start(Place::Pushes, 1, (1, 12)).await else {
        return;
    };
    let planned = on_paper();
    assert!(planned >= 3, "{planned}");
    let (watched, begin) = (Metronome::start(), Instant::now());
    let users = bed.users(RATE);
    // Poisson arrivals, a forecast's quantile and learned headroom may ask for more than the plan on paper, not for less. Where
    // this machine has no time for the servers they are slow indeed, and a replica serves less than on paper.
    let slow = || !watched.punctual(begin);
    let enough = |n: i32| i64::from(n) >= planned && (i64::from(n) <= planned + 2 || slow());
    let reached = bed.replicas(CHEAP, "what the plan on paper has", enough);
    reached.await;
    let deployments = bed.deployments();
    let (asked, _) = counts(&deployments, CHEAP).await.unwrap();
    println!(
        "{RATE}/s: {asked} replicas, {planned} on paper\n{}",
        bed.decisions()
    );
    let outcome = users.stop().await;
    assert_eq!(outcome.lost, [""; 0]);
    let _few = bed.users(0.4);
    let fewer = async || {
        let (now, _) = counts(&deployments, CHEAP).await?;
        (now < asked && (now <= 2 || slow()))
            .then_some(())
            .ok_or(format!("{now} of {asked}"))
    };
    let fallen = eventually("fewer replicas for less load", fewer).await;
    fallen.unwrap_or_else(|e| panic!("{e}\n{}", bed.decisions()));
}
