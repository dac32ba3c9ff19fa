//! The Prometheus exposition.

use std::sync::Arc;

use wva_controllers::exported::{Exported, Naming, Stage, router};
use wva_controllers::published::{Publisher, Solver};
use wva_controllers::serving::Transport;

use crate::fixtures::{client, decided, held, listen, reason, report};
use wva_controllers::published::Report;

fn exported(naming: Naming) -> (Publisher, Exported) {
    let (publisher, published) = Publisher::new();
    (publisher, Exported::new(published, naming).0)
}

/// The value of the series whose line begins like this.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

const LARGE: &str = r#"{variant_name="large",namespace="team",accelerator_type="H100"}"#;

#[test]
fn replicas_and_what_we_add() {
    let (publisher, exported) = exported(Naming::default());
    let mut large = decided("team", "large", 20, 21);
    large.hpa_tolerance = Some(0.1);
    large.slo_margin = Some(f64::NAN);
    let mut cycle = report(1_700_000_000.0, [large]);
    cycle.solver = Some(Solver {
        gap: 0.005,
        seconds: 0.125,
    });
    publisher.publish(cycle);
    let text = exported.text().unwrap();
    for (name, expected) in [
        ("wva_desired_replicas", 21.0),
        ("wva_current_replicas", 20.0),
        ("wva_desired_ratio", 1.05),
        ("wva_hpa_value", 23.0),
        ("wva_hpa_tolerance_ratio", 0.1),
        ("wva_cost_dollars_per_hour", 52.5),
        ("wva_predicted_ttft_seconds", 0.2),
        ("wva_model_trust_ratio", 0.8),
        ("wva_data_age_seconds", 3.0),
        ("wva_decision_timestamp_seconds", 1.7e9),
        ("wva_decision_held", 0.0),
    ] {
        assert_eq!(
            value(&text, &format!("{name}{LARGE}")),
            Some(expected),
            "{name}\n{text}"
        );
    }
    assert_eq!(value(&text, "wva_solver_gap_ratio"), Some(0.005));
    assert_eq!(value(&text, "wva_variants"), Some(1.0));
    assert_eq!(
        value(&text, "wva_last_cycle_timestamp_seconds"),
        Some(1.7e9)
    );
    let up = LARGE.replace('}', r#",direction="up",reason="demand"}"#);
    assert_eq!(
        value(&text, &format!("wva_replica_scaling_total{up}")),
        Some(1.0),
        "{text}"
    );
    let why = LARGE.replace('}', r#",reason="demand"}"#);
    assert_eq!(
        value(&text, &format!("wva_decision_reason{why}")),
        Some(1.0)
    );
    // What is unknown, or no number, has no series.
    assert!(
        !text.contains("wva_observed_ttft_seconds{") && !text.contains("wva_slo_margin_ratio{")
    );
    assert!(!text.contains("inferno_"));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn series_of_removed_variants_vanish() {
    let (publisher, exported) = exported(Naming::default());
    publisher.publish(report(
        1.0,
        [
            decided("team", "large", 1, 2),
            decided("team", "small", 1, 2),
        ],
    ));
    publisher.publish(report(2.0, [decided("team", "small", 2, 2)]));
    let text = exported.text().unwrap();
    assert!(!text.contains("large") && text.contains("small"));
}

#[test]
fn held_decisions_say_so() {
    let (publisher, exported) = exported(Naming::default());
    publisher.publish(report(1.0, [decided("team", "large", 1, 2)]));
    publisher.publish(Report {
        at: 2.0,
        entries: vec![held("team", "large", 2)],
        solver: None,
    });
    let text = exported.text().unwrap();
    assert_eq!(
        value(&text, &format!("wva_decision_held{LARGE}")),
        Some(1.0)
    );
    let why = LARGE.replace('}', r#",reason="stale-data"}"#);
    assert_eq!(
        value(&text, &format!("wva_decision_reason{why}")),
        Some(1.0)
    );
    assert_eq!(
        value(&text, &format!("wva_current_replicas{LARGE}")),
        Some(2.0)
    );
}

#[test]
fn the_predecessors_names_and_the_instance_on_request() {
    let (publisher, exported) = exported(Naming {
        instance: Some("blue".into()),
        legacy: true,
    });
    publisher.publish(report(1.0, [decided("team", "large", 0, 2)]));
    let text = exported.text().unwrap();
    let labels = LARGE.replace('}', r#",controller_instance="blue"}"#);
    for name in [
        "inferno_desired_replicas",
        "wva_desired_replicas",
        "inferno_desired_ratio",
    ] {
        assert_eq!(
            value(&text, &format!("{name}{labels}")),
            Some(2.0),
            "{text}"
        );
    }
    assert!(text.contains("inferno_replica_scaling_total{"));
}

#[test]
fn names_are_escaped() {
    let (publisher, exported) = exported(Naming::default());
    let mut odd = decided("team", "large", 1, 1);
    odd.accelerator = "a\"b\\c\nd".into();
    odd.reasons = vec![reason("x\" 1\nwva_forged 7")];
    publisher.publish(report(1.0, [odd]));
    let text = exported.text().unwrap();
    assert!(text.contains(r#"accelerator_type="a\"b\\c\nd""#), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("wva_forged")));
    assert!(text.contains(r#"reason="other""#));
}

#[tokio::test]
async fn scraped_over_http() {
    let (publisher, published) = Publisher::new();
    let (exported, meters) = Exported::new(published, Naming::default());
    publisher.publish(report(1.0, [decided("team", "large", 1, 1)]));
    meters.cycle(0.02, true);
    meters.clone().cycle(3.0, false);
    meters.error(Stage::Telemetry);
    meters.error(Stage::Telemetry);
    meters.leader(true);
    let (address, _stop) = listen(Transport::Plain, router(Arc::new(exported))).await;
    let client = client(&crate::fixtures::Ca::new("unused").pem, None);
    let answer = client
        .get(format!("http://{address}/metrics"))
        .send()
        .await
        .unwrap();
    assert!(
        answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = answer.text().await.unwrap();
    assert_eq!(
        value(
            &text,
            r#"wva_optimization_duration_seconds_count{status="success"}"#
        ),
        Some(1.0),
        "{text}"
    );
    assert_eq!(
        value(
            &text,
            r#"wva_optimization_duration_seconds_sum{status="error"}"#
        ),
        Some(3.0)
    );
    assert_eq!(
        value(&text, r#"wva_errors_total{stage="telemetry"}"#),
        Some(2.0)
    );
    assert_eq!(value(&text, "wva_leader"), Some(1.0));
}
