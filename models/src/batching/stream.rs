//! The fixed stream of stratified arrivals behind the sampled layer: the same for every rate and every call.

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

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
        let mut gaps: Vec<f64> = match arrivals {
            Arrivals::Even => vec![1.0; count],
            Arrivals::Poisson | Arrivals::Dispersion(_) => (0..count)
                .map(|i| -(1.0 - (i as f64 + 0.5) / n).ln())
                .collect(),
        };
        let mean = gaps.iter().sum::<f64>() / n;
        gaps.iter_mut().for_each(|g| *g /= mean);
        gaps.shuffle(&mut rng);
        let offset: f64 = rng.random();
        let mut points = Vec::with_capacity(count);
        let mut cumulative = 0.0;
        for (i, p) in shape.points().iter().enumerate() {
            cumulative += p.weight;
            while (points.len() as f64 + offset) / n < cumulative && points.len() < count {
                points.push(i);
            }
        }
        points.resize(count, shape.points().len() - 1);
        points.shuffle(&mut rng);
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
