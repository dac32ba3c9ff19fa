//! A Prometheus that does not tell the truth: the real one behind somebody who changes its answers.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What is wrong with the answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lie {
    /// Nothing.
    None,
    /// No value is a number; when they were scraped is known all the same.
    NaN,
    /// Every value is so many times what it was.
    Times(f64),
    /// The clock is ahead by so many seconds, or behind.
    Clock(f64),
    /// Whatever is asked is answered as it was at this time, seconds since the Unix epoch.
    AsOf(f64),
}

/// Somebody between a Prometheus and who asks it.
pub struct Liar {
    pub url: String,
    lie: Arc<Mutex<Lie>>,
}

#[derive(Clone)]
struct Between {
    upstream: String,
    client: reqwest::Client,
    lie: Arc<Mutex<Lie>>,
}

impl Liar {
    pub async fn start(host: Ipv4Addr, upstream: &str) -> Self {
        wva_testbed::use_ring();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let between = Between {
            upstream: upstream.to_owned(),
            client: client.build().unwrap(),
            lie: Arc::new(Mutex::new(Lie::None)),
        };
        let lie = Arc::clone(&between.lie);
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(between);
        tokio::spawn(axum::serve(listener, app).into_future());
        Self { url, lie }
    }

    pub fn tell(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
    }
}

async fn answer(State(between): State<Between>, uri: Uri, body: Bytes) -> Response {
    let lie = *between.lie.lock().unwrap();
    let question = String::from_utf8_lossy(&body).into_owned();
    let asked = match lie {
        Lie::Clock(ahead) => at_another_time(&question, |at| at - ahead),
        Lie::AsOf(then) => at_another_time(&question, |_| then),
        _ => question.clone(),
    };
    let sent = between
        .client
        .post(format!("{}{uri}", between.upstream))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(asked)
        .send()
        .await;
    let answered = match sent {
        Ok(answer) => answer.json::<Value>().await,
        Err(error) => Err(error),
    };
    let (status, body) = match answered {
        Ok(mut truth) => {
            change(&mut truth["data"], lie, &question);
            (StatusCode::OK, truth.to_string())
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
    };
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap()
}

/// The question about another time.
fn at_another_time(question: &str, other: impl Fn(f64) -> f64) -> String {
    let pairs = question.split('&').map(|pair| match pair.split_once('=') {
        Some(("time", at)) => format!("time={:.3}", other(at.parse().unwrap())),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn change(data: &mut Value, lie: Lie, question: &str) {
    let clock = ["time%28%29", "time()", "timestamp%28", "timestamp("];
    let of_time = clock.iter().any(|word| question.contains(word));
    let lied = |value: f64| match lie {
        Lie::NaN if !of_time => f64::NAN,
        Lie::Times(factor) if !of_time => value * factor,
        Lie::Clock(ahead) if of_time => value + ahead,
        _ => value,
    };
    let tell = |pair: &mut Value| {
        if let Some(value) = pair.as_str().and_then(|v| v.parse::<f64>().ok()) {
            *pair = json!(lied(value).to_string());
        }
    };
    match data["resultType"].as_str() {
        Some("scalar") => tell(&mut data["result"][1]),
        _ => {
            let all = data["result"].as_array_mut().into_iter().flatten();
            all.for_each(|series| tell(&mut series["value"][1]));
        }
    }
}
