//! Requests routed as the Endpoint Picker routes them.

use wva_epp_core::router::Router as Ready;
use wva_simulations::fault::Fault;
use wva_simulations::fleet::Router;

use super::*;

const READY: [Ready; 4] = Ready::ALL;

fn routed<'a>(
    catalogue: &'a Catalogue,
    source: &'a dyn RequestSource,
    initial: [u32; 4],
    ready: Ready,
) -> Setup<'a> {
    let mut setup = setup(catalogue, source, initial);
    setup.options.router = Router::Picker(ready);
    setup
}

fn mean_ttft(result: &RunResult) -> f64 {
    result.classes[0].ttft_ms.expect("first tokens").mean
}

#[test]
fn a_split_request_goes_over_a_pair_with_every_picker() {
    let (catalogue, source) = (catalogue(None), source(vec![request(1.0, CHAT, 100, 3)]));
    for ready in READY {
        let mut setup = routed(&catalogue, &source, [0, 1, 1, 0], ready);
        setup.options.link_bytes_per_s = 1e9;
        let result = play(&setup, &mut Script::new(&[]));
        // See `routing`: prefill, link, one decode iteration, and the front end.
        let ttft = mean_ttft(&result);
        assert!(close(ttft, 5.0 + 2.7 + 13.1072 + 1.21), "{ready}: {ttft}");
        let finished = [P, D].map(|v| result.variants[v].finished);
        assert_eq!(finished, [1, 1], "{ready}");
    }
}

#[test]
fn shares_and_sizes_bound_what_a_picker_may_pick() {
    let asks =
        (1..=400).map(|i| request(f64::from(i), CHAT, if i % 2 == 0 { 100 } else { 400 }, 5));
    let (catalogue, source) = (catalogue(None), source(asks.collect()));
    for ready in READY {
        let mut policy = Script::new(&[]);
        let share = |variants: &[&str], share| RoutingShare {
            model: "m".into(),
            class: "chat".into(),
            variants: variants.iter().map(|&v| v.to_owned()).collect(),
            share,
        };
        policy.shares = vec![share(&["whole"], 0.5), share(&["p", "d"], 0.5)];
        let result = play(
            &routed(&catalogue, &source, [1, 1, 1, 1], ready),
            &mut policy,
        );
        let finished = [WHOLE, P, D, SMALL].map(|v| result.variants[v].finished);
        assert_eq!(finished, [200, 200, 200, 0], "{ready}");
        // `small` holds 300 tokens.
        let result = play(
            &routed(&catalogue, &source, [1, 0, 0, 1], ready),
            &mut Script::new(&[]),
        );
        assert_eq!(result.failed, 0);
        assert!(result.variants[SMALL].finished <= 200, "{ready}");
    }
}

#[test]
fn batch_work_fills_slack_with_every_picker() {
    let chat = (0..600).map(|i| request(1.0 + f64::from(i) * 0.5, CHAT, 500, 40));
    let nightly = (0..200).map(|_| request(2.0, NIGHTLY, 1500, 100));
    let (catalogue, source) = (catalogue(None), source(chat.chain(nightly).collect()));
    for ready in READY {
        let result = play(
            &routed(&catalogue, &source, [2, 0, 0, 0], ready),
            &mut Script::new(&[]),
        );
        assert_eq!((result.missed, result.shed), (0, 0), "{ready}");
    }
}

#[test]
fn replicas_come_and_go_under_a_picker() {
    let asks = (0..5000).map(|i| request(f64::from(i) * 0.1, CHAT, 800, 60));
    let (catalogue, source) = (catalogue(None), source(asks.collect()));
    for ready in READY {
        let mut policy =
            Script::new(&[(50.0, "whole", 4), (150.0, "whole", 1), (300.0, "whole", 3)]);
        let mut setup = routed(&catalogue, &source, [1, 0, 0, 0], ready);
        setup.faults = vec![Fault::ScrapeOutage {
            from: 100.0,
            until: 200.0,
            variant: None,
        }];
        let result = play(&setup, &mut policy);
        assert_eq!((result.failed, result.unfinished), (0, 0), "{ready}");
        assert_eq!(result.variants[WHOLE].finished, 5000, "{ready}");
    }
}

/// Sessions that come back: twelve users whose prompts begin with what they asked before.
fn sessions() -> Vec<Request> {
    (0..1200_u32)
        .map(|i| {
            let (user, turn) = (u64::from(i % 12), i / 12);
            let blocks = 2 + turn % 10;
            let hashes =
                (0..u64::from(blocks)).map(|b| user * 1_000_000 + u64::from(turn / 10) * 1000 + b);
            Request {
                hash_ids: Some(hashes.collect()),
                ..request(f64::from(i) * 0.2, CHAT, blocks * 512 + 100, 20)
            }
        })
        .collect()
}

#[test]
fn what_was_sent_somewhere_is_found_there_again() {
    let (catalogue, source) = (catalogue(None), source(sessions()));
    let hit = |router| {
        let mut setup = setup(&catalogue, &source, [4, 0, 0, 0]);
        setup.options.router = router;
        play(&setup, &mut Script::new(&[])).classes[0]
            .prefix_hit
            .expect("prompts")
    };
    let random = hit(Router::Picker(Ready::Random));
    for ready in [Ready::Prefix, Ready::Slo] {
        let aware = hit(Router::Picker(ready));
        assert!(aware > 1.3 * random, "{ready}: {aware} {random}");
    }
}
