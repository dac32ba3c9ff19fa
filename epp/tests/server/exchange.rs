//! The protocol's sequences.

use rstest::rstest;
use wva_epp::objectives::{Objectives, Targets};
use wva_epp::server::wire::{Answer, Part, ProcessingRequest, ProtocolConfiguration};
use wva_epp_core::config::Parser;

use super::common::*;
use wva_epp::clock::Clock;
use wva_epp::server::shared::{Handling, Shared};

#[test]
fn a_request_is_held_until_its_end_and_then_comes_back_in_order() {
    let store = standard(3);
    let mut talk = Talk::new(&shared(&store));
    assert!(talk.say(post(CHAT)).is_empty());
    assert!(talk.say(body(&BODY[..30], false)).is_empty());
    assert!(talk.say(body(&BODY[30..], false)).is_empty());
    let out = talk.say(body("", true));
    assert_eq!(destination(&out[0]), "10.0.0.1:8000");
    assert_eq!(
        header(&out[0], "content-length"),
        Some(BODY.len().to_string())
    );
    assert!(common(&out[0]).clear_route_cache);
    assert_eq!(whole(&out[1..]), BODY.as_bytes());
    assert!(
        chunk(out.last().unwrap()).1,
        "the last chunk ends the stream"
    );
    assert_eq!(store.state().inflight.requests(), 1);
}

#[test]
fn large_bodies_come_back_in_chunks_that_the_proxy_takes() {
    let store = standard(3);
    let content = "lorem ipsum ".repeat(20_000);
    let large = format!(r#"{{"model":"m","messages":[{{"content":"{content}"}}]}}"#);
    let mut talk = Talk::new(&shared(&store));
    talk.say(post(CHAT));
    let mut out = Vec::new();
    let pieces: Vec<_> = large.as_bytes().chunks(65_536).collect();
    for (i, piece) in pieces.iter().enumerate() {
        out = talk.say(body(piece, i + 1 == pieces.len()));
    }
    assert!(out[1..].iter().all(|m| chunk(m).0.len() <= 62_000));
    assert_eq!(out.len(), 1 + large.len().div_ceil(62_000));
    assert_eq!(whole(&out[1..]), large.as_bytes());
}

#[test]
fn a_request_without_a_body_is_picked_for_at_once() {
    let store = standard(2);
    let mut talk = Talk::new(&shared(&store));
    let get = headers(&[(":method", "GET"), (":path", "/v1/models")], true);
    let out = talk.say(message(Part::RequestHeaders(get)));
    assert_eq!(out.len(), 1);
    assert_eq!(destination(&out[0]), "10.0.0.1:8000");
    assert_eq!(header(&out[0], "content-length"), None);
}

#[test]
fn trailers_end_a_request_and_go_on_after_its_body() {
    let store = standard(2);
    let mut talk = Talk::new(&shared(&store));
    talk.say(post(CHAT));
    assert!(talk.say(body(BODY, false)).is_empty());
    let out = talk.say(trailers());
    assert_eq!(out.len(), 3);
    destination(&out[0]);
    assert!(!chunk(&out[1]).1, "trailers end the stream, not the body");
    assert!(matches!(out[2].answer, Some(Answer::RequestTrailers(_))));
}

#[rstest]
#[case(
    CHAT,
    r#"{"model": "x", "messages": ["#,
    "error unmarshaling request bodyMap"
)]
#[case(CHAT, "", "error unmarshaling request bodyMap")]
#[case(CHAT, "[1]", "error unmarshaling request bodyMap")]
#[case(CHAT, "{\"model\":\"\u{1}\"}", "error unmarshaling request bodyMap")]
#[case(
    CHAT,
    r#"{"messages":[{"content":"hi"}]}"#,
    "model not found in request body"
)]
#[case(
    CHAT,
    r#"{"model":5,"messages":[{"content":"hi"}]}"#,
    "model not found in request body"
)]
#[case(CHAT, r#"{"model":"x"}"#, "invalid chat completions request")]
#[case(
    CHAT,
    r#"{"model":"x","messages":[]}"#,
    "invalid chat completions request"
)]
#[case("/v1/completions", r#"{"model":"x"}"#, "invalid completions request")]
#[case("/v1/embeddings", r#"{"model":"x"}"#, "invalid request")]
fn bad_requests_are_refused(#[case] path: &str, #[case] text: &str, #[case] said: &str) {
    let store = standard(2);
    let mut talk = Talk::new(&shared(&store));
    let out = talk.ask(path, text);
    assert_eq!(status(&out), (400, None));
    let body = String::from_utf8(immediate(&out).body.to_vec()).unwrap();
    let expected = format!("inference error: BadRequest - {said}");
    assert!(body.starts_with(&expected), "{body}");
    assert!(talk.0.closing());
    assert_eq!(store.state().inflight.requests(), 0);
}

#[rstest]
#[case("/v1/nonsense", BODY)]
#[case("/v1/audio/transcriptions", "--boundary\r\n\u{0}")]
#[case("/v1/embeddings", r#"{"model":"m","input":"hello"}"#)]
#[case(
    "/v1/completions?x=1",
    r#"{"model":"nobody/has-this","prompt":[1,2,3]}"#
)]
#[case(
    "/v1/responses",
    r#"{"model":"m","input":[{"role":"user","content":"hi"}]}"#
)]
#[case(
    "/v1/messages",
    r#"{"model":"m","system":"s","messages":[{"content":"hi"}]}"#
)]
fn what_is_not_known_is_routed(#[case] path: &str, #[case] text: &str) {
    let out = Talk::new(&shared(&standard(2))).ask(path, text);
    destination(&out[0]);
    assert_eq!(whole(&out[1..]), text.as_bytes());
}

#[test]
fn a_passthrough_parser_reads_nothing() {
    let store = standard(2);
    let handling = Handling {
        parsers: vec![Parser::Passthrough],
        ..Handling::default()
    };
    let shared = Shared::new(store, Clock::start(), &handling);
    let out = Talk::new(&shared).ask(CHAT, "no JSON at all");
    assert_eq!(whole(&out[1..]), b"no JSON at all");
    let out = Talk::new(&shared).ask(CHAT, "");
    assert_eq!(
        (out.len(), chunk(&out[1])),
        (2, (bytes::Bytes::new(), true))
    );
}

#[test]
fn too_large_a_body_is_refused_and_the_rest_ignored() {
    let store = standard(2);
    let handling = Handling {
        most_body: 100,
        ..Handling::default()
    };
    let shared = Shared::new(store, Clock::start(), &handling);
    let mut talk = Talk::new(&shared);
    talk.say(post(CHAT));
    assert!(talk.say(body([b' '; 90], false)).is_empty());
    assert_eq!(status(&talk.say(body([b' '; 20], false))).0, 413);
    assert!(talk.say(body([b' '; 90], true)).is_empty());
}

#[rstest]
#[case(&["10.0.0.2:8000"], true, Some("10.0.0.2:8000"))]
#[case(&["10.0.0.2", "10.0.0.3"], true, Some("10.0.0.2:8000"))]
#[case(&["10.0.0.3:8000,10.0.0.2:8000"], false, Some("10.0.0.2:8000"))]
#[case(&["10.0.0.2:9999"], true, None)]
#[case(&["10.9.9.9"], true, None)]
#[case(&[], true, None)]
fn the_proxy_may_allow_some_endpoints_only(
    #[case] allowed: &[&str],
    #[case] list: bool,
    #[case] expected: Option<&str>,
) {
    for in_headers in [true, false] {
        let mut talk = Talk::new(&shared(&standard(4)));
        let hint = metadata(
            "envoy.lb.subset_hint",
            "x-gateway-destination-endpoint-subset",
            allowed,
            list,
        );
        let with = |message: ProcessingRequest, with: bool| ProcessingRequest {
            metadata_context: with.then(|| hint.clone()),
            ..message
        };
        talk.say(with(post(CHAT), in_headers));
        let out = talk.say(with(body(BODY, true), !in_headers));
        match expected {
            Some(expected) => assert_eq!(destination(&out[0]), expected),
            None => assert_eq!(status(&out), (503, Some("rejected-no-endpoints".into()))),
        }
    }
}

#[test]
fn an_empty_pool_has_no_candidates() {
    let out = Talk::new(&shared(&standard(0))).ask(CHAT, BODY);
    assert_eq!(status(&out), (503, Some("rejected-no-endpoints".into())));
    let body = String::from_utf8(immediate(&out).body.to_vec()).unwrap();
    let said = "inference error: ServiceUnavailable - failed to find endpoint candidates";
    assert!(body.starts_with(said), "{body}");
}

#[test]
fn a_stream_is_echoed_chunk_by_chunk_and_counted() {
    let store = standard(2);
    let shared = shared(&store);
    let mut talk = Talk::new(&shared);
    talk.ask(CHAT, BODY);
    let slot = store.pool().slot(&address(1)).unwrap();
    let pending = || store.state().inflight.load(slot).pending;
    let out = talk.say(answer_headers("text/event-stream; charset=utf-8", false));
    assert!(matches!(out[..], [ref one] if matches!(one.answer, Some(Answer::ResponseHeaders(_)))));
    assert_eq!(pending(), 1);
    let chunks = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"compl",
        "etion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\ndata: [DONE]\n\n",
        "",
    ];
    for (i, sent) in chunks.iter().enumerate() {
        let last = i + 1 == chunks.len();
        let out = talk.say(answer(sent, last));
        assert_eq!(out.len(), 1);
        let (got, ends) = chunk(&out[0]);
        assert_eq!((&got[..], ends), (sent.as_bytes(), last));
    }
    assert_eq!((pending(), store.state().inflight.requests()), (0, 0));
    let page = shared.metrics.text();
    let flow = r#"model_name="m",target_model_name="m",fairness_id="default-flow",priority="0""#;
    for line in [
        format!("llm_d_epp_request_total{{{flow}}} 1"),
        format!("inference_objective_request_total{{{flow}}} 1"),
        format!("llm_d_epp_request_input_tokens_sum{{{flow}}} 11.0"),
        format!("llm_d_epp_request_output_tokens_sum{{{flow}}} 5.0"),
        format!("llm_d_epp_request_cached_tokens_sum{{{flow}}} 8.0"),
        format!("llm_d_epp_request_running{{{flow}}} 0"),
        format!("llm_d_epp_request_ttft_seconds_count{{{flow},streaming=\"true\"}} 1"),
        r#"llm_d_epp_ready_endpoints{name=""} 2.0"#.to_owned(),
        r#"inference_pool_average_queue_size{name=""} 5.0"#.to_owned(),
        r#"llm_d_epp_per_endpoint_queue_size{name="",model_server_endpoint="pod-2"} 10.0"#
            .to_owned(),
        r#"llm_d_epp_inflight_requests{endpoint_name="pod-1",namespace="ns",producer_name="inflight-load-producer"} 0.0"#
            .to_owned(),
        r#"llm_d_epp_flow_control_stale_endpoints{detector="utilization-detector"} 0.0"#.to_owned(),
        "llm_d_epp_prefix_indexer_size 0.0".to_owned(),
        "llm_d_epp_scheduler_e2e_duration_seconds_count 1".to_owned(),
    ] {
        assert!(page.contains(&line), "no {line}");
    }
    assert!(page.contains(r#"llm_d_epp_scheduler_attempts_total{status="success",target_model_name="m",endpoint_name="pod-1""#));
}

#[test]
fn other_answers_pass_unchanged_and_trailers_end_them() {
    let store = standard(2);
    let mut talk = Talk::new(&shared(&store));
    talk.ask(CHAT, BODY);
    talk.say(answer_headers("application/json", false));
    let (a, b) = (
        answer("{\"usage\":{\"prom", false),
        answer("pt_tokens\":3}}", false),
    );
    let out = [talk.say(a), talk.say(b)].concat();
    assert_eq!(whole(&out), b"{\"usage\":{\"prompt_tokens\":3}}");
    assert_eq!(store.state().inflight.requests(), 1);
    let out = talk.say(answer_trailers());
    assert!(matches!(out[0].answer, Some(Answer::ResponseTrailers(_))));
    assert_eq!(store.state().inflight.requests(), 0);
}

#[test]
fn a_rewritten_model_goes_out_and_the_asked_one_comes_back() {
    let store = standard(2);
    store.set_objectives(Objectives {
        exact: [("m".to_owned(), Targets::new([("m-v2".to_owned(), 1)]))].into(),
        ..Objectives::default()
    });
    let shared = shared(&store);
    let mut talk = Talk::new(&shared);
    let out = talk.ask(CHAT, BODY);
    let sent = BODY.replace("\"m\"", "\"m-v2\"");
    assert_eq!(
        header(&out[0], "content-length"),
        Some(sent.len().to_string())
    );
    assert_eq!(whole(&out[1..]), sent.as_bytes());
    let out = talk.say(answer_headers("application/json", false));
    let removed = &common(&out[0])
        .header_mutation
        .as_ref()
        .unwrap()
        .remove_headers;
    assert_eq!(removed, &["content-length"]);
    let parts = ["{\"model\":\"m-", "v2\",\"choices\":[]", "}"];
    let out: Vec<_> = (0..3)
        .flat_map(|i| talk.say(answer(parts[i], i == 2)))
        .collect();
    assert_eq!(whole(&out), b"{\"model\":\"m\",\"choices\":[]}");
    assert!(shared.metrics.text().contains("target_model_name=\"m-v2\""));
}

#[test]
fn a_fallback_that_serves_is_the_one_that_counts() {
    let store = standard(2);
    let mut talk = Talk::new(&shared(&store));
    talk.ask(CHAT, BODY);
    let served = metadata(
        "envoy.lb",
        "x-gateway-destination-endpoint-served",
        &["10.0.0.2:8000"],
        false,
    );
    talk.say(ProcessingRequest {
        metadata_context: Some(served),
        ..answer_headers("application/json", false)
    });
    let load = |i| {
        let slot = store.pool().slot(&address(i)).unwrap();
        store.state().inflight.load(slot).requests
    };
    assert_eq!((load(1), load(2)), (0, 1));
    talk.say(answer("{}", true));
    assert_eq!((load(1), load(2)), (0, 0));
}

#[test]
fn failed_answers_are_counted_as_such() {
    let shared = shared(&standard(2));
    let mut talk = Talk::new(&shared);
    talk.ask(CHAT, BODY);
    let failed = headers(&[(":status", "502")], true);
    talk.say(message(Part::ResponseHeaders(failed)));
    Talk::new(&shared).ask(CHAT, "{");
    let page = shared.metrics.text();
    for code in ["ModelServerError", "BadRequest"] {
        let mut lines = page
            .lines()
            .filter(|l| l.starts_with("llm_d_epp_request_error_total"));
        assert!(
            lines.any(|l| l.contains(code) && l.ends_with(" 1")),
            "{code}: {page}"
        );
    }
}

#[test]
fn the_estimate_of_tokens_follows_what_servers_count() {
    let shared = shared(&standard(1));
    let text = "x".repeat(1000);
    let request = format!(r#"{{"model":"m","prompt":"{text}"}}"#);
    for _ in 0..300 {
        let mut talk = Talk::new(&shared);
        talk.ask("/v1/completions", &request);
        talk.say(answer_headers("application/json", false));
        talk.say(answer(
            "{\"usage\":{\"prompt_tokens\":500,\"completion_tokens\":7}}",
            true,
        ));
    }
    let series = shared.metrics.flow("m", "m", "default-flow", 0);
    assert!((series.bytes_per_token.get() - 2.0).abs() < 0.05);
    assert_eq!(series.output_tokens.get(), 7.0);
}

/// A proxy may keep answers to itself, so that those under way outlive the picker.
#[test]
fn an_answer_that_is_not_shown_ends_with_the_stream() {
    let store = standard(1);
    let shared = shared(&store);
    let served = || {
        let page = shared.metrics.text();
        let count = page
            .lines()
            .find(|l| l.starts_with("llm_d_epp_request_duration_seconds_count"));
        let count = count.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        (count.unwrap_or(0), page.contains("error_code=\"Aborted\""))
    };
    for answers in [true, false] {
        let mut talk = Talk::new(&shared);
        talk.say(ProcessingRequest {
            protocol_config: Some(ProtocolConfiguration {
                request_body_mode: 4,
                response_body_mode: 0,
            }),
            ..post(CHAT)
        });
        talk.say(body(BODY, true));
        if answers {
            assert_eq!(
                talk.say(answer_headers("text/event-stream", false)).len(),
                1
            );
        }
        assert_eq!(store.state().inflight.requests(), 1);
        drop(talk);
        assert_eq!(store.state().inflight.requests(), 0);
        assert_eq!(served(), (1, !answers));
    }
}
