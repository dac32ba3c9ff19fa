//! The configuration file that the chart writes, as the controller reads it; and the values' schema beside the controller's own idea of
//! what may be said.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wva_controllers::settings::Settings;

use crate::rendered::{NAMESPACE, Rendered, VALUES, read};

#[test]
fn the_controller_reads_what_the_chart_writes() {
    for values in VALUES {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        let settings = Settings::parse(rendered.settings(), "wva.yaml");
        let settings =
            settings.unwrap_or_else(|e| panic!("{values}: {e}\n{}", rendered.settings()));
        assert!(settings.leader.elect && settings.leader.lease == "wva");
        let external = rendered.kind("APIService").len();
        assert_eq!(
            usize::from(settings.serve.external_metrics.is_some()),
            external
        );
    }
}

/// The program takes the arguments that the pod gives it, and the file that they name.
#[test]
fn the_program_takes_the_arguments_of_the_pod() {
    let file = std::env::temp_dir().join(format!("wva-chart-{}.yaml", std::process::id()));
    for values in VALUES {
        let Some(rendered) = Rendered::of(values) else {
            return;
        };
        std::fs::write(&file, rendered.settings()).unwrap();
        let mounts = rendered.container()["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|m| m["name"] == "settings").unwrap();
        let mounted = format!("{}/wva.yaml", mount["mountPath"].as_str().unwrap());
        let arguments = rendered.container()["args"].as_array().unwrap().iter();
        let arguments: Vec<String> = arguments
            .map(|a| {
                a.as_str()
                    .unwrap()
                    .replace(&mounted, &file.display().to_string())
            })
            .collect();
        assert!(
            arguments.iter().any(|a| a.contains("wva-chart-")),
            "{arguments:?}"
        );
        let output = Command::new(env!("CARGO_BIN_EXE_wva"))
            .args(&arguments)
            .arg("--check")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{values}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn values_arrive_where_they_are_meant() {
    let Some(full) = Rendered::of("full") else {
        return;
    };
    let settings = Settings::parse(full.settings(), "wva.yaml").unwrap();
    assert_eq!(settings.policy.cycle_seconds, 10.0);
    assert_eq!(settings.policy.planner.solve.nodes, 2000);
    assert_eq!(settings.base.catalogue.stock["H100"], 16);
    assert_eq!(settings.base.default_class.as_deref(), Some("chat"));
    assert_eq!(settings.watch.instance.as_deref(), Some("blue"));
    assert!(settings.serve.legacy_metrics);
    let prometheus = settings.telemetry.prometheus.unwrap();
    assert_eq!(prometheus.max_bytes, 128 << 20);
    assert_eq!(prometheus.http.headers["X-Scope-OrgID"], "llm");
    // What is recorded goes into the volume that is mounted, each pod's into a folder of its own.
    let mounts = full.container()["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|m| m["name"] == "recording").unwrap();
    let folder = Path::new(mount["mountPath"].as_str().unwrap());
    for path in [settings.record.decisions, settings.record.cycles] {
        assert!(path.unwrap().starts_with(folder));
    }
    assert_eq!(mount["subPathExpr"], "$(POD_NAME)");
    let pod = &full.kind("Deployment")[0]["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|v| v["name"] == "recording").unwrap();
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], "wva-records");
    let keda = Rendered::of("keda").unwrap();
    let settings = Settings::parse(keda.settings(), "wva.yaml").unwrap();
    assert_eq!(settings.watch.namespaces, ["models-a"]);
    assert!(settings.serve.keda.unwrap().certificate.is_none());
    let own = Rendered::of("").unwrap();
    let settings = Settings::parse(own.settings(), "wva.yaml").unwrap();
    let external = settings.serve.external_metrics.unwrap();
    let secret = own.one("Secret", external.authority_secret.as_deref().unwrap());
    assert_eq!(secret["metadata"]["namespace"], NAMESPACE);
}

/// What the controller says may stand in a place, from its complaint about what may not.
fn known_to_the_controller(before: &str, after: &str) -> BTreeSet<String> {
    let yaml = format!("{before}no_such_key: 1{after}");
    let complaint = Settings::parse(&yaml, "wva.yaml").unwrap_err().to_string();
    let (_, list) = complaint
        .split_once("expected ")
        .unwrap_or_else(|| panic!("{yaml}: {complaint}"));
    let list = list.strip_prefix("one of ").unwrap_or(list);
    let mut known = BTreeSet::new();
    for word in list.replace(" or ", ", ").replace('`', "").split(", ") {
        let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        known.insert(word[..end.unwrap_or(word.len())].to_owned());
        if end.is_some() {
            break; // the line itself is quoted after the list
        }
    }
    known
}

fn known_to_the_schema(schema: &Value) -> BTreeSet<String> {
    let properties = schema["properties"].as_object().unwrap();
    properties.keys().cloned().collect()
}

/// Helm refuses exactly the keys that the controller would refuse: neither late, nor too much.
#[test]
fn the_schema_knows_the_keys_of_the_controller() {
    let schema: Value = serde_json::from_str(&read("charts/wva/values.schema.json")).unwrap();
    let settings = &schema["properties"]["settings"]["properties"];
    let telemetry = &settings["telemetry"]["properties"];
    let policy = &settings["policy"]["properties"];
    for (before, after, schema) in [
        ("policy: {", "}", &settings["policy"]),
        ("policy: {headroom: {", "}}", &policy["headroom"]),
        ("policy: {stabilise: {", "}}", &policy["stabilise"]),
        ("policy: {planner: {", "}}", &policy["planner"]),
        ("defaults: {", "}", &settings["defaults"]),
        (
            "accelerators: [{name: x, ",
            "}]",
            &settings["accelerators"]["items"],
        ),
        ("models: [{name: x, ", "}]", &settings["models"]["items"]),
        ("classes: [{name: x, ", "}]", &settings["classes"]["items"]),
        ("telemetry: {", "}", &settings["telemetry"]),
        ("telemetry: {pods: {", "}}", &telemetry["pods"]),
        ("telemetry: {prometheus: {", "}}", &telemetry["prometheus"]),
        ("telemetry: {gates: {", "}}", &telemetry["gates"]),
        ("telemetry: {routers: {", "}}", &telemetry["routers"]),
        (
            "telemetry: {routers: {urls: [{url: x, ",
            "}]}}",
            &telemetry["routers"]["properties"]["urls"]["items"],
        ),
        (
            "telemetry: {pods: {http: {",
            "}}}",
            &schema["$defs"]["http"],
        ),
    ] {
        assert_eq!(
            known_to_the_schema(schema),
            known_to_the_controller(before, after),
            "{before}{after}"
        );
    }
    // At the top, the chart itself says what is served, watched, leased and recorded.
    let mut whole = known_to_the_schema(&schema["properties"]["settings"]);
    whole.extend(["serve", "watch", "leader", "record"].map(str::to_owned));
    assert_eq!(whole, known_to_the_controller("", ""));
}
