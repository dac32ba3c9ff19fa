//! What holds for every fleet, whatever is asked of it.

use proptest::prelude::*;
use wva_simulations::fault::Fault;
use wva_simulations::fleet::Router;
use wva_simulations::hpa::HpaSpec;

use super::*;

#[derive(Debug, Clone)]
struct Scenario {
    requests: Vec<(f64, bool, u32, u32)>,
    initial: [u32; 4],
    scale: Vec<(f64, usize, u32)>,
    stock: Option<u32>,
    router: usize,
    cv: f64,
    through_hpa: bool,
    limit: Option<u32>,
    tail: f64,
    short: (f64, f64),
}

prop_compose! {
    fn any_scenario()(
        requests in prop::collection::vec((0.0..300.0f64, any::<bool>(), 1..3000u32, 1..300u32), 0..150),
        initial in prop::array::uniform4(0..3u32),
        scale in prop::collection::vec((0.0..300.0f64, 0..4usize, 0..5u32), 0..20),
        stock in prop::option::of(0..12u32),
        (router, cv, through_hpa, limit, tail) in (0..5usize, 0.0..1.0f64, any::<bool>(), prop::option::of(0..10u32), 0.0..400.0f64),
        short in (0.0..300.0f64, 0.0..200.0f64),
    ) -> Scenario {
        Scenario { requests, initial, scale, stock, router, cv, through_hpa, limit, tail, short }
    }
}

const NAMES: [&str; 4] = ["whole", "p", "d", "small"];

fn run_scenario(s: &Scenario) -> (RunResult, Script) {
    let catalogue = catalogue(s.stock);
    let requests = s
        .requests
        .iter()
        .map(|&(at, batch, input, output)| request(at, u32::from(batch), input, output));
    let source = source(requests.collect());
    let mut setup = setup(&catalogue, &source, s.initial);
    setup.duration_s = 300.0;
    setup.start_up_cv = s.cv;
    setup.options.router = Router::ALL[s.router];
    setup.options.tail_s = s.tail;
    setup.options.hold_limit_s = 60.0;
    setup.faults = vec![Fault::StockOut {
        from: s.short.0,
        until: s.short.0 + s.short.1,
        accelerator: "X1".into(),
        devices: 3,
    }];
    let mut scale: Vec<_> = s.scale.iter().map(|&(t, v, n)| (t, NAMES[v], n)).collect();
    scale.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut policy = Script::new(&scale);
    if s.through_hpa {
        policy.actuation = Some(Actuation::Hpa(HpaSpec::transparent()));
    }
    if let Some(limit) = s.limit {
        policy.batch_limits = NAMES.iter().map(|n| ((*n).to_owned(), limit)).collect();
    }
    let result = play(&setup, &mut policy);
    (result, policy)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_request_ends_exactly_once(s in any_scenario()) {
        let (result, _) = run_scenario(&s);
        prop_assert_eq!(result.requests, s.requests.len() as u64);
        let finished: u64 = result.classes.iter().map(|c| c.e2e_ms.map_or(0, |_| 1)).sum();
        let attained: u64 = result.classes.iter().map(|c| c.requests - c.missed).sum();
        let ended: u64 = result.variants.iter().filter(|v| v.variant != "p").map(|v| v.finished).sum();
        prop_assert_eq!(ended + result.failed + result.shed + result.unfinished, result.requests);
        prop_assert!(attained <= ended);
        prop_assert!(finished <= 2 && result.missed + attained == result.requests);
    }

    #[test]
    fn replicas_are_accounted_for(s in any_scenario()) {
        let (result, policy) = run_scenario(&s);
        for snapshot in &policy.seen {
            let mut devices = 0;
            for (v, per_replica) in snapshot.variants.iter().zip([2, 1, 1, 1]) {
                let alive = v.ready + (v.starting.len() + v.pending.len()) as u32;
                prop_assert_eq!(alive, v.desired, "asked for and alive at {}", snapshot.at);
                devices += per_replica * (v.ready + v.starting.len() as u32 + v.draining);
            }
            prop_assert!(s.stock.is_none_or(|stock| devices <= stock));
        }
        let mean: f64 = result.variants.iter().map(|v| v.mean_replicas).sum();
        prop_assert!((mean - result.mean_replicas).abs() < 1e-9);
        prop_assert!(result.mean_replicas <= f64::from(result.max_replicas) + 1e-9);
        let cost: f64 = result.variants.iter().map(|v| v.mean_replicas * 300.0 / 3600.0 * v.price_per_hour_usd).sum();
        prop_assert!((cost - result.cost_usd).abs() < 1e-9);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes(s in any_scenario()) {
        let json = |s: &Scenario| serde_json::to_string(&run_scenario(s).0).expect("plain data");
        prop_assert_eq!(json(&s), json(&s));
    }
}
