//! Alerts and dashboard: that they name only what is exported, fire when they should, and show something.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use wva_controllers::exported::{Exported, Meters, Naming, Stage, router};
use wva_controllers::published::{
    Entry, Latencies, Publisher, Report, ScaleTarget, Solver, VariantKey, VariantReport,
};
use wva_models::variant::Role;
use wva_optimizer::decision::Reason;
use wva_testbed::{Prometheus, Sandbox, component, eventually, or_skip};

use crate::rendered::{Rendered, path, read};

const ALERTS: &str = "charts/wva/files/alerts.yaml";
const DASHBOARD: &str = "charts/wva/files/dashboard.json";

/// A variant of which everything is known, and which is to have this many replicas.
fn decided(desired: u32) -> VariantReport {
    let latencies = Latencies {
        ttft: Some(0.2),
        itl: Some(0.02),
    };
    VariantReport {
        key: VariantKey {
            namespace: "models".into(),
            name: "llama".into(),
        },
        target: ScaleTarget {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: "llama".into(),
        },
        model: "llama".into(),
        accelerator: "H100".into(),
        role: Role::Both,
        current: 1,
        ready: 1,
        desired,
        planned: desired,
        cost_per_hour: Some(2.5),
        reasons: vec![Reason {
            code: "demand-up".into(),
            text: "more requests".into(),
        }],
        slo_margin: Some(0.2),
        predicted: latencies,
        observed: latencies,
        trust: Some(0.9),
        data_age: Some(3.0),
        hpa_tolerance: Some(0.1),
        in_control: true,
    }
}

/// A controller's export, with a value in every place.
struct Source {
    publisher: Publisher,
    meters: Meters,
    exported: Arc<Exported>,
}

impl Source {
    fn new() -> Self {
        let (publisher, published) = Publisher::new();
        let (exported, meters) = Exported::new(published, Naming::default());
        let source = Self {
            publisher,
            meters,
            exported: Arc::new(exported),
        };
        source.meters.leader(true);
        source.meters.error(Stage::Watch);
        source.decide(2);
        source
    }

    fn decide(&self, desired: u32) {
        self.meters.cycle(0.1, true);
        self.publisher.publish(Report {
            at: 1_790_000_000.0,
            entries: vec![Entry::Decided(Box::new(decided(desired)))],
            solver: Some(Solver {
                gap: 0.01,
                seconds: 0.1,
            }),
        });
    }

    /// Names of all series.
    fn names(&self) -> BTreeSet<String> {
        let text = self.exported.text().unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series
            .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
            .collect()
    }
}

/// Words in a PromQL expression that are names of ours.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("wva_") || word.starts_with("inferno_"))
}

fn alerts() -> Vec<(String, String)> {
    let file: Value = serde_saphyr::from_str(&read(ALERTS)).unwrap();
    let groups = file["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap().to_owned();
    rules.map(|r| (text(r, "alert"), text(r, "expr"))).collect()
}

/// Panels and variables of the dashboard, with their queries.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push((
                title.to_owned(),
                target["expr"].as_str().unwrap().to_owned(),
            ));
        }
    }
    assert!(queries.len() > 20);
    queries
}

#[test]
fn only_what_is_exported_is_named() {
    let exported = Source::new().names();
    assert!(exported.contains("wva_desired_replicas"), "{exported:?}");
    let variables = ("variables".to_owned(), read(DASHBOARD));
    for (place, expression) in alerts().into_iter().chain(queries()).chain([variables]) {
        for name in named(&expression) {
            assert!(exported.contains(name), "{place}: {name}");
        }
    }
}

#[test]
fn alerts_say_what_they_mean_and_how_bad_it_is() {
    let Some(rendered) = Rendered::with("", &["--set=prometheusRule.enabled=true"]) else {
        return;
    };
    let rule = rendered.one("PrometheusRule", "wva");
    let groups = rule["spec"]["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|g| g["rules"].as_array().unwrap());
    let mut names = Vec::new();
    for rule in rules {
        names.push(rule["alert"].as_str().unwrap().to_owned());
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{rule}"
        );
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].is_string(), "{rule}");
        }
        assert!(rule["for"].is_string(), "{rule}");
    }
    let written: Vec<String> = alerts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, written);
    let full = Rendered::of("full").unwrap();
    let text = full.one("PrometheusRule", "wva").to_string();
    assert!(!text.contains("WvaFlapping") && text.contains("WvaPlanLoose"));
}

/// What Prometheus' own tool says to the rules, and to the situations in `alerts.yaml` beside this file.
#[test]
fn alerts_fire_when_they_should() {
    let Some(folder) = or_skip(component::folder("prometheus")) else {
        return;
    };
    let Some(sandbox) = or_skip(Sandbox::new("alerts")) else {
        return;
    };
    let situations = read("tests/chart/alerts.yaml");
    for (name, _) in alerts() {
        assert!(
            situations.contains(&name),
            "{name} never fires in the tests"
        );
    }
    sandbox.write("rules.yaml", &read(ALERTS)).unwrap();
    let file = sandbox.write("situations.yaml", &situations).unwrap();
    promtool(&folder, &["check", "rules", path(ALERTS).to_str().unwrap()]);
    promtool(&folder, &["test", "rules", file.to_str().unwrap()]);
}

fn promtool(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(folder.join("usr/bin/promtool"));
    let output = command.args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Prometheus, scraping this address as the ServiceMonitor has it scrape.
async fn scraping(address: std::net::SocketAddr) -> Option<Prometheus> {
    let configuration = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs: [{{job_name: wva, honor_labels: true, static_configs: [{{targets: [\"{address}\"]}}]}}]\n"
    );
    or_skip(Prometheus::start(&configuration).await)
}

#[tokio::test]
async fn every_panel_shows_something() {
    let source = Source::new();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let app = router(Arc::clone(&source.exported));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let Some(prometheus) = scraping(address).await else {
        return;
    };
    let mut desired = 2;
    for (panel, query) in queries() {
        let query = query.replace("$namespace", ".*").replace("$variant", ".*");
        eventually(&panel, async || {
            // Rates need something to grow.
            desired = 5 - desired;
            source.decide(desired);
            source.meters.error(Stage::Watch);
            let found = prometheus.query(&query).await.map_err(|e| e.to_string())?;
            let values = found.as_array().ok_or("no list")?;
            let numbers = values.iter().filter(|v| v["value"][1] != "NaN");
            match numbers.count() {
                0 => Err(format!("nothing for {query}")),
                _ => Ok(()),
            }
        })
        .await
        .unwrap();
    }
}

#[test]
fn the_dashboard_reaches_grafana_whole() {
    let Some(rendered) = Rendered::of("full") else {
        return;
    };
    let map = rendered.one("ConfigMap", "wva-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let inside = parse(map["data"]["wva.json"].as_str().unwrap());
    assert_eq!(inside, parse(&read(DASHBOARD)));
    // Panels do not overlap, and each says what it shows.
    let panels = inside["panels"].as_array().unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && taken.insert((x, y)), "{}", panel["title"]);
            }
        }
        assert!(panel["type"] == "row" || panel["description"].is_string());
    }
}
