use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{FLEET, Folder, has_keys};

pub const LLAMA: [&str; 7] = [
    "emulate",
    "--model",
    "llama-3.1-8b",
    "--accelerator",
    "l40s",
    "--port",
    "0",
];

/// `wva emulate` while it serves.
pub struct Serving {
    process: Child,
    pub answer: Value,
}

impl Serving {
    pub fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let mut process = folder
            .command(arguments)
            .args(["-o", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("wva starts");
        let mut text = String::new();
        let out = process.stdout.take().expect("piped");
        for line in BufReader::new(out).lines() {
            let line = line.expect("UTF-8 on stdout");
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let answer = serde_json::from_str(&text).expect("JSON on stdout");
        Self { process, answer }
    }

    /// Address of a server.
    pub fn address(&self, i: usize) -> &str {
        self.answer["servers"][i]["address"]
            .as_str()
            .expect("an address")
    }

    /// Status line and body of a server's answer to a request.
    fn ask(&self, i: usize, request: &str, body: &str) -> (String, String) {
        let (head, body) = ask(self.address(i), request, body);
        (head.lines().next().unwrap_or_default().to_owned(), body)
    }

    /// Sends SIGTERM; the exit code.
    fn end(mut self) -> Option<i32> {
        end(&mut self.process)
    }
}

/// Head and body of the answer to a request.
pub fn ask(address: &str, request: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let timeout = Some(Duration::from_secs(60));
    stream.set_read_timeout(timeout).expect("a timeout");
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
    (head.to_owned(), body.to_owned())
}

/// Sends SIGTERM; the exit code.
pub fn end(process: &mut Child) -> Option<i32> {
    let id = process.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status();
    assert!(told.expect("kill runs").success());
    process.wait().expect("it ends").code()
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_model_on_an_accelerator_just_works() {
    let folder = Folder::empty();
    let serving = Serving::start(&folder, &[&LLAMA[..], &["--speed", "100"]].concat());
    assert_eq!(serving.answer["schema"], "wva.emulate/v1");
    let server = &serving.answer["servers"][0];
    has_keys(
        server,
        &[
            "address",
            "url",
            "model",
            "accelerator",
            "role",
            "kv_cache_tokens",
        ],
    );
    for path in ["/health", "/healthz", "/readyz", "/metrics"] {
        let (status, _) = serving.ask(0, &format!("GET {path}"), "");
        assert!(status.contains("200"), "{path}: {status}");
    }
    let body = r#"{"model": "llama-3.1-8b", "prompt": "hello", "max_tokens": 5}"#;
    let (status, answer) = serving.ask(0, "POST /v1/completions", body);
    assert!(
        status.contains("200") && answer.contains(r#""completion_tokens":5"#),
        "{answer}"
    );
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn variants_of_a_file_get_as_many_servers_as_asked() {
    let folder = Folder::empty();
    folder.write("fleet.yaml", FLEET);
    let serving = Serving::start(
        &folder,
        &[
            "emulate",
            "fleet.yaml",
            "--port",
            "0",
            "--consecutive-ports",
            "--count",
            "2",
            "--served-model-name",
            "chat",
            "--start-up",
            "3600",
        ],
    );
    let servers = serving.answer["servers"].as_array().expect("a list");
    let variants: Vec<_> = servers.iter().map(|s| &s["variant"]).collect();
    assert_eq!(
        variants,
        [
            "llama-3.1-8b-h100",
            "llama-3.1-8b-h100",
            "llama-3.1-8b-l40s",
            "llama-3.1-8b-l40s"
        ]
    );
    assert!(servers.iter().all(|s| s["model"] == "chat"));
    let (status, _) = serving.ask(3, "GET /health", "");
    assert!(status.contains("503"), "it loads: {status}");
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn what_cannot_be_served_is_refused() {
    let folder = Folder::empty();
    folder.write("fleet.yaml", FLEET);
    folder.wva(&["emulate"]).refused(&["--model", "required"]);
    folder
        .wva(&[
            "emulate",
            "--model",
            "llama-3.1-8c",
            "--accelerator",
            "l40s",
        ])
        .refused(&["llama-3.1-8c", "did you mean `llama-3.1-8b`?"]);
    folder
        .wva(&[
            "emulate",
            "--model",
            "llama-3.1-405b",
            "--accelerator",
            "t4",
        ])
        .refused(&["405b"]);
    folder
        .wva(&["emulate", "fleet.yaml", "--variant", "llama-3.1-8b-h10"])
        .refused(&["--variant", "did you mean `llama-3.1-8b-h100`?"]);
    folder
        .wva(&[&LLAMA[..], &["--speed", "5000"]].concat())
        .refused(&["speed", "between 0.001 and 1000"]);
    folder
        .wva(&[
            "emulate",
            "fleet.yaml",
            "--port",
            "65535",
            "--consecutive-ports",
            "--count",
            "2",
        ])
        .refused(&["ports", "lower --count"]);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let mut arguments = LLAMA;
    arguments[6] = &port;
    folder
        .wva(&arguments)
        .refused(&["cannot listen on", &port, "--port"]);
}
