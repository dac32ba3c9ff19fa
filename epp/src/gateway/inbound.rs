//! Requests of clients: whether they are passed on at all, and their bodies.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, header};
use hyper::body::{Body as _, Incoming};

use super::refusal::bad;
use crate::server::gathered::Gathered;
use crate::server::refusal::Refused;

/// Time between two pieces of a request, at most: clients have theirs ready, and what they have sent takes memory.
const PIECE: Duration = Duration::from_secs(30);
/// Time in which the rest of a body that is too large is thrown away, so that the client reads why.
const DISCARD: Duration = Duration::from_secs(5);

/// Refuses what is not passed on: other paths than these, and what is ambiguous.
pub(super) fn check(parts: &Parts, paths: &[String]) -> Result<(), Refused> {
    if parts.method == Method::CONNECT {
        return Err(bad(
            405,
            "MethodNotAllowed",
            "this is no proxy for connections",
        ));
    }
    if parts.headers.get_all(header::HOST).iter().count() > 1 {
        return Err(bad(400, "BadRequest", "more than one Host header"));
    }
    let path = parts.uri.path();
    if dotted(path) {
        return Err(bad(400, "BadRequest", "the path has segments of dots"));
    }
    if !paths.iter().any(|begin| path.starts_with(begin.as_str())) {
        let told = format!(
            "{path} is not passed on to model servers; what is begins with one of: {}",
            paths.join(" ")
        );
        return Err(bad(404, "NotFound", told));
    }
    Ok(())
}

/// Whether some server might take the path for another one.
fn dotted(path: &str) -> bool {
    if !path.contains('.') && !path.contains('%') {
        return false;
    }
    let plain = path
        .to_ascii_lowercase()
        .replace("%2e", ".")
        .replace("%2f", "/");
    plain.split(['/', '\\']).any(|s| matches!(s, "." | ".."))
}

/// The whole body of a request, of at most `most` bytes, between whose pieces there is at most `idle`, and never more than
/// [`PIECE`]; `None` for a request that has none.
pub(super) async fn body(
    parts: &Parts,
    mut incoming: Incoming,
    most: usize,
    idle: Duration,
) -> Result<Option<Bytes>, Refused> {
    let idle = idle.min(PIECE);
    let bodiless = matches!(
        parts.method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE
    );
    if bodiless && incoming.is_end_stream() {
        return Ok(None);
    }
    let expected = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
    let mut gathered = Gathered::default();
    let mut fits = expected <= most;
    while fits {
        let Some(chunk) = next(&mut incoming, idle).await? else {
            return Ok(Some(gathered.finish()));
        };
        fits = gathered.len() + chunk.len() <= most;
        if fits {
            gathered.push(chunk, expected);
        }
    }
    drop(gathered);
    discard(incoming).await;
    Err(Refused::too_large(most))
}

async fn next(incoming: &mut Incoming, idle: Duration) -> Result<Option<Bytes>, Refused> {
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx));
        let frame = tokio::time::timeout(idle, frame).await.map_err(|_| {
            let told = "the rest of the request's body did not come";
            bad(408, "RequestTimeout", told)
        })?;
        match frame.transpose() {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Err(error) => {
                let told = format!("the request's body broke off: {error}");
                return Err(bad(400, "BadRequest", told));
            }
        }
    }
}

async fn discard(mut incoming: Incoming) {
    let end = Instant::now() + DISCARD;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if !matches!(next(&mut incoming, left).await, Ok(Some(_))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::gateway::Passing;

    #[rstest]
    #[case("/v1/chat/completions?x=..", 200)]
    #[case("/v1/models/meta-llama/Llama-3.1-8B", 200)]
    #[case("/tokenize", 200)]
    #[case("/v1/../sleep", 400)]
    #[case("/v1/%2e%2E/sleep", 400)]
    #[case("/v1/x%2f..%2fsleep", 400)]
    #[case("/v1/./models", 400)]
    #[case("/sleep", 404)]
    #[case("/collective_rpc", 404)]
    #[case("/metrics", 404)]
    #[case("/", 404)]
    fn only_paths_for_requests_are_passed_on(#[case] path: &str, #[case] status: u16) {
        let (parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
        let checked = check(&parts, &Passing::default().paths);
        assert_eq!(checked.err().map_or(200, |refused| refused.status), status);
    }
}
