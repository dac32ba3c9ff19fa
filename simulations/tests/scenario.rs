//! Scenarios: what is read, what is refused and how that is said, and what the command line changes.

use std::io::{BufRead, Error};

use proptest::prelude::*;
use rstest::rstest;
use wva_simulations::fault::Fault;
use wva_simulations::fleet::Router;
use wva_simulations::policy::hpa_queue::HpaQueueSettings;
use wva_simulations::request::RequestSource;
use wva_simulations::scenario::{Overrides, PolicyChoice, PolicySettings, Scenario, ScenarioError};

const CHAT: &str = "\
name: chat
seed: 7
duration_minutes: 10
variants: [{name: l40s, model: llama-3.1-8b, accelerator: L40S, max_replicas: 9}]
classes: [{name: chat, ttft_ms: {p99: 1500}, itl_ms: {p99: 80}}]
stock: {L40S: 8}
traffic:
  - model: meta-llama/Llama-3.1-8B-Instruct
    class: chat
    arrivals: {poisson: {rps: 5}}
    shape: {input_tokens: {mean: 1000, cv: 1}, output_tokens: 200}
";

const TRACE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:00:00,100,10
2023-11-16 18:00:30,200,20
2023-11-16 18:02:00,300,30
";

fn no_files(path: &str) -> std::io::Result<Box<dyn BufRead>> {
    Err(Error::other(format!("no {path} here")))
}

fn parse(yaml: &str, overrides: Overrides<'_>) -> Result<Scenario, ScenarioError> {
    Scenario::parse(yaml, "my/chat.yaml", overrides, &mut no_files)
}

fn chat() -> Scenario {
    parse(CHAT, Overrides::default()).expect("valid")
}

fn with_trace(yaml: &str, text: &'static str) -> Result<Scenario, ScenarioError> {
    let trace = ("t.csv", Box::new(text.as_bytes()) as Box<dyn BufRead>);
    let overrides = Overrides {
        trace: Some(trace),
        ..Overrides::default()
    };
    parse(yaml, overrides)
}

#[test]
fn reads_what_is_written_and_fills_in_the_rest() {
    let scenario = chat();
    assert_eq!((scenario.name.as_str(), scenario.seed), ("chat", 7));
    assert_eq!(scenario.workload.end(), 600.0);
    assert!((scenario.workload.expected() - 3000.0).abs() < 1e-6);
    assert_eq!(scenario.workload.streams()[0].model, "llama-3.1-8b");
    assert_eq!(
        (scenario.fleet.scrape_interval_s, scenario.fleet.start_up_cv),
        (15.0, 0.1)
    );
    assert_eq!(scenario.fleet.initial, None);
    assert_eq!(scenario.router, Router::LeastLoad);
    let names: Vec<_> = scenario.policies.iter().map(PolicyChoice::name).collect();
    assert_eq!(names, ["wva", "static", "hpa-queue", "keda-slo"]);
    let demand = scenario.demand(120.0);
    assert!(
        (demand[0].rate - 5.0).abs() < 1.0 && (demand[0].shape.mean_output() - 200.0).abs() < 1e-6
    );
    assert!(scenario.notes.is_empty());
}

#[test]
fn the_truth_is_off_by_as_much_as_said_and_the_same_for_the_same_seed() {
    let exact = chat();
    let prior = exact.catalogue.replica_model(&exact.catalogue.variants[0]);
    assert_eq!(exact.truth(), [prior]);
    let yaml = format!("{CHAT}truth: {{off_by_fraction: 0.25}}\n");
    let off = parse(&yaml, Overrides::default()).expect("valid");
    let truth = off.truth();
    assert_eq!(truth, off.truth());
    let ratio = truth[0].law.per_token_s / prior.law.per_token_s;
    assert!(ratio != 1.0 && (0.8..=1.25).contains(&ratio), "{ratio}");
    assert_eq!(truth[0].limits, prior.limits);
    let seed = Overrides {
        seed: Some(8),
        ..Overrides::default()
    };
    assert_ne!(parse(&yaml, seed).expect("valid").truth(), truth);
}

#[test]
fn reads_the_fleet_the_policies_and_the_faults() {
    let yaml = format!(
        "{CHAT}fleet: {{initial: {{l40s: 3}}, scrape_seconds: 5, start_up_cv: 0.2}}
policies: [{{wva: {{forecast_quantile: 0.95}}, label: careful}}, keda-slo, {{hpa-queue: {{target_waiting: 5}}}}]
faults:
  - scrape_outage: {{from_minute: 1, minutes: 2, variant: l40s}}
  - stock_out: {{from_minute: 3, minutes: 4, accelerator: nvidia-l40s}}
"
    );
    let scenario = parse(&yaml, Overrides::default()).expect("valid");
    assert_eq!(scenario.fleet.initial, Some(vec![3]));
    assert_eq!(scenario.fleet.scrape_interval_s, 5.0);
    let settings = HpaQueueSettings {
        target_waiting: Some(5.0),
        target_requests: None,
    };
    assert_eq!(
        scenario.policies[2].policy,
        PolicySettings::HpaQueue(settings)
    );
    assert_eq!(
        scenario.faults,
        [
            Fault::ScrapeOutage {
                from: 60.0,
                until: 180.0,
                variant: Some(0)
            },
            Fault::StockOut {
                from: 180.0,
                until: 420.0,
                accelerator: "L40S".to_owned(),
                devices: 0
            },
        ]
    );
    assert!(
        matches!(&scenario.policies[0].policy, PolicySettings::Wva(s) if s.forecast_quantile == 0.95)
    );
    assert_eq!(scenario.policies[0].name(), "careful");
    // The command line's choice keeps the scenario's settings.
    let names = ["hpa-queue", "careful", "static"].map(str::to_owned);
    let chosen = Overrides {
        policies: &names,
        ..Overrides::default()
    };
    let scenario = parse(&yaml, chosen).expect("valid");
    assert_eq!(
        scenario.policies[0].policy,
        PolicySettings::HpaQueue(settings)
    );
    assert!(matches!(
        &scenario.policies[1].policy,
        PolicySettings::Wva(_)
    ));
    assert_eq!(scenario.policies[2].name(), "static");
}

#[rstest]
#[case("gamma: {rps: 5, cv: 2}", 3000.0)]
#[case(
    "mmpp: {states: [{rps: 0, mean_seconds: 100}, {rps: 10, mean_seconds: 50}]}",
    2000.0
)]
#[case(
    "steps: {points: [{minute: 0, rps: 1}, {minute: 5, rps: 3}], cv: 0.5}",
    1200.0
)]
#[case("ramp: {points: [{minute: 0, rps: 0}, {minute: 10, rps: 4}]}", 1200.0)]
#[case("diurnal: {mean_rps: 4, peak_to_mean: 1, peak_hour: 3}", 2400.0)]
fn reads_every_kind_of_arrivals(#[case] arrivals: &str, #[case] requests: f64) {
    let yaml = CHAT.replace("poisson: {rps: 5}", arrivals);
    let scenario = parse(&yaml, Overrides::default()).expect(arrivals);
    assert!(
        (scenario.workload.expected() - requests).abs() < 1e-6,
        "{}",
        scenario.workload.expected()
    );
    let twice = Overrides {
        rate_scale: Some(2.0),
        ..Overrides::default()
    };
    let scaled = parse(&yaml, twice).expect(arrivals);
    assert!((scaled.workload.expected() - 2.0 * requests).abs() < 1e-6);
}

#[test]
fn opens_files_beside_the_scenario_and_takes_their_length() {
    let yaml = CHAT.replace("duration_minutes: 10\n", "").replace(
        "poisson: {rps: 5}",
        "rate_file: {path: rates.csv, rate_scale: 0.5}",
    );
    let mut asked = Vec::new();
    let mut open = |path: &str| {
        asked.push(path.to_owned());
        let content: Box<dyn BufRead> = Box::new("t_s,rate_rps\n0,2\n600,4\n".as_bytes());
        Ok(content)
    };
    let scenario =
        Scenario::parse(&yaml, "chat.yaml", Overrides::default(), &mut open).expect("valid");
    assert_eq!(asked, ["rates.csv"]);
    assert_eq!(scenario.workload.end(), 1200.0);
    assert!((scenario.workload.expected() - 1800.0).abs() < 1e-6);
}

#[test]
fn a_trace_replaces_the_traffic_and_the_length() {
    let more = format!(
        "{CHAT}  - {{model: llama-3.1-8b, class: chat, arrivals: {{poisson: {{rps: 1}}}}, shape: {{input_tokens: 5, output_tokens: 5}}}}
  - {{model: llama-3.1-8b, class: other, arrivals: {{poisson: {{rps: 1}}}}, shape: {{input_tokens: 5, output_tokens: 5}}}}
"
    )
    .replace("classes: [", "classes: [{name: other}, ");
    let scenario = with_trace(&more, TRACE).expect("valid");
    assert!((scenario.workload.end() - 120.0).abs() < 1e-6);
    let mut counts = [0, 0];
    scenario
        .workload
        .requests(1)
        .for_each(|r| counts[r.stream as usize] += 1);
    assert_eq!(counts[0], 3, "both entries of the class are replaced");
    assert!(counts[1] > 60, "the other class stays");
    assert_eq!(scenario.workload.streams()[0].class, "chat");
}

#[test]
fn a_rate_file_borrows_the_shape_of_what_it_replaces() {
    let scenario = with_trace(CHAT, "t_s,rate_rps,client_cv\n0,5,1\n60,5,1\n").expect("valid");
    assert_eq!(scenario.workload.end(), 120.0);
    assert!(scenario.workload.requests(1).all(|r| r.output == 200));
}

#[test]
fn a_trace_that_no_fleet_can_serve_in_time_is_only_noted() {
    let long = "t_s,isl,osl\n0,120000,10\n1,120000,10\n2,120000,10\n";
    let scenario = with_trace(CHAT, long).expect("valid");
    assert!(
        scenario.notes[0].contains("TTFT p99"),
        "{:?}",
        scenario.notes
    );
}

/// Each mistake in the scenario, and what has to be in the message: place, value, remedy.
#[rstest]
#[case(
    "duration_minutes: 10",
    "duration_minutes: 0",
    "my/chat.yaml:3:19: duration_minutes must be positive and at most a year, not 0"
)]
#[case(
    "duration_minutes: 10\n",
    "",
    "add `duration_minutes`, since none of the traffic ends by itself"
)]
#[case("duration_minutes", "duration_hours", "unknown field `duration_hours`")]
#[case(
    "class: chat",
    "class: chatt",
    "my/chat.yaml:9:12: unknown class `chatt`; did you mean `chat`?"
)]
#[case(
    "meta-llama/Llama-3.1-8B-Instruct",
    "lama-3.1-8b",
    "my/chat.yaml:8:12: unknown model `lama-3.1-8b`; did you mean `llama-3.1-8b`?"
)]
#[case(
    "meta-llama/Llama-3.1-8B-Instruct",
    "qwen3-32b",
    "which no variant serves; add one under `variants`"
)]
#[case(
    "p99: 1500",
    "p99: 5",
    "asks for TTFT p99 ≤ 5.0 ms, but no variant of llama-3.1-8b can go below"
)]
#[case(
    "rps: 5",
    "rps: -5",
    "my/chat.yaml:10:15: a rate must be between 0 and 1e6 requests per second, not -5"
)]
#[case("rps: 5", "rps: .nan", "a rate must be between 0 and 1e6")]
#[case(
    "poisson: {rps: 5}",
    "diurnal: {mean_rps: 1, peak_to_mean: 0.5, peak_hour: 3}",
    "peak_to_mean must be between 1 and 20, not 0.5"
)]
#[case(
    "poisson: {rps: 5}",
    "steps: {points: [{minute: 5, rps: 1}, {minute: 5, rps: 2}]}",
    "times must ascend: 300 s comes after 300 s"
)]
#[case(
    "poisson: {rps: 5}",
    "steps: {points: []}",
    "a rate needs at least one point"
)]
#[case(
    "poisson: {rps: 5}",
    "trace: {path: t.csv}",
    "my/chat.yaml:10:30: cannot open `t.csv`: no t.csv here; paths are relative to the scenario's folder"
)]
#[case(
    "    shape: {input_tokens: {mean: 1000, cv: 1}, output_tokens: 200}\n",
    "",
    "there is no shape for these arrivals; add one"
)]
#[case("output_tokens: 200", "output_tokens: -1", "tokens")]
#[case(
    "rps: 5",
    "rps: 0",
    "there is no request to expect in the whole run; raise the rates"
)]
fn says_what_is_wrong(#[case] from: &str, #[case] to: &str, #[case] message: &str) {
    assert!(CHAT.contains(from), "{from}");
    let error = parse(&CHAT.replacen(from, to, 1), Overrides::default()).expect_err(to);
    let text = error.to_string();
    assert!(text.contains(message), "{text}");
    assert!(text.contains("my/chat.yaml"), "{text}");
}

/// The same for keys that the valid scenario does not have.
#[rstest]
#[case(
    "fleet: {initial: {l40: 3}}",
    "unknown variant `l40`; did you mean `l40s`?"
)]
#[case(
    "fleet: {initial: {l40s: 10}}",
    "10 initial replicas of `l40s`, whose max_replicas is 9"
)]
#[case(
    "fleet: {initial: {l40s: 9}}",
    "the initial fleet needs 9 L40S, the stock has 8"
)]
#[case(
    "fleet: {scrape_seconds: 0}",
    "my/chat.yaml:12:25: scrape_seconds must be between 0.1 and 600, not 0"
)]
#[case(
    "fleet: {start_up_cv: 9}",
    "start_up_cv must be between 0 and 2, not 9"
)]
#[case(
    "truth: {off_by_fraction: -1}",
    "off_by_fraction must be between 0 and 2, not -1"
)]
#[case("policies: [wvaa]", "unknown policy `wvaa`; did you mean `wva`?")]
#[case("policies: [wva, wva]", "policy `wva` is there twice")]
#[case("policies: [{keda-slo: {treshold: 1}}]", "treshold")]
#[case("policies: [{wva: {}, static: {}}]", "begin each with its own dash")]
#[case(
    "faults: [{stock_out: {from_minute: 0, minutes: 1, accelerator: H1000}}]",
    "unknown accelerator `H1000`; did you mean `H100`?"
)]
#[case(
    "faults: [{scrape_outage: {from_minute: 0, minutes: 0}}]",
    "minutes must be positive, not 0"
)]
#[case(
    "faults: [{scrape_outage: {from_minute: .nan, minutes: 1}}]",
    "from_minute must be at least 0"
)]
#[case("faults: [{fire: {}}]", "fire")]
#[case(
    "router: least-lode",
    "unknown router `least-lode`; did you mean `least-load`?"
)]
fn says_what_is_wrong_beside(#[case] line: &str, #[case] message: &str) {
    let error = parse(&format!("{CHAT}{line}\n"), Overrides::default()).expect_err(line);
    let text = error.to_string();
    assert!(text.contains(message), "{text}");
    assert!(text.contains("my/chat.yaml:12:"), "{text}");
}

#[test]
fn the_command_line_names_another_router() {
    let written = format!("{CHAT}router: prefix\n");
    let router = |name| {
        let overrides = Overrides {
            router: name,
            ..Overrides::default()
        };
        parse(&written, overrides).map(|s| s.router.name())
    };
    assert_eq!(router(None), Ok("prefix"));
    for known in Router::ALL {
        assert_eq!(router(Some(known.name())), Ok(known.name()));
    }
    let error = router(Some("slow")).expect_err("unknown").to_string();
    assert!(
        error.contains("--router: unknown router `slow`; did you mean `slo`?"),
        "{error}"
    );
}

#[test]
fn says_what_is_wrong_on_the_command_line() {
    let names = ["hpa".to_owned()];
    let error = |overrides| parse(CHAT, overrides).expect_err("wrong").to_string();
    let policies = error(Overrides {
        policies: &names,
        ..Overrides::default()
    });
    assert!(
        policies.contains("--policy: unknown policy `hpa`"),
        "{policies}"
    );
    let scale = error(Overrides {
        rate_scale: Some(0.0),
        ..Overrides::default()
    });
    assert!(scale.contains("the rate scale must be above 0"), "{scale}");
    let trace = with_trace(CHAT, "a,b\n1,2\n")
        .expect_err("no format")
        .to_string();
    assert!(trace.starts_with("t.csv:1: unknown format"), "{trace}");
    let none = parse(&format!("{CHAT}policies: []\n"), Overrides::default());
    assert!(
        none.expect_err("none")
            .to_string()
            .contains("there is no policy; list some")
    );
    let empty = parse("variants: []\nduration_minutes: 1\n", Overrides::default());
    assert!(
        empty
            .expect_err("empty")
            .to_string()
            .contains("there is no traffic; add some")
    );
    let two = format!(
        "{CHAT}{}",
        CHAT[CHAT.find("  - model").expect("there")..]
            .replace("output_tokens: 200", "output_tokens: 200, prefix_hit: 0.5")
    );
    let error = parse(&two, Overrides::default())
        .expect_err("two hits")
        .to_string();
    assert!(
        error.contains("prefix_hit 0.5 here and 0 in other traffic"),
        "{error}"
    );
}

#[rstest]
#[case("chat", include_str!("../../examples/chat.yaml"))]
#[case("day", include_str!("../../examples/day.yaml"))]
#[case("disaggregated", include_str!("../../examples/disaggregated.yaml"))]
fn the_examples_are_valid_and_of_a_size_to_simulate(#[case] name: &str, #[case] yaml: &str) {
    let origin = format!("examples/{name}.yaml");
    let scenario =
        Scenario::parse(yaml, &origin, Overrides::default(), &mut no_files).expect("valid");
    assert_eq!(scenario.name, name);
    assert!(scenario.notes.is_empty());
    assert!(scenario.policies.len() >= 4);
    let requests = scenario.workload.expected();
    assert!((10_000.0..600_000.0).contains(&requests), "{requests}");
}

proptest! {
    /// Scenarios with a piece replaced by something else: an error or a scenario, never a panic.
    #[test]
    fn broken_scenarios_never_panic(
        at in 0..CHAT.len(),
        length in 0..12_usize,
        piece in "[-0-9.e:{}\\[\\], \n\"&*!a-z]{0,8}|1e308|.inf|-.inf|.nan|null",
    ) {
        let mut yaml = CHAT.to_owned();
        yaml.replace_range(at..(at + length).min(CHAT.len()), &piece);
        let _ = parse(&yaml, Overrides::default());
    }
}
