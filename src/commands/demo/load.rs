//! Users: requests that come when they come, whether or not earlier ones were answered.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use wva_simulations::request::{Request, Stream};

use super::counts::Finished;
use super::gateway::Gateway;

/// A token is four bytes to the servers.
const TOKEN: &str = "word";
/// Time for the last answers once no more requests come.
const LAST_ANSWERS: Duration = Duration::from_secs(15);

/// Sends every request at its time until it is told to stop, and waits for the last answers, though not for ever.
pub async fn play(
    mut stop: watch::Receiver<bool>,
    requests: Vec<Request>,
    streams: Vec<Stream>,
    gateway: Arc<Gateway>,
    client: Client,
) {
    let (begin, streams) = (Instant::now(), Arc::new(streams));
    let mut open = JoinSet::new();
    for (number, request) in requests.into_iter().enumerate() {
        let due = begin + Duration::from_secs_f64(request.at.seconds());
        tokio::select! {
            () = sleep_until(due) => {}
            // Gone is told, too: nobody is left to see it.
            _ = stop.wait_for(|s| *s) => break,
        }
        while open.try_join_next().is_some() {}
        let (streams, gateway, client) =
            (Arc::clone(&streams), Arc::clone(&gateway), client.clone());
        open.spawn(async move {
            let stream = request.stream as usize;
            ask(
                &client,
                &gateway,
                &streams[stream],
                stream,
                &request,
                number,
            )
            .await;
        });
    }
    let _ = timeout(LAST_ANSWERS, async {
        while open.join_next().await.is_some() {}
    })
    .await;
}

async fn ask(
    client: &Client,
    gateway: &Arc<Gateway>,
    of: &Stream,
    stream: usize,
    request: &Request,
    number: usize,
) {
    let arrived = Instant::now();
    let (input, output) = (request.input.max(1), request.output.max(1));
    let Some(place) = gateway.place(stream, &of.model, input, output).await else {
        return;
    };
    let body = json!({
        "model": of.model,
        "prompt": TOKEN.repeat(input as usize),
        "cache_salt": number.to_string(),
        "max_tokens": output,
        "ignore_eos": true,
        "stream": true,
    });
    let url = format!("http://{}/v1/completions", place.address);
    let times = stream_of(client, &url, &body, arrived).await;
    gateway.end(
        stream,
        times.map(|(ttft, e2e)| Finished {
            input,
            output,
            ttft,
            itl: (e2e - ttft) / f64::from(output.saturating_sub(1).max(1)),
            e2e,
        }),
    );
}

/// Seconds from `arrived` to the first and to the last token; `None` where the answer breaks off.
async fn stream_of(
    client: &Client,
    url: &str,
    body: &serde_json::Value,
    arrived: Instant,
) -> Option<(f64, f64)> {
    let sent = client.post(url).json(body).send().await.ok()?;
    let mut answer = sent.error_for_status().ok()?;
    answer.chunk().await.ok()??;
    let first = arrived.elapsed().as_secs_f64();
    while answer.chunk().await.ok()?.is_some() {}
    Some((first, arrived.elapsed().as_secs_f64()))
}
