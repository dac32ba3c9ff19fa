//! A pool that is asked for twice what it can serve: who is served, who is turned away, and whether what those are told is
//! true. A simulated clock, seeded arrivals and service times.

use std::collections::{BTreeMap, HashMap};

use wva_epp_core::flow::{
    Arrival, BandSettings, Fairness, FlowControl, FlowSettings, Gate, Permit, StartUp,
};
use wva_epp_core::picker::Refusal;

/// Requests that the pool serves at once, and seconds that each takes on average: 32 a second.
const PLACES: u32 = 64;
const SERVICE_S: f64 = 2.0;
const RATE: f64 = PLACES as f64 / SERVICE_S;
/// Flows of low priority, alike.
const FLOWS: u64 = 8;
const HIGH: i32 = 10;
const LOW: i32 = 0;
/// Wait that a request of high priority may have.
const BOUND_S: f64 = 0.5;
/// Bytes of a request, and most that may wait.
const BYTES: u64 = 400_000;
const MOST_WAITING: usize = 300;

/// Numbers that repeat (SplitMix64).
struct Draws(u64);

impl Draws {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }
}

enum Event {
    /// A request for the first time, or again.
    Comes {
        priority: i32,
        flow: u64,
        tries: u32,
    },
    /// A place comes free.
    Leaves(Permit),
}

/// What became of the requests of one priority.
#[derive(Debug, Default)]
struct Account {
    came: u32,
    /// Those that came in the overload and waited no longer than [`BOUND_S`].
    in_time: u32,
    in_overload: u32,
    refused: u32,
    /// Those that came back when they were told to, and were let into the queue then and served.
    came_back: u32,
    back_served: u32,
    gave_up: u32,
    /// What the wait was said to be and what it was.
    waits: Vec<(f64, f64)>,
    untold: u32,
}

struct Waiting {
    priority: i32,
    flow: u64,
    tries: u32,
    since: f64,
    told: Option<f64>,
}

struct Pool {
    control: FlowControl,
    gate: Gate,
    draws: Draws,
    events: BTreeMap<(u64, u64), Event>,
    waiting: HashMap<u64, Waiting>,
    last_id: u64,
    accounts: BTreeMap<i32, Account>,
    served: [f64; FLOWS as usize],
    most: (usize, u64),
    overload: (f64, f64),
}

impl Pool {
    fn new(overload: (f64, f64)) -> Self {
        let band = BandSettings {
            max_requests: MOST_WAITING,
            fairness: Fairness::RoundRobin,
            ..BandSettings::default()
        };
        let settings = FlowSettings {
            max_bytes: BYTES * MOST_WAITING as u64,
            default_band: band,
            ..FlowSettings::default()
        };
        Self {
            control: FlowControl::new(settings, StartUp::new(60.0)),
            gate: Gate::new(PLACES),
            draws: Draws(7),
            events: BTreeMap::new(),
            waiting: HashMap::new(),
            last_id: 0,
            accounts: BTreeMap::new(),
            served: [0.0; FLOWS as usize],
            most: (0, 0),
            overload,
        }
    }

    fn at(&mut self, at: f64, event: Event) {
        self.last_id += 1;
        // Times are positive: their bits are in their order.
        self.events.insert((at.to_bits(), self.last_id), event);
    }

    /// Poisson arrivals from `from` to `to`.
    fn arrivals(&mut self, (from, to): (f64, f64), rate: f64, priority: i32) {
        let mut at = from;
        loop {
            at += self.draws.exponential(1.0 / rate);
            if at >= to {
                return;
            }
            let flow = (self.draws.uniform() * FLOWS as f64) as u64;
            let tries = 0;
            self.at(
                at,
                Event::Comes {
                    priority,
                    flow,
                    tries,
                },
            );
        }
    }

    fn run(&mut self) {
        while let Some(((at, id), event)) = self.events.pop_first() {
            let now = f64::from_bits(at);
            match event {
                Event::Leaves(permit) => drop(permit),
                Event::Comes {
                    priority,
                    flow,
                    tries,
                } => {
                    let told = self.control.wait(priority, now);
                    let waiting = Waiting {
                        priority,
                        flow,
                        tries,
                        since: now,
                        told,
                    };
                    self.comes(id, waiting, now);
                }
            }
            let mut expired = Vec::new();
            self.control.expire(now, &mut expired);
            self.refused(expired, now);
            self.dispatch(now);
            self.most.0 = self.most.0.max(self.control.len());
            self.most.1 = self.most.1.max(self.control.bytes());
        }
    }

    fn comes(&mut self, id: u64, waiting: Waiting, now: f64) {
        let account = self.accounts.entry(waiting.priority).or_default();
        account.came += u32::from(waiting.tries == 0);
        account.came_back += u32::from(waiting.tries == 1);
        let arrival = Arrival {
            id,
            priority: waiting.priority,
            flow: waiting.flow,
            bytes: BYTES,
            deadline: None,
        };
        let mut shed = Vec::new();
        let offered = self.control.offer(arrival, now, &mut shed);
        self.waiting.insert(id, waiting);
        if let Err(refusal) = offered {
            shed.push((id, refusal));
        }
        self.refused(shed, now);
    }

    /// Whoever is refused comes back when it is told to, twice at most.
    fn refused(&mut self, refused: Vec<(u64, Refusal)>, now: f64) {
        for (id, refusal) in refused {
            let Waiting {
                priority,
                flow,
                tries,
                ..
            } = self.waiting.remove(&id).expect("waits");
            let account = self.accounts.entry(priority).or_default();
            account.refused += 1;
            match refusal.retry_after_header() {
                None => account.untold += 1,
                Some(_) if tries == 2 => account.gave_up += 1,
                Some(seconds) => {
                    // Nobody comes back to the second.
                    let at = now + f64::from(seconds) + self.draws.uniform();
                    let tries = tries + 1;
                    self.at(
                        at,
                        Event::Comes {
                            priority,
                            flow,
                            tries,
                        },
                    );
                }
            }
        }
    }

    fn dispatch(&mut self, now: f64) {
        let gate = self.gate.clone();
        while let Some((id, permit)) = self.control.next(now, |_| gate.enter(1.0)) {
            let leaves = now + self.draws.exponential(SERVICE_S);
            self.at(leaves, Event::Leaves(permit));
            let request = self.waiting.remove(&id).expect("waits");
            let account = self.accounts.entry(request.priority).or_default();
            let (from, to) = self.overload;
            let overload = (from..to).contains(&request.since);
            let waited = now - request.since;
            account.back_served += u32::from(request.tries == 1);
            if overload {
                account.in_overload += 1;
                account.in_time += u32::from(waited <= BOUND_S);
                account
                    .waits
                    .extend(request.told.map(|told| (told, waited)));
                if request.priority == LOW {
                    self.served[request.flow as usize] += 1.0;
                }
            }
        }
    }
}

/// Half the capacity is asked for in a minute, twice of it for `overload` seconds, and half of it again; a fifth with high
/// priority.
fn day(overload: f64) -> Pool {
    let (from, to) = (60.0, 60.0 + overload);
    let mut pool = Pool::new((from, to));
    for (period, load) in [
        ((0.0, from), 0.5),
        ((from, to), 2.0),
        ((to, to + 300.0), 0.5),
    ] {
        pool.arrivals(period, 0.2 * load * RATE, HIGH);
        pool.arrivals(period, 0.8 * load * RATE, LOW);
    }
    pool.run();
    pool
}

#[test]
fn twice_the_capacity_is_asked_for() {
    let pool = day(120.0);
    let (high, low) = (&pool.accounts[&HIGH], &pool.accounts[&LOW]);
    let attained = f64::from(high.in_time) / f64::from(high.in_overload);
    assert!(attained >= 0.99, "{attained}");
    assert_eq!(
        (high.refused, high.gave_up),
        (0, 0),
        "none of high priority is shed"
    );
    assert!(
        low.refused > 1000 && low.untold == 0,
        "all are told when: {low:?}"
    );
    let (sum, squares) = pool
        .served
        .iter()
        .fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
    let jain = sum * sum / (FLOWS as f64 * squares);
    assert!(jain >= 0.95, "{jain}: {:?}", pool.served);
    assert!(pool.most.0 <= MOST_WAITING && pool.most.1 <= BYTES * MOST_WAITING as u64);
    println!(
        "attained {attained:.4}, refused {} of {}, Jain {jain:.4}, most waiting {:?}",
        low.refused, low.came, pool.most
    );
}

/// What those who wait are told is what they wait; and most who are turned away in a rush, and come back when they are
/// told to, are served then.
#[test]
fn whoever_comes_back_when_told_is_served() {
    let pool = day(20.0);
    let low = &pool.accounts[&LOW];
    let mut ratios: Vec<f64> = low.waits.iter().map(|(told, was)| was / told).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios[(share * (ratios.len() - 1) as f64) as usize];
    let back = f64::from(low.back_served) / f64::from(low.came_back);
    println!(
        "waited over told: {:.2} {:.2} {:.2}; {} of {} refused came back, {back:.3} served at once, {} gave up",
        at(0.1),
        at(0.5),
        at(0.9),
        low.came_back,
        low.refused,
        low.gave_up
    );
    assert!((0.5..1.25).contains(&at(0.5)), "{}", at(0.5));
    assert!(back >= 0.9, "{back}");
    assert_eq!(low.gave_up, 0);
}
