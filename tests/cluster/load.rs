//! Users: requests that arrive when they arrive, whether or not earlier ones were answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::metronome::Metronome;

/// Tokens of a prompt and of an answer.
const PROMPT: usize = 2000;
const ANSWER: usize = 40;
/// A token is four bytes to the servers.
const TOKEN: &str = "word";

/// The name that servers answer to unless told otherwise.
pub const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

/// What was promised of 99 of 100 requests, seconds.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    pub ttft: f64,
    pub itl: f64,
}

/// The promise that holds unless told otherwise.
pub const PROMISE: Promise = Promise {
    ttft: 1.5,
    itl: 0.1,
};

/// What became of one request; latencies in seconds.
#[derive(Debug, Clone, Copy)]
struct Served {
    ttft: f64,
    itl: f64,
    /// Time within it in which this machine ran nothing of the test.
    stalled: f64,
}

/// Sends requests to whichever replica is ready and has the fewest of them.
pub struct Load {
    arrivals: JoinHandle<Vec<JoinHandle<Option<Served>>>>,
    routes: JoinHandle<()>,
    pub router: Arc<Router>,
    /// By what answers are judged.
    pub promise: Promise,
}

/// What came of all of them.
#[derive(Debug)]
pub struct Outcome {
    pub requests: usize,
    pub lost: usize,
    /// Those whose latencies are the servers' own: this machine had time for the test while they lasted.
    pub judged: usize,
    /// Share of the judged that got what was promised.
    pub attainment: f64,
    /// The same share of all of them, those that the machine was late for and the lost included.
    pub of_all: f64,
}

impl Load {
    /// Requests per second as (second, rate), straight lines between them, from now to the last one.
    pub fn start(
        pods: (Api<Pod>, &'static str),
        model: &'static str,
        profile: &[(f64, f64)],
    ) -> Self {
        let router = Arc::new(Router::new(model));
        let routes = tokio::spawn(Arc::clone(&router).follow(pods));
        let arrivals = tokio::spawn(arrive(profile.to_vec(), Arc::clone(&router)));
        Self {
            arrivals,
            routes,
            router,
            promise: PROMISE,
        }
    }

    /// From now on by another profile.
    pub fn again(&mut self, profile: &[(f64, f64)]) {
        self.arrivals.abort();
        self.arrivals = tokio::spawn(arrive(profile.to_vec(), Arc::clone(&self.router)));
    }

    /// Waits for the last answer.
    pub async fn end(mut self) -> Outcome {
        let mut outcomes = Vec::new();
        for request in (&mut self.arrivals).await.unwrap() {
            outcomes.push(request.await.unwrap());
        }
        self.routes.abort();
        let promise = self.promise;
        let met = |s: &&Served| s.ttft <= promise.ttft && s.itl <= promise.itl;
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        let answered = || outcomes.iter().flatten();
        let judged = || answered().filter(|s| s.stalled < STALL);
        Outcome {
            requests: outcomes.len(),
            lost: outcomes.iter().filter(|o| o.is_none()).count(),
            judged: judged().count(),
            attainment: share(judged().filter(met).count(), judged().count()),
            of_all: share(answered().filter(met).count(), outcomes.len()),
        }
    }
}

/// A request that lost more time than this to a busy machine says nothing of the servers, seconds.
const STALL: f64 = 0.1;

async fn arrive(profile: Vec<(f64, f64)>, router: Arc<Router>) -> Vec<JoinHandle<Option<Served>>> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let metronome = Metronome::start();
    let end = profile.last().unwrap().0;
    let begin = Instant::now();
    let (mut requests, mut at, mut seed) = (Vec::new(), 0.0, 7_u64);
    loop {
        let rate = rate(&profile, at);
        if at >= end {
            return requests;
        }
        if rate < 0.01 {
            at += 0.1; // nobody comes: look whether somebody does a little later
            continue;
        }
        at += exponential(&mut seed) / rate;
        tokio::time::sleep_until((begin + Duration::from_secs_f64(at)).into()).await;
        let salt = requests.len().to_string();
        let sent = request(client.clone(), Arc::clone(&router), salt);
        let metronome = metronome.clone();
        requests.push(tokio::spawn(async move {
            let arrived = Instant::now();
            let mut served = sent.await?;
            served.stalled = metronome.stalled(arrived);
            Some(served)
        }));
    }
}

/// The rate at a second.
pub fn rate(profile: &[(f64, f64)], at: f64) -> f64 {
    let after = profile.partition_point(|point| point.0 <= at);
    match (profile.get(after.wrapping_sub(1)), profile.get(after)) {
        (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (at - a.0) / (b.0 - a.0),
        (Some(end), None) => end.1,
        (None, start) => start.map_or(0.0, |point| point.1),
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

async fn request(client: reqwest::Client, router: Arc<Router>, salt: String) -> Option<Served> {
    let arrived = Instant::now();
    *router.arrived.lock().unwrap() += 1;
    let body = json!({
        "model": router.model,
        "prompt": TOKEN.repeat(PROMPT),
        "cache_salt": salt,
        "max_tokens": ANSWER,
        "ignore_eos": true,
        "stream": true,
    });
    let (mut answer, _place) = accepted(&client, &router, &body).await?;
    answer.chunk().await.ok()??;
    let first = arrived.elapsed().as_secs_f64();
    while answer.chunk().await.ok()?.is_some() {}
    let whole = arrived.elapsed().as_secs_f64();
    Some(Served {
        ttft: first,
        itl: (whole - first) / (ANSWER - 1) as f64,
        stalled: 0.0,
    })
}

/// The answer of a replica that takes the request. One that has begun to drain meanwhile refuses it, and another is asked, as
/// gateways do, as soon as it is known that the first is not ready any more.
async fn accepted(
    client: &reqwest::Client,
    router: &Arc<Router>,
    body: &Value,
) -> Option<(reqwest::Response, Place)> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let (address, place) = router.place().await?;
        let url = format!("http://{address}/v1/completions");
        match client.post(url).json(body).send().await {
            Ok(answer) if answer.status().is_success() => return Some((answer, place)),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
    None
}

/// Between two looks at which replicas are ready.
const LOOK: Duration = Duration::from_millis(250);
/// How long a request waits for some replica to be ready and take it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which replicas are ready, and how many requests each of them has.
#[derive(Debug)]
pub struct Router {
    model: &'static str,
    ready: Mutex<BTreeMap<SocketAddr, usize>>,
    arrived: Mutex<u64>,
    waiting: Mutex<u64>,
}

/// A request's place at a replica, given back when it is dropped.
struct Place(SocketAddr, Arc<Router>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(count) = self.1.ready.lock().unwrap().get_mut(&self.0) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Router {
    fn new(model: &'static str) -> Self {
        Self {
            model,
            ready: Mutex::default(),
            arrived: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    async fn place(self: &Arc<Self>) -> Option<(SocketAddr, Place)> {
        *self.waiting.lock().unwrap() += 1;
        let begin = Instant::now();
        let mut address = self.least();
        while address.is_none() && begin.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            address = self.least();
        }
        *self.waiting.lock().unwrap() -= 1;
        address.map(|address| (address, Place(address, Arc::clone(self))))
    }

    fn least(&self) -> Option<SocketAddr> {
        let mut ready = self.ready.lock().unwrap();
        let (address, count) = ready.iter_mut().min_by_key(|(_, count)| **count)?;
        *count += 1;
        Some(*address)
    }

    /// The metrics of an endpoint picker with flow control: what arrived, and what waits for a replica.
    pub fn page(&self) -> String {
        let (model, ready) = (self.model, self.ready.lock().unwrap().len());
        let (arrived, waiting) = (*self.arrived.lock().unwrap(), *self.waiting.lock().unwrap());
        format!(
            "# TYPE llm_d_epp_ready_endpoints gauge\nllm_d_epp_ready_endpoints{{name=\"pool\"}} {ready}\n\
             # TYPE llm_d_epp_request_total counter\nllm_d_epp_request_total{{model_name=\"{model}\"}} {arrived}\n\
             # TYPE llm_d_epp_flow_control_queue_size gauge\nllm_d_epp_flow_control_queue_size{{model_name=\"{model}\"}} {waiting}\n"
        )
    }

    /// Keeps up with which of the pods with these labels are ready.
    async fn follow(self: Arc<Self>, (pods, labels): (Api<Pod>, &'static str)) {
        let params = ListParams::default().labels(labels);
        loop {
            if let Ok(list) = pods.list(&params).await {
                let now: Vec<SocketAddr> = list.items.iter().filter_map(serving).collect();
                let mut ready = self.ready.lock().unwrap();
                ready.retain(|address, _| now.contains(address));
                for address in now {
                    ready.entry(address).or_default();
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn serving(pod: &Pod) -> Option<SocketAddr> {
    let status = pod.status.as_ref()?;
    let ready = status.conditions.iter().flatten();
    let ready = ready
        .into_iter()
        .any(|c| c.type_ == "Ready" && c.status == "True");
    let stays = pod.metadata.deletion_timestamp.is_none();
    let ip = status.pod_ip.as_ref()?.parse().ok()?;
    (ready && stays).then_some(SocketAddr::new(ip, 8000))
}

impl Drop for Load {
    fn drop(&mut self) {
        self.arrivals.abort();
        self.routes.abort();
    }
}
