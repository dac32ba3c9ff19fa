//! The HorizontalPodAutoscaler of Kubernetes (autoscaling/v2), as a state machine over simulated time.
//!
//! It stands between most policies and the scale target, and it has opinions: a tolerance that swallows small changes,
//! stabilisation windows, and rate limits. Leaving it out would flatter every policy that publishes a metric.
//! Algorithm: Kubernetes documentation "Horizontal Pod Autoscaling" (algorithm details; configurable scaling behavior).

mod behavior;
mod metric;

pub use behavior::{Behavior, RatePolicy, Rules, Select, Unit};
pub use metric::Metric;

/// Specification of one HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq)]
pub struct HpaSpec {
    /// Seconds between syncs (`--horizontal-pod-autoscaler-sync-period`).
    pub sync_s: f64,
    /// When the first sync is, seconds after the start: nothing aligns the HPA with the scrapes.
    pub first_sync_s: f64,
    /// Fewest replicas; 0 lets the metric scale to and from zero, as KEDA's activation does.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// Tolerances, windows and rate limits.
    pub behavior: Behavior,
}

impl HpaSpec {
    /// Defaults of Kubernetes: sync every 15 s, tolerance 0.1, up at once by at most 100 % or 4 pods in 15 s, down after
    /// 300 s.
    #[must_use]
    pub fn kubernetes_default(min: u32, max: u32) -> Self {
        Self {
            sync_s: 15.0,
            first_sync_s: 7.5,
            min,
            max,
            behavior: Behavior::kubernetes_default(),
        }
    }

    /// Follows an external metric of AverageValue 1 exactly: tolerance 0, no windows, no rate limits. For a policy that
    /// stabilises its own decisions.
    #[must_use]
    pub fn transparent() -> Self {
        Self {
            sync_s: 15.0,
            first_sync_s: 7.5,
            min: 0,
            max: u32::MAX,
            behavior: Behavior::transparent(),
        }
    }
}

/// State of one HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq)]
pub struct Hpa {
    spec: HpaSpec,
    history: behavior::History,
}

impl Hpa {
    /// A new one, without history.
    #[must_use]
    pub fn new(spec: HpaSpec) -> Self {
        Self {
            spec,
            history: behavior::History::default(),
        }
    }

    /// Its specification.
    #[must_use]
    pub const fn spec(&self) -> &HpaSpec {
        &self.spec
    }

    /// One sync at `now` (seconds): the replicas to ask for, given those asked for now and what each metric says.
    /// Several metrics: the greatest proposal wins; a metric that cannot be read (`None`) vetoes scaling down only.
    /// Without any readable metric nothing changes, except into the bounds.
    pub fn sync(&mut self, now: f64, current: u32, metrics: &[Option<Metric<'_>>]) -> u32 {
        let spec = &self.spec;
        if current == 0 && spec.min > 0 {
            return 0; // Scaled to zero by hand: autoscaling is off until someone scales up.
        }
        if current > spec.max || current < spec.min {
            let bounded = current.clamp(spec.min, spec.max);
            self.history.scaled(now, current, bounded, &spec.behavior);
            return bounded;
        }
        let mut proposal: Option<u32> = None;
        let mut unreadable = false;
        for metric in metrics {
            match metric {
                Some(m) => {
                    proposal = proposal.max(Some(m.proposal(current, &spec.behavior)));
                }
                None => unreadable = true,
            }
        }
        let wanted = match proposal {
            Some(p) if !(unreadable && p < current) => p,
            _ => return current,
        };
        let next = self
            .history
            .limit(now, current, wanted, (spec.min, spec.max), &spec.behavior);
        self.history.scaled(now, current, next, &spec.behavior);
        next
    }
}
