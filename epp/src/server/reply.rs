//! The messages to the proxy.

use bytes::Bytes;

use super::refusal::Refused;
use super::wire::{
    Answer, BodyMutation, CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HttpBody,
    HttpStatus, ImmediateResponse, Kind, Mutated, OVERWRITE, ProcessingResponse, Struct,
    TrailersResponse,
};
use wva_epp_core::picker::DESTINATION_HEADER;

/// Largest chunk of a body that is sent to the proxy, as in the protocol.
pub const CHUNK: usize = 62_000;

/// Namespace of the proxy's load balancer in metadata.
pub const LB_NAMESPACE: &str = "envoy.lb";

const fn answer(answer: Answer) -> ProcessingResponse {
    ProcessingResponse {
        answer: Some(answer),
        dynamic_metadata: None,
    }
}

/// A header that takes the place of any of its name.
pub fn header(key: impl Into<Bytes>, value: impl Into<Bytes>) -> HeaderValueOption {
    let header = HeaderValue {
        key: key.into(),
        value: Bytes::new(),
        raw_value: value.into(),
    };
    HeaderValueOption {
        header: Some(header),
        append_action: OVERWRITE,
    }
}

/// Sends the request on: the destination in a header and in metadata, besides other headers.
pub fn to(destination: Bytes, mut headers: Vec<HeaderValueOption>) -> ProcessingResponse {
    headers.insert(0, header(DESTINATION_HEADER, destination.clone()));
    let response = CommonResponse {
        header_mutation: Some(HeaderMutation {
            set_headers: headers,
            remove_headers: Vec::new(),
        }),
        body_mutation: None,
        clear_route_cache: true,
    };
    let field = Struct::of(DESTINATION_HEADER, Kind::Text(destination));
    ProcessingResponse {
        answer: Some(Answer::RequestHeaders(Mutated {
            response: Some(response),
        })),
        dynamic_metadata: Some(Struct::of(LB_NAMESPACE, Kind::Struct(field))),
    }
}

fn chunk(body: Bytes, end_of_stream: bool) -> Mutated {
    let streamed_response = Some(HttpBody {
        body,
        end_of_stream,
    });
    let response = CommonResponse {
        body_mutation: Some(BodyMutation { streamed_response }),
        ..CommonResponse::default()
    };
    Mutated {
        response: Some(response),
    }
}

/// A chunk of the request's body.
pub fn request_chunk(body: Bytes, last: bool) -> ProcessingResponse {
    answer(Answer::RequestBody(chunk(body, last)))
}

/// A chunk of the response's body.
pub fn response_chunk(body: Bytes, last: bool) -> ProcessingResponse {
    answer(Answer::ResponseBody(chunk(body, last)))
}

/// The request's trailers go on.
pub const fn request_trailers() -> ProcessingResponse {
    answer(Answer::RequestTrailers(TrailersResponse {}))
}

/// The response's trailers go on.
pub const fn response_trailers() -> ProcessingResponse {
    answer(Answer::ResponseTrailers(TrailersResponse {}))
}

/// The response's headers go on, with changes.
pub fn response_headers(set: Vec<HeaderValueOption>, remove: Vec<String>) -> ProcessingResponse {
    let any = !set.is_empty() || !remove.is_empty();
    let mutation = any.then_some(HeaderMutation {
        set_headers: set,
        remove_headers: remove,
    });
    let response = CommonResponse {
        header_mutation: mutation,
        ..CommonResponse::default()
    };
    answer(Answer::ResponseHeaders(Mutated {
        response: Some(response),
    }))
}

/// The client gets a refusal.
pub fn refused(refused: &Refused) -> ProcessingResponse {
    let mut headers = Vec::new();
    if let Some(reason) = refused.reason {
        headers.push(header(super::refusal::REASON_HEADER, reason));
    }
    if let Some(seconds) = refused.retry_after {
        headers.push(header("retry-after", seconds.to_string()));
    }
    let any = !headers.is_empty();
    answer(Answer::Immediate(ImmediateResponse {
        status: Some(HttpStatus {
            code: refused.status.into(),
        }),
        headers: any.then_some(HeaderMutation {
            set_headers: headers,
            remove_headers: Vec::new(),
        }),
        body: refused.body().into(),
        details: refused.code.to_owned(),
    }))
}
