//! The baselines against hand-computed sequences.

use rstest::rstest;
use wva_models::catalogue::Catalogue;
use wva_models::iteration::ReplicaModel;
use wva_models::shape::RequestShape;
use wva_models::variant::Role;
use wva_optimizer::snapshot::{Histogram, ReplicaSample, Snapshot, StreamSample, VariantSample};
use wva_simulations::policy::deployment::{Deployment, Target, deployments};
use wva_simulations::policy::hpa_queue::{HpaQueue, HpaQueueSettings};
use wva_simulations::policy::keda_slo::{KedaSlo, KedaSloSettings, Thresholds};
use wva_simulations::policy::{Policy, World};
use wva_simulations::request::Stream;
use wva_simulations::workload::statistics::StreamDemand;

const YAML: &str = "
variants:
  - {name: l40s, model: llama-3.1-8b, accelerator: L40S}
  - {name: h100, model: llama-3.1-8b, accelerator: H100, min_replicas: 1}
classes: [{name: chat, ttft_ms: {p99: 1000}, itl_ms: {p99: 100}}, {name: digest, deadline_seconds: 600}]
stock: {L40S: 12}
";

fn catalogue() -> Catalogue {
    Catalogue::parse(YAML, "t.yaml").expect("valid")
}

fn priors(catalogue: &Catalogue) -> Vec<ReplicaModel> {
    let variants = catalogue.variants.iter();
    variants.map(|v| catalogue.replica_model(v)).collect()
}

fn demand(rate: f64) -> StreamDemand {
    StreamDemand {
        model: "llama-3.1-8b".to_owned(),
        class: "chat".to_owned(),
        rate,
        shape: RequestShape::lognormal((1000.0, 1.0), (200.0, 0.8), Some(16_000.0)).expect("valid"),
    }
}

/// One L40S deployment whose full replica holds 50 requests.
fn deployment() -> Vec<Deployment> {
    let target = Target {
        variant: 0,
        name: "l40s".to_owned(),
        role: Role::Both,
        feasible: true,
        load: 1.5,
        concurrency: 50.0,
        ratios: (0.5, 0.3),
        min: 1,
        max: 12,
    };
    vec![Deployment {
        model: "llama-3.1-8b".to_owned(),
        targets: vec![target],
    }]
}

fn begin(policy: &mut dyn Policy, initial: [u32; 2]) {
    let catalogue = catalogue();
    let stream = |class: &str| Stream {
        model: "llama-3.1-8b".to_owned(),
        class: class.to_owned(),
        prefix_hit: 0.0,
    };
    policy.begin(&World {
        catalogue: &catalogue,
        priors: &priors(&catalogue),
        streams: &[stream("chat"), stream("digest")],
        initial: &initial,
        scrape_interval_s: 15.0,
    });
}

/// `ready` L40S replicas with so many requests each, of `asked`.
fn snapshot(at: f64, asked: u32, ready: u32, running: f64, waiting: f64) -> Snapshot {
    let replica = |id| ReplicaSample {
        id: u64::from(id),
        at,
        running,
        waiting,
        ..ReplicaSample::default()
    };
    let l40s = VariantSample {
        name: "l40s".to_owned(),
        desired: asked,
        ready,
        starting: vec![1.0; asked.saturating_sub(ready) as usize],
        replicas: (0..ready).map(replica).collect(),
        ..VariantSample::default()
    };
    let h100 = VariantSample {
        name: "h100".to_owned(),
        desired: 2,
        ready: 2,
        ..VariantSample::default()
    };
    Snapshot {
        at,
        variants: vec![l40s, h100],
        ..Snapshot::default()
    }
}

#[test]
fn deploys_the_variant_that_serves_cheapest() {
    let catalogue = catalogue();
    let found = deployments(&catalogue, &priors(&catalogue), &[demand(10.0)]);
    let target = &found[0].targets[0];
    // Capacities under this SLO are some 5 and 17 requests/s for 1.86 and 6.88 $/h.
    assert_eq!((found.len(), target.name.as_str()), (1, "l40s"));
    assert_eq!((target.min, target.max), (1, 12));
    assert!((1.2..6.0).contains(&target.load), "{}", target.load);
    assert!(target.concurrency > 10.0);
    assert!(f64::from(target.opening()) >= target.load);
    let twice = deployments(&catalogue, &priors(&catalogue), &[demand(20.0)]);
    assert!((twice[0].targets[0].load / target.load - 2.0).abs() < 1e-6);
}

#[test]
fn deploys_a_pair_where_there_is_nothing_else() {
    let yaml = "variants: [{model: llama-3.1-8b, accelerator: H100, role: prefill}, {model: llama-3.1-8b, accelerator: L40S, role: decode}]
classes: [{name: chat, ttft_ms: {p99: 1000}, itl_ms: {p99: 100}}]";
    let catalogue = Catalogue::parse(yaml, "t.yaml").expect("valid");
    let found = deployments(&catalogue, &priors(&catalogue), &[demand(10.0)]);
    let roles: Vec<Role> = found[0].targets.iter().map(|t| t.role).collect();
    assert_eq!(roles, [Role::Prefill, Role::Decode]);
}

#[test]
fn deploys_a_pair_where_it_is_cheaper() {
    let yaml = "variants:
  - {model: llama-3.1-8b, accelerator: A100-80GB}
  - {model: llama-3.1-8b, accelerator: L40S, role: prefill}
  - {model: llama-3.1-8b, accelerator: A100-80GB, role: decode}
classes: [{name: chat, ttft_ms: {p99: 2000}, itl_ms: {p99: 30}}]";
    let roles = |yaml: &str| -> Vec<Role> {
        let catalogue = Catalogue::parse(yaml, "t.yaml").expect("valid");
        let found = deployments(&catalogue, &priors(&catalogue), &[demand(10.0)]);
        found[0].targets.iter().map(|t| t.role).collect()
    };
    assert_eq!(roles(yaml), [Role::Prefill, Role::Decode]);
    let dear = yaml.replace("L40S, role", "L40S, price_per_hour_usd: 500, role");
    assert_eq!(roles(&dear), [Role::Both]);
}

/// The law of llm-d's guide, by hand: thresholds .55 and .40, credit ready/asked.
#[rstest]
#[case(4, 4, 0.50, 4)] // between the thresholds
#[case(4, 4, 0.55, 4)]
#[case(4, 4, 0.56, 5)] // 4·(0.56/0.55 − 1) = 0.07, rounded up
#[case(4, 4, 1.10, 8)] // twice the threshold, twice the replicas
#[case(8, 4, 1.10, 8)] // but half of them are on their way
#[case(8, 6, 1.10, 12)] // 8·(1.1·0.75/0.55 − 1) = 4
#[case(3, 3, 2.00, 11)] // 3·2.64 = 7.9
#[case(4, 4, 0.30, 3)] // 4·(1 − 0.75) = 1
#[case(4, 4, 0.31, 4)] // 0.9, rounded down
#[case(10, 10, 0.0, 0)] // the HPA's minimum then holds
#[case(0, 0, 1.0, 0)]
fn keda_law(#[case] asked: u32, #[case] ready: u32, #[case] ratio: f64, #[case] expected: u32) {
    assert_eq!(Thresholds::GUIDE.desired(asked, ready, ratio), expected);
}

/// Cumulative histogram of `seconds` in buckets up to 0.25, 0.5, 1, 2 s, each `count` times so far.
fn latencies(total: [f64; 4]) -> Histogram {
    let mut below = 0.0;
    let counts: Vec<f64> = total
        .iter()
        .map(|c| {
            below += c;
            below
        })
        .collect();
    Histogram {
        bounds: vec![0.25, 0.5, 1.0, 2.0],
        count: below,
        counts,
        sum: 0.0,
    }
}

/// A snapshot with TTFTs of the class `chat`, so far.
fn with_ttft(at: f64, asked: u32, ready: u32, total: [f64; 4]) -> Snapshot {
    let chat = StreamSample {
        model: "llama-3.1-8b".to_owned(),
        class: "chat".to_owned(),
        at,
        ttft: latencies(total),
        ..StreamSample::default()
    };
    let digest = StreamSample {
        class: "digest".to_owned(),
        ttft: latencies([0.0, 0.0, 0.0, 1000.0]),
        ..chat.clone()
    };
    Snapshot {
        streams: vec![chat, digest],
        ..snapshot(at, asked, ready, 1.0, 0.0)
    }
}

#[test]
fn keda_follows_ttft_through_windows_and_rate_limits() {
    let mut policy = KedaSlo::new(KedaSloSettings::default(), deployment());
    begin(&mut policy, [2, 0]);
    let mut asked = 2;
    let mut history = Vec::new();
    // 100 requests each 15 s, all in (1, 2] s: P90 = 1.9 s, s = 1.9 against an SLO of 1 s.
    for k in 0..10_u32 {
        let seen = f64::from(k) * 100.0;
        let intent = policy.decide(&with_ttft(
            f64::from(k) * 15.0,
            asked,
            2,
            [0.0, 0.0, 0.0, seen],
        ));
        asked = intent.replicas["l40s"];
        history.push(asked);
    }
    // t = 0: nothing counted yet. t = 15: s = 1.9 and the law wants 2 + ⌈2·(1.9/0.55 − 1)⌉ = 7, but the HPA's first
    // recommendation is what it found, 2, and the least of 30 s holds. t = 45: up to max(2·2, 2 + 4) = 6. From then on 2
    // of 6 are ready and the law wants 6 + ⌈6·(1.9/3/0.55 − 1)⌉ = 7, allowed 60 s later; of 7 it wants no more.
    assert_eq!(history, [2, 2, 2, 6, 6, 6, 6, 7, 7, 7]);
    // Idle latencies from now on: P90 = 0.225 s, s falls below 0.4 and the fleet sheds one replica per 120 s at most,
    // after 180 s of agreement.
    let (mut fast, mut times) = (0.0, Vec::new());
    for k in 10..60_u32 {
        fast += 100.0;
        let at = f64::from(k) * 15.0;
        let intent = policy.decide(&with_ttft(at, asked, asked, [fast, 0.0, 0.0, 900.0]));
        let next = intent.replicas["l40s"];
        if next < asked {
            assert_eq!(asked - next, 1);
            times.push(at);
        }
        asked = next;
    }
    assert!(times[0] >= 150.0 + 180.0, "{times:?}");
    assert!(times.windows(2).all(|w| w[1] - w[0] >= 120.0), "{times:?}");
    assert!(asked >= 2 && times.len() >= 3, "{asked} {times:?}");
}

#[test]
fn keda_holds_without_requests_and_without_scrapes() {
    let mut policy = KedaSlo::new(KedaSloSettings::default(), deployment());
    begin(&mut policy, [5, 0]);
    for k in 0..80_u32 {
        let intent = policy.decide(&with_ttft(f64::from(k) * 15.0, 5, 5, [7.0, 0.0, 0.0, 0.0]));
        assert_eq!(intent.replicas["l40s"], 5);
    }
}

#[test]
fn hpa_follows_requests_per_replica() {
    let mut policy = HpaQueue::new(HpaQueueSettings::default(), deployment());
    begin(&mut policy, [2, 2]);
    // Target 35 = 0.7 · 50. 37 per replica is within the tolerance of 10 %.
    let asked = |policy: &mut HpaQueue, s: &Snapshot| policy.decide(s).replicas["l40s"];
    assert_eq!(asked(&mut policy, &snapshot(0.0, 2, 2, 35.0, 2.0)), 2);
    // 100 per replica: ⌈2·2.86⌉ = 6, within +4 pods.
    assert_eq!(asked(&mut policy, &snapshot(15.0, 2, 2, 60.0, 40.0)), 6);
    // Four pods not ready count as 0: 200/6 = 33 is on target.
    assert_eq!(asked(&mut policy, &snapshot(30.0, 6, 2, 60.0, 40.0)), 6);
    // Quiet: down only when five minutes agree.
    for k in 3..22_u32 {
        assert_eq!(
            asked(&mut policy, &snapshot(f64::from(k) * 15.0, 6, 6, 5.0, 0.0)),
            6,
            "{k}"
        );
    }
    assert_eq!(asked(&mut policy, &snapshot(345.0, 6, 6, 5.0, 0.0)), 1);
    // Metrics that stopped five minutes ago are no metrics: nothing changes.
    let mut stale = snapshot(360.0, 1, 1, 500.0, 0.0);
    stale.variants[0].replicas[0].at = 30.0;
    assert_eq!(asked(&mut policy, &stale), 1);
}

#[test]
fn hpa_on_waiting_requests_shrinks_a_healthy_fleet() {
    let settings = HpaQueueSettings {
        target_waiting: Some(5.0),
        target_requests: None,
    };
    let mut policy = HpaQueue::new(settings, deployment());
    begin(&mut policy, [4, 0]);
    let mut last = 4;
    for k in 0..30_u32 {
        last = policy
            .decide(&snapshot(f64::from(k) * 15.0, last, last, 30.0, 0.0))
            .replicas["l40s"];
    }
    assert_eq!(last, 1);
}

#[test]
fn other_variants_stay_until_the_scaled_one_is_there() {
    let mut policy = HpaQueue::new(HpaQueueSettings::default(), deployment());
    begin(&mut policy, [0, 2]);
    let before = policy.decide(&snapshot(0.0, 2, 0, 0.0, 0.0));
    assert_eq!(before.replicas["l40s"], 2, "⌈1.5/0.8⌉");
    assert!(!before.replicas.contains_key("h100"));
    let after = policy.decide(&snapshot(90.0, 2, 2, 35.0, 0.0));
    assert_eq!(after.replicas["h100"], 1, "its own minimum");
}
