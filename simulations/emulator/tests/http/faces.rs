//! What a server says of itself.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{Pair, llama};

#[tokio::test]
async fn it_lists_its_names_and_adapters() {
    let mut spec = llama();
    spec.served_names = vec![
        "meta-llama/Llama-3.1-8B-Instruct".to_owned(),
        "llama".to_owned(),
    ];
    spec.loras = vec!["sql".to_owned(), "poems".to_owned()];
    spec.max_loras = 2;
    let pair = Pair::new(spec);
    let models: Value = pair.get("/v1/models").await.json().await.expect("JSON");
    let ids: Vec<_> = models["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| &m["id"])
        .collect();
    assert_eq!(
        ids,
        ["meta-llama/Llama-3.1-8B-Instruct", "llama", "sql", "poems"]
    );
    assert_eq!(
        models["data"][2]["parent"],
        "meta-llama/Llama-3.1-8B-Instruct"
    );
    assert!(
        models["data"][0]["max_model_len"]
            .as_u64()
            .is_some_and(|n| n > 10_000)
    );

    let body = json!({"model": "sql", "prompt": "select", "max_tokens": 20_000, "ignore_eos": true, "stream": true});
    let stream = pair.post("/v1/completions", body).await;
    let page = pair.get("/metrics").await.text().await.expect("text");
    let info = r#"vllm:lora_requests_info{max_lora="2",running_lora_adapters="sql",waiting_lora_adapters=""}"#;
    assert!(page.contains(info), "{page}");
    let labels = r#"vllm:num_requests_running{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 1.0"#;
    assert!(page.contains(labels), "{page}");
    drop(stream);
}

#[tokio::test]
async fn the_page_has_every_family_that_is_read_elsewhere() {
    let pair = Pair::new(llama());
    let page = pair.get("/metrics").await.text().await.expect("text");
    let kind = |family: &str| {
        let line = format!("# TYPE vllm:{family} ");
        let found = page.lines().find_map(|l| l.strip_prefix(&line));
        found
            .unwrap_or_else(|| panic!("{family} is missing"))
            .to_owned()
    };
    for gauge in [
        "num_requests_running",
        "num_requests_waiting",
        "kv_cache_usage_perc",
        "cache_config_info",
    ] {
        assert_eq!(kind(gauge), "gauge");
    }
    for counter in [
        "prompt_tokens_total",
        "generation_tokens_total",
        "request_success_total",
        "prefix_cache_hits_total",
        "prefix_cache_queries_total",
        "num_preemptions_total",
    ] {
        assert_eq!(kind(counter), "counter");
    }
    for histogram in [
        "time_to_first_token_seconds",
        "inter_token_latency_seconds",
        "time_per_output_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "request_inference_time_seconds",
        "request_prompt_tokens",
        "request_generation_tokens",
        "request_params_max_tokens",
        "iteration_tokens_total",
    ] {
        assert_eq!(kind(histogram), "histogram");
    }
    assert!(page.contains("\nprocess_start_time_seconds 1"));
    assert!(page.contains(r#"block_size="16""#) && page.contains("num_gpu_blocks="));
    assert!(page.contains(r#"finished_reason="stop",model_name="llama-3.1-8b"} 0.0"#));
    let mut names: Vec<&str> = page.lines().filter(|l| l.starts_with("# TYPE")).collect();
    let families = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), families, "no family twice");
}

#[tokio::test]
async fn counts_and_sums_are_those_of_the_requests() {
    let pair = Pair::new(llama());
    let one = |i: usize| {
        let body = json!({"prompt": vec![7; 100 + i], "max_tokens": 10 + i, "stream": i.is_multiple_of(2)});
        let sent = pair
            .client
            .post(pair.url("/v1/completions"))
            .json(&body)
            .send();
        async {
            sent.await
                .expect("an answer")
                .bytes()
                .await
                .expect("a body")
        }
    };
    let n = 20;
    let requests: Vec<_> = (0..n).map(|i| tokio::spawn(one(i))).collect();
    for request in requests {
        request.await.expect("no panic");
    }
    let n = n as f64;
    let others = n * (n - 1.0) / 2.0;
    for (name, expected) in [
        (
            "vllm:request_success_total{engine=\"0\",finished_reason=\"length\"",
            n,
        ),
        ("vllm:prompt_tokens_total", 100.0 * n + others),
        ("vllm:generation_tokens_total", 10.0 * n + others),
        ("vllm:time_to_first_token_seconds_count", n),
        ("vllm:e2e_request_latency_seconds_count", n),
        ("vllm:inter_token_latency_seconds_count", 9.0 * n + others),
        ("vllm:request_prompt_tokens_sum", 100.0 * n + others),
        ("vllm:request_generation_tokens_sum", 10.0 * n + others),
        ("vllm:num_requests_running", 0.0),
        ("vllm:kv_cache_usage_perc", 0.0),
    ] {
        assert_eq!(pair.metric(name).await, expected, "{name}");
    }
    let ttft = pair.metric("vllm:time_to_first_token_seconds_sum").await;
    let e2e = pair.metric("vllm:e2e_request_latency_seconds_sum").await;
    assert!(0.0 < ttft && ttft < e2e);
}

#[tokio::test]
async fn other_paths_are_not_found_and_probes_answer() {
    let pair = Pair::new(llama());
    for path in ["/health", "/ping", "/healthz", "/readyz"] {
        assert_eq!(pair.get(path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(pair.get("/v2").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        pair.get("/v1/completions").await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    let version: Value = pair.get("/version").await.json().await.expect("JSON");
    assert!(
        version["version"]
            .as_str()
            .is_some_and(|v| v.contains("wva"))
    );
}

#[tokio::test]
async fn http2_without_tls_is_spoken_too() {
    let mut pair = Pair::new(llama());
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge();
    pair.client = client.build().expect("a client");
    let body = json!({"prompt": "hi", "max_tokens": 3, "stream": true});
    let answer = pair.post("/v1/completions", body).await;
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    let text = answer.text().await.expect("text");
    assert!(text.ends_with("data: [DONE]\n\n"));
}
