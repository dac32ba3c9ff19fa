//! Histograms of a whole model, as Prometheus adds them up: no gate has seen what they are made of.

use super::super::tally::Tally;

/// What was shown last and believed, and when.
#[derive(Debug, Default)]
pub(super) struct Whole(Option<(f64, Tally)>);

impl Whole {
    /// How much it has grown since. More than `most` requests are a leap: nothing is counted, and what it was before stays
    /// for so long (`patience` seconds) that a lie which ends has changed nothing; then it goes on from there.
    pub fn grow(&mut self, shown: &Tally, most: f64, patience: f64, now: f64) -> Tally {
        let count = shown.greatest_count();
        let Some((at, before)) = &self.0 else {
            self.0 = count.is_finite().then(|| (now, shown.clone()));
            return Tally::default();
        };
        let grown = shown.growth(before, false);
        let leapt = !count.is_finite() || grown.greatest_count() > most;
        if leapt && (now - at <= patience || !count.is_finite()) {
            return Tally::default();
        }
        self.0 = Some((now, shown.clone()));
        if leapt { Tally::default() } else { grown }
    }
}

#[cfg(test)]
mod tests {
    use wva_optimizer::snapshot::Histogram;

    use super::*;

    fn shown(count: f64) -> Tally {
        let ttft = Histogram {
            bounds: vec![1.0],
            counts: vec![count],
            count,
            sum: count,
        };
        Tally {
            ttft,
            ..Tally::default()
        }
    }

    #[test]
    fn a_leap_counts_nothing_and_a_lie_that_ends_has_changed_nothing() {
        let mut whole = Whole::default();
        let mut grow = |count, now| whole.grow(&shown(count), 60.0, 90.0, now).ttft.count;
        assert_eq!(grow(200.0, 0.0), 0.0);
        assert_eq!(grow(210.0, 10.0), 10.0);
        assert_eq!(grow(211_000.0, 20.0), 0.0);
        assert_eq!(grow(f64::NAN, 30.0), 0.0);
        assert_eq!(grow(211_000.0, 40.0), 0.0);
        assert_eq!(grow(225.0, 50.0), 15.0);
        // One that stays is where it goes on from.
        assert_eq!(grow(1000.0, 60.0), 0.0);
        assert_eq!(grow(1040.0, 150.0), 0.0);
        assert_eq!(grow(1050.0, 160.0), 10.0);
    }
}
