//! What becomes of bodies on their way there and back.

use axum::body::Bytes;
use serde_json::json;
use wva_epp_core::config::DEFAULT;

use crate::bed::{Picker, Place, RUNNING, envoy, puppets};
use crate::client::{client, completion, post, post_pieces};
use crate::puppet::Script;

/// Text that compresses badly and has everything in it that JSON escapes.
fn filler(length: usize) -> String {
    let mut state = 7_u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b' ' + (state >> 33) as u8 % 90)
    };
    (0..length).map(next).collect()
}

fn pieces(parts: &[&str]) -> Vec<Bytes> {
    parts
        .iter()
        .map(|p| Bytes::copy_from_slice(p.as_bytes()))
        .collect()
}

#[tokio::test]
async fn bodies_arrive_as_they_were_sent() {
    let Some(envoy) = envoy().await else { return };
    let servers = puppets(envoy, Place::Bodies, 1).await;
    let server = &servers[0];
    let picker = Picker::of(envoy, Place::Bodies, DEFAULT, &servers).await;
    let url = picker.url("/v1/completions");
    let small = completion("m", "one").to_string().into_bytes();

    // Odd spacing and keys that nobody knows stay as they are.
    let odd = b"{ \"x\":[1, {}],\n\"prompt\" : \"a\\u00e9\",\"model\":\"m\" } ".to_vec();
    assert_eq!(post(&url, odd.clone(), &[]).await.status, 200);
    assert_eq!(server.last_body(), odd);

    for (body, said) in [
        (
            &b"{\"model\": \"m\", "[..],
            "error unmarshaling request body",
        ),
        (b"[]", "error unmarshaling request body"),
        (b"{\"prompt\": \"a\"}", "model not found in request body"),
        (
            b"{\"model\": 3, \"prompt\": \"a\"}",
            "model not found in request body",
        ),
    ] {
        let answer = post(&url, body.to_vec(), &[]).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(said), "{}", answer.text());
    }

    // Five megabytes there and back.
    let large = completion("m", &filler(5_000_000)).to_string();
    let large = Bytes::from(large);
    server.plays(Script::Json(vec![large.clone()]));
    let answer = post(&url, large.to_vec(), &[]).await;
    assert_eq!(
        answer.status,
        200,
        "{}",
        &answer.text()[..answer.text().len().min(300)]
    );
    assert!(
        server.last_body() == large && answer.body == large,
        "changed on the way"
    );

    // Of bodies of this size some releases of Envoy send the last piece twice.
    server.plays(Script::Plain);
    let medium = completion("m", &filler(1_200_000)).to_string();
    for _ in 0..10 {
        let answer = post(&url, medium.clone().into_bytes(), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            server.last_body() == medium.as_bytes(),
            "changed on the way"
        );
    }

    // A GET has no body, and is routed all the same.
    let got = client().get(picker.url("/v1/models")).send().await.unwrap();
    assert_eq!(got.status(), 200);
    assert_eq!(post(&url, small, &[]).await.json()["model"], "m");
}

#[tokio::test]
async fn answers_return_as_they_were_sent_and_are_counted() {
    let Some(envoy) = envoy().await else { return };
    let servers = puppets(envoy, Place::Passthrough, 1).await;
    let server = &servers[0];
    let picker = Picker::of(envoy, Place::Passthrough, DEFAULT, &servers).await;
    let url = picker.url("/v1/completions");
    let ask = async || {
        let body = completion("m", "one").to_string().into_bytes();
        post(&url, body, &[]).await
    };
    let (input, output) = (
        "llm_d_epp_request_input_tokens_sum",
        "llm_d_epp_request_output_tokens_sum",
    );

    let parts = [
        "{\"id\":\"1\",\"model\":\"m\",  \"choices\":[{\"text\":\"caf",
        "\\u00e9\"}],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}",
    ];
    server.plays(Script::Json(pieces(&parts)));
    assert_eq!(ask().await.text(), parts.concat());
    picker.settles(input, 11.0).await;
    picker.settles(output, 7.0).await;

    let parts = [
        "data: {\"id\":\"1\",\"choices\":[{\"text\":\"a\"}],\"usage\":null}\n\nda",
        "ta: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":3,\"total_tokens\":23}}\n\n",
        ": comment\r\n\r\ndata: [DONE]\n\n",
    ];
    server.plays(Script::Events(pieces(&parts)));
    assert_eq!(ask().await.text(), parts.concat());
    picker.settles(input, 31.0).await;
    picker.settles(output, 10.0).await;
    picker.settles(RUNNING, 0.0).await;
}

/// A parser that reads nothing, and a bound on bodies.
const PASSTHROUGH: &str = "\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: passthrough-parser}, {type: queue-scorer}]
requestHandler: {parsers: [{pluginRef: passthrough-parser}]}
schedulingProfiles: [{name: default, plugins: [{pluginRef: queue-scorer}]}]
";

#[tokio::test]
async fn bodies_that_are_not_read_pass_and_those_that_are_too_long_do_not() {
    let Some(envoy) = envoy().await else { return };
    let servers = puppets(envoy, Place::Limits, 1).await;
    let limit = ["--max-body-bytes=1000000"];
    let picker = Picker::with(envoy, Place::Limits, PASSTHROUGH, &servers, &limit).await;
    let url = picker.url("/anything");
    let nonsense = b"\x00\xff not json {".to_vec();
    assert_eq!(post(&url, nonsense.clone(), &[]).await.status, 200);
    assert_eq!(servers[0].last_body(), nonsense);
    let sent = post_pieces(picker.front(), "/anything", &[b"\x01", b"\x02"]);
    assert_eq!(sent.await.status, 200);
    assert_eq!(servers[0].last_body(), &b"\x01\x02"[..]);
    let large = json!({"a": filler(5_000_000)}).to_string();
    let answer = post(&url, large.into_bytes(), &[]).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("1000000"), "{}", answer.text());
    assert_eq!(post(&url, nonsense, &[]).await.status, 200, "and it lives");
}
