//! Which server gets a request.

use serde_json::Value;

use crate::bed::{FOUR_SCORERS, Picker, Place, envoy, puppets};
use crate::client::{completion, post, post_pieces};
use crate::puppet::{Gauges, Puppet};
use crate::routes::SUBSET_HEADER;

/// Sets what three servers say of themselves, and waits until the picker knows.
async fn say(servers: &[Puppet], gauges: [(u32, f64, &'static str); 3]) {
    for (server, (waiting, kv, lora)) in servers.iter().zip(gauges) {
        server.says(Gauges { waiting, kv, lora });
    }
    for server in servers {
        server.is_seen().await;
    }
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
        say(&servers, gauges).await;
        let model = if gauges == queues { "m" } else { "sql" };
        assert_eq!(ask(model, &[]).await, Ok(expected), "{gauges:?}");
    }
    say(&servers, queues).await;
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
        say(&servers, queues).await;
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
    say(&servers, [(9, 0.1, ""), (0, 0.1, ""), (9, 0.1, "")]).await;
    assert_eq!(ask(&law, "Who are you?").await, Ok(1));
    say(&servers, [(9, 0.1, ""), (9, 0.1, ""), (0, 0.1, "")]).await;
    assert_eq!(ask(&cooking, "Who are you?").await, Ok(2));
    // Alike but for what they hold.
    say(&servers, [(1, 0.1, ""), (1, 0.1, ""), (1, 0.1, "")]).await;
    assert_eq!(ask(&law, "May I?").await, Ok(1));
    say(&servers, [(1, 0.1, ""), (1, 0.1, ""), (1, 0.1, "")]).await;
    assert_eq!(ask(&cooking, "Salt?").await, Ok(2));
}
