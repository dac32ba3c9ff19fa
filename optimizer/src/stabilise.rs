//! From what a plan wants to what is asked for: up at once, down only after plans have wanted less for a while, within
//! rate limits, and never before the replacement serves.
//!
//! ```text
//! recommendation ▲                    A recommendation stands until the next one. The target goes down to what was enough
//!   5 ───┐       │    ┌──┐            for most of the window, so that neither a short dip nor a short peak is followed;
//!   4    └───────┼────┘  └── planned  it goes up to the least that stood in the (usually empty) up-window.
//!                └─ window ─┘ now
//! ```
//! Most of the window, not all of it: demand close to a whole number of replicas makes plans alternate, and the most that
//! stood at any time is then one replica too many for hours.
//! Where the past is not known (the first cycles, a gap in the data), today's count counts as having been recommended:
//! what is not known never lowers anything. At a fixed point, where plans want what there is, nothing changes.
//!
//! A plan that wants another fleet instead of one that would do wants to save money, not to serve more: such a *swap* waits
//! as long as anything that saves. Near the demand where two mixes cost the same, plans take turns, and a fleet that went up
//! at once with each of them would hold both mixes for good.
//!
//! The windows follow the horizontal pod autoscaler's; its step-by-step ramps do not earn their place here, because a
//! plan already knows how many replicas are needed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::decision::Reason;

mod turnover;

pub use turnover::{Turnover, keep_until_replaced};

/// How fast targets may follow plans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StabiliseSettings {
    /// Time for which plans must have wanted more before the target goes up, seconds.
    pub up_window_seconds: f64,
    /// Time for which plans must have wanted less before the target goes down, seconds.
    pub down_window_seconds: f64,
    /// Share of that time for which they must have wanted less; 1 is all of it, as a horizontal pod autoscaler has it.
    pub down_agreement: f64,
    /// Most replicas that may be added per period; absent means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_limit: Option<RateLimit>,
    /// Most replicas that may be removed per period; absent means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_limit: Option<RateLimit>,
}

impl Default for StabiliseSettings {
    /// Up at once, down when less was enough for 70 % of 240 s, no rate limits.
    fn default() -> Self {
        Self {
            up_window_seconds: 0.0,
            down_window_seconds: 240.0,
            down_agreement: 0.7,
            up_limit: None,
            down_limit: None,
        }
    }
}

/// A difference of times within this is arithmetic, seconds.
const ROUNDING_S: f64 = 1e-6;

/// A limit on changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Replicas.
    pub replicas: u32,
    /// Period, seconds.
    pub period_seconds: f64,
}

/// What plans wanted recently, and how the count changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// (time, replicas wanted); the oldest stood when the window began.
    recent: VecDeque<(f64, u32)>,
    /// (time, replicas added; negative: removed); changes are dated to the cycle before they are seen, which asked.
    #[serde(default)]
    changes: VecDeque<(f64, i64)>,
    /// Replicas asked for when this was last called.
    #[serde(default)]
    seen: Option<u32>,
}

/// One variant now.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    /// Time of the cycle, seconds.
    pub now: f64,
    /// Replicas asked for.
    pub current: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas that the plan wants.
    pub planned: u32,
    /// Whether all that has a device today would do as well as the plan: more of this variant is then no need, but a saving.
    pub swap: bool,
}

/// Target for one variant and why it is not what the plan wants (stable codes `stabilising-up`, `stabilising-swap`,
/// `stabilising-down`, `rate-limited`); no reasons where it is.
///
/// Call it once a cycle, and only when the plan rests on fresh data: a variant of which nothing is known is held by not
/// calling it.
pub fn decide(
    situation: &Situation,
    history: &mut History,
    settings: &StabiliseSettings,
) -> (u32, Vec<Reason>) {
    let Situation {
        now,
        current,
        planned,
        swap,
        ..
    } = *situation;
    history.observe(now, current, planned, settings);
    let up = if swap {
        history.agreed(now, settings, current)
    } else {
        history.least(now, settings.up_window_seconds, planned)
    };
    let down = history.sufficed(now, settings, current);
    let windowed = if planned > current {
        up.clamp(current, planned)
    } else {
        down.clamp(planned, current)
    };
    let mut reasons = Vec::new();
    if windowed != planned {
        let (code, why) = if planned > current && swap {
            let window = settings.down_window_seconds;
            (
                "stabilising-swap",
                format!(
                    "today's fleet does as well, and for too much of the last {window:.0} s {windowed} was wanted"
                ),
            )
        } else if planned > current {
            let window = settings.up_window_seconds;
            (
                "stabilising-up",
                format!("in the last {window:.0} s {windowed} was enough at times"),
            )
        } else {
            let window = settings.down_window_seconds;
            (
                "stabilising-down",
                format!("it took {windowed} for too much of the last {window:.0} s"),
            )
        };
        reasons.push(Reason {
            code: code.into(),
            text: format!("the plan wants {planned}; {why}"),
        });
    }
    let target = history.limited(now, current, windowed, settings, &mut reasons);
    (target, reasons)
}

impl History {
    fn observe(&mut self, now: f64, current: u32, planned: u32, settings: &StabiliseSettings) {
        let before = self.recent.back().map(|r| r.0);
        // A clock that went back makes what comes after it void.
        self.recent.retain(|&(at, _)| at < now);
        self.changes.retain(|&(at, _)| at <= now);
        self.recent.push_back((now, planned));
        let window = settings.down_window_seconds.max(settings.up_window_seconds);
        while self.recent.get(1).is_some_and(|r| r.0 <= now - window) {
            self.recent.pop_front();
        }
        let added = self
            .seen
            .map_or(0, |seen| i64::from(current) - i64::from(seen));
        if added != 0 {
            self.changes.push_back((before.unwrap_or(now), added));
        }
        self.seen = Some(current);
        let period = [settings.up_limit, settings.down_limit]
            .into_iter()
            .flatten()
            .map(|l| l.period_seconds)
            .fold(0.0, f64::max);
        while self.changes.front().is_some_and(|c| c.0 <= now - period) {
            self.changes.pop_front();
        }
    }

    /// Least that stood at any time of the last `window` seconds; where the window reaches further back than what is
    /// remembered, `unknown` counts too.
    fn least(&self, now: f64, window: f64, unknown: u32) -> u32 {
        let from = now - window.max(0.0);
        let before = self.recent.iter().rev().find(|r| r.0 <= from);
        let within = self.recent.iter().filter(|r| r.0 > from);
        let first = before.map_or(unknown, |r| r.1);
        within.fold(first, |least, r| least.min(r.1))
    }

    /// Least count, not below the newest recommendation, that sufficed for the agreed share of the down-window.
    fn sufficed(&self, now: f64, settings: &StabiliseSettings, unknown: u32) -> u32 {
        let (newest, mut times) = self.times(now, settings, unknown);
        times.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
        beyond(&times, settings).map_or(newest, |count| count.max(newest))
    }

    /// Greatest count, not above the newest recommendation, that was wanted for the agreed share of the down-window.
    fn agreed(&self, now: f64, settings: &StabiliseSettings, unknown: u32) -> u32 {
        let (newest, mut times) = self.times(now, settings, unknown);
        times.sort_by_key(|&(count, _)| count);
        beyond(&times, settings).map_or(newest, |count| count.min(newest))
    }

    /// The newest recommendation, and (count, seconds for which it stood) within the down-window.
    fn times(
        &self,
        now: f64,
        settings: &StabiliseSettings,
        unknown: u32,
    ) -> (u32, Vec<(u32, f64)>) {
        let from = now - settings.down_window_seconds.max(0.0);
        let before = self.recent.iter().rev().find(|r| r.0 <= from);
        let (mut since, mut stood) = (from, before.map_or(unknown, |r| r.1));
        let mut times = Vec::with_capacity(self.recent.len() + 1);
        for &(at, wanted) in self.recent.iter().filter(|r| r.0 > from) {
            times.push((stood, at - since));
            (since, stood) = (at, wanted);
        }
        times.push((stood, now - since));
        (stood, times)
    }

    /// The target within the rate limits.
    fn limited(
        &self,
        now: f64,
        current: u32,
        target: u32,
        settings: &StabiliseSettings,
        reasons: &mut Vec<Reason>,
    ) -> u32 {
        let up = target > current;
        let Some(limit) = (if up {
            settings.up_limit
        } else {
            settings.down_limit
        }) else {
            return target;
        };
        let recent = self
            .changes
            .iter()
            .filter(|c| c.0 > now - limit.period_seconds);
        let used: u64 = recent
            .filter(|c| (c.1 > 0) == up)
            .map(|c| c.1.unsigned_abs())
            .sum();
        let left = u64::from(limit.replicas).saturating_sub(used);
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let most = if up {
            target.min(current.saturating_add(left))
        } else {
            target.max(current.saturating_sub(left))
        };
        if most != target {
            reasons.push(Reason {
                code: "rate-limited".into(),
                text: format!(
                    "{target} would change more than {} in {:.0} s",
                    limit.replicas, limit.period_seconds
                ),
            });
        }
        most
    }
}

/// The first count beyond the part of the down-window that need not agree; `None` where all of it agrees.
fn beyond(times: &[(u32, f64)], settings: &StabiliseSettings) -> Option<u32> {
    let window = settings.down_window_seconds.max(0.0);
    let mut spare = (1.0 - settings.down_agreement.clamp(0.0, 1.0)) * window;
    let mut over = times.iter().skip_while(|(_, seconds)| {
        spare -= seconds;
        spare >= -ROUNDING_S
    });
    over.next().map(|&(count, _)| count)
}
