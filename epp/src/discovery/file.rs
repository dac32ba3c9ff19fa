//! Endpoints from a file, read again when it changes.
//!
//! The file is read every second and compared, rather than watched: a mounted ConfigMap changes by exchanging links
//! above the file, which watches of the file never see.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use wva_epp_core::endpoint::Endpoint;
use wva_epp_core::pool::Directory;

use super::listing;
use super::variants::Variants;
use crate::store::Store;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Keeps the endpoints those that the file lists, for as long as it is polled. A file that is missing or cannot be
/// understood changes nothing.
pub async fn follow(path: &Path, store: &Store, variants: &Variants) {
    let origin = path.display().to_string();
    let mut known = HashMap::new();
    let mut seen: Option<Result<String, String>> = None;
    loop {
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|e| e.to_string());
        if seen.as_ref() != Some(&text) {
            match &text {
                Ok(text) => take(text, &origin, store, variants, &mut known),
                Err(error) => tracing::warn!(file = origin, error, "no list of endpoints"),
            }
            seen = Some(text);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

type Listed = HashMap<SocketAddr, Endpoint>;

fn take(text: &str, origin: &str, store: &Store, variants: &Variants, known: &mut Listed) {
    match listing::read(text, origin, variants) {
        Ok(listed) => {
            tracing::info!(file = origin, endpoints = listed.len(), "endpoints listed");
            store.update(|directory| change(directory, known, &listed));
            store.set_synced();
            *known = listed;
        }
        Err(error) => {
            tracing::warn!(%error, "list of endpoints not understood; the last one holds")
        }
    }
}

fn change(directory: &mut Directory, before: &Listed, now: &Listed) {
    for address in before.keys().filter(|a| !now.contains_key(a)) {
        directory.remove(address);
    }
    for (address, endpoint) in now {
        if before.get(address) != Some(endpoint) {
            directory.apply(endpoint.clone());
        }
    }
}
