//! Everything a thousand times too much, as of some moment: what is counted then is what users sent, or nothing.
//!
//! Replicas that have little to do, since between two requests of theirs a lie shows nothing that cannot be: it is believed
//! then if it ever is.

use std::collections::BTreeMap;

use wva_controllers::telemetry::engine::EngineReading;
use wva_controllers::telemetry::evidence::Evidence;
use wva_controllers::telemetry::memory::{GateSettings, Memory};
use wva_controllers::telemetry::reason::Source;
use wva_controllers::telemetry::targets::{Bounds, Targets};
use wva_optimizer::snapshot::StreamSample;

use crate::fleet::{candidate, finished, reading, targets};

const PODS: [&str; 3] = ["a", "b", "c"];
const INPUT: f64 = 2000.0;
const OUTPUT: f64 = 40.0;
const PREFILL_S: f64 = 0.15;
const GAP_S: f64 = 0.02;
/// Requests that came and are not counted yet, of seven a second and pages that are seconds old.
const ON_THEIR_WAY: f64 = 40.0;

/// Uniform in (0, 1] (SplitMix64).
fn uniform(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    ((z >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
}

/// A replica by the times at which its requests came.
#[derive(Default)]
struct Replica {
    came: Vec<f64>,
}

impl Replica {
    /// Its page of this time. Of prompts that were seen before nothing is computed.
    fn page(&self, at: f64, cached: bool, empty: &EngineReading) -> EngineReading {
        let mut r = empty.clone();
        let (mut first, mut tokens, mut done) = (0.0, 0.0, 0.0);
        for age in self.came.iter().map(|came| at - came).filter(|a| *a >= 0.0) {
            let decoded = ((age - PREFILL_S) / GAP_S)
                .floor()
                .clamp(-1.0, OUTPUT - 1.0)
                + 1.0;
            first += f64::from(decoded > 0.0);
            tokens += decoded;
            done += f64::from(decoded >= OUTPUT);
        }
        let here = self.came.iter().filter(|came| **came <= at).count() as f64;
        r.running = Some(here - done);
        r.waiting = Some(0.0);
        r.kv_usage = Some((here - done) * INPUT / 200_000.0);
        r.iterations = first + tokens;
        r.prompt_tokens = first * INPUT;
        r.prefix_queries = Some(first * INPUT);
        r.prefix_hits = Some(if cached { first * INPUT } else { 0.0 });
        r.generation_tokens = tokens;
        r.finished = Some(done);
        (r.gap.count, r.gap.sum) = (tokens - first, (tokens - first) * GAP_S);
        (r.prefill.count, r.prefill.sum) = (done, done * PREFILL_S);
        (r.queue.count, r.queue.sum) = (done, 0.0);
        (r.ttft.count, r.ttft.sum) = (first, first * PREFILL_S);
        r.ttft.counts = r
            .ttft
            .bounds
            .iter()
            .map(|b| if PREFILL_S <= *b { first } else { 0.0 })
            .collect();
        r
    }
}

/// The reading with every value so many times what it was.
fn times(mut r: EngineReading, factor: f64) -> EngineReading {
    let numbers = [
        &mut r.iterations,
        &mut r.prompt_tokens,
        &mut r.generation_tokens,
        &mut r.preemptions,
        &mut r.gap.sum,
        &mut r.gap.count,
        &mut r.prefill.sum,
        &mut r.prefill.count,
        &mut r.queue.sum,
        &mut r.queue.count,
        &mut r.ttft.sum,
        &mut r.ttft.count,
    ];
    let optional = [
        &mut r.running,
        &mut r.waiting,
        &mut r.kv_usage,
        &mut r.finished,
        &mut r.prefix_hits,
        &mut r.prefix_queries,
    ];
    let optional = optional.into_iter().flatten();
    let all = numbers
        .into_iter()
        .chain(optional)
        .chain(&mut r.ttft.counts);
    all.for_each(|x| *x *= factor);
    r
}

/// Three replicas, their users, and a Prometheus that scrapes them each second or so.
struct World {
    memory: Memory,
    targets: Targets,
    replicas: BTreeMap<&'static str, Replica>,
    /// A page of one that has done nothing.
    empty: EngineReading,
    seed: u64,
    now: f64,
    scraped: f64,
    /// Requests per second, all together.
    rate: f64,
    cached: bool,
    /// Whether everything happens late, now and then.
    slow: bool,
    requests: f64,
    /// When each pod began, where its telemetry says so.
    born: Option<f64>,
}

impl World {
    fn new(seed: u64, cached: bool, slow: bool) -> Self {
        let mut targets = targets(&PODS);
        targets.variants[0].bounds = Some(Bounds {
            sequences: 256.0,
            tokens_per_second: 22_000.0,
        });
        Self {
            memory: Memory::default(),
            targets,
            replicas: PODS.map(|name| (name, Replica::default())).into(),
            empty: reading(finished(0.0)),
            seed,
            now: 1000.0,
            scraped: 1000.0,
            rate: 0.5,
            cached,
            slow,
            requests: 0.0,
            born: None,
        }
    }

    fn late(&mut self) -> f64 {
        if self.slow {
            3.0 * uniform(&mut self.seed).powi(3)
        } else {
            0.02 * uniform(&mut self.seed)
        }
    }

    /// Half a second later: what has been counted by then, if anything is known.
    fn cycle(&mut self, lie: impl Fn(EngineReading) -> EngineReading) -> Option<StreamSample> {
        let before = self.now;
        self.now += 0.5 + self.late();
        let mut at = before - (uniform(&mut self.seed)).ln() / self.rate;
        while at < self.now {
            let name = PODS[(3.0 * uniform(&mut self.seed)).ceil() as usize - 1];
            self.replicas.get_mut(name).unwrap().came.push(at);
            self.requests += 1.0;
            at -= uniform(&mut self.seed).ln() / self.rate;
        }
        while self.scraped + 1.0 <= self.now {
            self.scraped += 1.0 + self.late().min(self.now - self.scraped - 1.0);
        }
        let mut evidence = Evidence::default();
        for (name, replica) in &self.replicas {
            let page = lie(replica.page(self.scraped, self.cached, &self.empty));
            let candidate = candidate(Source::Prometheus, self.scraped, page);
            evidence.engine(&format!("uid-{name}"), candidate);
        }
        for pod in &mut self.targets.pods {
            pod.started_at = self.born;
        }
        let gates = GateSettings {
            stale_after_seconds: 3.0,
            ..GateSettings::default()
        };
        let gathered = self.memory.judge(&self.targets, evidence, &gates, self.now);
        gathered.streams[0].outcome.sample().cloned()
    }

    fn run(
        &mut self,
        cycles: usize,
        lie: impl Fn(EngineReading) -> EngineReading,
    ) -> Vec<StreamSample> {
        (0..cycles).filter_map(|_| self.cycle(&lie)).collect()
    }
}

fn thousandfold(r: EngineReading) -> EngineReading {
    times(r, 1000.0)
}

/// In each of many worlds: prompts that are all new, or all in caches; punctual, and not.
fn worlds() -> impl Iterator<Item = World> {
    (0..24).map(|seed| World::new(seed, seed % 2 == 0, seed % 4 < 2))
}

/// What was counted and judged from one sample to the last.
fn growth(from: &StreamSample, later: &[StreamSample]) -> f64 {
    let last = later.last().unwrap_or(from);
    let judged = last.met + last.missed - from.met - from.missed;
    (last.arrivals - from.arrivals).max(judged)
}

#[test]
fn a_lie_that_begins_at_any_moment_counts_for_nothing() {
    for mut world in worlds() {
        let seed = world.seed;
        world.rate = 7.0;
        let busy = world.run(40, |r| r);
        world.rate = 0.5;
        let before = world.run(20, |r| r).pop().or(busy.last().cloned()).unwrap();
        let requests = world.requests;
        let during = world.run(120, thousandfold);
        let came = world.requests - requests + ON_THEIR_WAY;
        let counted = growth(&before, &during);
        assert!(counted <= came, "world {seed}: {counted} of {came}");
    }
}

#[test]
fn a_lie_right_after_a_time_without_knowledge_counts_for_nothing() {
    for mut world in worlds() {
        let seed = world.seed;
        world.rate = 7.0;
        let before = world.run(40, |r| r).pop().unwrap();
        let requests = world.requests;
        world.rate = 0.5;
        world.run(50, |r| times(r, f64::NAN));
        let during = world.run(120, thousandfold);
        let came = world.requests - requests + ON_THEIR_WAY;
        let counted = growth(&before, &during);
        assert!(counted <= came, "world {seed}: {counted} of {came}");
        // The truth is known again at once, and no request of the meantime is lost.
        world.run(20, |r| r);
        let after = world.run(4, |r| r);
        let counted = growth(&before, &after);
        let came = world.requests - requests;
        assert!(
            (counted - came).abs() <= ON_THEIR_WAY,
            "world {seed}: {counted} of {came}"
        );
    }
}

/// Also of replicas that have seen no request before, and of replicas that nobody has seen before.
#[test]
fn a_lie_about_new_replicas_counts_for_nothing() {
    for mut world in worlds() {
        let seed = world.seed;
        if seed % 3 == 0 {
            world.rate = 1e-9;
            world.run(4, |r| r);
        }
        world.born = Some(world.now + 0.1);
        let requests = world.requests;
        world.rate = 0.5;
        let during = world.run(60, thousandfold);
        let came = world.requests - requests + ON_THEIR_WAY;
        let counted = during
            .last()
            .map_or(0.0, |s| s.arrivals.max(s.met + s.missed));
        assert!(counted <= came, "world {seed}: {counted} of {came}");
    }
}
