use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use crate::Folder;
use crate::emulate::{LLAMA, Serving, ask, end};

/// `wva gateway` while it serves.
struct Gateway {
    process: Child,
    http: String,
    metrics: String,
}

impl Gateway {
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let own = "gateway --bind-address 127.0.0.1 --port 0 --metrics-port 0 --drain-timeout 3s";
        let mut process = folder
            .command(&own.split(' ').collect::<Vec<_>>())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("wva starts");
        let mut said = BufReader::new(process.stderr.take().expect("piped")).lines();
        let serving = said
            .find_map(|line| line.ok().filter(|line| line.contains("serving")))
            .expect("it says where it serves");
        // It would stop where nobody reads what else it says.
        thread::spawn(move || said.for_each(drop));
        let value = |key: &str| {
            let (_, rest) = serving.split_once(key).expect("an address");
            rest.split_whitespace().next().expect("a value").to_owned()
        };
        Self {
            http: value(" http="),
            metrics: value(" metrics="),
            process,
        }
    }

    fn ask(&self, request: &str, body: &str) -> (String, String) {
        ask(&self.http, request, body)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const CHAT: &str = r#"{"model": "llama-3.1-8b", "messages": [{"role": "user", "content": "Grüß Gott"}], "max_tokens": 5"#;

#[test]
fn emulated_servers_serve_as_one() {
    let folder = Folder::empty();
    let two = ["--speed", "100", "--consecutive-ports", "--count", "2"];
    let servers = Serving::start(&folder, &[&LLAMA[..], &two].concat());
    // Nobody listens at the last.
    let all = [servers.address(0), servers.address(1), "127.0.0.1:1"];
    let listed = all.map(|address| format!("- {{name: '{address}', address: '{address}'}}\n"));
    folder.write("servers.yaml", &format!("endpoints:\n{}", listed.concat()));
    let mut gateway = Gateway::start(&folder, &["--endpoints", "servers.yaml"]);
    // The file may not have been read yet.
    let listed = (0..4800).any(|_| {
        thread::sleep(Duration::from_millis(50));
        gateway.ask("GET /health", "").0.contains("200")
    });
    assert!(listed, "the servers are never listed");

    let (head, body) = gateway.ask("GET /v1/models", "");
    assert!(
        head.contains("200") && body.contains("llama-3.1-8b"),
        "{head}\n{body}"
    );
    for _ in 0..20 {
        let (head, body) = gateway.ask("POST /v1/chat/completions", &format!("{CHAT}}}"));
        assert!(
            head.contains("200 OK") && head.contains("x-request-id"),
            "{head}\n{body}"
        );
        assert!(body.contains(r#""completion_tokens":5"#), "{body}");
    }
    let (head, body) = gateway.ask(
        "POST /v1/chat/completions",
        &format!("{CHAT}, \"stream\": true}}"),
    );
    assert!(head.contains("text/event-stream"), "{head}");
    assert!(
        body.contains("data: {") && body.contains("data: [DONE]"),
        "{body}"
    );
    let (head, body) = gateway.ask("POST /v1/chat/completions", CHAT);
    assert!(
        head.contains("400") && body.contains("\"error\":{\"message\""),
        "{head}\n{body}"
    );
    assert!(gateway.ask("GET /is_sleeping", "").0.contains("404"));
    let (_, metrics) = ask(&gateway.metrics, "GET /metrics", "");
    let chats = "llm_d_epp_request_total{model_name=\"llama-3.1-8b\"";
    let chats = metrics.lines().find(|line| line.starts_with(chats));
    assert!(chats.is_some_and(|line| line.ends_with(" 21")), "{metrics}");
    assert_eq!(end(&mut gateway.process), Some(0));
}

#[test]
fn what_cannot_be_served_is_said_at_once() {
    let folder = Folder::empty();
    folder
        .wva(&["gateway"])
        .refused(&["which endpoints", "--endpoints FILE"]);
    folder
        .wva(&[
            "gateway",
            "--endpoints",
            "a.yaml",
            "--connect-timeout",
            "soon",
        ])
        .refused(&["--connect-timeout", "500ms"]);
    folder.write("a.yaml", "endpoints: []\n");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let at = [
        "gateway",
        "--bind-address",
        "127.0.0.1",
        "--endpoints",
        "a.yaml",
        "--port",
        &port,
    ];
    folder
        .wva(&at)
        .refused(&["cannot listen on", &port, "choose another --port"]);
}
