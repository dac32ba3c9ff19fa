//! A pool that is asked for twice what it can serve, through Envoy: who is served, who is turned away, and whether what
//! those are told is true.
//!
//! What is asserted are orders and counts, in units of places: on a slow machine all of it takes longer, and comes out the
//! same. The picker is the real server in this process, since objectives come from a cluster otherwise.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use wva_epp::clock::Clock;
use wva_epp::objectives::Objectives;
use wva_epp::server::shared::{Handling, Shared};
use wva_epp::server::tls::Security;
use wva_epp::server::{Server, Settings};
use wva_epp::store::Store;
use wva_epp_core::config::Config;
use wva_epp_core::endpoint::Endpoint;
use wva_epp_core::flow::{BandSettings, Fairness, FlowSettings};
use wva_epp_core::picker::Picker;
use wva_epp_core::saturation::Detector;
use wva_testbed::{Envoy, eventually};

use crate::bed::{Place, envoy, puppets};
use crate::client::{Answer, completion, post};
use crate::puppet::{Puppet, Script};

/// Servers, and requests that each takes at once.
const SERVERS: u8 = 4;
const EACH: usize = 2;
const PLACES: usize = SERVERS as usize * EACH;
/// How long a server takes for one.
const SERVICE: Duration = Duration::from_millis(200);
/// Requests of a priority that may wait, and the bytes of all that wait.
const MOST_WAITING: usize = 48;
const MOST_BYTES: u64 = 1 << 20;
/// Flows of low priority, the clients of each, and the clients of high priority.
const FLOWS: usize = 8;
const CLIENTS: usize = 18;
const URGENT: usize = 3;
/// Requests of a burst that find no room.
const MORE: usize = 24;
/// Answers after which enough was seen.
const ENOUGH_LOW: usize = 400;
const ENOUGH_HIGH: usize = 200;
/// No machine is so slow.
const LONGEST: Duration = Duration::from_secs(240);

/// A picker in this process, for as long as it is held.
struct Serving {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

async fn serve(envoy: &Envoy, servers: &[Puppet]) -> Serving {
    let detector = Detector::Concurrency {
        requests: EACH as f64,
        tokens: f64::INFINITY,
        headroom: 0.0,
    };
    let picker = Picker {
        detector,
        ..Config::standard().picker
    };
    let store = Arc::new(Store::new(picker, 1));
    store.update(|directory| {
        for (i, server) in servers.iter().enumerate() {
            directory.apply(Endpoint::new(server.address, "ns", &format!("pod-{i}")));
        }
    });
    store.set_objectives(Objectives {
        priorities: [("urgent".to_owned(), 10)].into(),
        ..Objectives::default()
    });
    store.set_synced();
    let flow = FlowSettings {
        max_bytes: MOST_BYTES,
        default_band: BandSettings {
            max_requests: MOST_WAITING,
            fairness: Fairness::RoundRobin,
            ..BandSettings::default()
        },
        ..FlowSettings::default()
    };
    let ip = Place::Overload.pickers(envoy.host())[0];
    let at = |port| SocketAddr::from((ip, port));
    let settings = Settings {
        grpc: at(9002),
        health: at(9003),
        metrics: at(9090),
        security: Security::Plain,
        most_message: 4 << 20,
        drain: Duration::from_secs(1),
        handling: Handling {
            flow: Some(flow),
            ..Handling::default()
        },
    };
    let server = Server::bind(store, Clock::start(), settings).await.unwrap();
    let shared = Arc::clone(server.shared());
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run(std::future::pending()));
    Serving { shared, tasks }
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Account {
    low_served: [usize; FLOWS],
    high_served: usize,
    /// Requests of high priority that waited for no more others than [`Rush::bound`] allows.
    high_in_time: usize,
    asked: usize,
    refused: usize,
    /// Refusals by status, reason and whether they say when to come back.
    refusals: BTreeMap<(u16, String, bool), usize>,
    /// Clients that came back when they were told to, after the overload: served then, and turned away again.
    back: [usize; 2],
    most_waiting: usize,
    most_bytes: u64,
}

/// Clients, and the servers that they see behind Envoy.
struct Rush {
    url: String,
    servers: Vec<Puppet>,
    over: AtomicBool,
    account: Mutex<Account>,
}

impl Rush {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    fn arrived(&self) -> usize {
        self.servers.iter().map(Puppet::requests).sum()
    }

    async fn ask(&self, headers: &[(&str, &str)]) -> Answer {
        let body = completion("m", &"word ".repeat(4000)).to_string();
        self.account().asked += 1;
        post(&self.url, body.into_bytes(), headers).await
    }

    /// Asks over and over, until it is over. Whoever was turned away comes back, at first after half of the time that it was
    /// told, so that twice the capacity is asked for all the time.
    async fn low(&self, flow: usize) {
        let name = format!("flow-{flow}");
        let headers = [("x-llm-d-inference-fairness-id", &*name)];
        let mut comes_back = None;
        loop {
            if let Some(seconds) = comes_back {
                let told = Duration::from_secs(seconds);
                let over = self.over.load(SeqCst);
                tokio::time::sleep(if over { told } else { told / 2 }).await;
            } else if self.over.load(SeqCst) {
                return;
            }
            let over = self.over.load(SeqCst);
            comes_back = self.note(flow, over, self.ask(&headers).await);
        }
    }

    /// Notes an answer; where it is none, the seconds after which to come back.
    fn note(&self, flow: usize, over: bool, answer: Answer) -> Option<u64> {
        let mut account = self.account();
        let served = answer.status == 200;
        if over {
            account.back[usize::from(!served)] += 1;
        }
        if served {
            account.low_served[flow] += usize::from(!over);
            return None;
        }
        account.refused += 1;
        let (reason, told) = (answer.reason.unwrap_or_default(), answer.retry_after);
        let kind = (answer.status, reason, told.is_some());
        *account.refusals.entry(kind).or_default() += 1;
        Some(told.unwrap_or(1).into())
    }

    /// Asks with high priority until it is over. It is in time if no more requests than the servers have twice the places
    /// for reached them before its answer: those that had places, and those that got theirs while it was served itself.
    async fn high(&self) {
        let headers = [("x-llm-d-inference-objective", "urgent")];
        while !self.over.load(SeqCst) {
            let before = self.arrived();
            let answer = self.ask(&headers).await;
            let went = self.arrived() - before;
            let mut account = self.account();
            account.high_served += usize::from(answer.status == 200);
            account.high_in_time += usize::from(answer.status == 200 && went <= Self::bound());
            if answer.status != 200 {
                let kind = (answer.status, "of high priority".to_owned(), false);
                *account.refusals.entry(kind).or_default() += 1;
            }
        }
    }

    /// Half of those that wait, and less than all who would be before it in one queue for all.
    const fn bound() -> usize {
        3 * PLACES
    }

    /// More at once than there is room for, once; how many of those who were turned away came back when they were told to and
    /// were served then, and how many were not.
    async fn burst(self: &Arc<Self>) -> [usize; 2] {
        let mut clients = JoinSet::new();
        for client in 0..PLACES + MOST_WAITING + MORE {
            let rush = Arc::clone(self);
            clients.spawn(async move {
                let name = format!("flow-{}", client % FLOWS);
                let headers = [("x-llm-d-inference-fairness-id", &*name)];
                let answer = rush.ask(&headers).await;
                if answer.status == 200 {
                    return None;
                }
                let told = answer.retry_after.expect("it is known by now");
                tokio::time::sleep(Duration::from_secs(told.into())).await;
                Some(rush.ask(&headers).await.status == 200)
            });
        }
        let came_back = clients.join_all().await;
        let count = |served| came_back.iter().filter(|b| **b == Some(served)).count();
        [true, false].map(count)
    }

    /// Looks at the queue until `enough`.
    async fn watch(&self, shared: &Shared, enough: impl Fn(&Account) -> bool) {
        let began = Instant::now();
        while !self.look(shared, &enough) {
            assert!(began.elapsed() < LONGEST, "{:?}", self.account());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn look(&self, shared: &Shared, enough: impl Fn(&Account) -> bool) -> bool {
        let (bands, _) = shared.admission.held();
        let mut account = self.account();
        for (_, requests, _) in &bands {
            account.most_waiting = account.most_waiting.max(*requests);
        }
        let bytes = bands.iter().map(|(_, _, bytes)| bytes).sum();
        account.most_bytes = account.most_bytes.max(bytes);
        enough(&account)
    }
}

/// Jain's index: 1 where all have the same, 1/n where one has all.
fn jain(shares: &[usize]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| {
        let share = *share as f64;
        (sum + share, squares + share * share)
    });
    sum * sum / (shares.len() as f64 * squares)
}

#[tokio::test]
async fn twice_the_capacity_is_asked_for() {
    let Some(envoy) = envoy().await else { return };
    let place = Place::Overload;
    let servers = puppets(envoy, place, SERVERS).await;
    servers.iter().for_each(|s| s.plays(Script::Slow(SERVICE)));
    let serving = serve(envoy, &servers).await;
    let rush = Arc::new(Rush {
        url: format!("http://{}:{}/v1/completions", envoy.host(), place.port()),
        servers,
        over: AtomicBool::new(false),
        account: Mutex::default(),
    });
    let mut clients = JoinSet::new();
    // First as many as find room, so that it is known how fast requests go.
    for flow in 0..FLOWS {
        for _ in 0..3 {
            let rush = Arc::clone(&rush);
            clients.spawn(async move { rush.low(flow).await });
        }
    }
    let served = |account: &Account| account.low_served.iter().sum::<usize>();
    rush.watch(&serving.shared, |account| served(account) >= 4 * PLACES)
        .await;
    *rush.account() = Account::default();
    for flow in 0..FLOWS {
        for _ in 3..CLIENTS {
            let rush = Arc::clone(&rush);
            clients.spawn(async move { rush.low(flow).await });
        }
    }
    for _ in 0..URGENT {
        let rush = Arc::clone(&rush);
        clients.spawn(async move { rush.high().await });
    }
    rush.watch(&serving.shared, |account| {
        served(account) >= ENOUGH_LOW && account.high_served >= ENOUGH_HIGH
    })
    .await;
    rush.over.store(true, SeqCst);
    let (asked, answered) = {
        let account = rush.account();
        (account.asked, served(&account) + account.high_served)
    };
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let [back, again] = rush.burst().await;
    let account = std::mem::take(&mut *rush.account());
    let (attained, fair) = (
        account.high_in_time as f64 / account.high_served as f64,
        jain(&account.low_served),
    );
    println!(
        "asked {asked} for {answered} answers; high priority attained {attained:.4} of {}; Jain {fair:.4}; refused {:?}; \
         came back: {:?}, after a burst {:?}; most waiting {} of {} bytes",
        account.high_served,
        account.refusals,
        account.back,
        [back, again],
        account.most_waiting,
        account.most_bytes
    );
    // Twice and more as a rule; less where the machine is too slow for so many clients. The queue was full in any case.
    assert!(asked as f64 >= 1.4 * answered as f64, "{asked} {answered}");
    assert_eq!(account.most_waiting, MOST_WAITING);
    // In one queue for all, hardly anybody would be in time.
    assert!(attained >= 0.99, "{attained}");
    assert!(fair >= 0.95, "{fair}: {:?}", account.low_served);
    assert!(account.refused > ENOUGH_LOW / 2, "{account:?}");
    // Nobody of high priority, and all are told when to come back.
    let told = |(status, reason, told): &(u16, String, bool)| {
        matches!(status, 429 | 503) && !reason.is_empty() && *told
    };
    assert!(account.refusals.keys().all(told), "{:?}", account.refusals);
    assert!(
        back + again > MORE / 2 && back as f64 >= 0.9 * (back + again) as f64,
        "who waits as told gets in: {back}, {again}"
    );
    assert!(account.most_bytes <= MOST_BYTES);
    let shared = &serving.shared;
    eventually("nothing left", async || {
        let left = (
            shared.admission.waiting(),
            shared.store.state().inflight.requests(),
        );
        (left == (0, 0)).then_some(()).ok_or(format!("{left:?}"))
    })
    .await
    .unwrap();
    drop(serving.tasks);
}
