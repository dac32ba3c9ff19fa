//! The definitions in the chart are those of the code. `WVA_BLESS=1 cargo test -p wva-controllers --test crds` writes them.

use std::path::PathBuf;

use wva_controllers::api::crds;

#[test]
fn the_chart_has_the_definitions_of_the_code() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts/wva/crds");
    let bless = std::env::var_os("WVA_BLESS").is_some();
    for (name, crd) in crds::all() {
        let made = crds::yaml(&crd);
        let path = folder.join(&name);
        if bless {
            std::fs::create_dir_all(&folder).expect("a writable checkout");
            std::fs::write(&path, &made).expect("a writable checkout");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == made,
            "{name} is out of date; run this test with WVA_BLESS=1"
        );
    }
}

/// What an old object lacks must not be required, and what nobody said must not be filled in.
#[test]
fn nothing_is_required_and_nothing_has_a_default() {
    let (_, crd) = crds::all().swap_remove(0);
    let text = serde_json::to_value(&crd).expect("serialises");
    let spec = &text["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    assert!(spec["required"].is_null(), "{}", spec["required"]);
    let mut defaults = Vec::new();
    collect(spec, "spec", &mut defaults);
    assert!(defaults.is_empty(), "{defaults:?}");
    let rule = text["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"]
        [0]["rule"]
        .clone();
    assert!(
        rule.as_str().is_some_and(|r| r.contains("minReplicas")),
        "{rule}"
    );
}

fn collect(schema: &serde_json::Value, path: &str, out: &mut Vec<String>) {
    if let Some(map) = schema.as_object() {
        if map.get("default").is_some_and(|d| !d.is_null()) {
            out.push(path.to_owned());
        }
        for (key, value) in map {
            collect(value, &format!("{path}.{key}"), out);
        }
    }
}
