use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{Folder, has_keys};

/// Short enough to wait for: everything loads and decides quickly.
const QUICK: [&str; 11] = [
    "demo",
    "--duration",
    "6s",
    "--start-up",
    "500ms",
    "--cycle",
    "500ms",
    "--rate-scale",
    "8",
    "-o",
    "json",
];

fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let timeout = Some(Duration::from_secs(30));
    stream.set_read_timeout(timeout).expect("a timeout");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn the_whole_loop_runs_and_sums_up() {
    let folder = Folder::empty();
    let mut process = folder
        .command(&QUICK)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("wva starts");
    let mut told = BufReader::new(process.stderr.take().expect("piped"));
    let mut first = String::new();
    told.read_line(&mut first).expect("a line");
    let url = first.split("http://").nth(1).expect("an address");
    let address = url.split('/').next().expect("an address").to_owned();
    std::thread::sleep(Duration::from_secs(3));
    let metrics = page(&address, "/metrics");
    assert!(
        metrics.contains("wva_last_cycle_timestamp_seconds"),
        "{metrics}"
    );
    assert!(page(&address, "/debug/cycle").contains("wva.cycle/v1"));
    for path in ["/healthz", "/readyz"] {
        assert!(page(&address, path).ends_with("ok"), "{path}");
    }
    let mut rest = String::new();
    told.read_to_string(&mut rest).expect("UTF-8");
    let out = process.wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(0), "{rest}");
    let json: Value = serde_json::from_slice(&out.stdout).expect("JSON alone on stdout");
    assert_eq!(json["schema"], "wva.demo/v1");
    has_keys(
        &json,
        &[
            "duration_s",
            "requests",
            "attainment",
            "missed",
            "kept",
            "cost_usd",
            "static",
            "scaling_events",
            "classes",
            "variants",
            "decisions",
            "timeline",
            "next",
        ],
    );
    assert!(json["requests"].as_u64() > Some(3), "{json}");
    assert_eq!(json["unanswered"], 0, "{json}");
    assert!(json["cost_usd"].as_f64() > Some(0.0), "{json}");
    assert!(
        json["classes"][0]["ttft_ms"]["p50"].as_f64() > Some(10.0),
        "{json}"
    );
    assert!(
        json["timeline"].as_array().expect("rows").len() > 5,
        "{json}"
    );
}

/// What is recorded replays bit for bit, and explains itself.
#[test]
fn cycles_and_decisions_are_recorded() {
    let folder = Folder::empty();
    let mut arguments = QUICK.to_vec();
    arguments.extend(["--record", "cycles", "--decisions", "log.jsonl"]);
    folder.wva(&arguments).json("wva.demo/v1");
    let bundles = std::fs::read_dir(folder.path("cycles")).expect("a folder");
    let mut cycles = 0;
    for bundle in bundles {
        let path = bundle.expect("an entry").path();
        let path = path.to_str().expect("UTF-8");
        let replayed = folder
            .wva(&["replay", path, "-o", "json"])
            .json("wva.replay/v1");
        assert_eq!(replayed["identical"], true, "{replayed}");
        cycles += replayed["cycles"].as_u64().expect("a number");
    }
    assert!(cycles > 4, "{cycles}");
    let explained = folder.wva(&["explain", "log.jsonl", "--at", "1e12", "-o", "json"]);
    assert!(explained.json("wva.explain/v1")["decisions"][0]["reasons"].is_array());
}

#[test]
fn whoever_ends_it_gets_the_summary_of_what_was() {
    let folder = Folder::empty();
    let mut process = folder
        .command(&["demo", "--duration", "1h", "--start-up", "500ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("wva starts");
    std::thread::sleep(Duration::from_secs(4));
    let id = process.id().to_string();
    let asked = Command::new("kill").args(["-INT", &id]).status();
    assert!(asked.expect("kill runs").success());
    let mut text = String::new();
    let out = process.stdout.as_mut().expect("piped");
    out.read_to_string(&mut text).expect("UTF-8");
    assert_eq!(process.wait().expect("it ends").code(), Some(0));
    for part in [
        "got what was promised",
        "What next",
        "l4=",
        "metrics at http://127.0.0.1:",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn what_cannot_be_played_is_refused() {
    let folder = Folder::empty();
    let paired = format!("{}/examples/disaggregated.yaml", env!("CARGO_MANIFEST_DIR"));
    folder.wva(&["demo", &paired]).refused(&["wva simulate"]);
    folder
        .wva(&["demo", "missing.yaml"])
        .refused(&["missing.yaml"]);
    folder.write("bad.csv", "a,b\n1,2\n");
    folder
        .wva(&["demo", "--trace", "bad.csv"])
        .refused(&["bad.csv"]);
    for (flag, value) in [("--speed", "0"), ("--duration", "-3s"), ("--cycle", "NaN")] {
        assert_eq!(
            folder.wva(&["demo", &format!("{flag}={value}")]).code,
            Some(2),
            "{flag}"
        );
    }
}
