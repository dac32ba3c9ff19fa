//! Prefill on one server, decode on another, as a sidecar does it.

use serde_json::{Value, json};
use wva_models::variant::Role;

use crate::{Pair, client, emulator, llama};

#[tokio::test]
async fn a_prompt_computed_there_is_not_computed_here() {
    let emulator = emulator(100.0);
    let pair = |role| {
        let mut spec = llama();
        spec.role = role;
        Pair {
            server: emulator.spawn_server(spec).expect("a free port"),
            client: client(),
        }
    };
    let (prefill, decode) = (pair(Role::Prefill), pair(Role::Decode));
    let mut body = json!({"prompt": "a".repeat(4000), "max_tokens": 40, "ignore_eos": true});
    body["kv_transfer_params"] = json!({
        "do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": null,
        "remote_block_ids": null, "remote_host": null, "remote_port": null,
    });
    let prepared = prefill.ask("/v1/completions", body.clone()).await;
    assert_eq!(prepared["usage"]["completion_tokens"], 1);
    let params = &prepared["kv_transfer_params"];
    assert_eq!(
        (&params["do_remote_prefill"], &params["do_remote_decode"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        params["remote_block_ids"].as_array().map(Vec::len),
        Some(63)
    );
    assert_eq!(params["remote_host"], "127.0.0.1");
    assert!(params["remote_engine_id"].is_string() && params["remote_port"].is_u64());

    body["kv_transfer_params"] = params.clone();
    let answer = decode.ask("/v1/completions", body.clone()).await;
    assert_eq!(answer["usage"]["completion_tokens"], 40);
    assert_eq!(
        answer["usage"]["prompt_tokens_details"]["cached_tokens"],
        1000
    );
    assert!(answer["kv_transfer_params"].is_null());
    // Of the 1000 tokens of the prompt only the last went through an iteration.
    assert_eq!(decode.metric("vllm:iteration_tokens_total_sum").await, 41.0);
    assert_eq!(
        decode.metric("vllm:external_prefix_cache_hits_total").await,
        1000.0
    );
    assert_eq!(
        prefill.metric("vllm:iteration_tokens_total_sum").await,
        1001.0
    );

    body["kv_transfer_params"] = Value::Null;
    body["prompt"] = "b".repeat(4000).into();
    let local = decode.ask("/v1/completions", body).await;
    assert_eq!(local["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
}
