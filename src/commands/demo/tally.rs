//! The course of the run: load, replicas and cost over time, and what was decided when.

use serde::Serialize;

/// One moment.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Seconds since the start.
    pub t_s: f64,
    /// Requests per second that arrived since the row before.
    pub rate_rps: f64,
    /// Replicas that serve, in the order of the variants.
    pub ready: Vec<u32>,
    /// Cost of what is paid for now, $/h.
    pub cost_per_hour_usd: f64,
}

/// One decision.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Seconds since the start.
    pub t_s: f64,
    /// What changed, and why.
    pub text: String,
}

/// The course of the run.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Moments, one a cycle.
    pub rows: Vec<Row>,
    /// Decisions.
    pub changes: Vec<Change>,
    /// Changes of what some Deployment asks for.
    pub scalings: u32,
    arrived: f64,
}

/// Time over which the rate is averaged, seconds.
const WINDOW_S: f64 = 5.0;

impl Tally {
    /// Takes a moment in: replicas as (serving, paid for, $/h of one) per variant, and requests that have arrived so far.
    pub fn take(&mut self, t_s: f64, arrived: f64, replicas: &[(u32, u32, f64)]) {
        let before = self.rows.last().map_or(0.0, |r| r.t_s);
        let elapsed = t_s - before;
        let rate_rps = if elapsed > 0.0 {
            (arrived - self.arrived) / elapsed
        } else {
            0.0
        };
        self.arrived = arrived;
        self.rows.push(Row {
            t_s,
            rate_rps,
            ready: replicas.iter().map(|r| r.0).collect(),
            cost_per_hour_usd: replicas.iter().map(|r| f64::from(r.1) * r.2).sum(),
        });
    }

    /// Requests per second of late.
    pub fn rate(&self) -> f64 {
        let end = self.rows.last().map_or(0.0, |r| r.t_s);
        let late: Vec<&Row> = self
            .rows
            .iter()
            .filter(|r| r.t_s > end - WINDOW_S)
            .collect();
        late.iter().map(|r| r.rate_rps).sum::<f64>() / (late.len().max(1) as f64)
    }

    /// What it costs now, $/h.
    pub fn cost_per_hour(&self) -> f64 {
        self.rows.last().map_or(0.0, |r| r.cost_per_hour_usd)
    }

    /// A figure of every row, at most `most` means over equal parts of the run so far.
    pub fn course(&self, most: usize, of: impl Fn(&Row) -> f64) -> Vec<f64> {
        let (all, parts) = (self.rows.len(), most.min(self.rows.len()));
        let mean = |rows: &[Row]| rows.iter().map(&of).sum::<f64>() / rows.len() as f64;
        let part = |i: usize| &self.rows[i * all / parts..(i + 1) * all / parts];
        (0..parts).map(|i| mean(part(i))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_is_condensed_by_means() {
        let mut t = Tally::default();
        for i in 0..10 {
            t.take(f64::from(i + 1), f64::from(2 * (i + 1)), &[(i, i + 1, 2.0)]);
        }
        assert_eq!(t.rate(), 2.0);
        assert_eq!(t.cost_per_hour(), 20.0);
        assert_eq!(
            t.course(5, |r| f64::from(r.ready[0])),
            [0.5, 2.5, 4.5, 6.5, 8.5]
        );
        assert_eq!(Tally::default().course(5, |r| r.t_s), [0.0; 0]);
    }
}
