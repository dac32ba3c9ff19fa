//! Prompts as a router deals them out: to replicas without one, as long as there are any.
//!
//! A replica by itself takes a prompt whenever one comes, so prompts pile up into the busy periods of an M/G/1 queue. In
//! a pool behind a least-loaded router, a replica that is busy with a prompt gets another only while all of them are:
//! the busy periods shrink towards single prompts, and with them the stalls that decoding sequences see.

use crate::latency::Load;
use crate::queueing::SteadyState;
use crate::queueing::erlang::erlang_c;

/// Rates at which prompts come to one replica, by what it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Routed {
    /// Prompts per second while no prompt is in progress.
    pub while_decoding: f64,
    /// Prompts per second while one is.
    pub while_busy: f64,
    /// 1 − ρ', ρ' being the prompt seconds that come per second of a busy period.
    pub idle: f64,
    /// Rate while busy over the mean rate.
    pub part: f64,
}

impl Routed {
    /// Share of time with decode alone below which results are no longer told apart.
    pub const LEAST_DECODING: f64 = 0.05;

    /// For replicas that decode alone for `decode_share` of the time. With ρ = 1 − `decode_share` and C the probability
    /// that all replicas of the pool are busy with prompts (Erlang C at R servers and Rρ erlangs), a busy one gets λC/ρ,
    /// and the others the rest, so that the mean stays λ.
    pub fn new(load: &Load<'_>, decode_share: f64) -> Self {
        let left = decode_share.clamp(Self::LEAST_DECODING, 1.0);
        let busy = 1.0 - left;
        let pool = load.pool.max(1);
        let all_busy = if pool == 1 {
            busy
        } else {
            match erlang_c(pool as usize, f64::from(pool) * busy) {
                Ok(SteadyState::Stable(waiting)) => waiting,
                Ok(SteadyState::Idle) => 0.0,
                Ok(SteadyState::Unstable { .. }) | Err(_) => 1.0,
            }
        };
        let part = if busy > 0.0 {
            (all_busy / busy).min(1.0)
        } else {
            1.0
        };
        Self {
            while_decoding: load.rate * (1.0 - part * busy) / left,
            while_busy: load.rate * part,
            idle: 1.0 - part * busy,
            part,
        }
    }

    /// E[B²] of a busy period that a single prompt begins, from E[x²] of prompts: E[x²]/(1−ρ)³ at the rate while busy
    /// (Kleinrock, Queueing Systems I, §5.8).
    pub fn busy_second(&self, square: f64) -> f64 {
        square / self.idle.powi(3)
    }

    /// E[B³], from E[x²] and E[x³]: E[x³]/(1−ρ)⁴ + 3λE[x²]²/(1−ρ)⁵ (ibid., §5.10).
    pub fn busy_third(&self, square: f64, cube: f64) -> f64 {
        cube / self.idle.powi(4) + 3.0 * self.while_busy * square * square / self.idle.powi(5)
    }
}
