//! The event loop, and the policy in it.

use wva_models::iteration::ReplicaModel;
use wva_optimizer::decision::Decision;

use super::setup::{Setup, SetupError};
use super::summary;
use super::timeline::Timeline;
use crate::fleet::{Event, Fleet, Router, Scraped};
use crate::hpa::{Hpa, HpaSpec, Metric};
use crate::policy::{Actuation, Policy, World};
use crate::result::RunResult;
use crate::time::Time;

/// Shortest period of scrapes, cycles and syncs, s.
const LEAST_PERIOD: f64 = 0.1;

/// A run in progress.
pub(super) struct Run<'a> {
    setup: &'a Setup<'a>,
    policy: &'a mut dyn Policy,
    fleet: Fleet<'a>,
    scraped: Scraped,
    /// One per variant, when the policy acts through them.
    autoscalers: Vec<Hpa>,
    timeline: Timeline,
    /// Target of the last recorded decision per variant.
    targets: Vec<u32>,
    decisions: Vec<Decision>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        setup: &'a Setup<'a>,
        policy: &'a mut dyn Policy,
    ) -> Result<Self, SetupError> {
        let mut fleet = Fleet::new(setup)?;
        let catalogue = setup.catalogue;
        let priors: Vec<ReplicaModel> = catalogue
            .variants
            .iter()
            .map(|v| catalogue.replica_model(v))
            .collect();
        policy.begin(&World {
            catalogue,
            priors: &priors,
            streams: setup.source.streams(),
            initial: &setup.initial,
            scrape_interval_s: setup.scrape_interval_s,
        });
        let timeline = Timeline::new(setup.duration_s);
        if setup.options.router != Router::LeastLoad {
            fleet.push(Time::ZERO, Event::Probe);
        }
        fleet.push(Time::ZERO, Event::Scrape);
        fleet.push(Time::ZERO, Event::Decide);
        fleet.push(Time::from_seconds(timeline.step_s), Event::Sample);
        fleet.push(fleet.end, Event::Close);
        let autoscalers = match policy.actuation() {
            Actuation::Direct => Vec::new(),
            Actuation::Hpa(spec) => {
                fleet.push(Time::from_seconds(spec.first_sync_s), Event::Sync);
                autoscalers(setup, &spec)
            }
        };
        Ok(Self {
            setup,
            policy,
            fleet,
            scraped: Scraped::default(),
            autoscalers,
            timeline,
            targets: setup.initial.clone(),
            decisions: Vec::new(),
        })
    }

    pub(super) fn finish(mut self) -> Result<RunResult, SetupError> {
        let setup = self.setup;
        let stop = self.fleet.end + Time::from_seconds(setup.options.tail_s);
        let mut requests = setup.source.requests(setup.seed);
        let end = self.fleet.end;
        let mut next = move || requests.next().filter(|r| r.at <= end);
        let mut request = next();
        loop {
            let event = self.fleet.events.next_time();
            match request.take() {
                // Requests come before events of the same time, so that all of one instant share an iteration.
                Some(r) if r.at <= event => {
                    self.fleet.now = self.fleet.now.max(r.at);
                    self.fleet.arrive(r);
                    request = next();
                }
                waiting => {
                    request = waiting;
                    let idle = self.fleet.sequences.is_empty() && event > end;
                    if event > stop || idle {
                        break;
                    }
                    let Some((time, event)) = self.fleet.events.pop() else {
                        break;
                    };
                    self.fleet.now = time;
                    self.handle(event);
                }
            }
        }
        Ok(summary::result(
            setup,
            self.policy.name(),
            &self.fleet,
            self.timeline,
            self.decisions,
        ))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wake(pod) => self.fleet.wake(pod),
            Event::Ready(pod) => self.fleet.loaded(pod),
            Event::Transferred(id) => self.fleet.transferred(id),
            Event::HoldLimit(model) => self.fleet.hold_limit(model as usize),
            Event::StockChange => self.fleet.schedule_pending(),
            Event::Close => self.fleet.close(),
            Event::Scrape => {
                self.fleet.scrape(&mut self.scraped);
                self.fleet.offer_all();
                self.again(self.setup.scrape_interval_s, event);
            }
            Event::Probe => {
                self.fleet.probe();
                self.again(self.setup.options.probe_interval_s, event);
            }
            Event::Decide => {
                self.decide();
                self.again(self.policy.period(), event);
            }
            Event::Sync => {
                self.sync();
                let period = self.autoscalers.first().map_or(15.0, |h| h.spec().sync_s);
                self.again(period, event);
            }
            Event::Sample => {
                self.timeline.sample(&mut self.fleet);
                self.again(self.timeline.step_s, event);
            }
        }
    }

    /// Repeats a periodic event until the end; a period of 0 or NaN must not stop the clock.
    fn again(&mut self, seconds: f64, event: Event) {
        let period = Time::from_seconds(seconds).max(Time::from_seconds(LEAST_PERIOD));
        let time = self.fleet.now + period;
        if time <= self.fleet.end {
            self.fleet.push(time, event);
        }
    }

    fn decide(&mut self) {
        let snapshot = self.fleet.snapshot(&self.scraped);
        let intent = self.policy.decide(&snapshot);
        for (i, variant) in self.setup.catalogue.variants.iter().enumerate() {
            self.fleet.variants[i].batch_limit = intent.batch_limits.get(&variant.name).copied();
            if let Some(&wanted) = intent.replicas.get(&variant.name) {
                if self.autoscalers.is_empty() {
                    self.fleet.scale(i, wanted);
                } else {
                    self.fleet.variants[i].published = Some(wanted);
                }
            }
        }
        let variants = &self.setup.catalogue.variants;
        self.fleet.learn(|v| self.policy.learned(&variants[v].name));
        self.fleet.share(&intent.shares);
        self.record(intent.decisions);
    }

    /// Keeps the decisions that change a target.
    fn record(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            let variants = &self.setup.catalogue.variants;
            let variant = variants.iter().position(|v| v.name == decision.variant);
            if let Some(v) = variant
                && self.targets[v] != decision.target
            {
                self.targets[v] = decision.target;
                self.decisions.push(decision);
            }
        }
    }

    fn sync(&mut self) {
        let now = self.fleet.now.seconds();
        for (i, autoscaler) in self.autoscalers.iter_mut().enumerate() {
            let variant = &self.fleet.variants[i];
            let metric = variant.published.map(|replicas| Metric::AverageValue {
                total: f64::from(replicas),
                target: 1.0,
            });
            let next = autoscaler.sync(now, variant.desired, &[metric]);
            self.fleet.scale(i, next);
        }
    }
}

/// One autoscaler per variant, within the variant's bounds.
fn autoscalers(setup: &Setup<'_>, spec: &HpaSpec) -> Vec<Hpa> {
    let bounded = |v: &wva_models::variant::Variant| {
        let max = spec.max.min(v.max_replicas.unwrap_or(u32::MAX));
        Hpa::new(HpaSpec {
            min: spec.min.max(v.min_replicas).min(max),
            max,
            ..spec.clone()
        })
    };
    setup.catalogue.variants.iter().map(bounded).collect()
}
