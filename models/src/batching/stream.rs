//! The fixed stream of stratified arrivals behind the sampled layer: the same for every rate and every call.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;

use crate::latency::Arrivals;
use crate::shape::RequestShape;

/// Arrivals as (gap in units of the mean gap, ordinal of the shape point).
pub(super) struct Stream {
    gaps: Vec<f64>,
    points: Vec<usize>,
    position: usize,
}

impl Stream {
    /// `count` arrivals: every gap quantile once, every shape point as often as its weight says, in a fixed random order.
    pub fn new(shape: &RequestShape, arrivals: Arrivals, count: usize) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0x5eed_0f1a_7e9c);
        let n = count as f64;
        let middle = |i: usize| (i as f64 + 0.5) / n;
        let mut gaps: Vec<f64> = match arrivals {
            Arrivals::Even => vec![1.0; count],
            Arrivals::Poisson => (0..count).map(|i| -(1.0 - middle(i)).ln()).collect(),
            Arrivals::Dispersion(_) => {
                gamma_quantiles(1.0 / super::swings::dispersion(arrivals), count)
            }
        };
        let mean = gaps.iter().sum::<f64>() / n;
        gaps.iter_mut().for_each(|g| *g /= mean);
        gaps.shuffle(&mut rng);
        let points = spread(shape, count, &mut rng);
        Self {
            gaps,
            points,
            position: 0,
        }
    }

    /// The next arrival; starts over at the end.
    pub fn next(&mut self) -> (f64, usize) {
        let i = self.position;
        self.position = if i + 1 == self.gaps.len() { 0 } else { i + 1 };
        (self.gaps[i], self.points[i])
    }
}

/// Ordinals of the shape's points, each as often as its weight says, shuffled; the shuffle is by rank of the input, so
/// that it is the same for every shape.
fn spread(shape: &RequestShape, count: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<usize> {
    let points = shape.points();
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[a].input.total_cmp(&points[b].input));
    let mut out = Vec::with_capacity(count);
    let mut cumulative = 0.0;
    for &i in &order {
        cumulative += points[i].weight;
        while (out.len() as f64 + 0.5) / (count as f64) < cumulative && out.len() < count {
            out.push(i);
        }
    }
    out.resize(count, order.last().copied().unwrap_or(0));
    out.shuffle(rng);
    out
}

/// The quantiles at (i + ½)/`count` of a gamma law of this shape and scale 1, by inverting a table of its distribution
/// function in logarithms.
fn gamma_quantiles(shape: f64, count: usize) -> Vec<f64> {
    use statrs::function::gamma::gamma_lr;
    const CELLS: usize = 256;
    // Below, P(x) ≈ x^shape/Γ(shape + 1): start where it is a tenth of the first quantile.
    let least = (0.05 / count as f64).powf(1.0 / shape).max(1e-250);
    let most = shape + 8.0 * shape.sqrt() + 24.0;
    let ratio = (most / least).ln() / CELLS as f64;
    let table: Vec<(f64, f64)> = (0..=CELLS)
        .map(|i| least * (ratio * i as f64).exp())
        .map(|x| (gamma_lr(shape, x), x))
        .collect();
    let mut cell = 0;
    (0..count)
        .map(|i| (i as f64 + 0.5) / count as f64)
        .map(|u| {
            while cell + 2 < table.len() && table[cell + 1].0 < u {
                cell += 1;
            }
            let ((p0, x0), (p1, x1)) = (table[cell], table[cell + 1]);
            let part = ((u - p0) / (p1 - p0).max(1e-300)).clamp(0.0, 1.0);
            x0 * (x1 / x0).powf(part)
        })
        .collect()
}
