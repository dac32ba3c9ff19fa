//! Messages out of order, streams that break off, and whatever else may come.

use proptest::prelude::*;
use rstest::rstest;
use wva_epp::server::wire::ProcessingRequest;

use super::common::*;

#[rstest]
#[case(&[body("x", true)])]
#[case(&[trailers()])]
#[case(&[post(CHAT), post(CHAT)])]
#[case(&[post(CHAT), body(BODY, true), body("more", false)])]
#[case(&[post(CHAT), body(BODY, true), post(CHAT)])]
fn messages_out_of_order_end_the_stream(#[case] messages: &[ProcessingRequest]) {
    let store = standard(2);
    let mut talk = Talk::new(&shared(&store));
    let (last, before) = messages.split_last().unwrap();
    for message in before {
        talk.say(message.clone());
    }
    let status = talk.try_say(last.clone()).unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    drop(talk);
    assert_eq!(store.state().inflight.requests(), 0);
}

#[test]
fn the_end_of_a_body_may_be_told_twice() {
    let store = standard(2);
    let mut talk = Talk::new(&shared(&store));
    talk.say(post(CHAT));
    assert!(!talk.say(body(BODY, true)).is_empty());
    assert!(talk.say(body(&BODY[10..], true)).is_empty());
    assert_eq!(talk.say(answer_headers("text/plain", false)).len(), 1);
    assert_eq!(store.state().inflight.requests(), 1);
}

#[test]
fn an_answer_of_the_proxy_itself_passes() {
    let store = standard(2);
    let mut talk = Talk::new(&shared(&store));
    talk.say(post(CHAT));
    assert_eq!(talk.say(answer_headers("text/plain", false)).len(), 1);
    let out = talk.say(answer("timeout", true));
    assert_eq!(chunk(&out[0]), ("timeout".into(), true));
    assert!(talk.say(body(BODY, true)).is_empty(), "nobody waits for it");
    assert_eq!(store.state().inflight.requests(), 0);
}

#[rstest]
#[case(1)]
#[case(2)]
#[case(3)]
#[case(4)]
#[case(5)]
fn whoever_goes_away_holds_nothing(#[case] after: usize) {
    let store = standard(2);
    let shared = shared(&store);
    let mut talk = Talk::new(&shared);
    let messages = [
        post(CHAT),
        body(&BODY[..10], false),
        body(&BODY[10..], true),
        answer_headers("text/event-stream", false),
        answer("data: {}\n\n", false),
    ];
    for message in messages.into_iter().take(after) {
        talk.say(message);
    }
    let open = store.state().inflight.requests();
    assert_eq!(open, usize::from(after >= 3));
    drop(talk);
    assert_eq!(store.state().inflight.requests(), 0);
    let page = shared.metrics.text();
    assert_eq!(page.contains("error_code=\"Aborted\""), after >= 3);
}

fn any_message() -> impl Strategy<Value = ProcessingRequest> {
    let bytes = prop_oneof![
        Just(BODY.as_bytes().to_vec()),
        Just(b"data: {\"model\":\"m\",\"usage\":{\"prompt_tokens\":4}}\n\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let hint = prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
    (0..8_u8, bytes, any::<bool>(), hint).prop_map(|(kind, bytes, end, hint)| {
        let message = match kind {
            0 | 1 => post(CHAT),
            2 | 3 => body(&bytes, end),
            4 => trailers(),
            5 => answer_headers("text/event-stream", end),
            6 => answer(&bytes, end),
            _ => answer_trailers(),
        };
        let hint = hint.map(|list| {
            metadata(
                "envoy.lb",
                "x-gateway-destination-endpoint-served",
                &["10.0.0.2:8000"],
                list,
            )
        });
        ProcessingRequest {
            metadata_context: hint,
            ..message
        }
    })
}

proptest! {
    #[test]
    fn no_sequence_breaks_it(messages in proptest::collection::vec(any_message(), 0..14)) {
        let store = standard(3);
        let shared = shared(&store);
        let mut talk = Talk::new(&shared);
        for message in messages {
            if talk.try_say(message).is_err() || talk.0.closing() {
                break;
            }
            prop_assert!(store.state().inflight.requests() <= 1);
        }
        drop(talk);
        prop_assert_eq!(store.state().inflight.requests(), 0);
        let page = shared.metrics.text();
        let running = page.lines().filter(|l| l.starts_with("llm_d_epp_request_running{"));
        for line in running {
            prop_assert!(line.ends_with(" 0"), "{}", line);
        }
    }
}
