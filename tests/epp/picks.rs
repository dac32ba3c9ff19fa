//! Which server gets a request.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::Value;
use wva_testbed::eventually;

use crate::bed::{FOUR_SCORERS, Picker, Place, RUNNING, envoy, puppets};
use crate::client::{completion, post, post_pieces};
use crate::puppet::{Gauges, Puppet};
use crate::routes::SUBSET_HEADER;

/// The mean of what servers say of their caches, as the picker sees it.
const MEAN: &str = "llm_d_epp_average_kv_cache_utilization";
/// By how much fuller all caches are each time: nothing to a choice, and enough to tell pages apart.
const FULLER: f64 = 1e-6;

/// Sets what three servers say of themselves, and waits until the picker goes by it and by no older page.
async fn say(picker: &Picker, servers: &[Puppet], gauges: [(u32, f64, &'static str); 3]) {
    static TIMES: AtomicU32 = AtomicU32::new(0);
    picker.settles(RUNNING, 0.0).await;
    let more = FULLER * f64::from(TIMES.fetch_add(1, Relaxed));
    let mean = gauges.iter().map(|g| g.1 + more).sum::<f64>() / 3.0;
    for (server, (waiting, kv, lora)) in servers.iter().zip(gauges) {
        let kv = kv + more;
        server.says(Gauges { waiting, kv, lora });
    }
    let seen = async || {
        let now = picker.metric(MEAN).await;
        ((now - mean).abs() < FULLER / 10.0)
            .then_some(())
            .ok_or(format!("{now}, and not {mean}"))
    };
    eventually("the newest pages to be seen", seen)
        .await
        .unwrap();
}

/// The place of the server that a request reaches; the answer's status where it reaches none.
async fn reached(
    servers: &[Puppet],
    send: impl Future<Output = crate::client::Answer>,
) -> Result<usize, u16> {
    let before: Vec<usize> = servers.iter().map(Puppet::requests).collect();
    let answer = send.await;
    let now = servers.iter().map(Puppet::requests);
    match now.zip(before).position(|(now, before)| now > before) {
        Some(place) if answer.status == 200 => Ok(place),
        _ => Err(answer.status),
    }
}

#[tokio::test]
async fn the_table_of_picks() {
    let Some(envoy) = envoy().await else { return };
    let servers = puppets(envoy, Place::Picks, 3).await;
    let picker = Picker::of(envoy, Place::Picks, FOUR_SCORERS, &servers).await;
    let url = picker.url("/v1/completions");
    let ask = async |model: &str, headers: &[(&str, &str)]| {
        let body = completion(model, "one").to_string().into_bytes();
        reached(&servers, post(&url, body, headers)).await
    };
    let queues = [(3, 0.2, ""), (0, 0.1, ""), (10, 0.2, "")];
    for (gauges, expected) in [
        (queues, 1),
        // An adapter draws requests for it, against a fuller cache, but not against a queue and a full cache.
        ([(0, 0.2, "chat"), (0, 0.1, "sql"), (10, 0.2, "chat")], 1),
        ([(10, 0.2, "chat"), (10, 0.4, "sql"), (10, 0.3, "chat")], 1),
        ([(6, 0.2, "sql"), (0, 0.85, "chat"), (10, 0.9, "chat")], 0),
    ] {
        say(&picker, &servers, gauges).await;
        let model = if gauges == queues { "m" } else { "sql" };
        assert_eq!(ask(model, &[]).await, Ok(expected), "{gauges:?}");
    }
    say(&picker, &servers, queues).await;
    let text = completion("m", "one").to_string();
    let (first, second) = text.as_bytes().split_at(20);
    let pieces = [first, second];
    let sent = post_pieces(picker.front(), "/v1/completions", &pieces);
    assert_eq!(reached(&servers, sent).await, Ok(1));
    assert_eq!(servers[1].last_body(), text.as_bytes());
    let address = |i: usize| servers[i].address;
    let all = format!("{},{},{}", address(0), address(1), address(2));
    let third = address(2).ip().to_string();
    for (subset, expected) in [
        (&*all, Ok(1)),
        (&third, Ok(2)),
        (&address(2).to_string(), Ok(2)),
        ("10.99.99.99:8000", Err(503)),
        (&format!("{third}:9"), Err(503)),
    ] {
        say(&picker, &servers, queues).await;
        assert_eq!(
            ask("m", &[(SUBSET_HEADER, subset)]).await,
            expected,
            "{subset}"
        );
    }
}

#[tokio::test]
async fn a_prompt_goes_where_its_beginning_is() {
    let Some(envoy) = envoy().await else { return };
    let servers = puppets(envoy, Place::Prefixes, 3).await;
    let picker = Picker::of(envoy, Place::Prefixes, FOUR_SCORERS, &servers).await;
    let url = picker.url("/v1/chat/completions");
    let ask = async |system: &str, question: &str| {
        let chat: Value = serde_json::json!({"model": "m", "messages": [
            {"role": "system", "content": system}, {"role": "user", "content": question},
        ]});
        let body = chat.to_string().into_bytes();
        reached(&servers, post(&url, body, &[])).await
    };
    let (law, cooking) = (
        "You know the law. ".repeat(100),
        "You cook well. ".repeat(100),
    );
    say(
        &picker,
        &servers,
        [(9, 0.1, ""), (0, 0.1, ""), (9, 0.1, "")],
    )
    .await;
    assert_eq!(ask(&law, "Who are you?").await, Ok(1));
    say(
        &picker,
        &servers,
        [(9, 0.1, ""), (9, 0.1, ""), (0, 0.1, "")],
    )
    .await;
    assert_eq!(ask(&cooking, "Who are you?").await, Ok(2));
    // Alike but for what they hold.
    say(
        &picker,
        &servers,
        [(1, 0.1, ""), (1, 0.1, ""), (1, 0.1, "")],
    )
    .await;
    assert_eq!(ask(&law, "May I?").await, Ok(1));
    say(
        &picker,
        &servers,
        [(1, 0.1, ""), (1, 0.1, ""), (1, 0.1, "")],
    )
    .await;
    assert_eq!(ask(&cooking, "Salt?").await, Ok(2));
}
