//! The messages of Envoy's external processing protocol, as far as they are used, derived by hand.
//!
//! Field numbers are the protocol's (`envoy.service.ext_proc.v3`, `envoy.config.core.v3`, `google.protobuf.Struct`);
//! fields that are not listed are skipped when read. Text that is only compared or passed on is declared as bytes, and
//! maps as lists of entries: the same on the wire, and nothing is copied, checked or hashed that nobody asked for.

use bytes::Bytes;
use prost::{Message, Oneof};

/// One message from the proxy.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessingRequest {
    /// What has come.
    #[prost(oneof = "Part", tags = "2, 3, 4, 5, 6, 7")]
    pub part: Option<Part>,
    /// What filters before this one know.
    #[prost(message, optional, tag = "8")]
    pub metadata_context: Option<Metadata>,
    /// How the proxy will send things; in the first message only.
    #[prost(message, optional, tag = "11")]
    pub protocol_config: Option<ProtocolConfiguration>,
}

/// How the proxy sends bodies.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ProtocolConfiguration {
    /// The request's: 0 for not at all.
    #[prost(int32, tag = "1")]
    pub request_body_mode: i32,
    /// The response's: 0 for not at all.
    #[prost(int32, tag = "2")]
    pub response_body_mode: i32,
}

/// A part of a request or of its response.
#[derive(Clone, PartialEq, Oneof)]
pub enum Part {
    /// The request's headers.
    #[prost(message, tag = "2")]
    RequestHeaders(HttpHeaders),
    /// The response's headers.
    #[prost(message, tag = "3")]
    ResponseHeaders(HttpHeaders),
    /// A chunk of the request's body.
    #[prost(message, tag = "4")]
    RequestBody(HttpBody),
    /// A chunk of the response's body.
    #[prost(message, tag = "5")]
    ResponseBody(HttpBody),
    /// The request's trailers.
    #[prost(message, tag = "6")]
    RequestTrailers(HttpTrailers),
    /// The response's trailers.
    #[prost(message, tag = "7")]
    ResponseTrailers(HttpTrailers),
}

/// Headers.
#[derive(Clone, PartialEq, Message)]
pub struct HttpHeaders {
    /// The headers.
    #[prost(message, optional, tag = "1")]
    pub headers: Option<HeaderMap>,
    /// Whether there is neither body nor trailers.
    #[prost(bool, tag = "3")]
    pub end_of_stream: bool,
}

/// A list of headers.
#[derive(Clone, PartialEq, Message)]
pub struct HeaderMap {
    /// The headers, names in lower case.
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<HeaderValue>,
}

/// A header.
#[derive(Clone, PartialEq, Message)]
pub struct HeaderValue {
    /// Name.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Value, if it is text.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// Value as bytes; takes the place of the other.
    #[prost(bytes = "bytes", tag = "3")]
    pub raw_value: Bytes,
}

impl HeaderValue {
    /// The value, in whichever field it is.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        if self.raw_value.is_empty() {
            &self.value
        } else {
            &self.raw_value
        }
    }
}

/// A chunk of a body.
#[derive(Clone, PartialEq, Message)]
pub struct HttpBody {
    /// The chunk.
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
    /// Whether nothing comes after it.
    #[prost(bool, tag = "2")]
    pub end_of_stream: bool,
}

/// Trailers, of which nothing is read.
#[derive(Clone, PartialEq, Message)]
pub struct HttpTrailers {}

/// What filters know.
#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    /// By the filters' names.
    #[prost(message, repeated, tag = "1")]
    pub filter_metadata: Vec<Filter>,
}

/// What one filter knows.
#[derive(Clone, PartialEq, Message)]
pub struct Filter {
    /// Its name.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// What it knows.
    #[prost(message, optional, tag = "2")]
    pub value: Option<Struct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Message)]
pub struct Struct {
    /// Fields.
    #[prost(message, repeated, tag = "1")]
    pub fields: Vec<Field>,
}

/// A field of a [`Struct`].
#[derive(Clone, PartialEq, Message)]
pub struct Field {
    /// Name.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<Value>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// The value; `None` for kinds that are not used.
    #[prost(oneof = "Kind", tags = "3, 5, 6")]
    pub kind: Option<Kind>,
}

/// Kinds of values.
#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    /// Text.
    #[prost(bytes = "bytes", tag = "3")]
    Text(Bytes),
    /// Fields.
    #[prost(message, tag = "5")]
    Struct(Struct),
    /// Values.
    #[prost(message, tag = "6")]
    List(List),
}

/// `google.protobuf.ListValue`.
#[derive(Clone, PartialEq, Message)]
pub struct List {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// One message to the proxy.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessingResponse {
    /// What it answers, and how.
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub answer: Option<Answer>,
    /// What filters after this one shall know.
    #[prost(message, optional, tag = "8")]
    pub dynamic_metadata: Option<Struct>,
}

/// An answer to a part.
#[derive(Clone, PartialEq, Oneof)]
pub enum Answer {
    /// To the request's headers.
    #[prost(message, tag = "1")]
    RequestHeaders(Mutated),
    /// To the response's headers.
    #[prost(message, tag = "2")]
    ResponseHeaders(Mutated),
    /// To a chunk of the request's body.
    #[prost(message, tag = "3")]
    RequestBody(Mutated),
    /// To a chunk of the response's body.
    #[prost(message, tag = "4")]
    ResponseBody(Mutated),
    /// To the request's trailers.
    #[prost(message, tag = "5")]
    RequestTrailers(TrailersResponse),
    /// To the response's trailers.
    #[prost(message, tag = "6")]
    ResponseTrailers(TrailersResponse),
    /// An answer to the client instead of the server's.
    #[prost(message, tag = "7")]
    Immediate(ImmediateResponse),
}

/// `HeadersResponse` and `BodyResponse`, which are alike.
#[derive(Clone, PartialEq, Message)]
pub struct Mutated {
    /// What to change.
    #[prost(message, optional, tag = "1")]
    pub response: Option<CommonResponse>,
}

/// What to change.
#[derive(Clone, PartialEq, Message)]
pub struct CommonResponse {
    /// Headers.
    #[prost(message, optional, tag = "2")]
    pub header_mutation: Option<HeaderMutation>,
    /// The body.
    #[prost(message, optional, tag = "3")]
    pub body_mutation: Option<BodyMutation>,
    /// Whether the route is to be chosen anew.
    #[prost(bool, tag = "5")]
    pub clear_route_cache: bool,
}

/// Changes of headers.
#[derive(Clone, PartialEq, Message)]
pub struct HeaderMutation {
    /// To set.
    #[prost(message, repeated, tag = "1")]
    pub set_headers: Vec<HeaderValueOption>,
    /// To take out.
    #[prost(string, repeated, tag = "2")]
    pub remove_headers: Vec<String>,
}

/// A header to set.
#[derive(Clone, PartialEq, Message)]
pub struct HeaderValueOption {
    /// The header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<HeaderValue>,
    /// What to do where it is there already.
    #[prost(int32, tag = "3")]
    pub append_action: i32,
}

/// [`HeaderValueOption::append_action`]: take its place.
pub const OVERWRITE: i32 = 2;

/// Changes of a body.
#[derive(Clone, PartialEq, Message)]
pub struct BodyMutation {
    /// A chunk that is sent on.
    #[prost(message, optional, tag = "3")]
    pub streamed_response: Option<HttpBody>,
}

/// Trailers go on as they are.
#[derive(Clone, PartialEq, Message)]
pub struct TrailersResponse {}

/// An answer to the client.
#[derive(Clone, PartialEq, Message)]
pub struct ImmediateResponse {
    /// Status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<HttpStatus>,
    /// Headers.
    #[prost(message, optional, tag = "2")]
    pub headers: Option<HeaderMutation>,
    /// Body.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
    /// What the proxy logs.
    #[prost(string, tag = "5")]
    pub details: String,
}

/// An HTTP status.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct HttpStatus {
    /// The code.
    #[prost(int32, tag = "1")]
    pub code: i32,
}

impl Struct {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Kind> {
        let field = self.fields.iter().find(|f| f.key == key.as_bytes())?;
        field.value.as_ref()?.kind.as_ref()
    }

    /// With one field.
    #[must_use]
    pub fn of(key: &'static str, kind: Kind) -> Self {
        let value = Some(Value { kind: Some(kind) });
        let key = Bytes::from_static(key.as_bytes());
        Self {
            fields: vec![Field { key, value }],
        }
    }
}

impl Metadata {
    /// A field of what a filter knows.
    #[must_use]
    pub fn get(&self, filter: &str, key: &str) -> Option<&Kind> {
        let mut filters = self.filter_metadata.iter();
        let known = filters.find(|f| f.key == filter.as_bytes())?;
        known.value.as_ref()?.get(key)
    }
}

impl Kind {
    /// The texts in it: itself, or those of a list.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Self::Text(text) => (Some(text), [].as_slice()),
            Self::List(list) => (None, list.values.as_slice()),
            Self::Struct(_) => (None, [].as_slice()),
        };
        let many = many.iter().filter_map(|value| match &value.kind {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        });
        one.into_iter()
            .chain(many)
            .filter_map(|text| std::str::from_utf8(text).ok())
    }
}
