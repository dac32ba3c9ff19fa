//! From what a plan wants to what is asked for: up at once, down only after the plan has wanted less for a while.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::decision::Reason;

/// How fast targets may follow plans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StabiliseSettings {
    /// Time for which a plan must have wanted less before the target goes down, seconds.
    pub down_window_seconds: f64,
}

impl Default for StabiliseSettings {
    fn default() -> Self {
        Self {
            down_window_seconds: 180.0,
        }
    }
}

/// What plans wanted recently.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    recent: VecDeque<(f64, u32)>,
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
}

/// Target and reasons for one variant.
pub fn decide(
    situation: &Situation,
    history: &mut History,
    settings: &StabiliseSettings,
) -> (u32, Vec<Reason>) {
    let Situation {
        now,
        current,
        planned,
        ..
    } = *situation;
    history.recent.push_back((now, planned));
    while history
        .recent
        .front()
        .is_some_and(|r| r.0 < now - settings.down_window_seconds)
    {
        history.recent.pop_front();
    }
    if planned >= current {
        return (planned, Vec::new());
    }
    let wanted = history
        .recent
        .iter()
        .map(|r| r.1)
        .max()
        .unwrap_or(planned)
        .min(current);
    let text = format!(
        "the plan wants {planned}; the most in {:.0} s was {wanted}",
        settings.down_window_seconds
    );
    (
        wanted,
        vec![Reason {
            code: "stabilising-down".into(),
            text,
        }],
    )
}
