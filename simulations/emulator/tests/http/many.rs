//! Hundreds of servers in one process.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use crate::{client, emulator, llama};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_servers_answer_on_their_own_addresses() {
    let emulator = emulator(20.0);
    let first = emulator.spawn_server(llama()).expect("a free port");
    let port = first.address().port();
    let mut servers = vec![first];
    for i in 1..200 {
        let mut spec = llama();
        // One port, an address each; a port of its own where the system has only 127.0.0.1.
        spec.address = SocketAddr::from((Ipv4Addr::new(127, 0, 7, i), port));
        let server = emulator
            .spawn_server(spec)
            .or_else(|_| emulator.spawn_server(llama()));
        servers.push(server.expect("a free port"));
    }
    assert_eq!(emulator.servers().len(), 200);

    let client = client();
    let requests: Vec<_> = servers
        .iter()
        .enumerate()
        .map(|(i, server)| {
            let body =
                json!({"prompt": vec![1; 50], "max_tokens": 5 + i % 20, "stream": i % 2 == 0});
            let sent = client
                .post(format!("{}/v1/completions", server.url()))
                .json(&body)
                .send();
            tokio::spawn(async move {
                let answer = sent.await.expect("an answer");
                (
                    answer.status().is_success(),
                    answer.text().await.expect("a body"),
                )
            })
        })
        .collect();
    for request in requests {
        let (served, body) = request.await.expect("no panic");
        assert!(served, "{body}");
    }
    let page = client
        .get(format!("{}/metrics", servers[150].url()))
        .send()
        .await
        .expect("an answer");
    let page = page.text().await.expect("text");
    assert!(page.contains(
        "vllm:time_to_first_token_seconds_count{engine=\"0\",model_name=\"llama-3.1-8b\"} 1.0"
    ));
    emulator.drain().await;
    assert!(emulator.servers().is_empty());
}
