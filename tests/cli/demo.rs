use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{Folder, has_keys};

/// Everything loads and decides quickly.
fn quick(more: [&'static str; 4]) -> Vec<&'static str> {
    let mut words = vec!["demo", "--start-up", "500ms", "--cycle", "500ms"];
    words.extend(["-o", "json"]);
    words.extend(more);
    words
}

/// `wva demo` while it plays.
struct Playing(Child);

impl Playing {
    fn start(folder: &Folder, arguments: &[&str], told: Stdio) -> Self {
        let mut command = folder.command(arguments);
        command.stdout(Stdio::piped()).stderr(told);
        Self(command.spawn().expect("wva starts"))
    }

    /// Asks it to end, as whoever presses Ctrl-C does.
    fn interrupt(&self) {
        let id = self.0.id().to_string();
        let asked = Command::new("kill").args(["-INT", &id]).status();
        assert!(asked.expect("kill runs").success());
    }

    fn code(&mut self) -> Option<i32> {
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Cycles so far, by the metrics.
fn cycles(metrics: &str) -> u32 {
    let count = r#"wva_optimization_duration_seconds_count{status="success"} "#;
    let mut counts = metrics.lines().filter_map(|l| l.strip_prefix(count));
    counts.next().map_or(0, |n| n.parse().expect("a number"))
}

fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let timeout = Some(Duration::from_secs(240));
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
    // So few requests that a busy machine answers them, too.
    let words = quick(["--duration", "1h", "--rate-scale", "3"]);
    let mut playing = Playing::start(&folder, &words, Stdio::piped());
    let mut told = BufReader::new(playing.0.stderr.take().expect("piped"));
    let mut first = String::new();
    told.read_line(&mut first).expect("a line");
    let url = first.split("http://").nth(1).expect("an address");
    let address = url.split('/').next().expect("an address").to_owned();
    let mut metrics = page(&address, "/metrics");
    while cycles(&metrics) < 12 {
        std::thread::sleep(Duration::from_millis(100));
        metrics = page(&address, "/metrics");
    }
    assert!(
        metrics.contains("wva_last_cycle_timestamp_seconds"),
        "{metrics}"
    );
    assert!(page(&address, "/debug/cycle").contains("wva.cycle/v1"));
    for path in ["/healthz", "/readyz"] {
        assert!(page(&address, path).ends_with("ok"), "{path}");
    }
    playing.interrupt();
    let out = playing.0.stdout.take().expect("piped");
    let json: Value = serde_json::from_reader(out).expect("JSON alone on stdout");
    let mut rest = String::new();
    told.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!(playing.code(), Some(0), "{rest}");
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
    let mut arguments = quick(["--duration", "6s", "--rate-scale", "8"]);
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
    assert!(cycles > 1, "{cycles}");
    let explained = folder.wva(&["explain", "log.jsonl", "--at", "1e12", "-o", "json"]);
    assert!(explained.json("wva.explain/v1")["decisions"][0]["reasons"].is_array());
}

#[test]
fn whoever_ends_it_gets_the_summary_of_what_was() {
    let folder = Folder::empty();
    let words = ["demo", "--duration", "1h", "--start-up", "500ms"];
    let mut playing = Playing::start(&folder, &words, Stdio::null());
    let mut out = BufReader::new(playing.0.stdout.take().expect("piped"));
    let mut text = String::new();
    while !text.contains("l4=") {
        let read = out.read_line(&mut text).expect("UTF-8");
        assert!(read > 0, "it ended: {text}");
    }
    playing.interrupt();
    out.read_to_string(&mut text).expect("UTF-8");
    assert_eq!(playing.code(), Some(0));
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
