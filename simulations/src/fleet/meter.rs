//! A count over time and its integral.

use crate::time::Time;

/// A number of things that changes now and then; integrates itself up to the end of accounting.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Meter {
    count: u32,
    most: u32,
    since: Time,
    /// Σ count · ns: whole numbers, so that the order of changes cannot matter.
    area: u128,
}

impl Meter {
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Most there ever were, up to the end of accounting.
    pub(crate) const fn most(&self) -> u32 {
        self.most
    }

    /// Changes the count at `now`; nothing after `end` is accounted.
    pub(crate) fn change(&mut self, by: i32, now: Time, end: Time) {
        self.settle(now, end);
        self.count = self.count.saturating_add_signed(by);
        if now <= end {
            self.most = self.most.max(self.count);
        }
    }

    /// Integrates up to `now`, at most to `end`.
    pub(crate) fn settle(&mut self, now: Time, end: Time) {
        let until = now.min(end);
        self.area += u128::from(self.count) * u128::from((until - self.since).0);
        self.since = self.since.max(until);
    }

    /// Integral so far in count · seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.area as f64 * 1e-9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrates_up_to_the_end_only() {
        let end = Time::from_seconds(10.0);
        let mut m = Meter::default();
        m.change(2, Time::ZERO, end);
        m.change(-1, Time::from_seconds(4.0), end);
        m.change(5, Time::from_seconds(20.0), end);
        m.settle(Time::from_seconds(30.0), end);
        assert_eq!((m.seconds(), m.most(), m.count()), (14.0, 2, 6));
    }
}
