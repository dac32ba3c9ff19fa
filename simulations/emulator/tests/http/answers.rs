use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{Pair, events, llama};

#[tokio::test]
async fn a_completion_has_the_tokens_asked_for_and_their_usage() {
    let pair = Pair::new(llama());
    let body = json!({"model": "llama-3.1-8b", "prompt": "a".repeat(400), "max_tokens": 20});
    let answer = pair.ask("/v1/completions", body.clone()).await;
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["model"], "llama-3.1-8b");
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(choice["text"].as_str().map(str::len), Some(80));
    let usage = json!({
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 0},
    });
    assert_eq!(answer["usage"], usage);
    assert!(answer["kv_transfer_params"].is_null());

    let again = pair.ask("/v1/completions", body).await;
    assert_eq!(
        again["choices"], answer["choices"],
        "the same question, the same answer"
    );
    assert_ne!(again["id"], answer["id"]);
    assert_eq!(again["usage"]["prompt_tokens_details"]["cached_tokens"], 96);
}

#[tokio::test]
async fn a_chat_stops_by_itself() {
    let mut spec = llama();
    spec.answer_tokens = 30;
    let pair = Pair::new(spec);
    let body = json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 100});
    let answer = pair.ask("/v1/chat/completions", body).await;
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    assert_eq!(answer["usage"]["completion_tokens"], 30);
}

/// Texts of the events, the reason at the end, the usage.
fn parts(events: &[&str], text: &str) -> (String, Vec<Value>, Value) {
    let (mut whole, mut reasons, mut usage) = (String::new(), Vec::new(), Value::Null);
    for event in events {
        let event: Value = serde_json::from_str(event).expect("JSON");
        match event["choices"].get(0) {
            Some(choice) => {
                whole.push_str(choice.pointer(text).and_then(Value::as_str).unwrap_or(""));
                reasons.push(choice["finish_reason"].clone());
            }
            None => usage = event["usage"].clone(),
        }
    }
    (whole, reasons, usage)
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let pair = Pair::new(llama());
    for (path, prompt, text) in [
        ("/v1/completions", json!({"prompt": "tell me"}), "/text"),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "tell me"}]}),
            "/delta/content",
        ),
    ] {
        let mut body = prompt;
        (body["max_tokens"], body["ignore_eos"]) = (300.into(), true.into());
        let whole = pair.ask(path, body.clone()).await;
        let expected = whole["choices"][0].pointer("/text");
        let expected = expected.or_else(|| whole["choices"][0].pointer("/message/content"));

        body["stream"] = true.into();
        body["stream_options"] = json!({"include_usage": true});
        let answer = pair.post(path, body).await;
        assert_eq!(
            answer.headers()["content-type"],
            "text/event-stream; charset=utf-8"
        );
        let stream = answer.text().await.expect("text");
        let mut events = events(&stream);
        assert_eq!(events.pop(), Some("[DONE]"));
        let (streamed, reasons, usage) = parts(&events, text);
        assert_eq!(Some(&*streamed), expected.and_then(Value::as_str));
        assert!(reasons.len() > 3, "it came in pieces: {}", reasons.len());
        let (last, before) = reasons.split_last().expect("events");
        assert!(last == "length" && before.iter().all(Value::is_null));
        assert_eq!(usage["completion_tokens"], 300);
        assert_eq!(usage["prompt_tokens"], whole["usage"]["prompt_tokens"]);
    }
}

#[tokio::test]
async fn a_stream_without_usage_has_none_and_a_chat_begins_with_its_role() {
    let pair = Pair::new(llama());
    let body =
        json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "stream": true});
    let stream = pair
        .post("/v1/chat/completions", body)
        .await
        .text()
        .await
        .expect("text");
    assert!(!stream.contains("usage"));
    let first: Value = serde_json::from_str(events(&stream)[0]).expect("JSON");
    assert_eq!(first["object"], "chat.completion.chunk");
    assert_eq!(
        first["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
}

#[tokio::test]
async fn errors_have_the_form_of_openai() {
    let mut spec = llama();
    spec.max_model_len = 1000;
    let pair = Pair::new(spec);
    let long = "a".repeat(4000);
    let cases = [
        (
            json!({"model": "gpt-9", "prompt": "hi"}),
            404,
            "NotFoundError",
            "gpt-9",
        ),
        (
            json!({"model": "llama-3.1-8b"}),
            400,
            "BadRequestError",
            "prompt",
        ),
        (
            json!({"prompt": "hi", "max_tokens": 0}),
            400,
            "BadRequestError",
            "at least 1",
        ),
        (
            json!({"prompt": "hi", "max_tokens": -3}),
            400,
            "BadRequestError",
            "-3",
        ),
        (
            json!({"prompt": "hi", "max_tokens": 1000}),
            400,
            "BadRequestError",
            "1000 tokens",
        ),
        (
            json!({"prompt": long}),
            400,
            "BadRequestError",
            "1001 tokens",
        ),
        (
            json!({"prompt": ["a", "b"]}),
            400,
            "BadRequestError",
            "one prompt",
        ),
        (
            json!({"prompt": "hi", "n": 3}),
            400,
            "BadRequestError",
            "n must be 1",
        ),
        (json!({"prompt": 5}), 400, "BadRequestError", "prompt"),
        (json!([]), 400, "BadRequestError", ""),
    ];
    for (body, code, kind, said) in cases {
        let answer = pair.post("/v1/completions", body.clone()).await;
        assert_eq!(answer.status().as_u16(), code, "{body}");
        let error = answer.json::<Value>().await.expect("JSON")["error"].clone();
        assert_eq!(
            (error["type"].as_str(), error["code"].as_u64()),
            (Some(kind), Some(code.into()))
        );
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(said), "{message}");
    }
    let broken = pair
        .client
        .post(pair.url("/v1/completions"))
        .body("{\"prompt\"");
    assert_eq!(
        broken.send().await.expect("an answer").status(),
        StatusCode::BAD_REQUEST
    );
    let huge = pair
        .client
        .post(pair.url("/v1/chat/completions"))
        .body(vec![b' '; 17 << 20]);
    if let Ok(answer) = huge.send().await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(
        pair.get("/health").await.status(),
        StatusCode::OK,
        "it lives on"
    );
    assert_eq!(pair.server.in_flight(), 0);
}

#[tokio::test]
async fn prefixes_hit_across_requests_but_not_across_salts() {
    let pair = Pair::new(llama());
    let cached = async |body: Value| {
        let answer = pair.ask("/v1/completions", body).await;
        let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
        cached.expect("a number")
    };
    let prefix = "p".repeat(640);
    assert_eq!(
        cached(json!({"prompt": format!("{prefix}{}", "x".repeat(100))})).await,
        0
    );
    assert_eq!(
        cached(json!({"prompt": format!("{prefix}{}", "y".repeat(100))})).await,
        160
    );
    assert_eq!(
        cached(json!({"prompt": prefix, "cache_salt": "mine"})).await,
        0
    );
    assert_eq!(pair.metric("vllm:prefix_cache_hits_total").await, 160.0);
    assert_eq!(
        pair.metric("vllm:prefix_cache_queries_total").await,
        185.0 * 2.0 + 160.0
    );
}
