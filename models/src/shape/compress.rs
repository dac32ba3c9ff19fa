//! Compression of many weighted (input, output) pairs into a few points.
//!
//! Starting from one cell that holds everything, the cell whose spread costs most is split again and again at its mean,
//! along the axis that contributes most; each final cell becomes its weighted mean. Means are therefore kept exactly,
//! and since the cost is the second moment that would be lost, tails get the finest cells. A logarithmic term keeps some
//! resolution for the bulk of short requests, which decide the median.
//!
//! Equal-count bins are simpler, but on heavy-tailed prompts 64 of them lose a tenth of the second moment, which queueing
//! delay is proportional to.

use super::ShapePoint;

/// Weight of the logarithmic spread against the linear one.
const LOG_SHARE: f64 = 0.1;

/// At most `limit` points with the same total weight, mean input and mean output as `points`. O(N · limit) at worst,
/// O(N log limit) typically.
pub(super) fn compress(mut points: Vec<ShapePoint>, limit: usize) -> Vec<ShapePoint> {
    points.retain(|p| p.weight > 0.0);
    if points.len() <= limit {
        return points;
    }
    let scale = Scale::of(&points);
    let mut cells = vec![Cell::new(points, &scale)];
    while cells.len() < limit {
        let widest = (0..cells.len())
            .max_by(|&a, &b| cells[a].cost().total_cmp(&cells[b].cost()))
            .expect("there is always a cell");
        if cells[widest].cost() <= 0.0 {
            break;
        }
        let (low, high) = cells.swap_remove(widest).split();
        if low.is_empty() || high.is_empty() {
            cells.push(Cell::frozen([low, high].concat()));
            continue;
        }
        cells.push(Cell::new(low, &scale));
        cells.push(Cell::new(high, &scale));
    }
    let mut out: Vec<ShapePoint> = cells.iter().map(Cell::mean).collect();
    out.sort_by(|a, b| {
        a.input
            .total_cmp(&b.input)
            .then(a.output.total_cmp(&b.output))
    });
    out
}

/// Second moments of the whole set, by which each axis is made dimensionless.
struct Scale {
    input: Spread,
    output: Spread,
}

impl Scale {
    fn of(points: &[ShapePoint]) -> Self {
        Self {
            input: Spread::about_zero(points, |p| p.input),
            output: Spread::about_zero(points, |p| p.output),
        }
    }
}

/// Linear and logarithmic second moments along one axis.
#[derive(Clone, Copy)]
struct Spread {
    linear: f64,
    log: f64,
}

impl Spread {
    fn about_zero(points: &[ShapePoint], axis: impl Fn(&ShapePoint) -> f64) -> Self {
        let (mut linear, mut log) = (f64::MIN_POSITIVE, f64::MIN_POSITIVE);
        for p in points {
            linear += p.weight * axis(p).powi(2);
            log += p.weight * axis(p).max(1.0).ln().powi(2);
        }
        Self { linear, log }
    }

    /// What collapsing the points to their mean loses, relative to `whole`.
    fn lost(points: &[ShapePoint], axis: impl Fn(&ShapePoint) -> f64, whole: Self) -> f64 {
        let weight: f64 = points.iter().map(|p| p.weight).sum();
        let mean = points.iter().map(|p| p.weight * axis(p)).sum::<f64>() / weight;
        let log = |p: &ShapePoint| axis(p).max(1.0).ln();
        let mean_log = points.iter().map(|p| p.weight * log(p)).sum::<f64>() / weight;
        let (mut linear, mut logarithmic) = (0.0, 0.0);
        for p in points {
            linear += p.weight * (axis(p) - mean).powi(2);
            logarithmic += p.weight * (log(p) - mean_log).powi(2);
        }
        linear / whole.linear + LOG_SHARE * logarithmic / whole.log
    }
}

struct Cell {
    points: Vec<ShapePoint>,
    input_cost: f64,
    output_cost: f64,
}

impl Cell {
    fn new(points: Vec<ShapePoint>, scale: &Scale) -> Self {
        let input_cost = Spread::lost(&points, |p| p.input, scale.input);
        let output_cost = Spread::lost(&points, |p| p.output, scale.output);
        Self {
            points,
            input_cost,
            output_cost,
        }
    }

    /// A cell that is not split again: its points are equal up to rounding.
    const fn frozen(points: Vec<ShapePoint>) -> Self {
        Self {
            points,
            input_cost: 0.0,
            output_cost: 0.0,
        }
    }

    fn cost(&self) -> f64 {
        self.input_cost + self.output_cost
    }

    fn mean(&self) -> ShapePoint {
        let weight: f64 = self.points.iter().map(|p| p.weight).sum();
        let mean = |axis: fn(&ShapePoint) -> f64| {
            self.points.iter().map(|p| p.weight * axis(p)).sum::<f64>() / weight
        };
        ShapePoint {
            input: mean(|p| p.input),
            output: mean(|p| p.output),
            weight,
        }
    }

    fn split(self) -> (Vec<ShapePoint>, Vec<ShapePoint>) {
        let mean = self.mean();
        let by_input = self.input_cost >= self.output_cost;
        self.points.into_iter().partition(|p| {
            if by_input {
                p.input <= mean.input
            } else {
                p.output <= mean.output
            }
        })
    }
}
