//! Users: requests that arrive when they arrive, through Envoy, and each answer read to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::load::MODEL;

/// Tokens of a prompt and of an answer.
pub const PROMPT: usize = 2000;
pub const ANSWER: usize = 40;
/// A token is four bytes to the servers.
const TOKEN: &str = "word";

/// Users who keep coming.
pub struct Users {
    arrivals: JoinHandle<Vec<JoinHandle<Result<(), String>>>>,
    over: Arc<AtomicBool>,
}

/// What became of their requests.
#[derive(Debug)]
pub struct Outcome {
    pub requests: usize,
    /// Those without a whole answer, and why.
    pub lost: Vec<String>,
}

impl Users {
    /// So many requests per second, at random, until told to stop.
    pub fn come(front: SocketAddr, rate: f64) -> Self {
        let over = Arc::<AtomicBool>::default();
        Self {
            arrivals: tokio::spawn(arrive(front, rate, Arc::clone(&over))),
            over,
        }
    }

    /// Lets no further ones come, and waits for the last answer.
    pub async fn stop(mut self) -> Outcome {
        self.over.store(true, Relaxed);
        let requests = (&mut self.arrivals).await.unwrap();
        let (number, mut lost) = (requests.len(), Vec::new());
        for request in requests {
            lost.extend(request.await.unwrap().err());
        }
        Outcome {
            requests: number,
            lost,
        }
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        self.arrivals.abort();
    }
}

async fn arrive(
    front: SocketAddr,
    rate: f64,
    over: Arc<AtomicBool>,
) -> Vec<JoinHandle<Result<(), String>>> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (begin, mut at, mut seed) = (Instant::now(), 0.0, 7_u64);
    let mut requests = Vec::new();
    while !over.load(Relaxed) {
        let asked = ask(client.clone(), front, requests.len());
        requests.push(tokio::spawn(asked));
        at += exponential(&mut seed) / rate;
        let next = begin + Duration::from_secs_f64(at);
        while !over.load(Relaxed) && Instant::now() < next {
            let rest = next - Instant::now();
            tokio::time::sleep(rest.min(Duration::from_millis(100))).await;
        }
    }
    requests
}

/// One request, whose answer has a first and a last event.
pub async fn ask(client: reqwest::Client, front: SocketAddr, salt: usize) -> Result<(), String> {
    let body = json!({
        "model": MODEL,
        "prompt": TOKEN.repeat(PROMPT),
        "cache_salt": salt.to_string(),
        "max_tokens": ANSWER,
        "ignore_eos": true,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let url = format!("http://{front}/v1/completions");
    let sent = client.post(url).json(&body).send().await;
    let answer = sent.map_err(|e| format!("{e:?}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|e| format!("{e:?}"))?;
    match status.is_success() && text.trim_end().ends_with("data: [DONE]") {
        true => Ok(()),
        false => Err(format!("{status} {text}")),
    }
}

/// The next of a sequence of exponential times with mean 1 (SplitMix64).
fn exponential(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    -(((z >> 11) as f64 + 0.5) / (1_u64 << 53) as f64).ln()
}
