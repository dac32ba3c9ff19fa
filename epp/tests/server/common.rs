//! A picker to ask, and messages to ask with.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;
use wva_epp::clock::Clock;
use wva_epp::server::exchange::Exchange;
use wva_epp::server::shared::{Handling, Shared};
use wva_epp::server::wire::{
    Answer, CommonResponse, Field, Filter, HeaderMap, HeaderValue, HttpBody, HttpHeaders,
    HttpTrailers, ImmediateResponse, Kind, List, Metadata, Part, ProcessingRequest,
    ProcessingResponse, Struct, Value,
};
use wva_epp::store::Store;
use wva_epp_core::config::Config;
use wva_epp_core::endpoint::{Endpoint, Metrics};
use wva_epp_core::picker::Picker;

pub const CHAT: &str = "/v1/chat/completions";
pub const BODY: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"Tell me of Tübingen"}],"stream":false}"#;

pub fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 8000))
}

pub fn store_of(picker: Picker, endpoints: u8) -> Arc<Store> {
    let store = Store::new(picker, 1);
    add(&store, 1..=endpoints);
    store.set_synced();
    Arc::new(store)
}

pub fn add(store: &Store, endpoints: impl Iterator<Item = u8>) {
    store.update(|directory| {
        for i in endpoints {
            directory.apply(Endpoint::new(address(i), "ns", &format!("pod-{i}")));
        }
    });
}

/// Endpoints of which the first has the shortest queue.
pub fn standard(endpoints: u8) -> Arc<Store> {
    let store = store_of(Config::standard().picker, endpoints);
    for i in 1..=endpoints {
        let metrics = Metrics {
            waiting: f64::from(i - 1) * 10.0,
            kv_usage: 0.1,
            ..Metrics::default()
        };
        store.observe(&address(i), &metrics);
    }
    store.publish();
    store
}

pub fn shared(store: &Arc<Store>) -> Arc<Shared> {
    Shared::new(Arc::clone(store), Clock::start(), &Handling::default())
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let headers = pairs.iter().map(|(k, v)| HeaderValue {
        key: text(k),
        raw_value: text(v),
        ..HeaderValue::default()
    });
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: headers.collect(),
        }),
        end_of_stream,
    }
}

pub fn message(part: Part) -> ProcessingRequest {
    ProcessingRequest {
        part: Some(part),
        ..ProcessingRequest::default()
    }
}

pub fn post(path: &str) -> ProcessingRequest {
    let pairs = [
        (":method", "POST"),
        (":path", path),
        ("x-request-id", "r-1"),
        ("content-type", "application/json"),
    ];
    message(Part::RequestHeaders(headers(&pairs, false)))
}

pub fn body(bytes: impl AsRef<[u8]>, end_of_stream: bool) -> ProcessingRequest {
    let body = Bytes::copy_from_slice(bytes.as_ref());
    message(Part::RequestBody(HttpBody {
        body,
        end_of_stream,
    }))
}

pub fn trailers() -> ProcessingRequest {
    message(Part::RequestTrailers(HttpTrailers {}))
}

pub fn answer_headers(kind: &str, end_of_stream: bool) -> ProcessingRequest {
    let pairs = [
        (":status", "200"),
        ("content-type", kind),
        ("content-length", "7"),
    ];
    message(Part::ResponseHeaders(headers(&pairs, end_of_stream)))
}

pub fn answer(bytes: impl AsRef<[u8]>, end_of_stream: bool) -> ProcessingRequest {
    let body = Bytes::copy_from_slice(bytes.as_ref());
    message(Part::ResponseBody(HttpBody {
        body,
        end_of_stream,
    }))
}

pub fn answer_trailers() -> ProcessingRequest {
    message(Part::ResponseTrailers(HttpTrailers {}))
}

/// What the filter `filter` knows under `key`: a list of texts, or one text.
pub fn metadata(filter: &str, key: &str, values: &[&str], list: bool) -> Metadata {
    let values = values.iter().map(|v| Value {
        kind: Some(Kind::Text(text(v))),
    });
    let mut values: Vec<Value> = values.collect();
    let value = if list {
        Value {
            kind: Some(Kind::List(List { values })),
        }
    } else {
        values.pop().expect("one value")
    };
    let field = Field {
        key: text(key),
        value: Some(value),
    };
    Metadata {
        filter_metadata: vec![Filter {
            key: text(filter),
            value: Some(Struct {
                fields: vec![field],
            }),
        }],
    }
}

/// An exchange and what came of it.
pub struct Talk(pub Exchange);

impl Talk {
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self(Exchange::new(Arc::clone(shared)))
    }

    /// Says something; what is answered at once.
    pub fn say(&mut self, message: ProcessingRequest) -> Vec<ProcessingResponse> {
        self.try_say(message).expect("in order")
    }

    pub fn try_say(
        &mut self,
        message: ProcessingRequest,
    ) -> Result<Vec<ProcessingResponse>, Status> {
        self.0.receive(message)?;
        Ok(std::iter::from_fn(|| self.0.to_send()).collect())
    }

    /// A whole request; what is answered.
    pub fn ask(&mut self, path: &str, bytes: impl AsRef<[u8]>) -> Vec<ProcessingResponse> {
        let early = self.say(post(path));
        assert!(early.is_empty(), "{early:?}");
        self.say(body(bytes, true))
    }
}

pub fn common(response: &ProcessingResponse) -> &CommonResponse {
    match response.answer.as_ref().expect("an answer") {
        Answer::RequestHeaders(m)
        | Answer::ResponseHeaders(m)
        | Answer::RequestBody(m)
        | Answer::ResponseBody(m) => m.response.as_ref().expect("a response"),
        other => panic!("no common response in {other:?}"),
    }
}

pub fn header(response: &ProcessingResponse, key: &str) -> Option<String> {
    let mutation = common(response).header_mutation.as_ref()?;
    let mut set = mutation
        .set_headers
        .iter()
        .filter_map(|o| o.header.as_ref());
    let found = set.find(|h| h.key == key.as_bytes())?;
    Some(String::from_utf8(found.bytes().to_vec()).expect("text"))
}

/// Chunk and end-of-stream of a body message.
pub fn chunk(response: &ProcessingResponse) -> (Bytes, bool) {
    let mutation = common(response).body_mutation.as_ref();
    let streamed = mutation.and_then(|m| m.streamed_response.clone());
    let streamed = streamed.expect("a chunk");
    (streamed.body, streamed.end_of_stream)
}

/// The bodies of messages together; checks that only the last ends the stream.
pub fn whole(responses: &[ProcessingResponse]) -> Vec<u8> {
    let chunks: Vec<_> = responses.iter().map(chunk).collect();
    let ends: Vec<bool> = chunks.iter().map(|(_, end)| *end).collect();
    assert!(ends.iter().rev().skip(1).all(|end| !end), "{ends:?}");
    chunks.into_iter().flat_map(|(body, _)| body).collect()
}

pub fn destination(response: &ProcessingResponse) -> String {
    let key = "x-gateway-destination-endpoint";
    let stated = header(response, key).expect("a destination");
    let metadata = response.dynamic_metadata.as_ref().expect("metadata");
    let Some(Kind::Struct(lb)) = metadata.get("envoy.lb") else {
        panic!("no envoy.lb in {metadata:?}");
    };
    let told = lb.get(key).map(|kind| kind.texts().collect::<String>());
    assert_eq!(told.as_ref(), Some(&stated));
    stated
}

pub fn immediate(responses: &[ProcessingResponse]) -> &ImmediateResponse {
    match responses {
        [
            ProcessingResponse {
                answer: Some(Answer::Immediate(immediate)),
                ..
            },
        ] => immediate,
        other => panic!("no immediate response but {other:?}"),
    }
}

pub fn status(responses: &[ProcessingResponse]) -> (i32, Option<String>) {
    let immediate = immediate(responses);
    let headers = immediate.headers.as_ref();
    let mut set = headers
        .iter()
        .flat_map(|h| &h.set_headers)
        .filter_map(|o| o.header.as_ref());
    let reason = set.find(|h| h.key == "x-llm-d-request-dropped-reason");
    let reason = reason.map(|h| String::from_utf8(h.bytes().to_vec()).expect("text"));
    (immediate.status.expect("a status").code, reason)
}
