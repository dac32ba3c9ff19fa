//! Laws that every queueing model obeys, on random queues, and the limits in which models meet.

use proptest::prelude::*;
use wva_models::queueing::birth_death::BirthDeath;
use wva_models::queueing::burstiness::{Hayward, kingman_wait};
use wva_models::queueing::erlang::{Mmc, erlang_b, erlang_c};
use wva_models::queueing::mg1::{Mg1, ServiceTime};
use wva_models::queueing::mm1k::Mm1k;
use wva_models::queueing::{MAX_STATES, QueueingError, SteadyState};

fn near(actual: f64, expected: f64, relative: f64) -> bool {
    (actual - expected).abs() <= relative * expected.abs().max(f64::MIN_POSITIVE)
}

fn rates() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(1e-3..1e3_f64, 1..200)
}

fn durations() -> impl Strategy<Value = ServiceTime> {
    prop::collection::vec((1e-3..2.0_f64, 0.01..1.0_f64), 1..12)
        .prop_map(|pairs| ServiceTime::empirical(pairs).expect("durations are positive"))
}

proptest! {
    /// Probabilities sum to 1, every cut is crossed as often upwards as downwards, L = XR, and what
    /// enters leaves.
    #[test]
    fn chain_is_balanced(arrivals in rates(), services in rates(), in_service in 1_usize..50) {
        let capacity = services.len();
        let arrival = |k: usize| arrivals[k % arrivals.len()];
        let mut chain = BirthDeath::new();
        let equilibrium = chain.solve_with(capacity, arrival, |k| services[k - 1]).unwrap();
        let p = equilibrium.probabilities();
        prop_assert_eq!(p.len(), capacity + 1);
        prop_assert!(near(p.iter().sum(), 1.0, 1e-12));
        for k in 0..capacity {
            // Below the smallest normal number there are too few digits to compare.
            if p[k].min(p[k + 1]) > 1e-290 {
                prop_assert!(near(p[k] * arrival(k), p[k + 1] * services[k], 1e-12));
            }
        }
        let departures = equilibrium.mean_of(|k| if k == 0 { 0.0 } else { services[k - 1] });
        prop_assert!(near(equilibrium.throughput(), departures, 1e-11));
        prop_assert!((0.0..=1.0).contains(&equilibrium.blocking()));
        let delays = equilibrium.mean_delays(in_service).unwrap();
        prop_assert!(near(equilibrium.throughput() * delays.residence, equilibrium.mean_in_system(), 1e-12));
        prop_assert!(near(delays.service + delays.wait, delays.residence, 1e-12));
    }

    /// More arrivals: more in system, more served, more turned away. Residence grows too when a
    /// request never gets faster in company, μ(k)/k falling.
    #[test]
    fn chain_is_monotone_in_arrivals(
        slowdown in prop::collection::vec(0.3..1.0_f64, 1..100), rate in 0.01..50.0_f64, more in 1.01..2.0_f64,
    ) {
        let mut share = 1.0;
        let services: Vec<f64> = slowdown.iter().enumerate().map(|(k, factor)| {
            share *= factor;
            share * (k + 1) as f64
        }).collect();
        let mut chain = BirthDeath::new();
        let mut measures = |rate| {
            let equilibrium = chain.solve(rate, &services).unwrap();
            let residence = equilibrium.mean_delays(8).unwrap().residence;
            [equilibrium.mean_in_system(), equilibrium.blocking(), residence]
        };
        let (fewer, more) = (measures(rate), measures(rate * more));
        for (fewer, more) in fewer.into_iter().zip(more) {
            prop_assert!(more >= fewer * (1.0 - 1e-12));
        }
    }

    /// Constant rates: the chain is M/M/1/K, at any load and size.
    #[test]
    fn constant_rates_are_mm1k(load in 0.05..4.0_f64, capacity in 1_usize..10_000) {
        let closed = Mm1k::new(3.0 * load, 3.0, capacity).unwrap();
        let mut chain = BirthDeath::new();
        let equilibrium = chain.solve_with(capacity, |_| 3.0 * load, |_| 3.0).unwrap();
        prop_assert!((equilibrium.blocking() - closed.blocking()).abs() <= 1e-10 * closed.blocking() + 1e-300);
        prop_assert!(near(equilibrium.mean_in_system(), closed.mean_in_system(), 1e-10));
        prop_assert!(near(equilibrium.throughput(), closed.throughput(), 1e-10));
        let delays = equilibrium.mean_delays(1).unwrap();
        prop_assert!(near(delays.residence, closed.mean_residence(), 1e-10));
        prop_assert!((delays.wait - closed.mean_wait()).abs() <= 1e-10 * delays.residence);
        let middle = capacity / 2;
        let probability = equilibrium.probabilities()[middle];
        prop_assert!((probability - closed.probability(middle)).abs() <= 1e-10 * probability + 1e-300);
    }

    /// The loads at which the closed form of M/M/1/K cancels, against the chain, which does not.
    #[test]
    fn mm1k_near_saturation(exponent in 1.0..17.0_f64, above: bool, capacity in 1_usize..10_000) {
        let distance = 10.0_f64.powf(-exponent);
        let load = if above { 1.0 + distance } else { 1.0 - distance };
        let closed = Mm1k::new(load, 1.0, capacity).unwrap();
        let mut chain = BirthDeath::new();
        let equilibrium = chain.solve_with(capacity, |_| load, |_| 1.0).unwrap();
        prop_assert!(near(closed.mean_in_system(), equilibrium.mean_in_system(), 1e-10));
        prop_assert!((closed.blocking() - equilibrium.blocking()).abs() <= 1e-10 * closed.blocking() + 1e-300);
    }

    /// μ(k) = min(k, c)μ: M/M/c/K; without a queue, Erlang B; with a long one, Erlang C.
    #[test]
    fn parallel_servers_are_erlang(servers in 1_usize..60, load in 0.05..0.9_f64) {
        let offered = load * servers as f64;
        let mut chain = BirthDeath::new();
        let mut with_room = |room: usize| {
            let service = |k: usize| 2.0 * k.min(servers) as f64;
            let equilibrium = chain.solve_with(servers + room, |_| 2.0 * offered, service).unwrap();
            let waiting: f64 = equilibrium.probabilities()[servers..].iter().sum();
            (equilibrium.blocking(), waiting, equilibrium.mean_delays(servers).unwrap())
        };
        prop_assert!(near(with_room(0).0, erlang_b(servers, offered).unwrap(), 1e-11));
        let (_, waiting, delays) = with_room(400);
        let unlimited = Mmc::new(2.0 * offered, 2.0, servers).unwrap().stable().unwrap();
        prop_assert!(near(waiting, unlimited.waiting_probability(), 1e-10));
        prop_assert!(near(delays.wait, unlimited.mean_wait(), 1e-10));
        prop_assert!(near(delays.service, 0.5, 1e-10));
    }

    /// K → ∞: M/M/1/K, M/M/c with one server, M/G/1 with exponential service and Kingman agree.
    #[test]
    fn one_server_has_one_answer(load in 0.05..0.9_f64) {
        let expected = load / (1.0 - load);
        prop_assert!(near(Mm1k::new(load, 1.0, 10_000).unwrap().mean_in_system(), expected, 1e-11));
        prop_assert!(near(Mmc::new(load, 1.0, 1).unwrap().stable().unwrap().mean_wait(), expected, 1e-11));
        let service = ServiceTime::exponential(1.0).unwrap();
        let queue = Mg1::new(load, &service).unwrap().stable().unwrap();
        prop_assert!(near(queue.mean_wait(), expected, 1e-11));
        prop_assert!(near(kingman_wait(load, 1.0, 1.0, 1.0).unwrap().stable().unwrap(), expected, 1e-11));
    }

    /// Hayward at I = 1 changes nothing.
    #[test]
    fn poisson_arrivals_are_clusters_of_one(load in 0.1..3.0_f64, capacity in 1_usize..100) {
        let hayward = Hayward::new(1.0).unwrap();
        prop_assert_eq!(hayward.capacity(capacity), capacity);
        prop_assert_eq!(hayward.arrival_rate(load), load);
        prop_assert_eq!(hayward.service_rate(7, |k| k.sqrt()), 7.0_f64.sqrt());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The waiting-time distribution is one: within [0, ρ], falling, below Lundberg's bound, and
    /// its integral is the Pollaczek–Khinchine mean.
    #[test]
    fn wait_is_a_distribution(service in durations(), load in 0.1..0.93_f64) {
        let queue = Mg1::new(load / service.mean(), &service).unwrap().stable().unwrap();
        let tail = queue.tail();
        let horizon = 25.0 / tail.decay;
        let steps = 600;
        let width = horizon / f64::from(steps);
        let (mut integral, mut before) = (0.0, load);
        for step in 1..=steps {
            let time = f64::from(step) * width;
            let survival = queue.wait_survival(time);
            prop_assert!(survival <= before + 1e-8);
            prop_assert!(survival <= (-tail.decay * time).exp() + 1e-9);
            integral += (survival + before) / 2.0 * width;
            before = survival;
        }
        prop_assert!(near(integral, queue.mean_wait(), 0.01), "{} {}", integral, queue.mean_wait());
    }

    /// The quantile inverts the distribution and grows with its level and with the load.
    #[test]
    fn quantile_inverts_and_grows(service in durations(), load in 0.05..0.97_f64, level in 0.3..0.9999_f64) {
        let queue = Mg1::new(load / service.mean(), &service).unwrap().stable().unwrap();
        let quantile = queue.wait_quantile(level).unwrap();
        if level > 1.0 - load {
            prop_assert!(near(queue.wait_survival(quantile), 1.0 - level, 1e-5));
        } else {
            prop_assert_eq!(quantile, 0.0);
        }
        let higher = queue.wait_quantile(level + (1.0 - level) / 2.0).unwrap();
        prop_assert!(higher >= quantile);
        let busier = Mg1::new(1.02 * load / service.mean(), &service).unwrap().stable().unwrap();
        prop_assert!(busier.wait_quantile(level).unwrap() >= quantile);
    }

    /// The Cramér root solves its equation, and far out the asymptote is the distribution.
    #[test]
    fn tail_is_exponential(service in durations(), load in 0.3..0.95_f64) {
        let arrival_rate = load / service.mean();
        let queue = Mg1::new(arrival_rate, &service).unwrap().stable().unwrap();
        let tail = queue.tail();
        let generating = service.transform((-tail.decay).into()).re;
        prop_assert!(near(arrival_rate * (generating - 1.0), tail.decay, 1e-9));
        let far = queue.wait_quantile(0.99999).unwrap();
        if far > 12.0 * service.second_moment() / service.mean() && far > 8.0 {
            prop_assert!(near(tail.survival(far), 1e-5, 1e-2));
        }
    }
}

/// From near idle to near saturation, no level or load breaks the quantile.
#[test]
fn extreme_loads_have_quantiles() {
    let heavy = ServiceTime::truncated_lognormal(-2.0, 1.5, 60.0, 64).unwrap();
    let constant = ServiceTime::deterministic(0.2).unwrap();
    let gamma = ServiceTime::gamma(0.2, 30.0).unwrap();
    for service in [heavy, constant, gamma] {
        for load in [1e-9, 1e-3, 0.5, 0.999, 1.0 - 1e-7] {
            let queue = Mg1::new(load / service.mean(), &service)
                .unwrap()
                .stable()
                .unwrap();
            let levels = [0.0, 0.5, 0.95, 0.999, 1.0 - 1e-7, 1.0 - 1e-9, 1.0 - 1e-13];
            let quantiles = levels.map(|level| queue.wait_quantile(level).unwrap());
            assert!(
                quantiles.iter().all(|q| q.is_finite()),
                "{load} {quantiles:?}"
            );
            assert!(quantiles.is_sorted(), "{load} {quantiles:?}");
        }
        // Heavy traffic (Kingman): the wait tends to an exponential with the mean of P-K.
        let queue = Mg1::new((1.0 - 1e-7) / service.mean(), &service)
            .unwrap()
            .stable()
            .unwrap();
        let limit = 100.0_f64.ln() * queue.mean_wait();
        assert!(near(queue.wait_quantile(0.99).unwrap(), limit, 1e-5));
    }
}

/// Weights that climb or fall by thousands of decimal orders, and return.
#[test]
fn chain_spans_any_range() {
    let mut chain = BirthDeath::new();
    let capacity = 10_000;
    let valley = |k: usize| if k <= 5_000 { 1e6 } else { 1e-6 };
    let equilibrium = chain.solve_with(capacity, |_| 1.0, valley).unwrap();
    // Down 5,000 × 6 orders and up again: the first and last states tie, give or take rounding.
    let p = equilibrium.probabilities();
    assert!(near(p[0], p[capacity], 1e-10) && near(p[0] + p[capacity], 1.0, 1e-5));
    assert!(equilibrium.mean_in_system().is_finite());
    let climb = chain.solve_with(capacity, |_| 1e9, |_| 1e-9).unwrap();
    assert!(near(climb.blocking(), 1.0, 1e-12));
    assert!(near(climb.throughput(), 1e-9, 1e-9));
    let fall = chain.solve_with(capacity, |_| 1e-9, |_| 1e9).unwrap();
    assert!(near(fall.mean_in_system(), 1e-18, 1e-9));
    assert_eq!(fall.blocking(), 0.0);
}

#[test]
fn chain_without_arrivals_is_idle() {
    let mut chain = BirthDeath::new();
    let idle = chain.solve(0.0, &[1.0, 2.0]).unwrap();
    assert_eq!(idle.probabilities(), [1.0, 0.0, 0.0]);
    assert_eq!((idle.blocking(), idle.throughput()), (0.0, 0.0));
    assert_eq!(idle.mean_delays(2), None);
    // An arrival rate of 0 closes the chain above its state.
    let closed = chain
        .solve_with(3, |k| if k == 1 { 0.0 } else { 1.0 }, |_| 1.0)
        .unwrap();
    assert_eq!(closed.probabilities(), [0.5, 0.5, 0.0, 0.0]);
}

#[test]
fn outcomes_are_named() {
    let service = ServiceTime::deterministic(0.5).unwrap();
    let reason = |rate| Mg1::new(rate, &service).unwrap().reason();
    assert_eq!(
        [reason(0.0), reason(1.9), reason(2.0)],
        ["idle", "stable", "unstable"]
    );
    assert_eq!(
        erlang_c(3, 6.0).unwrap(),
        SteadyState::Unstable { utilization: 2.0 }
    );
    assert_eq!(Mmc::new(0.0, 1.0, 3).unwrap(), SteadyState::Idle);
    assert_eq!(kingman_wait(2.0, 0.5, 1.0, 1.0).unwrap().stable(), None);
}

#[test]
fn absurd_arguments_are_refused() {
    let mut chain = BirthDeath::new();
    for rate in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(Mm1k::new(rate, 1.0, 3).is_err());
        assert!(Mmc::new(rate, 1.0, 3).is_err());
        assert!(kingman_wait(1.0, 0.5, rate, 1.0).is_err());
        assert!(Hayward::new(rate).is_err());
        assert!(chain.solve(rate, &[1.0]).is_err());
        assert!(chain.solve(1.0, &[1.0, rate]).is_err());
        assert!(ServiceTime::deterministic(rate).is_err());
        assert!(ServiceTime::empirical([(1.0, rate)]).is_err());
        assert!(ServiceTime::gamma(1.0, rate).is_err());
        assert!(ServiceTime::truncated_lognormal(0.0, 1.0, rate, 8).is_err());
    }
    assert!(ServiceTime::empirical([]).is_err());
    assert!(ServiceTime::empirical([(0.0, 1.0)]).is_err());
    assert!(ServiceTime::truncated_lognormal(0.0, 1.0, 1e-9, 8).is_err());
    assert!(Mm1k::new(1.0, 1.0, 0).is_err());
    let limit = MAX_STATES;
    assert_eq!(
        erlang_b(limit + 1, 1.0),
        Err(QueueingError::SizeOutOfRange {
            quantity: "servers",
            value: limit + 1,
            limit
        })
    );
    assert_eq!(
        chain.solve_with(2, |_| 1e200, |_| 1.0).unwrap_err(),
        QueueingError::RatioOutOfRange {
            state: 0,
            ratio: 1e200
        }
    );
    let service = ServiceTime::exponential(1.0).unwrap();
    let queue = Mg1::new(0.5, &service).unwrap().stable().unwrap();
    assert!(queue.wait_quantile(1.0).is_err() && queue.wait_quantile(f64::NAN).is_err());
}
