//! The model servers' own metrics, through the API server's proxy to their pods.
//!
//! The controller scrapes them by itself. A look from here tells two other things: the load at this moment, and whether
//! pods serve what their variant says, even where no controller runs yet.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;
use kube::Client;
use serde::Serialize;
use wva_controllers::index::fleet::{PodState, PodView, VariantView};
use wva_controllers::index::{Fleet, Key};
use wva_controllers::telemetry::engine::{Dialect, EngineReading};
use wva_controllers::telemetry::exposition::Syntax;
use wva_controllers::telemetry::targets::Scheme;

use super::contact::proxied;

/// Pages asked for at a time.
const CONCURRENT: usize = 16;

/// What one pod said.
#[derive(Debug, Clone)]
pub struct ServerPage {
    /// Namespace and name of the variant.
    pub variant: Key,
    /// Name of the pod.
    pub pod: String,
    /// What it reports, or why it does not.
    pub reading: Result<Box<EngineReading>, String>,
}

/// Load of a variant at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Load {
    /// Sequences in the running batches of all replicas.
    pub running: f64,
    /// Requests waiting in the engines.
    pub waiting: f64,
    /// Share of the KV cache in use, mean over replicas.
    pub kv_usage: Option<f64>,
    /// Replicas that said so.
    pub replicas: u32,
}

/// Asks at most `most` ready pods of each variant.
pub async fn pages(client: &Client, fleet: &Fleet, most: usize) -> Vec<ServerPage> {
    let asked = fleet.variants.iter().flat_map(|variant| {
        let ready = |p: &&PodView| matches!(p.state, PodState::Ready { .. });
        let pods = variant.pods.iter().filter(ready).take(most);
        pods.map(move |pod| page(client, variant, pod))
    });
    stream::iter(asked)
        .buffer_unordered(CONCURRENT)
        .collect()
        .await
}

async fn page(client: &Client, variant: &VariantView, pod: &PodView) -> ServerPage {
    let declared = Dialect::of_label(&variant.engine);
    let engine = declared.unwrap_or(Dialect::Vllm);
    let endpoint = &pod.endpoint;
    let scheme = match endpoint.scheme {
        Scheme::Http => "",
        Scheme::Https => "https:",
    };
    let port = endpoint.ports.first().copied();
    let path = format!(
        "/api/v1/namespaces/{}/pods/{scheme}{}:{}/proxy{}",
        variant.key.namespace,
        pod.name,
        port.unwrap_or_else(|| engine.default_port()),
        endpoint.path.as_deref().unwrap_or(engine.default_path())
    );
    let reading = proxied(client, &path).await.and_then(|page| {
        let (reading, _) = EngineReading::of_pages([(page.as_bytes(), Syntax::Text)], declared);
        let known = "its page has no metrics of a known engine".to_owned();
        reading.map(Box::new).ok_or(known)
    });
    ServerPage {
        variant: variant.key.clone(),
        pod: pod.name.clone(),
        reading,
    }
}

/// The load of each variant that said anything.
pub fn loads(pages: &[ServerPage]) -> BTreeMap<Key, Load> {
    let mut loads: BTreeMap<Key, Load> = BTreeMap::new();
    for page in pages {
        let Ok(reading) = &page.reading else { continue };
        let load = loads.entry(page.variant.clone()).or_default();
        load.running += reading.running.unwrap_or(0.0);
        load.waiting += reading.waiting.unwrap_or(0.0);
        if let Some(usage) = reading.kv_usage.filter(|u| u.is_finite()) {
            let n = f64::from(load.replicas);
            load.kv_usage = Some((load.kv_usage.unwrap_or(0.0) * n + usage) / (n + 1.0));
        }
        load.replicas += 1;
    }
    loads
}
