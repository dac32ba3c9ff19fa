//! Where requests go.

use wva_epp_core::router::Router as Ready;
use wva_simulations::fleet::Router;

use super::*;

fn share(variants: &[&str], share: f64) -> RoutingShare {
    RoutingShare {
        model: "m".into(),
        class: "chat".into(),
        variants: variants.iter().map(|&v| v.to_owned()).collect(),
        share,
    }
}

fn every(seconds: f64, count: u32, input: u32, output: u32) -> Vec<Request> {
    (1..=count)
        .map(|i| request(f64::from(i) * seconds, CHAT, input, output))
        .collect()
}

#[test]
fn shares_are_kept_exactly() {
    let (catalogue, source) = (catalogue(None), source(every(1.0, 400, 100, 5)));
    let mut policy = Script::new(&[]);
    policy.shares = vec![share(&["whole"], 0.75), share(&["small"], 0.25)];
    let result = play(&setup(&catalogue, &source, [1, 0, 0, 1]), &mut policy);
    assert_eq!(
        (
            result.variants[WHOLE].finished,
            result.variants[SMALL].finished
        ),
        (300, 100)
    );
}

#[test]
fn shares_of_a_variant_without_ready_replicas_do_not_hold_requests_up() {
    let (catalogue, source) = (catalogue(None), source(every(1.0, 100, 100, 5)));
    let mut policy = Script::new(&[(0.0, "small", 0)]);
    policy.shares = vec![share(&["small"], 1.0), share(&["nobody"], 9.0)];
    let result = play(&setup(&catalogue, &source, [1, 0, 0, 0]), &mut policy);
    assert_eq!((result.missed, result.variants[WHOLE].finished), (0, 100));
}

#[test]
fn a_split_request_prefills_travels_and_decodes() {
    let (catalogue, source) = (catalogue(None), source(vec![request(1.0, CHAT, 100, 3)]));
    let mut setup = setup(&catalogue, &source, [0, 1, 1, 0]);
    setup.options.link_bytes_per_s = 1e9;
    let result = play(&setup, &mut Script::new(&[]));
    // KV of a token: 2 · 32 layers · 8 heads · 128 · 2 bytes = 131,072; 100 of them at 1 GB/s take 13.1072 ms.
    // The decode replica emits the first token: 1 + 0.01 + 0.1 + 0.1 = 1.21 ms, then 1.211 and 1.212.
    let chat = &result.classes[0];
    let ttft = chat.ttft_ms.expect("a first token").mean;
    assert!(close(ttft, 5.0 + 2.7 + 13.1072 + 1.21), "{ttft}");
    assert!(close(chat.itl_ms.expect("gaps").mean, 1.2115));
    assert_eq!(
        (result.variants[P].finished, result.variants[D].finished),
        (1, 1)
    );
}

#[test]
fn a_link_carries_one_prompt_after_the_other() {
    let asks = vec![request(1.0, CHAT, 100, 1), request(1.0, CHAT, 100, 1)];
    let (catalogue, source) = (catalogue(None), source(asks));
    let mut setup = setup(&catalogue, &source, [0, 1, 1, 0]);
    setup.options.link_bytes_per_s = 1e6;
    let result = play(&setup, &mut Script::new(&[]));
    // Both prompts are done after 1 + 2 + 0.2 + 0.2 + 0.5 = 3.9 ms; the transfers of 13.1072 s follow one another.
    let mean = result.classes[0].ttft_ms.expect("first tokens").mean;
    let expected = 5.0 + 3.9 + 13_107.2 * 1.5 + 1.21;
    assert!(close(mean, expected), "{mean} {expected}");
}

#[test]
fn a_draining_prefill_replica_stays_until_its_prompts_have_travelled() {
    let (catalogue, source) = (catalogue(None), source(vec![request(1.0, CHAT, 100, 50)]));
    let mut setup = setup(&catalogue, &source, [0, 1, 1, 0]);
    setup.options.link_bytes_per_s = 1e6;
    let mut policy = Script::new(&[(5.0, "p", 0), (5.0, "d", 0)]);
    let result = play(&setup, &mut policy);
    assert_eq!(
        (result.missed, result.unfinished, result.failed),
        (1, 0, 0),
        "late, but served"
    );
    let at = |t: f64| {
        &policy
            .seen
            .iter()
            .find(|s| s.at == t)
            .expect("a cycle")
            .variants
    };
    assert_eq!((at(10.0)[P].draining, at(10.0)[D].draining), (1, 1));
    assert_eq!((at(15.0)[P].draining, at(15.0)[D].draining), (0, 0));
}

#[test]
fn a_whole_variant_and_a_pair_share_by_ready_replicas() {
    let (catalogue, source) = (catalogue(None), source(every(1.0, 300, 100, 5)));
    let result = play(
        &setup(&catalogue, &source, [1, 1, 1, 0]),
        &mut Script::new(&[]),
    );
    assert_eq!(
        (result.variants[WHOLE].finished, result.variants[D].finished),
        (100, 200)
    );
}

#[test]
fn least_load_beats_random_under_load() {
    let asks = (0..6000)
        .map(|i| request(f64::from(i) * 0.012, CHAT, 300 + i as u32 * 7919 % 1700, 60))
        .collect();
    let (catalogue, source) = (catalogue(None), source(asks));
    let mean = |router| {
        let mut setup = setup(&catalogue, &source, [6, 0, 0, 0]);
        setup.duration_s = 150.0;
        setup.options.router = router;
        play(&setup, &mut Script::new(&[])).classes[0]
            .ttft_ms
            .expect("first tokens")
            .mean
    };
    let (load, requests, random) = (
        mean(Router::LeastLoad),
        mean(Router::Picker(Ready::LeastQueue)),
        mean(Router::Picker(Ready::Random)),
    );
    assert!(
        load < requests && requests < random,
        "{load} {requests} {random}"
    );
}
