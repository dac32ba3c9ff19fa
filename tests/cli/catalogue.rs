use crate::{FLEET, Folder, has_keys};

#[test]
fn lists_what_is_built_in() {
    let folder = Folder::empty();
    let json = folder
        .wva(&["catalogue", "list", "-o", "json"])
        .json("wva.catalogue/v1");
    has_keys(&json, &["accelerators", "models", "variants"]);
    let h100 = json["accelerators"]
        .as_array()
        .and_then(|all| all.iter().find(|a| a["name"] == "H100"));
    has_keys(
        h100.expect("an H100"),
        &[
            "memory_gb",
            "bandwidth_tb_s",
            "bf16_tflops",
            "price_per_hour_usd",
        ],
    );
    let table = folder.wva(&["catalogue", "list"]);
    assert!(table.answered().contains("llama-3.1-8b") && !table.out.contains('\x1b'));
}

#[test]
fn yaml_says_the_same_as_json() {
    let folder = Folder::empty();
    folder.write("fleet.yaml", FLEET);
    let list = |format| folder.wva(&["catalogue", "list", "fleet.yaml", "-o", format]);
    let json: serde_json::Value = serde_json::from_str(list("json").answered()).expect("JSON");
    let yaml: serde_json::Value = serde_saphyr::from_str(list("yaml").answered()).expect("YAML");
    assert_eq!(json, yaml);
}

#[test]
fn a_file_adds_variants() {
    let folder = Folder::empty();
    folder.write("fleet.yaml", FLEET);
    let json = folder
        .wva(&["catalogue", "list", "fleet.yaml", "-o", "json"])
        .json("wva.catalogue/v1");
    let variants = json["variants"].as_array().expect("an array");
    assert_eq!(variants.len(), 2);
    assert_eq!(variants[0]["name"], "llama-3.1-8b-h100");
    assert_eq!(variants[0]["replica"]["price_per_hour_usd"], 2.5);
    assert_eq!(variants[1]["replica"]["price_per_hour_usd"], 1.0);
}

#[test]
fn shows_one_thing_by_any_of_its_names() {
    let folder = Folder::empty();
    let json = folder
        .wva(&[
            "catalogue",
            "show",
            "meta-llama/Llama-3.1-8B-Instruct",
            "-o",
            "json",
        ])
        .json("wva.catalogue/v1");
    assert_eq!(json["models"][0]["name"], "llama-3.1-8b");
    assert!(
        json["variants"].as_array().is_some_and(|v| !v.is_empty()),
        "where it could run"
    );
    folder
        .wva(&["catalogue", "show", "h10"])
        .refused(&["`h10`", "did you mean `H100`?"]);
}

#[test]
fn check_says_sound_or_where_not() {
    let folder = Folder::empty();
    folder.write("fleet.yaml", FLEET);
    assert!(
        folder
            .wva(&["catalogue", "check", "fleet.yaml"])
            .answered()
            .contains("sound: 2 variants, 1 class")
    );
    for (text, parts) in [
        (
            "variants:\n  - model: llama-3.1-8b\n    accelerator: H10O\n",
            &[
                "bad.yaml:3:18",
                "unknown accelerator `H10O`",
                "accelerator: H10O",
                "^^^^",
                "did you mean `H100`?",
            ][..],
        ),
        (
            "accelerators: [{name: H100, price_per_hour_usd: -2}]\n",
            &["bad.yaml:1:", "-2", "at least 0"],
        ),
        (
            "accelerators: [{name: H100, price_per_hour_usd: .nan}]\n",
            &["bad.yaml:1:", "NaN", "finite"],
        ),
        (
            "variants:\n  - {model: llama-3.1-8b, accelerator: H100, min_replicas: 5, max_replicas: 2}\n",
            &[
                "bad.yaml:2:",
                "min_replicas 5 above max_replicas 2",
                "lower the one",
            ],
        ),
        (
            "variants:\n  - {model: llama-3.1-8b, accelerator: H100, colour: red}\n",
            &["bad.yaml:2:", "colour"],
        ),
        ("variants: [\n", &["bad.yaml:"]),
        (
            "classes: [{name: chat, ttft_ms: 500}]\n",
            &["bad.yaml:1:", "statistic"],
        ),
        ("a: &a [*a]\n", &["bad.yaml"]),
    ] {
        folder.write("bad.yaml", text);
        folder
            .wva(&["catalogue", "check", "bad.yaml"])
            .refused(parts);
    }
}

#[test]
fn check_warns_of_promises_that_physics_rules_out() {
    let folder = Folder::empty();
    folder.write("fleet.yaml", &FLEET.replace("{mean: 40}", "{mean: 0.1}"));
    let ran = folder.wva(&["catalogue", "check", "fleet.yaml"]);
    assert!(
        ran.answered()
            .contains("no variant of llama-3.1-8b can go below"),
        "{}",
        ran.out
    );
}
