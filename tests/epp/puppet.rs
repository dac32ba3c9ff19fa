//! A model server that says of itself, and answers, what the test wants. What real servers say follows from their load;
//! here a queue of ten must be a queue of ten.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What its metrics page says.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    pub waiting: u32,
    pub kv: f64,
    /// The adapter that it holds: there is room for one.
    pub lora: &'static str,
}

/// How it answers.
#[derive(Debug, Clone, Default)]
pub enum Script {
    /// As vLLM answers, with the model that it was asked for.
    #[default]
    Plain,
    /// These pieces of JSON.
    Json(Vec<Bytes>),
    /// These pieces of an event stream.
    Events(Vec<Bytes>),
    /// The head of an event stream and one event, and then nothing.
    Hang,
    /// As vLLM answers, after so long.
    Slow(Duration),
}

#[derive(Default)]
struct Inside {
    gauges: Mutex<Gauges>,
    script: Mutex<Script>,
    bodies: Mutex<Vec<Bytes>>,
}

/// One server; it goes when it is dropped.
pub struct Puppet {
    pub address: SocketAddr,
    inside: Arc<Inside>,
    task: JoinHandle<()>,
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Puppet {
    pub async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let inside = Arc::new(Inside::default());
        let router = Router::new()
            .route("/metrics", get(metrics))
            .fallback(answer)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&inside));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            inside,
            task,
        }
    }

    /// Sets what it says of itself.
    pub fn says(&self, gauges: Gauges) {
        *self.inside.gauges.lock().unwrap() = gauges;
    }

    /// Sets how it answers.
    pub fn plays(&self, script: Script) {
        *self.inside.script.lock().unwrap() = script;
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.inside.bodies.lock().unwrap().len()
    }

    /// The body of the last request.
    pub fn last_body(&self) -> Bytes {
        self.inside.bodies.lock().unwrap().last().cloned().unwrap()
    }
}

async fn metrics(State(inside): State<Arc<Inside>>) -> String {
    let Gauges { waiting, kv, lora } = inside.gauges.lock().unwrap().clone();
    format!(
        "vllm:num_requests_running 0\nvllm:num_requests_waiting {waiting}\nvllm:kv_cache_usage_perc {kv}\n\
         vllm:lora_requests_info{{max_lora=\"1\",running_lora_adapters=\"{lora}\",waiting_lora_adapters=\"\"}} 1\n\
         vllm:cache_config_info{{block_size=\"16\",num_gpu_blocks=\"10000\"}} 1\n"
    )
}

async fn answer(State(inside): State<Arc<Inside>>, body: Bytes) -> Response {
    inside.bodies.lock().unwrap().push(body.clone());
    let script = inside.script.lock().unwrap().clone();
    match script {
        Script::Plain => plain(&body).into_response(),
        Script::Json(pieces) => pieced("application/json", pieces, false),
        Script::Events(pieces) => pieced("text/event-stream", pieces, false),
        Script::Slow(service) => {
            tokio::time::sleep(service).await;
            plain(&body).into_response()
        }
        Script::Hang => {
            let first = Bytes::from_static(b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n");
            pieced("text/event-stream", vec![first], true)
        }
    }
}

fn plain(body: &[u8]) -> (StatusCode, axum::Json<Value>) {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18});
    let answer = json!({
        "id": "cmpl-1", "object": "text_completion", "model": asked["model"],
        "choices": [{"index": 0, "text": "b", "finish_reason": "stop"}], "usage": usage,
    });
    (StatusCode::OK, axum::Json(answer))
}

/// Pieces with time between them, so that they stay pieces; with `hang` the end never comes.
fn pieced(kind: &'static str, pieces: Vec<Bytes>, hang: bool) -> Response {
    let pieces = futures::stream::unfold(pieces.into_iter(), move |mut rest| async move {
        match rest.next() {
            Some(piece) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok::<_, std::io::Error>(piece), rest))
            }
            None if hang => std::future::pending().await,
            None => None,
        }
    });
    ([(CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response()
}
