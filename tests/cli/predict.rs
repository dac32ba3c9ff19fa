use crate::{FLEET, Folder, has_keys};

const BASE: [&str; 10] = [
    "predict",
    "fleet.yaml",
    "--variant",
    "llama-3.1-8b-h100",
    "--rate",
    "8",
    "--input",
    "1000",
    "--output",
    "200",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    BASE.iter().chain(more).copied().collect()
}

/// [`BASE`] with another rate.
fn at<'a>(rate: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = with(more);
    arguments[5] = rate;
    arguments
}

fn folder() -> Folder {
    let folder = Folder::empty();
    folder.write("fleet.yaml", FLEET);
    folder
}

#[test]
fn answers_with_the_keys_of_the_contract() {
    let json = folder()
        .wva(&with(&["--class", "chat", "-o", "json"]))
        .json("wva.predict/v1");
    assert_eq!(json["stable"], true);
    has_keys(
        &json,
        &[
            "utilization",
            "throughput_rps",
            "concurrency",
            "capacity_rps",
            "binding",
        ],
    );
    for latency in ["ttft_ms", "itl_ms", "e2e_ms"] {
        has_keys(&json[latency], &["mean", "p50", "p90", "p95", "p99"]);
        assert!(json[latency]["p50"].as_f64() <= json[latency]["p99"].as_f64());
    }
    assert!(json["capacity_rps"].as_f64().is_some_and(|c| c > 1.0));
}

#[test]
fn the_same_question_has_the_same_answer() {
    let folder = folder();
    let ask = || folder.wva(&with(&["--class", "chat", "-o", "json"])).out;
    assert_eq!(ask(), ask());
}

#[test]
fn burstier_arrivals_wait_longer() {
    let folder = folder();
    let p99 = |how: &str| {
        let json = folder
            .wva(&at("20", &["--arrivals", how, "-o", "json"]))
            .json("wva.predict/v1");
        json["ttft_ms"]["p99"].as_f64().expect("a number")
    };
    assert!(p99("even") < p99("poisson") && p99("poisson") < p99("cv=3"));
}

#[test]
fn an_overload_is_an_answer() {
    let folder = folder();
    let json = folder
        .wva(&at("500", &["-o", "json"]))
        .json("wva.predict/v1");
    assert_eq!(json["stable"], false);
    assert!(json["utilization"].as_f64().is_some_and(|u| u > 1.0) && json["ttft_ms"].is_null());
    assert!(folder.wva(&at("500", &[])).answered().contains("unstable"));
}

#[test]
fn a_shape_file_says_how_large_requests_are() {
    let folder = folder();
    folder.write(
        "shape.yaml",
        "input_tokens: {mean: 1155, cv: 1.2, max: 8192}\noutput_tokens: {uniform: [100, 300]}\n",
    );
    let json = folder
        .wva(&[
            "predict",
            "fleet.yaml",
            "--variant",
            "llama-3.1-8b-h100",
            "--rate",
            "4",
            "--shape",
            "shape.yaml",
            "-o",
            "json",
        ])
        .json("wva.predict/v1");
    assert_eq!(
        json["output_tokens_mean"].as_f64().map(f64::round),
        Some(200.0)
    );
    folder.write(
        "shape.yaml",
        "input_tokens: {mean: -5, cv: 1}\noutput_tokens: 10\n",
    );
    folder
        .wva(&[
            "predict",
            "fleet.yaml",
            "--variant",
            "llama-3.1-8b-h100",
            "--rate",
            "4",
            "--shape",
            "shape.yaml",
        ])
        .refused(&["shape.yaml:1:", "-5"]);
}

#[test]
fn fail_if_is_exit_code_1_with_the_reason() {
    let folder = folder();
    let ran = folder.wva(&with(&["--fail-if", "p99_ttft>1ms", "-o", "json"]));
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("failed: p99_ttft"), "{}", ran.err);
    assert!(
        ran.out.contains("wva.predict/v1"),
        "the answer is there all the same"
    );
    assert_eq!(
        folder.wva(&with(&["--fail-if", "p99_ttft>100s"])).code,
        Some(0)
    );
    let overloaded = folder.wva(&at("500", &["--fail-if", "p99_ttft>100s"]));
    assert_eq!(overloaded.code, Some(1), "no steady state is no pass");
    folder
        .wva(&with(&["--fail-if", "p99_tfft>1s"]))
        .refused(&["--fail-if:1:1", "did you mean `p99_ttft`?"]);
    folder
        .wva(&with(&["--fail-if", "p99_ttft>1"]))
        .refused(&["--fail-if:1:", "needs a unit"]);
}

#[test]
fn an_objective_below_the_physical_floor_is_refused_with_the_floor() {
    let folder = folder();
    folder.write("fleet.yaml", &FLEET.replace("{mean: 40}", "{mean: 1}"));
    folder.wva(&with(&["--class", "chat"])).refused(&[
        "fleet.yaml",
        "ITL mean ≤ 1.0 ms",
        "can go below",
        "raise the bound",
    ]);
}

#[test]
fn bad_arguments_are_refused_with_what_would_do() {
    let folder = folder();
    let mut other = with(&[]);
    other[3] = "llama-3.1-8b-h10";
    folder
        .wva(&other)
        .refused(&["--variant", "did you mean `llama-3.1-8b-h100`?"]);
    folder.wva(&with(&["--class", "caht"])).refused(&[
        "--class",
        "unknown class `caht`",
        "did you mean `chat`?",
    ]);
    for rate in ["-1", "0", "NaN", "inf", "many"] {
        folder
            .wva(&[
                "predict",
                "fleet.yaml",
                "--variant",
                "v",
                &format!("--rate={rate}"),
            ])
            .refused(&["--rate", "above 0"]);
    }
    // As two words, too.
    folder.wva(&at("-3", &[])).refused(&["'-3'", "above 0"]);
    folder
        .wva(&with(&["--arrivals", "uniform"]))
        .refused(&["--arrivals", "cv=X"]);
    folder.wva(&BASE[..6]).refused(&["how large", "--shape"]);
}
