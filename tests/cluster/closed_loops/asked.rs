//! The verbs of a cluster while a real controller decides about real load.

use serde_json::Value;
use wva_testbed::eventually;

use super::bed::Bed;
use super::pods;
use crate::commands::fixtures::wva;
use crate::site::CHEAP;

/// What `wva status` says of the first variant, once it is decided about by what is known of its load.
pub async fn known(bed: &Bed) -> Value {
    let url = format!("http://{}:7080", bed.cluster.host());
    let words = [
        "status",
        "-n",
        &bed.namespace,
        "--controller",
        &url,
        "-o",
        "json",
    ];
    let status = eventually("a decision that is explained by load", async || {
        let ran = wva(bed.cluster.admin(), &words).await;
        let answer: Value = serde_json::from_str(&ran.out).map_err(|_| ran.err.clone())?;
        let variant = answer["variants"][0].clone();
        let seen = |of: &str| variant["ttft"][of].is_number();
        let known =
            seen("observed_ms") && seen("predicted_ms") && variant["reasons"][0].is_string();
        if known {
            Ok(variant)
        } else {
            Err(variant.to_string())
        }
    });
    status.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_what_the_controller_does_and_why() {
    let Some(bed) = Bed::start().await else {
        return;
    };
    bed.deploy(CHEAP, 1).await;
    bed.replicas(CHEAP, "a replica", |n| n == 1).await;
    bed.autoscale(CHEAP, 1).await;
    bed.controller(&pods()).await;
    let load = bed.load(&[(0.0, 2.0), (600.0, 2.0)]);
    let url = format!("http://{}:7080", bed.cluster.host());
    let asked = async |verb: &[&str]| {
        let place = ["-n", &bed.namespace, "--controller", &url, "-o", "json"];
        wva(bed.cluster.admin(), &[verb, &place].concat()).await
    };
    let status = known(&bed).await;
    assert_eq!(
        (&status["source"], &status["mode"]),
        (&"metrics".into(), &"control".into())
    );
    assert_eq!(status["accelerator"], "L40S");

    // What was known a moment ago may be stale for one, where this machine is busy.
    let explained = eventually("an explanation by load", async || {
        let ran = asked(&["explain", CHEAP.name]).await;
        let answer: Value = serde_json::from_str(&ran.out).map_err(|_| ran.err.clone())?;
        let mut why = answer["why"].as_array().into_iter().flatten();
        let demand = why.any(|w| w["text"].as_str().is_some_and(|t| t.contains("rps")));
        let fresh = answer["age_s"].as_f64().is_some_and(|age| age < 60.0);
        if demand && fresh && answer["binding"][0]["class"] == "chat" {
            Ok(())
        } else {
            Err(format!("{answer:#}"))
        }
    });
    explained.await.unwrap();

    // The HPA says what it saw when it last looked, which may be from before the first decision.
    let healthy = eventually("a doctor who finds no error", async || {
        let examined = asked(&["doctor"]).await;
        let answer: Value =
            serde_json::from_str(&examined.out).map_err(|_| examined.err.clone())?;
        let findings = answer["findings"].as_array().unwrap().iter();
        let errors: Vec<&Value> = findings.filter(|f| f["severity"] == "error").collect();
        if errors.is_empty() && examined.code == Some(0) {
            Ok(())
        } else {
            Err(format!("{errors:#?}\n{}", bed.decisions()))
        }
    });
    healthy.await.unwrap();
    drop(load);
}
