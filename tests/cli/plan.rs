use crate::{FLEET, Folder, has_keys};

fn demand(rate: &str) -> String {
    format!(
        "{FLEET}demands:\n  - {{model: llama-3.1-8b, class: chat, rate_rps: {rate}, shape: {{input_tokens: 500, output_tokens: 200}}}}\n"
    )
}

#[test]
fn answers_with_the_keys_of_the_contract() {
    let folder = Folder::empty();
    folder.write("plan.yaml", &demand("40"));
    let ran = folder.wva(&["plan", "plan.yaml", "-o", "json"]);
    let json = ran.json("wva.plan/v1");
    assert_eq!(json["status"], "feasible");
    has_keys(
        &json,
        &[
            "cost_per_hour_usd",
            "bound_per_hour_usd",
            "gap",
            "alternatives",
            "unmet",
            "prices",
        ],
    );
    let replicas = json["replicas"].as_array().expect("an array");
    let cost: f64 = replicas
        .iter()
        .filter_map(|r| r["cost_per_hour_usd"].as_f64())
        .sum();
    assert_eq!(Some(cost), json["cost_per_hour_usd"].as_f64());
    has_keys(
        &replicas[0],
        &[
            "model",
            "variant",
            "accelerator",
            "role",
            "replicas",
            "cost_per_hour_usd",
        ],
    );
    has_keys(
        &json["shares"][0],
        &["model", "class", "bucket", "variant", "share"],
    );
    has_keys(
        &json["binding"][0],
        &["variant", "class", "binding", "capacity_rps"],
    );
    assert!(json["bound_per_hour_usd"].as_f64() <= json["cost_per_hour_usd"].as_f64());
    assert_eq!(
        ran.out,
        folder.wva(&["plan", "plan.yaml", "-o", "json"]).out,
        "the same file, the same bytes"
    );
}

#[test]
fn more_traffic_never_costs_less() {
    let folder = Folder::empty();
    folder.write("plan.yaml", &demand("10"));
    let cost = |scale: &str| {
        let json = folder
            .wva(&["plan", "plan.yaml", "--rate-scale", scale, "-o", "json"])
            .json("wva.plan/v1");
        json["cost_per_hour_usd"].as_f64().expect("a number")
    };
    let costs: Vec<f64> = ["0.1", "1", "4", "16"].map(cost).to_vec();
    assert!(costs.is_sorted() && costs[0] < costs[3], "{costs:?}");
}

#[test]
fn what_cannot_be_served_is_exit_code_1_with_the_best_plan_and_the_reason() {
    let folder = Folder::empty();
    folder.write(
        "plan.yaml",
        &format!("{}stock: {{H100: 1, L40S: 1}}\n", demand("400")),
    );
    let ran = folder.wva(&["plan", "plan.yaml", "-o", "json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["status"], "infeasible");
    assert!(
        json["unmet"][0]["rate_rps"]
            .as_f64()
            .is_some_and(|r| r > 100.0)
    );
    assert!(
        json["unmet"][0]["why"]
            .as_str()
            .is_some_and(|w| w.contains("stock"))
    );
    assert!(
        folder
            .wva(&["plan", "plan.yaml"])
            .out
            .contains("infeasible")
    );
}

#[test]
fn fail_if_judges_the_plan() {
    let folder = Folder::empty();
    folder.write("plan.yaml", &demand("10"));
    let dear = folder.wva(&["plan", "plan.yaml", "--fail-if", "cost>$0.5"]);
    assert_eq!(dear.code, Some(1));
    assert!(dear.err.contains("failed: cost"), "{}", dear.err);
    folder
        .wva(&[
            "plan",
            "plan.yaml",
            "--fail-if",
            "cost>$5000 or unmet_rps>0",
        ])
        .answered();
}

#[test]
fn writes_a_report_when_asked() {
    let folder = Folder::empty();
    folder.write("plan.yaml", &demand("10"));
    folder
        .wva(&["plan", "plan.yaml", "--report", "plan.html"])
        .answered();
    let page = std::fs::read_to_string(folder.path("plan.html")).expect("a report");
    assert!(page.contains("<html") && page.contains("llama-3.1-8b"));
}

#[test]
fn bad_plan_files_are_refused_with_the_place() {
    let folder = Folder::empty();
    for (text, parts) in [
        (FLEET.to_owned(), &["plan.yaml", "demands"][..]),
        (
            format!("{FLEET}demands: []\n"),
            &["plan.yaml", "`demands` is empty"],
        ),
        (demand("-3"), &["plan.yaml:9:", "a request rate", "-3"]),
        (demand(".nan"), &["plan.yaml:9:", "NaN"]),
        (
            demand("4").replace("class: chat,", "class: caht,"),
            &["plan.yaml:9:", "did you mean `chat`?"],
        ),
        (
            demand("4").replace("{model: llama-3.1-8b, class", "{model: lama-3.1-8b, class"),
            &["plan.yaml:9:", "did you mean `llama-3.1-8b`?"],
        ),
        (
            demand("4").replace("{model: llama-3.1-8b, class", "{model: qwen3-8b, class"),
            &["plan.yaml:9:", "no variant of qwen3-8b"],
        ),
        (
            demand("4").replace("{mean: 40}", "{mean: 1}"),
            &["ITL mean ≤ 1.0 ms", "can go below"],
        ),
        (
            format!("{}settings: {{fil: 3}}\n", demand("4")),
            &["plan.yaml:10:", "fil"],
        ),
        (
            format!("{}current: {{llama: 3}}\n", demand("4")),
            &["plan.yaml:10:", "unknown variant `llama`"],
        ),
        (
            format!("{}stock: {{H100: 1}}\n", demand("4"))
                .replace("accelerator: H100}", "accelerator: H100, min_replicas: 3}"),
            &["plan.yaml", "stock:H100", "only 1"],
        ),
    ] {
        folder.write("plan.yaml", &text);
        folder.wva(&["plan", "plan.yaml"]).refused(parts);
    }
}

#[test]
fn a_class_that_a_small_gpu_serves_in_part_is_told_by_its_prompts() {
    let variants = "
variants:
  - {name: small, model: llama-3.1-8b, accelerator: L4, engine: {precision: fp8, kv_precision: fp8, max_num_batched_tokens: 1024}}
  - {name: large, model: llama-3.1-8b, accelerator: H100, engine: {max_num_batched_tokens: 2048}}
accelerators: [{name: L4, price_per_hour_usd: 0.81}, {name: H100, price_per_hour_usd: 6.88}]
classes: [{name: chat, ttft_ms: {p99: 1500, per_1k_input_tokens: 300}, itl_ms: {p99: 75}}]
demands:
  - {model: llama-3.1-8b, class: chat, rate_rps: 3, shape: {input_tokens: {mean: 12000, cv: 1}, output_tokens: {mean: 340, cv: 0.8}}}
";
    let folder = Folder::empty();
    folder.write("plan.yaml", variants);
    let told = folder.wva(&["plan", "plan.yaml"]).out;
    assert!(told.contains("chat, prompts up to "), "{told}");
    let json = folder
        .wva(&["plan", "plan.yaml", "-o", "json"])
        .json("wva.plan/v1");
    let buckets: Vec<_> = json["shares"]
        .as_array()
        .expect("an array")
        .iter()
        .collect();
    assert!(buckets.len() >= 2 && buckets[0]["longest_prompt_tokens"].is_f64());
}
