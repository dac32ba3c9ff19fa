//! Cases whose outcome people rely on: the upstream's own black-box table, subsets, draining, disaggregation, sessions.

use crate::common::{address, endpoint, idle, picker, pods, slots};
use wva_epp_core::choose::{By, Choose};
use wva_epp_core::endpoint::{ROLE_LABEL, Roles};
use wva_epp_core::filter::Filter;
use wva_epp_core::picker::{
    DATA_PARALLEL_HEADER, Decider, ENCODE_HEADER, Handler, PREFILL_HEADER, Picker, RefusalKind,
};
use wva_epp_core::pool::{Directory, Pool};
use wva_epp_core::prefix::Chain;
use wva_epp_core::profile::Profile;
use wva_epp_core::request::{Allowed, Request};
use wva_epp_core::scorer::Scorer;

fn default_scorers() -> Picker {
    picker(vec![
        Scorer::Queue,
        Scorer::KvUsage,
        Scorer::Prefix,
        Scorer::Lora,
    ])
}

fn picked(pool: &Pool, request: &Request<'_>) -> usize {
    let picker = default_scorers();
    let choice = picker
        .pick(pool, request, &mut picker.state(1), 0.0)
        .expect("an endpoint");
    choice.primary.index()
}

#[test]
fn the_table_of_queues_caches_and_adapters() {
    let request = Request {
        model: "sql",
        prompt_tokens: 10.0,
        ..Request::default()
    };
    let base = Request {
        model: "base",
        ..request
    };
    let (_, pool) = pods(&[(3.0, 0.2, &[]), (0.0, 0.1, &[]), (10.0, 0.2, &[])]);
    assert_eq!(picked(&pool, &base), 1);
    let (_, pool) = pods(&[
        (0.0, 0.2, &["a", "b"]),
        (0.0, 0.1, &["a", "sql"]),
        (10.0, 0.2, &["a", "b"]),
    ]);
    assert_eq!(picked(&pool, &request), 1);
    let (_, pool) = pods(&[
        (10.0, 0.2, &["a", "b"]),
        (10.0, 0.4, &["a", "sql"]),
        (10.0, 0.3, &["a", "b"]),
    ]);
    assert_eq!(picked(&pool, &request), 1, "affinity beats KV cache");
    let (_, pool) = pods(&[
        (6.0, 0.2, &["sql"]),
        (0.0, 0.85, &["a", "b"]),
        (10.0, 0.9, &["a", "b"]),
    ]);
    assert_eq!(picked(&pool, &request), 0, "not shed");
}

#[test]
fn a_subset_narrows_and_an_empty_one_is_refused() {
    let (_, pool) = pods(&[(5.0, 0.2, &[]), (0.0, 0.1, &[]), (10.0, 0.9, &[])]);
    let picker = default_scorers();
    let pick = |subset: &[Allowed]| {
        let request = Request {
            subset: Some(subset),
            ..Request::default()
        };
        picker
            .pick(&pool, &request, &mut picker.state(1), 0.0)
            .map(|c| c.primary.index())
    };
    let all: Vec<Allowed> = (0..3)
        .map(|i| Allowed::parse(&address(i).to_string()).unwrap())
        .collect();
    assert_eq!(pick(&all), Ok(1));
    assert_eq!(pick(&all[2..]), Ok(2));
    assert_eq!(pick(&Allowed::list("10.0.0.3")), Ok(2));
    let refused = |subset: &str| pick(&Allowed::list(subset)).unwrap_err();
    assert_eq!(refused("10.0.0.99").kind, RefusalKind::EmptySubset);
    assert_eq!(
        refused("10.0.0.3:9999").kind,
        RefusalKind::EmptySubset,
        "ports are honoured"
    );
    assert_eq!(refused("").kind.status(), 503);
    let empty = Directory::new().pool();
    let refusal = picker
        .pick(&empty, &Request::default(), &mut picker.state(1), 0.0)
        .unwrap_err();
    assert_eq!(
        (refusal.kind.status(), refusal.kind.reason()),
        (503, "rejected-no-endpoints")
    );
}

#[test]
fn failing_endpoints_get_work_only_when_there_are_no_others() {
    let (mut directory, _) = pods(&[(0.0, 0.0, &[]), (50.0, 0.9, &[]), (90.0, 0.9, &[])]);
    let mut last = endpoint(2);
    last.draining = true;
    directory.apply(last);
    let pool = directory.pool();
    let all = slots(&pool);
    let avoiding = |avoid, subset| Request {
        avoid,
        subset,
        ..Request::default()
    };
    assert_eq!(picked(&pool, &avoiding(&all[..1], None)), 1);
    assert_eq!(picked(&pool, &avoiding(&all[..2], None)), 2);
    assert_eq!(picked(&pool, &avoiding(&all, None)), 0);
    let first = Allowed::list("10.0.0.1");
    assert_eq!(picked(&pool, &avoiding(&all[..1], Some(&first))), 0);
}

#[test]
fn a_request_has_as_many_fallbacks_as_are_asked_for() {
    let (_, pool) = pods(&[(0.0, 0.0, &[]), (9.0, 0.5, &[]), (5.0, 0.2, &[])]);
    for (at_least, expected) in [(1, 1), (2, 2), (9, 3)] {
        let picker = default_scorers().with_at_least(at_least);
        let mut state = picker.state(1);
        let choice = picker.pick(&pool, &Request::default(), &mut state, 0.0);
        let addresses = choice.expect("an endpoint").addresses(&pool);
        assert_eq!(addresses, [0, 2, 1].map(address)[..expected]);
    }
}

#[test]
fn draining_endpoints_get_work_only_when_there_are_no_others() {
    let (mut directory, _) = idle(2);
    let mut first = endpoint(0);
    first.draining = true;
    directory.apply(first.clone());
    let pool = directory.pool();
    let picker = default_scorers();
    let mut state = picker.state(3);
    for _ in 0..50 {
        let choice = picker
            .pick(&pool, &Request::default(), &mut state, 0.0)
            .unwrap();
        assert_eq!(choice.primary.index(), 1);
    }
    directory.remove(&address(1));
    let choice = picker
        .pick(&directory.pool(), &Request::default(), &mut state, 0.0)
        .unwrap();
    assert_eq!(choice.primary.index(), 0);
}

#[test]
fn a_burst_between_scrapes_spreads() {
    let (_, pool) = idle(10);
    let picker = picker(vec![Scorer::ActiveRequests { idle: 0, busy: 1.0 }]);
    let mut state = picker.state(5);
    for _ in 0..100 {
        picker
            .pick(&pool, &Request::default(), &mut state, 0.0)
            .unwrap();
    }
    for slot in slots(&pool) {
        assert_eq!(state.inflight.load(slot).requests, 10);
    }
}

#[test]
fn a_prompt_goes_back_to_where_its_beginning_is() {
    let (_, pool) = idle(20);
    let picker = default_scorers();
    let mut state = picker.state(9);
    let mut chain = Chain::new("m", "", 64, 100);
    chain.push(&[7; 3000]);
    let first = chain.hashes().to_vec();
    chain.push(&[8; 3000]);
    let request = |chain| Request {
        chain,
        prompt_tokens: 1500.0,
        ..Request::default()
    };
    let one = picker
        .pick(&pool, &request(&first), &mut state, 0.0)
        .unwrap();
    assert_eq!(one.cached_tokens, 0.0);
    let two = picker
        .pick(&pool, &request(chain.hashes()), &mut state, 0.0)
        .unwrap();
    assert_eq!((two.primary, two.cached_tokens), (one.primary, 11.0 * 64.0));
}

fn stage(name: &str, roles: Roles) -> Profile {
    Profile {
        name: name.to_owned(),
        filters: vec![Filter::Roles(roles)],
        scorers: vec![(Scorer::Prefix, 1.0)],
        choose: Choose {
            by: By::MaxScore,
            most: 4,
        },
    }
}

fn disaggregated(prefill: Decider) -> (Picker, Pool) {
    let mut directory = Directory::new();
    for (i, role) in ["decode", "prefill", "encode", "encode"]
        .into_iter()
        .enumerate()
    {
        let mut endpoint = endpoint(i);
        endpoint
            .labels
            .insert(ROLE_LABEL.to_owned(), role.to_owned());
        directory.apply(endpoint);
    }
    let stages = [
        ("decode", Roles::DECODE),
        ("prefill", Roles::PREFILL),
        ("encode", Roles::ENCODE),
    ];
    let picker = Picker {
        profiles: stages.map(|(name, roles)| stage(name, roles)).to_vec(),
        handler: Handler::Disaggregated {
            decode: 0,
            prefill: Some((1, prefill)),
            encode: Some((2, Decider::Multimodal)),
        },
        ..Picker::default()
    };
    (picker, directory.pool())
}

#[test]
fn long_uncached_prompts_are_computed_elsewhere() {
    let (picker, pool) = disaggregated(Decider::Uncached(512.0));
    let mut state = picker.state(1);
    let bytes = vec![1; 4000];
    let mut chain = Chain::new("m", "", 64, 100);
    chain.push(&bytes);
    let short = Request {
        prompt_tokens: 100.0,
        ..Request::default()
    };
    let long = Request {
        prompt_tokens: 1000.0,
        chain: chain.hashes(),
        ..Request::default()
    };
    let choice = picker.pick(&pool, &short, &mut state, 0.0).unwrap();
    assert_eq!((choice.prefill, choice.headers(&pool)), (None, vec![]));
    let choice = picker.pick(&pool, &long, &mut state, 0.0).unwrap();
    assert_eq!(
        choice.headers(&pool),
        [(PREFILL_HEADER, address(1).to_string())]
    );
    let prefill = choice.prefill.unwrap();
    assert_eq!(state.inflight.load(prefill).pending_tokens, 1000.0);
    assert_eq!(
        state.inflight.load(choice.primary).pending_tokens,
        100.0,
        "the short one's only"
    );
    state.inflight.answered(&choice.flight);
    assert_eq!(state.inflight.load(prefill).requests, 0);
    state.inflight.ended(&choice.flight);
    // Now the decode endpoint holds it.
    let again = picker.pick(&pool, &long, &mut state, 0.0).unwrap();
    assert_eq!((again.prefill, again.cached_tokens), (None, 15.0 * 64.0));
}

#[test]
fn images_are_encoded_elsewhere() {
    let (picker, pool) = disaggregated(Decider::Uncached(0.0));
    let request = Request {
        prompt_tokens: 9999.0,
        multimodal: true,
        ..Request::default()
    };
    let choice = picker
        .pick(&pool, &request, &mut picker.state(1), 0.0)
        .unwrap();
    let headers = choice.headers(&pool);
    assert_eq!((headers.len(), headers[0].0), (1, ENCODE_HEADER));
    assert_eq!(headers[0].1.split(',').count(), 2);
    let (picker, pool) = disaggregated(Decider::Always);
    let choice = picker
        .pick(&pool, &Request::default(), &mut picker.state(1), 0.0)
        .unwrap();
    assert_eq!(
        (choice.prefill.map(|s| s.index()), choice.encode.len()),
        (Some(1), 0)
    );
}

#[test]
fn a_rank_is_named_in_a_header_and_reached_by_the_primary_port() {
    let (mut directory, _) = idle(0);
    for port in [8000, 8001] {
        let mut rank = endpoint(0);
        rank.address.set_port(port);
        rank.rank = port - 8000;
        rank.draining = port == 8000;
        directory.apply(rank);
    }
    let pool = directory.pool();
    let picker = Picker {
        handler: Handler::DataParallel { primary_port: 8000 },
        ..picker(vec![Scorer::Queue])
    };
    let choice = picker
        .pick(&pool, &Request::default(), &mut picker.state(1), 0.0)
        .unwrap();
    assert_eq!(choice.destination(&pool), "10.0.0.1:8000");
    assert_eq!(
        choice.headers(&pool),
        [(DATA_PARALLEL_HEADER, "10.0.0.1:8001".to_owned())]
    );
}

#[test]
fn sessions_stay_at_their_pod() {
    let (_, pool) = idle(30);
    let header = "x-session-token".to_owned();
    let picker = Picker {
        session_header: Some(header.clone()),
        ..picker(vec![Scorer::Session { header }])
    };
    let mut state = picker.state(2);
    let first = picker
        .pick(&pool, &Request::default(), &mut state, 0.0)
        .unwrap();
    let (name, token) = first.session(&pool).unwrap();
    let headers = [(name, token.as_str())];
    let request = Request {
        headers: &headers,
        ..Request::default()
    };
    for _ in 0..20 {
        assert_eq!(
            picker
                .pick(&pool, &request, &mut state, 0.0)
                .unwrap()
                .primary,
            first.primary
        );
    }
    let headers = [(name, "not base64!")];
    let request = Request {
        headers: &headers,
        ..Request::default()
    };
    assert!(picker.pick(&pool, &request, &mut state, 0.0).is_ok());
}

#[test]
fn fallbacks_follow_the_primary() {
    let (_, pool) = pods(&[(3.0, 0.2, &[]), (0.0, 0.1, &[]), (10.0, 0.2, &[])]);
    let mut picker = default_scorers();
    picker.profiles[0].choose.most = 2;
    let choice = picker
        .pick(&pool, &Request::default(), &mut picker.state(1), 0.0)
        .unwrap();
    assert_eq!(
        choice.destination(&pool),
        format!("{},{}", address(1), address(0))
    );
}
