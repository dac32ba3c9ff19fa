//! The online fit: an extended Kalman filter over log-parameters, per variant.
//!
//! Each window gives up to two measurements, the mean token gap and the mean prefill time, compared in logarithms with
//! what the law predicts for the window's operating point. Care is taken against everything that makes such a filter
//! lie: outliers (Huber weights, a χ² gate on the normalised innovation), forgetting that would blow up along
//! directions without data (it forgets towards the prior's information, not towards none), laws that physics forbids
//! (projected onto those that it allows), fits that predict recent windows worse than an earlier one did or only against
//! physics (rollback, with lower trust), and a changed engine (gate rejecting nearly everything: the covariance is reset).
//!
//! A batch refit over a stored history would be as good, but costs a history per variant.

mod filter;
mod fitted;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::parameters::{PhysicalFloor, PriorSpread, to_log};
use super::telemetry::{EngineWindow, OperatingPoint};
use crate::iteration::IterationLaw;
use filter::{Filter, Judged};
pub use fitted::Fitted;

/// Information that is kept from one cycle to the next.
const FORGETTING: f64 = 0.985;
/// Windows remembered to judge laws by.
const REMEMBERED: usize = 24;
/// Weight of the newest window in the running error and context.
const NEWEST: f64 = 0.08;
/// (E|x|)²/Var x of a normal law.
const ABSOLUTE: f64 = std::f64::consts::FRAC_2_PI;
/// Share of recent measurements rejected above which the engine has changed.
const CHANGED: f64 = 0.7;

/// What an update did; stable names for reasons and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FitEvent {
    /// Nothing was observed yet: the prior stands.
    Prior,
    /// The last cycle's windows were taken in.
    Updated,
    /// The last cycle had no usable window: idle, too few tokens, preemptions, or malformed.
    NoUsableWindow,
    /// The last cycle's measurements were all too far off to believe.
    Gated,
    /// Only a law that is impossible (below the physical floor) predicts the windows; the earlier parameters were kept.
    BelowPhysicalFloor,
    /// The law predicted recent windows worse than the earlier one; the earlier parameters were kept.
    Worse,
    /// Nearly everything was gated: the engine has changed, and the covariance was reset.
    Changed,
    /// The covariance was reset on demand.
    Reset,
}

impl FitEvent {
    /// A stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prior => "prior",
            Self::Updated => "updated",
            Self::NoUsableWindow => "no-usable-window",
            Self::Gated => "gated",
            Self::BelowPhysicalFloor => "below-physical-floor",
            Self::Worse => "worse",
            Self::Changed => "changed",
            Self::Reset => "reset",
        }
    }
}

/// A window kept to judge laws by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Remembered {
    point: OperatingPoint,
    gap: Option<f64>,
    prefill: Option<f64>,
}

/// The fit of one variant's iteration law, fed with every replica's windows. A few kB of state; tens of microseconds a
/// window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnlineFit {
    token_budget: f64,
    physical: PhysicalFloor,
    filter: Filter,
    /// The latest filter that judged well, to go back to.
    good: Filter,
    recent: VecDeque<Remembered>,
    /// Running sums behind the mean context: KV tokens and running sequences.
    context: (f64, f64),
    /// Running mean absolute log-error of predictions made before each window was taken in: gap and prefill.
    errors: [Option<f64>; 2],
    /// Running variance of what windows' samples alone make of those errors.
    #[serde(default)]
    sampling: [Option<f64>; 2],
    /// Running share of measurements that the gate rejected: gaps and prefill times.
    gated: [f64; 2],
    /// What trust is multiplied with after a rejected fit; recovers towards 1.
    credit: f64,
    used: u64,
    rejected: u64,
    event: FitEvent,
}

impl OnlineFit {
    /// A fit that starts from `prior`, for replicas with `token_budget` tokens per iteration. A parameter that is 0 in
    /// the prior stays 0.
    #[must_use]
    pub fn new(
        prior: &IterationLaw,
        spread: &PriorSpread,
        physical: PhysicalFloor,
        token_budget: f64,
    ) -> Self {
        let filter = Filter::new(to_log(prior), spread, prior.front_end_s);
        Self {
            token_budget: if token_budget >= 1.0 {
                token_budget
            } else {
                8192.0
            },
            physical,
            good: filter.clone(),
            filter,
            recent: VecDeque::new(),
            context: (0.0, 0.0),
            errors: [None; 2],
            sampling: [None; 2],
            gated: [0.0; 2],
            credit: 1.0,
            used: 0,
            rejected: 0,
            event: FitEvent::Prior,
        }
    }

    /// Takes in one cycle's windows, one a replica. Windows that are malformed or had preemptions are left out.
    pub fn update(&mut self, windows: &[EngineWindow]) -> FitEvent {
        let mut usable = 0;
        let mut accepted = 0;
        for w in windows
            .iter()
            .filter(|w| w.is_sane() && w.preemptions == 0.0)
        {
            let Some(seen) = self.look(w) else {
                continue;
            };
            if usable == 0 {
                self.filter.forget(FORGETTING);
            }
            usable += 1;
            accepted += self.take(w, &seen);
        }
        self.event = if usable == 0 {
            FitEvent::NoUsableWindow
        } else if self.gated.iter().any(|&g| g > CHANGED) {
            self.widen();
            FitEvent::Changed
        } else if accepted == 0 {
            FitEvent::Gated
        } else {
            self.judge()
        };
        self.event
    }

    /// Tells that the engine changed (image, driver, flags): keeps the parameters, forgets how sure they were.
    pub fn reset_covariance(&mut self) {
        self.widen();
        self.event = FitEvent::Reset;
    }

    fn widen(&mut self) {
        if !self.possible() {
            self.filter = self.good.clone();
        }
        self.filter.widen();
        self.good = self.filter.clone();
        self.recent.clear();
        self.gated = [0.0; 2];
        self.credit *= 0.5;
        self.used = 0;
    }

    /// What the window says, with the context that gauges of this and earlier windows show.
    fn look(&mut self, w: &EngineWindow) -> Option<Remembered> {
        if w.running > 0.0 {
            self.context.0 += NEWEST * (w.kv_tokens - self.context.0);
            self.context.1 += NEWEST * (w.running - self.context.1);
        }
        let context = if self.context.1 > 0.0 {
            self.context.0 / self.context.1
        } else {
            0.0
        };
        let seen = Remembered {
            point: w.operating_point(context)?,
            gap: w.mean_gap(),
            prefill: w.mean_prefill(),
        };
        (seen.gap.is_some() || seen.prefill.is_some()).then_some(seen)
    }

    /// Takes in a window's measurements; returns how many the gate let through.
    fn take(&mut self, w: &EngineWindow, seen: &Remembered) -> u32 {
        let budget = self.token_budget;
        let mut accepted = 0;
        let (bias, sampling) = noise(w, &seen.point, &self.filter.law(), budget);
        for (i, observed) in [seen.gap, seen.prefill].into_iter().enumerate() {
            let Some(observed) = observed else {
                continue;
            };
            let predict = |law: &IterationLaw| predicted(law, &seen.point, budget, i);
            let (innovation, judged) =
                self.filter
                    .measure(observed.ln(), bias[i] + sampling[i], predict);
            let error = innovation.abs().min(2.0);
            let before = self.errors[i].unwrap_or(error);
            // One wild window does not ruin trust; several do, as the bound grows with the mean.
            let error = error.min(0.1 + 3.0 * before);
            self.errors[i] = Some(before + NEWEST * (error - before));
            let before = self.sampling[i].unwrap_or(sampling[i]);
            self.sampling[i] = Some(before + NEWEST * (sampling[i] - before));
            let out = judged == Judged::Rejected;
            self.gated[i] += NEWEST * (f64::from(u8::from(out)) - self.gated[i]);
            accepted += u32::from(!out);
        }
        if let Some(o) = w.mean_front_end() {
            self.filter.front_end(o, w.ttft_count);
        }
        self.recent.push_back(*seen);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        self.used += u64::from(accepted > 0);
        self.rejected += u64::from(accepted == 0);
        accepted
    }

    /// Keeps the new filter, or goes back to the earlier one where the new is impossible or worse.
    fn judge(&mut self) -> FitEvent {
        let event = if self.contradicts_physics() {
            FitEvent::BelowPhysicalFloor
        } else if self.is_worse(&self.filter.law(), &self.good.law()) {
            FitEvent::Worse
        } else {
            self.good = self.filter.clone();
            self.credit = 1.0 - 0.95 * (1.0 - self.credit);
            return FitEvent::Updated;
        };
        self.filter = self.good.clone();
        self.credit *= 0.7;
        self.rejected += 1;
        event
    }

    /// Holds the filter to what physics allows; whether that spoils its predictions. Some parameters are known only
    /// together, so that one of them falls below its least while their sum is right: then nothing is lost.
    fn contradicts_physics(&mut self) -> bool {
        if self.possible() {
            return false;
        }
        let free = self.filter.law();
        self.filter.hold_to(&self.physical.least());
        !self.possible() || self.is_worse(&self.filter.law(), &free)
    }

    /// Whether a law predicts the remembered windows worse than another.
    fn is_worse(&self, law: &IterationLaw, than: &IterationLaw) -> bool {
        self.error_of(law) > 1.25 * self.error_of(than) + 0.02
    }

    /// Whether physics allows the present law. A prior that it forbids is judged by its predictions alone.
    fn possible(&self) -> bool {
        self.physical.allows(&self.filter.law()) || !self.physical.allows(&self.good.law())
    }

    /// Median absolute log-error of the gaps and prefill times of the remembered windows.
    fn error_of(&self, law: &IterationLaw) -> f64 {
        let mut errors: Vec<f64> = self
            .recent
            .iter()
            .flat_map(|r| {
                [r.gap, r.prefill]
                    .into_iter()
                    .enumerate()
                    .filter_map(|(i, observed)| {
                        let off = (observed? / predicted(law, &r.point, self.token_budget, i))
                            .ln()
                            .abs();
                        Some(if off.is_nan() { f64::INFINITY } else { off })
                    })
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        errors.get(errors.len() / 2).copied().unwrap_or(0.0)
    }

    /// The law as fitted so far, with how sure it is.
    #[must_use]
    pub fn fitted(&self) -> Fitted {
        Fitted {
            law: self.filter.law(),
            covariance: self.filter.covariance,
            trust: self.trust(),
            gap_error: self.errors[0],
            prefill_error: self.errors[1],
            windows_used: self.used,
            rejected: self.rejected,
            event: self.event,
        }
    }

    /// Trust from one-step-ahead errors, beyond what the samples in a window explain: 0.2 without data, towards
    /// exp(−error/15 %) as windows accrue, times the credit that rejected fits cost. Prefill errors count a third: they are
    /// the coarser measurement.
    fn trust(&self) -> f64 {
        const UNKNOWN: f64 = 0.2;
        let own = |i: usize| {
            let explained = ABSOLUTE * self.sampling[i].unwrap_or(0.0);
            Some((self.errors[i]?.powi(2) - explained).max(0.0).sqrt())
        };
        let error = match [own(0), own(1)] {
            [Some(gap), Some(prefill)] => (3.0 * gap + prefill) / 4.0,
            [Some(only), None] | [None, Some(only)] => only,
            [None, None] => return UNKNOWN * self.credit,
        };
        let known = self.used as f64 / (self.used as f64 + 8.0);
        ((1.0 - known) * UNKNOWN + known * (-error / 0.15).exp()) * self.credit
    }
}

/// Predicted mean gap (0) or prefill time (1), seconds.
fn predicted(law: &IterationLaw, point: &OperatingPoint, budget: f64, which: usize) -> f64 {
    if which == 0 {
        point.gap(law, budget)
    } else {
        point.prefill(law, budget)
    }
}

/// Variances of the logarithms of a window's mean gap and mean prefill time about the measurement model: what the model
/// is off by, and what few samples are.
///
/// The model itself is 2–3 % off for decode and some 5 % where prefills make up the gap; one iteration's time varies as
/// much as its mean, and which decodes a prefill happens to hold up varies from prompt to prompt. (Sizes as seen
/// against an iteration-level simulation.)
fn noise(
    w: &EngineWindow,
    point: &OperatingPoint,
    law: &IterationLaw,
    budget: f64,
) -> ([f64; 2], [f64; 2]) {
    let iterations = w.gap_count / point.batch.max(1.0);
    let prefills = w.prefill_count.max(1.0);
    let part = point.prefill_part(law, budget);
    let bias = [
        0.02 + 0.05 * part,
        0.08 + 0.1 * (point.prompt / budget).min(1.0),
    ];
    (
        bias.map(|b| b * b),
        [
            0.7 * part * part / prefills + 0.2 / iterations.max(1.0),
            (0.2 + 0.5 * point.prompt_cv * point.prompt_cv) / prefills,
        ],
    )
}
