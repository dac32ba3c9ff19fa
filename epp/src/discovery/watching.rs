//! One watch of one kind, that never gives up.

use std::time::Duration;

use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Error, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// Time before a kind that was not there, or not allowed, is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What a watch tells.
pub(crate) enum Told<K> {
    /// Everything that there is: what was told before is void.
    All(Vec<K>),
    /// This is new, or different.
    Applied(K),
    /// This is gone.
    Deleted(K),
    /// The cluster has no such kind.
    Absent,
}

/// Tells what there is of a kind and how it changes, for as long as it is polled. While the API server cannot be
/// reached nothing is told, and afterwards everything.
pub(crate) async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    what: &str,
    mut tell: impl FnMut(Told<K>),
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    loop {
        let stream = watcher(api.clone(), config.clone()).default_backoff();
        let mut stream = std::pin::pin!(stream);
        let mut listed = Vec::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Apply(object)) => tell(Told::Applied(object)),
                Ok(Event::Delete(object)) => tell(Told::Deleted(object)),
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => listed.push(object),
                Ok(Event::InitDone) => tell(Told::All(std::mem::take(&mut listed))),
                Err(error) if code(&error) == Some(404) => {
                    tracing::debug!(what, "the cluster has no such kind");
                    tell(Told::Absent);
                    break;
                }
                Err(error) => {
                    tracing::warn!(what, %error, "watch failed; what is known stays");
                    if matches!(code(&error), Some(401 | 403)) {
                        break;
                    }
                }
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The status that the API server gave as its reason; `None` for trouble on the way.
fn code(error: &Error) -> Option<u16> {
    let (Error::InitialListFailed(error) | Error::WatchStartFailed(error)) = error else {
        return None;
    };
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
