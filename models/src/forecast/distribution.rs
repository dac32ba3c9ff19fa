//! A forecast: the rate to come as a distribution.

use serde::{Deserialize, Serialize};

/// Probabilities at which a [`Forecast`] is tabulated.
pub(super) const PROBABILITIES: [f64; 15] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995,
];

/// What a forecast rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Too few outcomes yet: the spread is mostly the prior's.
    Learning,
    /// Mostly the recent level.
    Level,
    /// Mostly a trend.
    Trend,
    /// Mostly the daily profile.
    Season,
}

impl Basis {
    /// A stable name, for reasons and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Level => "level",
            Self::Trend => "trend",
            Self::Season => "season",
        }
    }
}

/// The mean offered rate over the outcome time that starts a horizon from now, as a distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Point forecast, requests per second.
    pub mean: f64,
    /// Rate now, requests per second.
    pub level: f64,
    /// Change until the horizon over the horizon, requests per second per second.
    pub trend: f64,
    /// Seconds from now to the start of the outcome.
    pub horizon_s: f64,
    /// What it rests on.
    pub basis: Basis,
    pub(super) quantiles: Vec<f64>,
}

impl Forecast {
    /// The rate that is not exceeded with probability `q`, requests per second, at least 0; `q` is held to
    /// [0.005, 0.995].
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let q = if q.is_nan() { 0.5 } else { q };
        let i = PROBABILITIES.partition_point(|&p| p < q);
        match (i.checked_sub(1), self.quantiles.get(i)) {
            (Some(j), Some(&high)) => {
                let w = (q - PROBABILITIES[j]) / (PROBABILITIES[i] - PROBABILITIES[j]);
                self.quantiles[j] + (high - self.quantiles[j]) * w
            }
            (None, Some(&lowest)) => lowest,
            (_, None) => self.quantiles.last().copied().unwrap_or(self.mean),
        }
    }

    /// The least capacity from `least` requests per second upwards at which no more than `share` of the requests to come
    /// are expected to miss, where `missed` gives the share that misses at a load (rate over capacity) and does not fall
    /// with it. Of requests, not of time: a surge brings more of them. At most double the highest quantile (at the loads of
    /// a half and less, `missed` should have nothing to say).
    #[must_use]
    pub fn capacity_for(&self, share: f64, least: f64, missed: impl Fn(f64) -> f64) -> f64 {
        let weighed: Vec<(f64, f64)> = self.weighed().collect();
        let requests: f64 = weighed.iter().map(|(weight, rate)| weight * rate).sum();
        let suffices = |capacity: f64| {
            let misses = weighed
                .iter()
                .map(|(weight, rate)| weight * rate * missed(rate / capacity));
            misses.sum::<f64>() <= share * requests
        };
        let (mut low, mut high) = (least.max(0.0), 2.0 * self.quantile(1.0));
        if low >= high || low > 0.0 && suffices(low) {
            return low;
        }
        while high - low > PRECISION * high {
            let middle = (low + high) / 2.0;
            if suffices(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }

    /// The distribution as points: (weight, rate), the weights summing to 1.
    fn weighed(&self) -> impl Iterator<Item = (f64, f64)> {
        let last = PROBABILITIES.len() - 1;
        let middle = |i: usize| (PROBABILITIES[i] + PROBABILITIES[i + 1]) / 2.0;
        let points = self.quantiles.iter().enumerate();
        points.map(move |(i, &rate)| {
            let from = if i == 0 { 0.0 } else { middle(i - 1) };
            let to = if i < last { middle(i) } else { 1.0 };
            (to - from, rate)
        })
    }
}

/// Precision of [`Forecast::capacity_for`].
const PRECISION: f64 = 1e-4;

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(quantile: impl Fn(f64) -> f64) -> Forecast {
        Forecast {
            mean: quantile(0.5),
            level: quantile(0.5),
            trend: 0.0,
            horizon_s: 0.0,
            basis: Basis::Level,
            quantiles: PROBABILITIES.map(quantile).to_vec(),
        }
    }

    /// All beyond the capacity miss.
    fn beyond(load: f64) -> f64 {
        (1.0 - 1.0 / load).max(0.0)
    }

    #[test]
    fn a_sure_rate_needs_what_misses_the_share_at_it() {
        let sure = forecast(|_| 8.0);
        // 8 − capacity is a fifth of 8.
        let capacity = sure.capacity_for(0.2, 0.0, beyond);
        assert!((capacity - 6.4).abs() < 1e-2, "{capacity}");
        assert_eq!(sure.capacity_for(0.2, 7.0, beyond), 7.0);
        assert!(sure.capacity_for(0.0, 0.0, beyond) >= 8.0);
    }

    #[test]
    fn surges_count_by_their_requests() {
        // The rate is 18 instead of 2 for 7.5 % of the time: 42 % of the requests.
        let surging = forecast(|p| if p < 0.95 { 2.0 } else { 18.0 });
        let (_, rates): (Vec<f64>, Vec<f64>) = surging.weighed().unzip();
        assert_eq!(rates.len(), PROBABILITIES.len());
        assert!((surging.weighed().map(|(w, _)| w).sum::<f64>() - 1.0).abs() < 1e-12);
        let all_or_nothing = |load: f64| f64::from(u8::from(load > 1.0));
        let rare = surging.capacity_for(0.45, 0.0, all_or_nothing);
        let heeded = surging.capacity_for(0.4, 0.0, all_or_nothing);
        assert!((rare - 2.0).abs() < 0.1, "{rare}");
        assert!((heeded - 18.0).abs() < 0.1, "{heeded}");
    }

    #[test]
    fn nothing_to_come_needs_nothing() {
        let nothing = forecast(|_| 0.0);
        assert_eq!(nothing.capacity_for(0.01, 0.0, beyond), 0.0);
        assert_eq!(nothing.capacity_for(0.01, 1.5, beyond), 1.5);
        assert_eq!(forecast(|_| 4.0).capacity_for(f64::NAN, 0.0, beyond), 8.0);
    }
}
