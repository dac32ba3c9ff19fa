//! What is played: a scenario's fleet, and all requests of the run, known from the start.
//!
//! Requests are drawn before the curtain rises. So the load cannot react to how it is served, and afterwards the very
//! same requests can be asked of a fleet that never changes.

use std::path::{Path, PathBuf};

use wva_models::catalogue::Catalogue;
use wva_models::iteration::ReplicaModel;
use wva_models::service_class::{Bound, Statistic};
use wva_models::variant::Role;
use wva_simulations::comparison::opening_fleet;
use wva_simulations::policy::static_fleet::{StaticSettings, cheapest};
use wva_simulations::request::{Request, RequestList, RequestSource as _, Stream};
use wva_simulations::run::{Options, Setup};
use wva_simulations::scenario::{Overrides, Scenario};
use wva_simulations::time::Time;
use wva_simulations::workload::statistics::StreamDemand;

use super::Demo;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::figures::{seconds, short};
use crate::input::{self, Input};

/// The built-in scenario.
const BUILT_IN: &str = include_str!("../../../examples/demo.yaml");
/// Its name in messages.
const BUILT_IN_NAME: &str = "demo.yaml";
/// Most requests of a run: what one process can be expected to send in a day.
const MOST_REQUESTS: usize = 2_000_000;
/// The first traffic, which the opening fleet is sized for, seconds.
const OPENING_S: f64 = 10.0;

/// What is played.
pub struct Script {
    /// Its name.
    pub name: String,
    /// What may be scaled, and what was promised.
    pub catalogue: Catalogue,
    /// What each variant's replicas really do, in the catalogue's order.
    pub truth: Vec<ReplicaModel>,
    /// Models and classes that are asked.
    pub streams: Vec<Stream>,
    /// Every request, by time.
    pub requests: Vec<Request>,
    /// Length, seconds.
    pub duration_s: f64,
    /// Replicas at the start, in the catalogue's order.
    pub opening: Vec<u32>,
    /// What is odd about the input.
    pub notes: Vec<String>,
    /// Seed of everything random.
    pub seed: u64,
}

impl Script {
    /// Reads the scenario and draws the requests.
    pub fn read(demo: &Demo) -> Result<Self, Failure> {
        let scenario = scenario(demo)?;
        suits(&scenario)?;
        let length = scenario.workload.end() / demo.speed;
        let duration_s = demo
            .duration
            .map_or(length, |d| d.as_secs_f64().min(length));
        let streams = scenario.workload.streams().to_vec();
        let requests = requests(&scenario, demo.speed, duration_s);
        if requests.is_empty() {
            let nothing = Diagnostic::new("nobody asks anything in this time");
            return Err(nothing.help("raise --duration or --rate-scale").into());
        }
        let mut script = Self {
            truth: scenario.truth(),
            name: scenario.name,
            catalogue: scenario.catalogue,
            streams,
            requests,
            duration_s,
            opening: Vec::new(),
            notes: scenario.notes,
            seed: scenario.seed,
        };
        script.opening = script.opening()?;
        Ok(script)
    }

    /// The requests once more, for whoever simulates.
    fn source(&self) -> RequestList {
        RequestList::new(self.streams.clone(), self.requests.clone())
    }

    /// The fleet planned for the first traffic, by what the catalogue believes; no model starts asleep.
    fn opening(&self) -> Result<Vec<u32>, Failure> {
        let until = OPENING_S.min(self.duration_s);
        let demand = StreamDemand::of(&self.source(), self.seed, until);
        let catalogue = &self.catalogue;
        let mut replicas = opening_fleet(catalogue, demand)
            .map_err(|e| Diagnostic::new(format!("no fleet for the start: {e}")))?;
        for stream in &self.streams {
            let of = |v: &usize| catalogue.variants[*v].model == stream.model;
            let own: Vec<usize> = (0..catalogue.variants.len()).filter(of).collect();
            if own.iter().all(|&v| replicas[v] == 0)
                && let Some(&cheapest) = own.iter().min_by(|&&a, &&b| {
                    let price =
                        |v: usize| catalogue.price_per_replica(&catalogue.variants[v]).get();
                    price(a).total_cmp(&price(b))
                })
            {
                replicas[cheapest] = 1;
            }
        }
        Ok(replicas)
    }

    /// What the first class was promised, in words.
    pub fn promise(&self) -> String {
        let class = self
            .streams
            .first()
            .and_then(|s| self.catalogue.class(&s.class));
        let slo = class.and_then(|c| c.slo()).copied().unwrap_or_default();
        let text = |name: &str, bound: Option<Bound>| {
            bound.map(|b| {
                let more = if b.per_input_token.get() > 0.0 {
                    "+"
                } else {
                    ""
                };
                let statistic = match b.statistic {
                    Statistic::Mean => "mean".to_owned(),
                    Statistic::Quantile(q) => format!("p{}", short(q * 100.0)),
                };
                format!("{name} {statistic} {}{more}", seconds(b.limit.get()))
            })
        };
        let bounds = [
            text("TTFT", slo.ttft),
            text("ITL", slo.itl),
            text("end-to-end", slo.e2e),
        ];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        match (bounds.is_empty(), self.streams.len()) {
            (true, _) => "no bound".to_owned(),
            (false, 1) => bounds.join(", "),
            (false, _) => "the bounds of their classes".to_owned(),
        }
    }

    /// Share of its requests that a class was promised to have within its bounds.
    pub fn promised_of(&self, class: &str) -> f64 {
        let class = self.catalogue.class(class);
        class
            .and_then(|c| c.slo())
            .map_or(0.0, |s| s.promised_share())
    }

    /// The same for all requests together.
    pub fn promised_share(&self) -> f64 {
        let shares = self.streams.iter().map(|s| self.promised_of(&s.class));
        shares.fold(1.0, f64::min)
    }

    /// The cheapest fleet that never changes and keeps the promises on the requests before `seconds`, found by simulating
    /// them: what somebody could deploy who knew them all. `None` where no such fleet exists.
    pub fn constant_fleet(&self, seconds: f64) -> Option<Vec<u32>> {
        let source = self.source();
        let setup = Setup {
            catalogue: &self.catalogue,
            truth: self.truth.clone(),
            source: &source,
            duration_s: seconds,
            initial: self.opening.clone(),
            scrape_interval_s: 1.0,
            start_up_cv: 0.0,
            faults: Vec::new(),
            seed: self.seed,
            options: Options::default(),
        };
        let found = cheapest(&setup, &StaticSettings::default()).ok()?;
        found.accepted.then_some(found.replicas)
    }
}

fn scenario(demo: &Demo) -> Result<Scenario, Failure> {
    let given = demo.scenario.as_deref();
    let given = given.map(|path| Input::read(path, "a scenario"));
    let (text, name) = match given.transpose()? {
        Some(input) => (input.text, input.name),
        None => (BUILT_IN.to_owned(), BUILT_IN_NAME.to_owned()),
    };
    let trace_name = demo.trace.as_deref().map(input::name_of);
    let trace_name = trace_name.unwrap_or_default();
    let trace = demo.trace.as_deref();
    let trace = trace.map(|path| input::open(path, "a trace")).transpose()?;
    let overrides = Overrides {
        trace: trace.map(|content| (trace_name.as_str(), content)),
        rate_scale: demo.rate_scale,
        seed: demo.seed,
        ..Overrides::default()
    };
    let folder: PathBuf = demo
        .scenario
        .as_deref()
        .and_then(Path::parent)
        .map_or_else(PathBuf::new, Path::to_owned);
    let mut open = |path: &str| {
        let file = std::fs::File::open(folder.join(path))?;
        Ok(Box::new(std::io::BufReader::new(file)) as Box<dyn std::io::BufRead>)
    };
    let scenario = Scenario::parse(&text, &name, overrides, &mut open);
    scenario.map_err(|e| Diagnostic::placed(&e.to_string()).into())
}

/// Refuses what the demo's gateway cannot do.
fn suits(scenario: &Scenario) -> Result<(), Failure> {
    let catalogue = &scenario.catalogue;
    let paired = catalogue.variants.iter().find(|v| v.role != Role::Both);
    let batch = scenario.workload.streams().iter();
    let mut batch = batch.filter(|s| catalogue.class(&s.class).is_some_and(|c| c.is_batch()));
    let odd = match (paired, batch.next()) {
        (Some(variant), _) => format!("variant `{}` serves only a part of a request", variant.name),
        (None, Some(stream)) => format!("class `{}` is batch work", stream.class),
        (None, None) => return Ok(()),
    };
    let told = Diagnostic::new(format!(
        "{}: {odd}, which the demo's gateway cannot route",
        scenario.name
    ));
    Err(told.help("`wva simulate` plays it").into())
}

/// The requests of the run: `speed` times as fast, and each kept with the probability that leaves the rate as it was.
fn requests(scenario: &Scenario, speed: f64, duration_s: f64) -> Vec<Request> {
    let mut state = scenario.seed;
    let keep = scenario
        .workload
        .requests(scenario.seed)
        .filter(|_| speed <= 1.0 || uniform(&mut state) < 1.0 / speed);
    keep.map(|request| Request {
        at: Time::from_seconds(request.at.seconds() / speed),
        ..request
    })
    .take_while(|r| r.at.seconds() < duration_s)
    .take(MOST_REQUESTS)
    .collect()
}

/// The next of a sequence of uniform numbers (SplitMix64).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
