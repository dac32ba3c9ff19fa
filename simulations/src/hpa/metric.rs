//! Metrics of a HorizontalPodAutoscaler and the replicas that each proposes.

use super::behavior::Behavior;

/// One metric at one sync.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric<'a> {
    /// External (or Object) metric with an AverageValue target: ⌈total / target⌉.
    AverageValue {
        /// The metric's value over the whole target.
        total: f64,
        /// Target per replica.
        target: f64,
    },
    /// External (or Object) metric with a Value target: ⌈ready · value / target⌉.
    Value {
        /// The metric's value.
        value: f64,
        /// Its target.
        target: f64,
        /// Ready replicas.
        ready: u32,
    },
    /// Pods (or Resource) metric: the mean over ready pods against a target; pods that are not ready count as 0 and pods
    /// without the metric count as 0 (scaling up) or as the target (scaling down), which dampens both directions.
    Pods {
        /// Value of each ready pod that reports.
        values: &'a [f64],
        /// Pods that are not ready.
        unready: u32,
        /// Ready pods that do not report.
        missing: u32,
        /// Target mean.
        target: f64,
    },
}

impl Metric<'_> {
    /// Replicas that this metric alone proposes, before windows, rate limits and bounds.
    #[must_use]
    pub fn proposal(&self, current: u32, behavior: &Behavior) -> u32 {
        match *self {
            Metric::AverageValue { total, target } => {
                let ratio = total / (target * f64::from(current));
                if current > 0 && behavior.tolerates(ratio) {
                    current
                } else {
                    ceil(total / target)
                }
            }
            Metric::Value {
                value,
                target,
                ready,
            } => {
                let ratio = value / target;
                if current == 0 {
                    ceil(ratio)
                } else if behavior.tolerates(ratio) {
                    current
                } else {
                    ceil(ratio * f64::from(ready))
                }
            }
            Metric::Pods {
                values,
                unready,
                missing,
                target,
            } => pods(current, values, (unready, missing), target, behavior),
        }
    }
}

/// Pods metric: the first ratio uses reporting ready pods only; where others exist the ratio is taken again with assumed
/// values for them, and a change of direction means no change.
fn pods(
    current: u32,
    values: &[f64],
    (unready, missing): (u32, u32),
    target: f64,
    behavior: &Behavior,
) -> u32 {
    if values.is_empty() || target <= 0.0 {
        return current;
    }
    let sum: f64 = values.iter().sum();
    let count = values.len() as f64;
    let ratio = sum / count / target;
    let with_unready = unready > 0 && ratio > 1.0;
    if !with_unready && missing == 0 {
        return if behavior.tolerates(ratio) {
            current
        } else {
            ceil(ratio * count)
        };
    }
    let assumed = if ratio < 1.0 {
        f64::from(missing) * target
    } else {
        0.0
    };
    let all = count
        + f64::from(missing)
        + if with_unready {
            f64::from(unready)
        } else {
            0.0
        };
    let damped = (sum + assumed) / all / target;
    let reversed = (ratio < 1.0 && damped > 1.0) || (ratio > 1.0 && damped < 1.0);
    if reversed || behavior.tolerates(damped) {
        return current;
    }
    let proposed = ceil(damped * all);
    if (damped < 1.0 && proposed > current) || (damped > 1.0 && proposed < current) {
        current
    } else {
        proposed
    }
}

/// ⌈x⌉ as a replica count; NaN and negatives give 0. A hair above a whole number is that number:
/// 10 · 1.1, which rounding makes 11.000000000000002, is 11.
fn ceil(x: f64) -> u32 {
    (x - 1e-9 * x.abs()).ceil() as u32
}
