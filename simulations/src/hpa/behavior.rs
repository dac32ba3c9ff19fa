//! `spec.behavior` of a HorizontalPodAutoscaler: tolerances, stabilisation windows, rate limits.

/// Both directions of `spec.behavior`.
#[derive(Debug, Clone, PartialEq)]
pub struct Behavior {
    /// Rules for scaling up.
    pub up: Rules,
    /// Rules for scaling down.
    pub down: Rules,
}

/// Rules of one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// |ratio − 1| up to this changes nothing.
    pub tolerance: f64,
    /// Seconds over which the most cautious recommendation wins: the least when scaling up, the greatest when down.
    pub window_s: f64,
    /// Rate limits; none means no limit.
    pub policies: Vec<RatePolicy>,
    /// Which of several rate limits holds.
    pub select: Select,
}

/// One rate limit: at most `value` pods or percent in any `period_s` seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePolicy {
    /// Unit of the value.
    pub unit: Unit,
    /// Greatest change within a period.
    pub value: f64,
    /// The period in seconds.
    pub period_s: f64,
}

/// Unit of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Pods.
    Pods,
    /// Percent of the replicas at the start of the period.
    Percent,
}

/// Which of several rate limits holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// The one that allows the most change.
    Max,
    /// The one that allows the least change.
    Min,
    /// No change in this direction.
    Disabled,
}

impl Behavior {
    /// Kubernetes' defaults.
    #[must_use]
    pub fn kubernetes_default() -> Self {
        let policy = |unit, value| RatePolicy {
            unit,
            value,
            period_s: 15.0,
        };
        Self {
            up: Rules {
                tolerance: 0.1,
                window_s: 0.0,
                policies: vec![policy(Unit::Percent, 100.0), policy(Unit::Pods, 4.0)],
                select: Select::Max,
            },
            down: Rules {
                tolerance: 0.1,
                window_s: 300.0,
                policies: vec![policy(Unit::Percent, 100.0)],
                select: Select::Max,
            },
        }
    }

    /// No tolerance, window or rate limit in either direction.
    #[must_use]
    pub fn transparent() -> Self {
        let rules = Rules {
            tolerance: 0.0,
            window_s: 0.0,
            policies: Vec::new(),
            select: Select::Max,
        };
        Self {
            up: rules.clone(),
            down: rules,
        }
    }

    /// Whether this ratio of usage to target is close enough to 1 to be left alone.
    #[must_use]
    pub fn tolerates(&self, ratio: f64) -> bool {
        // Bounds are compared with a hair of slack: 22 replicas against 20 are not "more than 10 %" by rounding error.
        1.0 - self.down.tolerance - 1e-9 <= ratio && ratio <= 1.0 + self.up.tolerance + 1e-9
    }
}

/// Recommendations and scalings of the recent past.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct History {
    /// (time, recommendation), for the windows.
    recommendations: Vec<(f64, u32)>,
    /// (time, pods added), for the rate limits.
    added: Vec<(f64, u32)>,
    /// (time, pods removed).
    removed: Vec<(f64, u32)>,
}

impl History {
    /// `wanted` after the stabilisation windows, rate limits and bounds.
    pub(super) fn limit(
        &mut self,
        now: f64,
        current: u32,
        wanted: u32,
        (min, max): (u32, u32),
        behavior: &Behavior,
    ) -> u32 {
        let stabilised = self.stabilise(now, current, wanted, behavior);
        if stabilised > current {
            let ceiling = self.ceiling(now, current, &behavior.up);
            stabilised.min(ceiling.max(current)).min(max)
        } else if stabilised < current {
            let floor = self.floor(now, current, &behavior.down);
            stabilised.max(floor.min(current)).max(min)
        } else {
            current
        }
    }

    /// Remembers a change of the scale target.
    pub(super) fn scaled(&mut self, now: f64, from: u32, to: u32, behavior: &Behavior) {
        let keep = |rules: &Rules| {
            rules
                .policies
                .iter()
                .map(|p| p.period_s)
                .fold(0.0, f64::max)
        };
        self.added
            .retain(|e| now - e.0 < keep(&behavior.up).max(keep(&behavior.down)));
        self.removed
            .retain(|e| now - e.0 < keep(&behavior.up).max(keep(&behavior.down)));
        if to > from {
            self.added.push((now, to - from));
        } else if to < from {
            self.removed.push((now, from - to));
        }
    }

    fn stabilise(&mut self, now: f64, current: u32, wanted: u32, behavior: &Behavior) -> u32 {
        let (up, down) = (behavior.up.window_s, behavior.down.window_s);
        if self.recommendations.is_empty() {
            // A new autoscaler takes what it finds as its first recommendation, so that it does not scale down at once.
            self.recommendations.push((now, current));
        }
        self.recommendations.retain(|r| now - r.0 < up.max(down));
        let within = |window: f64| {
            self.recommendations
                .iter()
                .filter(move |r| now - r.0 < window)
                .map(|r| r.1)
        };
        let least = within(up).fold(wanted, u32::min);
        let greatest = within(down).fold(wanted, u32::max);
        self.recommendations.push((now, wanted));
        current.clamp(least, greatest)
    }

    /// Replicas at the start of a period, had nothing changed within it.
    fn at_start(&self, now: f64, current: u32, period: f64) -> f64 {
        let sum = |events: &[(f64, u32)]| {
            events
                .iter()
                .filter(|e| now - e.0 < period)
                .map(|e| f64::from(e.1))
                .sum::<f64>()
        };
        f64::from(current) - sum(&self.added) + sum(&self.removed)
    }

    fn ceiling(&self, now: f64, current: u32, rules: &Rules) -> u32 {
        let limits = rules.policies.iter().map(|p| {
            let start = self.at_start(now, current, p.period_s);
            match p.unit {
                Unit::Pods => start + p.value,
                Unit::Percent => (start * (1.0 + p.value / 100.0)).ceil(),
            }
        });
        match rules.select {
            Select::Disabled => current,
            Select::Max => limits.reduce(f64::max).map_or(u32::MAX, |x| x as u32),
            Select::Min => limits.reduce(f64::min).map_or(u32::MAX, |x| x as u32),
        }
    }

    fn floor(&self, now: f64, current: u32, rules: &Rules) -> u32 {
        let limits = rules.policies.iter().map(|p| {
            let start = self.at_start(now, current, p.period_s);
            match p.unit {
                Unit::Pods => start - p.value,
                Unit::Percent => start * (1.0 - p.value / 100.0),
            }
        });
        match rules.select {
            Select::Disabled => current,
            Select::Max => limits.reduce(f64::min).map_or(0, |x| x as u32),
            Select::Min => limits.reduce(f64::max).map_or(0, |x| x as u32),
        }
    }
}
