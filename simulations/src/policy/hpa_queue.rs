//! `hpa-queue`: a HorizontalPodAutoscaler on requests per replica, as most people begin.
//!
//! One HPA (autoscaling/v2, default behaviour: tolerance 0.1, up at once by at most 100 % or 4 pods per 15 s, down after
//! 300 s) per model, on the variant that serves the traffic cheapest ([`super::deployment`]). Its metric is the number of
//! requests in a replica, `vllm:num_requests_running` plus `vllm:num_requests_waiting`, against
//! [`HpaQueueSettings::target_requests`]. Waiting requests alone, the other common metric, are 0 on a healthy fleet: an
//! HPA on them shrinks until requests queue, waits for new replicas, and starts over; it is there to try.
//!
//! Tuned once: the default target is 70 % of the mean number of requests in a replica that is full under the SLO, the
//! greatest of 60, 70, 80 and 90 % with which every class of the `day` example attains 99 %.

use serde::Deserialize;
use wva_optimizer::snapshot::{Snapshot, VariantSample};

use super::deployment::{Deployment, Target};
use super::scaled::Scaled;
use super::{Intent, Policy, World};
use crate::hpa::{Hpa, HpaSpec, Metric};

/// A metric older than this, seconds, is gone from Prometheus.
const STALE: f64 = 300.0;
/// Share of the requests in a full replica that the default target is.
const TUNED: f64 = 0.7;

/// Settings of `hpa-queue`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HpaQueueSettings {
    /// Running and waiting requests per replica; absent: tuned, unless `target_waiting` is there.
    pub target_requests: Option<f64>,
    /// Waiting requests per replica. With both, the HPA takes the greater proposal.
    pub target_waiting: Option<f64>,
}

/// The policy.
#[derive(Debug, Clone)]
pub struct HpaQueue {
    settings: HpaQueueSettings,
    scaled: Scaled,
    hpas: Vec<Hpa>,
}

impl HpaQueue {
    /// The policy for these deployments, one HPA for each of their targets.
    #[must_use]
    pub fn new(settings: HpaQueueSettings, deployments: Vec<Deployment>) -> Self {
        let scaled = Scaled::new(deployments);
        let hpa = |t: &Target| Hpa::new(HpaSpec::kubernetes_default(t.min, t.max));
        Self {
            settings,
            hpas: scaled.targets().map(hpa).collect(),
            scaled,
        }
    }
}

impl Policy for HpaQueue {
    fn name(&self) -> &str {
        "hpa-queue"
    }

    fn period(&self) -> f64 {
        15.0
    }

    fn begin(&mut self, world: &World<'_>) {
        self.scaled.begin(world);
    }

    fn decide(&mut self, snapshot: &Snapshot) -> Intent {
        let (settings, hpas) = (self.settings, &mut self.hpas);
        self.scaled
            .cycle(snapshot, |i, _, target, sample, current| {
                let waiting = settings.target_waiting;
                let tuned = waiting.is_none().then_some(TUNED * target.concurrency);
                let requests =
                    Values::of(sample, snapshot.at, |running, waiting| running + waiting);
                let queued = Values::of(sample, snapshot.at, |_, waiting| waiting);
                let metrics = [
                    settings
                        .target_requests
                        .or(tuned)
                        .map(|t| requests.metric(t)),
                    waiting.map(|t| queued.metric(t)),
                ];
                let metrics: Vec<_> = metrics.into_iter().flatten().collect();
                hpas[i].sync(snapshot.at, current, &metrics)
            })
    }
}

/// A metric of the pods of one variant.
struct Values {
    reported: Vec<f64>,
    unready: u32,
    missing: u32,
}

impl Values {
    fn of(sample: &VariantSample, now: f64, value: impl Fn(f64, f64) -> f64) -> Self {
        let fresh = sample.replicas.iter().filter(|r| now - r.at <= STALE);
        let reported: Vec<f64> = fresh.map(|r| value(r.running, r.waiting)).collect();
        Self {
            missing: sample.ready.saturating_sub(reported.len() as u32),
            unready: (sample.starting.len() + sample.pending.len()) as u32,
            reported,
        }
    }

    /// The metric against `target`; `None` when no pod reports.
    fn metric(&self, target: f64) -> Option<Metric<'_>> {
        (!self.reported.is_empty()).then_some(Metric::Pods {
            values: &self.reported,
            unready: self.unready,
            missing: self.missing,
            target,
        })
    }
}
