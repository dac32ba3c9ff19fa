//! `keda-slo`: KEDA with the SLO-aware law of llm-d's autoscaling guide.
//!
//! Every 15 s and per model
//! ```text
//! s = 45 s average of min(2, max(P90 TTFT / SLO, P90 TPOT / SLO))
//! s > 0.55:  desired = n + ⌈n·(s·c/0.55 − 1)⌉        c = ready/n, the credit for replicas on their way
//! s < 0.40:  desired = n − ⌊n·(1 − s/0.40)⌋
//! ```
//! and an HPA follows: up by at most the greater of 100 % and 4 pods per 60 s, the least recommendation of 30 s; down by
//! one pod per 120 s, the greatest of 180 s. Percentiles are Prometheus' `histogram_quantile` over a minute of the
//! gateway's histograms. Without requests in that minute there is no s, and nothing changes.
//!
//! One number per SLO, as in the original: for bounds that grow with the input it is the bound at the P90 input of the
//! traffic so far, since P90 latencies are those of long prompts. Several interactive classes: the worst counts. It scales
//! the variant that serves the traffic cheapest ([`super::deployment`]); of a prefill and decode pair, prefill follows
//! TTFT and decode TPOT.
//!
//! Tuned once: the guide's thresholds suit a GPU whose idle token gap is a small part of its SLO. On one that needs half of
//! it to read its weights, a calm fleet stays above 0.40 for ever and grows to its limit. So where the latency model says
//! that a replica that is full (80 % full) under its SLO is above 0.55 (0.40), that ratio is the threshold instead. Of
//! (80, 50), (90, 70), (90, 80) and (100, 80) % this pair was the cheapest on the examples, at attainments above 99.9 %.

use std::collections::VecDeque;

use serde::Deserialize;
use wva_models::service_class::Slo;
use wva_models::variant::Role;
use wva_optimizer::snapshot::{Histogram, Snapshot, StreamSample};

use super::deployment::{Deployment, Target};
use super::scaled::Scaled;
use super::{Intent, Policy, World};
use crate::hpa::{Behavior, Hpa, HpaSpec, Metric, RatePolicy, Rules, Select, Unit};

/// Range of the percentiles, seconds.
const RANGE: f64 = 60.0;
/// Greatest ratio of latency to SLO that counts.
const WORST: f64 = 2.0;

/// Settings of `keda-slo`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KedaSloSettings {
    /// Ratio of latency to SLO above which replicas are added; absent: 0.55, or more where tuned.
    pub up_threshold: Option<f64>,
    /// Ratio below which they are removed; absent: 0.40, or more where tuned.
    pub down_threshold: Option<f64>,
    /// Seconds over which the ratio is averaged.
    pub average_seconds: f64,
}

impl Default for KedaSloSettings {
    fn default() -> Self {
        Self {
            up_threshold: None,
            down_threshold: None,
            average_seconds: 45.0,
        }
    }
}

/// Ratios of latency to SLO between which nothing changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Replicas are added above.
    pub up: f64,
    /// Replicas are removed below.
    pub down: f64,
}

impl Thresholds {
    /// Those of llm-d's guide.
    pub const GUIDE: Self = Self {
        up: 0.55,
        down: 0.40,
    };

    fn of(settings: &KedaSloSettings, target: &Target) -> Self {
        let (busy, calm) = target.ratios;
        let up = settings.up_threshold.unwrap_or(Self::GUIDE.up.max(busy));
        let down = settings
            .down_threshold
            .unwrap_or(Self::GUIDE.down.max(calm));
        Self {
            up,
            down: down.min(up),
        }
    }

    /// Replicas that the law asks for, given `asked` (asked for now), `ready` and the ratio s.
    #[must_use]
    pub fn desired(&self, asked: u32, ready: u32, ratio: f64) -> u32 {
        let n = f64::from(asked);
        let change = if ratio > self.up {
            let credit = if asked > 0 { f64::from(ready) / n } else { 1.0 };
            (n * (ratio * credit.min(1.0) / self.up - 1.0))
                .ceil()
                .max(0.0)
        } else if ratio < self.down {
            -(n * (1.0 - ratio / self.down)).floor()
        } else {
            0.0
        };
        (n + change).max(0.0) as u32
    }
}

/// The policy.
#[derive(Debug, Clone)]
pub struct KedaSlo {
    settings: KedaSloSettings,
    scaled: Scaled,
    hpas: Vec<Hpa>,
    /// Recent ratios per target.
    ratios: Vec<Ratios>,
    /// SLO per stream, absent for batch work; in the order of the run's streams.
    slos: Vec<(String, String, Slo)>,
    latencies: Latencies,
}

impl KedaSlo {
    /// The policy for these deployments.
    #[must_use]
    pub fn new(settings: KedaSloSettings, deployments: Vec<Deployment>) -> Self {
        let scaled = Scaled::new(deployments);
        let hpas: Vec<Hpa> = scaled.targets().map(|t| Hpa::new(spec(t))).collect();
        Self {
            settings,
            ratios: vec![Ratios::default(); hpas.len()],
            hpas,
            scaled,
            slos: Vec::new(),
            latencies: Latencies::default(),
        }
    }
}

/// The HPA that KEDA makes, with the guide's behaviour.
fn spec(target: &Target) -> HpaSpec {
    let policy = |unit, value, period_s| RatePolicy {
        unit,
        value,
        period_s,
    };
    HpaSpec {
        behavior: Behavior {
            up: Rules {
                tolerance: 0.1,
                window_s: 30.0,
                policies: vec![
                    policy(Unit::Percent, 100.0, 60.0),
                    policy(Unit::Pods, 4.0, 60.0),
                ],
                select: Select::Max,
            },
            down: Rules {
                tolerance: 0.1,
                window_s: 180.0,
                policies: vec![policy(Unit::Pods, 1.0, 120.0)],
                select: Select::Max,
            },
        },
        ..HpaSpec::kubernetes_default(target.min, target.max)
    }
}

impl Policy for KedaSlo {
    fn name(&self) -> &str {
        "keda-slo"
    }

    fn period(&self) -> f64 {
        15.0
    }

    fn begin(&mut self, world: &World<'_>) {
        self.scaled.begin(world);
        let slo = |class: &str| world.catalogue.class(class)?.slo().copied();
        let streams = world.streams.iter();
        self.slos = streams
            .filter_map(|s| Some((s.model.clone(), s.class.clone(), slo(&s.class)?)))
            .collect();
    }

    fn decide(&mut self, snapshot: &Snapshot) -> Intent {
        self.latencies.take(snapshot);
        let (settings, slos) = (self.settings, &self.slos);
        let (hpas, ratios, latencies) = (&mut self.hpas, &mut self.ratios, &self.latencies);
        let now = snapshot.at;
        self.scaled
            .cycle(snapshot, |i, deployment, target, sample, asked| {
                let own = slos.iter().filter(|(model, ..)| *model == deployment.model);
                let worst = own
                    .filter_map(|(model, class, slo)| {
                        latencies.ratio(model, class, slo, target.role)
                    })
                    .max_by(f64::total_cmp);
                ratios[i].take(now, worst, settings.average_seconds);
                let thresholds = Thresholds::of(&settings, target);
                let metric = ratios[i].mean().map(|s| Metric::AverageValue {
                    total: f64::from(thresholds.desired(asked, sample.ready, s)),
                    target: 1.0,
                });
                hpas[i].sync(now, asked, &[metric])
            })
    }
}

/// Ratios of the recent past.
#[derive(Debug, Clone, Default)]
struct Ratios(VecDeque<(f64, f64)>);

impl Ratios {
    fn take(&mut self, now: f64, ratio: Option<f64>, keep: f64) {
        self.0.extend(ratio.map(|r| (now, r.min(WORST))));
        while self.0.front().is_some_and(|(at, _)| now - at >= keep) {
            self.0.pop_front();
        }
    }

    fn mean(&self) -> Option<f64> {
        let sum: f64 = self.0.iter().map(|(_, r)| r).sum();
        (!self.0.is_empty()).then(|| sum / self.0.len() as f64)
    }
}

/// Scrapes of the last minute.
#[derive(Debug, Clone, Default)]
struct Latencies(VecDeque<(f64, Vec<StreamSample>)>);

impl Latencies {
    fn take(&mut self, snapshot: &Snapshot) {
        self.0.push_back((snapshot.at, snapshot.streams.clone()));
        // One scrape from before the range stays: it is what the range's increase is counted from.
        while self
            .0
            .get(1)
            .is_some_and(|(at, _)| snapshot.at - at >= RANGE)
        {
            self.0.pop_front();
        }
    }

    /// The worst of the bounds' P90 latency over SLO that concern a role; `None` without a bound or without requests.
    fn ratio(&self, model: &str, class: &str, slo: &Slo, role: Role) -> Option<f64> {
        let find = |streams: &'_ [StreamSample]| {
            let found = streams
                .iter()
                .position(|s| s.model == model && s.class == class);
            found.map(|i| streams[i].clone())
        };
        let before = find(&self.0.front()?.1)?;
        let now = find(&self.0.back()?.1)?;
        let input = quantile(&Histogram::default(), &now.input_tokens, 0.9).unwrap_or(0.0);
        let ttft = slo.ttft.filter(|_| role != Role::Decode).and_then(|bound| {
            Some(quantile(&before.ttft, &now.ttft, 0.9)? / bound.limit_for(input))
        });
        let tpot = slo.itl.filter(|_| role != Role::Prefill).and_then(|bound| {
            Some(quantile(&before.tpot, &now.tpot, 0.9)? / bound.limit_for(input))
        });
        ttft.into_iter().chain(tpot).max_by(f64::total_cmp)
    }
}

/// Prometheus' `histogram_quantile(q, increase)` between two scrapes: linear within a bucket, the last bound for what is
/// beyond it; `None` when nothing was counted in between.
fn quantile(before: &Histogram, now: &Histogram, q: f64) -> Option<f64> {
    let earlier = |i: usize| before.counts.get(i).copied().unwrap_or(0.0);
    let total = now.count - before.count;
    if total.is_nan() || total <= 0.0 {
        return None;
    }
    let rank = q * total;
    let (mut low, mut below) = (0.0, 0.0);
    for (i, (&bound, &count)) in now.bounds.iter().zip(&now.counts).enumerate() {
        let upto = count - earlier(i);
        if upto >= rank && upto > below {
            return Some(low + (bound - low) * ((rank - below) / (upto - below)).clamp(0.0, 1.0));
        }
        (low, below) = (bound, upto.max(below));
    }
    now.bounds.last().copied()
}
