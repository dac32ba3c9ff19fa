use crate::{FLEET, Folder, has_keys};

/// Six minutes of [`FLEET`].
pub fn scenario() -> String {
    format!(
        "name: small\nduration_minutes: 6\n{}traffic:\n  - {{model: llama-3.1-8b, class: chat, arrivals: {{ramp: {{points: [{{minute: 0, rps: 2}}, {{minute: 3, rps: 30}}]}}}}, \
         shape: {{input_tokens: {{mean: 500, cv: 1, max: 4000}}, output_tokens: 60}}}}\n",
        FLEET.replace("p99: 500", "p99: 1500").replace(
            "accelerator: H100}",
            "accelerator: H100, start_up_seconds: 20}"
        )
    )
}

const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:00:00.0000000,500,40
2023-11-16 18:00:01.5000000,600,50
2023-11-16 18:00:07.0000000,100,20
2023-11-16 18:01:00.0000000,900,30
";

fn folder() -> Folder {
    let folder = Folder::empty();
    folder.write("s.yaml", &scenario());
    folder.write("t.csv", AZURE);
    folder
}

#[test]
fn answers_with_the_keys_of_the_contract() {
    let folder = folder();
    let json = folder
        .wva(&["simulate", "s.yaml", "-o", "json"])
        .json("wva.simulate/v1");
    let policies = json["policies"].as_array().expect("an array");
    let names: Vec<_> = policies
        .iter()
        .filter_map(|p| p["policy"].as_str())
        .collect();
    assert_eq!(
        names,
        ["wva", "static", "hpa-queue", "keda-slo"],
        "all policies, in a fixed order"
    );
    for p in policies {
        has_keys(
            p,
            &[
                "cost_usd",
                "gpu_hours",
                "attainment",
                "requests",
                "missed",
                "failed",
                "shed",
                "mean_replicas",
                "max_replicas",
                "scaling_events",
            ],
        );
        let (requests, missed) = (
            p["requests"].as_f64().expect("a number"),
            p["missed"].as_f64().expect("a number"),
        );
        let attainment = p["attainment"].as_f64().expect("a number");
        assert!(requests > 1000.0 && (attainment - (1.0 - missed / requests)).abs() < 1e-9);
        assert_eq!(
            p["requests"], policies[0]["requests"],
            "all policies get the same requests"
        );
        let class = &p["classes"][0];
        has_keys(class, &["class", "model", "attainment", "requests"]);
        for latency in ["ttft_ms", "itl_ms", "e2e_ms"] {
            has_keys(&class[latency], &["p50", "p90", "p95", "p99", "mean"]);
        }
    }
    assert!(
        !folder.path("wva-report.html").exists(),
        "no file that nobody asked for beside JSON"
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let folder = folder();
    let run = |seed: &str| {
        folder
            .wva(&[
                "simulate",
                "s.yaml",
                "--policy",
                "wva,hpa-queue",
                "--seed",
                seed,
                "-o",
                "json",
            ])
            .out
    };
    let first = run("7");
    assert_eq!(first, run("7"));
    assert_ne!(first, run("8"));
}

#[test]
fn a_router_of_the_endpoint_picker_takes_the_place_of_the_default() {
    let folder = folder();
    let fleet = "fleet: {initial: {llama-3.1-8b-h100: 3}}\n";
    folder.write("s.yaml", &format!("{}{fleet}", scenario()));
    let run = |arguments: &[&str]| {
        let common = ["simulate", "s.yaml", "--policy", "hpa-queue", "-o", "json"];
        folder.wva(&[&common[..], arguments].concat())
    };
    let default = run(&[]).json("wva.simulate/v1");
    assert_eq!(default["router"], "least-load");
    let named = run(&["--router", "least-load"]).json("wva.simulate/v1");
    assert_eq!(default, named);
    for router in ["random", "least-queue", "prefix", "slo"] {
        let first = run(&["--router", router]);
        assert_eq!(first.out, run(&["--router", router]).out, "{router}");
        let json = first.json("wva.simulate/v1");
        assert_eq!(json["router"], router);
        assert_eq!(
            json["policies"][0]["requests"],
            default["policies"][0]["requests"]
        );
        assert_ne!(json["policies"], default["policies"], "{router}");
    }
    folder.write("slo.yaml", &format!("{}{fleet}router: slo\n", scenario()));
    let json = folder
        .wva(&[
            "simulate",
            "slo.yaml",
            "--policy",
            "hpa-queue",
            "-o",
            "json",
        ])
        .json("wva.simulate/v1");
    assert_eq!(json["router"], "slo");
    let refused = run(&["--router", "least-lode"]);
    assert!(
        refused.err.contains("did you mean `least-load`?"),
        "{}",
        refused.err
    );
}

#[test]
fn prints_a_table_and_writes_the_report() {
    let folder = folder();
    let ran = folder.wva(&["simulate", "s.yaml", "--policy", "wva,static"]);
    let table = ran.answered();
    assert!(
        table.contains("POLICY") && table.contains("static") && !table.contains('\x1b'),
        "{table}"
    );
    assert!(ran.err.contains("report: wva-report.html"), "{}", ran.err);
    let page = std::fs::read_to_string(folder.path("wva-report.html")).expect("a report");
    assert!(page.contains("<html") && page.contains("small"));
    let wide = folder.wva(&[
        "simulate",
        "s.yaml",
        "--policy",
        "wva",
        "-o",
        "wide",
        "--no-report",
        "--quiet",
    ]);
    assert!(
        wide.answered().contains("Classes") && wide.err.is_empty(),
        "{}",
        wide.err
    );
    let json = folder.wva(&[
        "simulate",
        "s.yaml",
        "--policy",
        "wva",
        "-o",
        "json",
        "--report",
        "mine.html",
    ]);
    json.json("wva.simulate/v1");
    assert!(folder.path("mine.html").exists());
    folder
        .wva(&[
            "simulate",
            "s.yaml",
            "--policy",
            "wva",
            "-o",
            "json",
            "--report",
            "no/such/folder.html",
        ])
        .code
        .filter(|c| *c == 2)
        .expect("a report that was asked for and cannot be written is an error");
}

#[test]
fn a_trace_replaces_the_traffic() {
    let folder = folder();
    let run = |more: &[&str]| {
        let arguments: Vec<&str> = [
            "simulate",
            "s.yaml",
            "--policy",
            "hpa-queue",
            "--trace",
            "t.csv",
            "-o",
            "json",
        ]
        .iter()
        .chain(more)
        .copied()
        .collect();
        folder.wva(&arguments)
    };
    assert_eq!(
        run(&[]).json("wva.simulate/v1")["policies"][0]["requests"],
        4
    );
    assert_eq!(
        run(&["--model", "llama-3.1-8b", "--class", "chat"]).json("wva.simulate/v1")["policies"][0]
            ["requests"],
        4
    );
    run(&["--model", "lama-3.1-8b"]).refused(&["lama-3.1-8b", "did you mean `llama-3.1-8b`?"]);
    run(&["--class", "caht"]).refused(&["caht", "did you mean `chat`?"]);
}

#[test]
fn a_malformed_line_fails_or_is_skipped_and_counted() {
    let folder = folder();
    folder.write("t.csv", &AZURE.replace("600,50", "six hundred,50"));
    let ran = folder.wva(&[
        "simulate",
        "s.yaml",
        "--policy",
        "hpa-queue",
        "--trace",
        "t.csv",
    ]);
    ran.refused(&["t.csv:3", "six hundred", "--on-bad-line skip", "18:00:01.5"]);
    let skipped = folder.wva(&[
        "simulate",
        "s.yaml",
        "--policy",
        "hpa-queue",
        "--trace",
        "t.csv",
        "--on-bad-line",
        "skip",
        "-o",
        "json",
    ]);
    let json = skipped.json("wva.simulate/v1");
    assert_eq!(json["policies"][0]["requests"], 3);
    assert!(
        json["notes"][0]
            .as_str()
            .is_some_and(|n| n.contains('1') && n.contains("skipped")),
        "{}",
        json["notes"]
    );
    folder
        .wva(&[
            "simulate",
            "s.yaml",
            "--trace",
            "t.csv",
            "--on-bad-line",
            "ignore",
        ])
        .refused(&["ignore", "fail, skip"]);
}

#[test]
fn bad_traces_are_refused_with_what_is_wrong() {
    let folder = folder();
    std::fs::create_dir(folder.path("folder")).expect("a folder");
    folder.write("empty.csv", "");
    folder.write("header.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n");
    folder.write("odd.csv", "colour,size\nred,3\n");
    std::fs::write(folder.path("binary"), [0u8, 159, 146, 150, 10, 255, 254]).expect("a file");
    for (trace, part) in [
        ("empty.csv", "empty.csv"),
        ("header.csv", "header.csv"),
        ("odd.csv", "unknown format"),
        ("binary", "binary"),
        ("missing.csv", "there is no file `missing.csv`"),
        ("folder", "`folder` is a folder"),
    ] {
        folder
            .wva(&["simulate", "s.yaml", "--trace", trace])
            .refused(&[part]);
    }
}

#[test]
fn bad_scenarios_and_flags_are_refused_with_the_remedy() {
    let folder = folder();
    let refused = |more: &[&str], parts: &[&str]| {
        let arguments: Vec<&str> = ["simulate", "s.yaml"].iter().chain(more).copied().collect();
        folder.wva(&arguments).refused(parts);
    };
    refused(&["--policy", "wav"], &["wav", "did you mean `wva`?"]);
    refused(&["--policy", "magic"], &["magic", "keda-slo"]);
    refused(&["--rate-scale", "0"], &["--rate-scale", "above 0"]);
    refused(&["--model", "x"], &["--trace"]);
    refused(
        &["--fail-if", "costs>3"],
        &["--fail-if:1:1", "did you mean `cost`?"],
    );
    refused(
        &["--fail-if", "cost>nobody+5%"],
        &["no policy is called `nobody`"],
    );
    refused(
        &["--policy", "static", "--record", "x.jsonl"],
        &["--record", "wva"],
    );
    refused(
        &["--policy", "wva", "--record", "no/such/folder.jsonl"],
        &["cannot write `no/such/folder.jsonl`"],
    );
    for (from, to, parts) in [
        (
            "accelerator: H100,",
            "accelerator: H10O,",
            &["s.yaml:6:", "did you mean `H100`?"][..],
        ),
        (
            "price_per_hour_usd: 2.5",
            "price_per_hour_usd: -2.5",
            &["s.yaml:4:", "-2.5"],
        ),
        (
            "{mean: 40}",
            "{mean: 1}",
            &["ITL mean ≤ 1.0 ms", "can go below"],
        ),
        (
            "max_replicas: 8",
            "max_replicas: 8, min_replicas: 9",
            &["s.yaml:7:", "min_replicas 9 above max_replicas 8"],
        ),
        ("rps: 30", "rps: -30", &["s.yaml:", "-30"]),
        ("rps: 30", "rps: .nan", &["s.yaml:", "NaN"]),
        (
            "duration_minutes: 6",
            "duration_minutes: -6",
            &["s.yaml:2:", "-6"],
        ),
        ("name: small", "nmae: small", &["s.yaml:1:", "nmae"]),
        (
            "class: chat",
            "class: caht",
            &["s.yaml:11:", "did you mean `chat`?"],
        ),
    ] {
        let text = scenario();
        assert!(text.contains(from), "{from}");
        folder.write("s.yaml", &text.replacen(from, to, 1));
        folder.wva(&["simulate", "s.yaml"]).refused(parts);
    }
}

#[test]
fn fail_if_compares_policies() {
    let folder = folder();
    let code = |condition: &str| {
        folder
            .wva(&[
                "simulate",
                "s.yaml",
                "--policy",
                "wva,hpa-queue",
                "--fail-if",
                condition,
                "--no-report",
            ])
            .code
    };
    assert_eq!(code("cost>0"), Some(1));
    assert_eq!(code("attainment<1% or p99_ttft[chat]>1000s"), Some(0));
    assert_eq!(code("cost>+100000%"), Some(0));
    assert_eq!(code("requests==hpa-queue"), Some(1));
}

#[test]
fn a_recorded_run_replays_identically_and_explains_itself() {
    let folder = folder();
    folder
        .wva(&[
            "simulate",
            "s.yaml",
            "--policy",
            "wva",
            "--record",
            "run.jsonl",
            "--no-report",
        ])
        .answered();
    let replay = folder
        .wva(&["replay", "run.jsonl", "-o", "json"])
        .json("wva.replay/v1");
    assert_eq!(replay["identical"], true);
    assert!(replay["first_difference"].is_null() && replay["cycles"].as_u64() > Some(10));

    let explain = folder
        .wva(&["explain", "run.jsonl", "-o", "json"])
        .json("wva.explain/v1");
    has_keys(&explain, &["why", "binding", "runner_up", "prices"]);
    has_keys(&explain["why"][0], &["variant", "code", "text"]);
    let at = folder
        .wva(&["explain", "run.jsonl", "--at", "100", "-o", "json"])
        .json("wva.explain/v1");
    assert!(at["at_s"].as_f64() <= Some(100.0));
    assert!(
        folder
            .wva(&["explain", "run.jsonl"])
            .answered()
            .contains("WHY")
    );
    folder
        .wva(&["explain", "run.jsonl", "--variant", "lama"])
        .refused(&["run.jsonl", "`lama`"]);
    folder
        .wva(&["explain", "run.jsonl", "--at=-5"])
        .refused(&["run.jsonl", "at or before -5 s"]);
}

#[test]
fn a_changed_bundle_is_found_out() {
    let folder = folder();
    folder
        .wva(&[
            "simulate",
            "s.yaml",
            "--policy",
            "wva",
            "--record",
            "run.jsonl",
            "--no-report",
        ])
        .answered();
    let text = std::fs::read_to_string(folder.path("run.jsonl")).expect("a bundle");
    let tampered = text.replacen("\"target\":1", "\"target\":3", 1);
    assert_ne!(text, tampered);
    folder.write("run.jsonl", &tampered);
    let ran = folder.wva(&["replay", "run.jsonl", "-o", "json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["identical"], false);
    assert_eq!(json["first_difference"]["recorded"]["target"], 3);
    assert_eq!(json["first_difference"]["replayed"]["target"], 1);
}

#[test]
fn a_log_of_decisions_explains_why_but_not_what_else() {
    let folder = Folder::empty();
    let line = |at: u32, current: u32, target: u32| {
        format!(
            r#"{{"variant":"h100","model":"m","accelerator":"H100","at":{at},"current":{current},"planned":{target},"target":{target},"reasons":[{{"code":"demand","text":"up to {target}"}}]}}"#
        )
    };
    folder.write(
        "log.jsonl",
        &[line(15, 1, 1), line(30, 1, 4), line(45, 4, 4)].join("\n"),
    );
    let json = folder
        .wva(&["explain", "log.jsonl", "-o", "json"])
        .json("wva.explain/v1");
    assert_eq!(
        (json["at_s"].as_f64(), &json["why"][0]["text"]),
        (Some(30.0), &"up to 4".into())
    );
    assert!(json["runner_up"].is_null());
    folder.write("log.jsonl", "{\"variant\": 5}\n");
    folder
        .wva(&["explain", "log.jsonl"])
        .refused(&["log.jsonl:1", "--record"]);
    folder.write("log.jsonl", "");
    folder
        .wva(&["explain", "log.jsonl"])
        .refused(&["there is no decision in it"]);
    folder
        .wva(&["replay", "log.jsonl"])
        .refused(&["log.jsonl:1", "the file is empty"]);
}
