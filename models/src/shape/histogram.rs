//! Request shapes from two Prometheus histograms, as serving engines export them.
//!
//! A histogram gives counts per bucket and the exact sum. The position of the mass inside the buckets is unknown; here
//! every bucket is uniform on a sub-interval whose mean sits at one common relative position, chosen so that the
//! overall mean is exactly sum / count. Bucket midpoints would miss the mean by tens of percent on wide buckets.

use super::build::product;
use super::compress::compress;
use super::{POINTS, RequestShape, ShapeError};

/// Pieces per bucket.
const PIECES: u32 = 4;

/// A cumulative histogram of token counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CumulativeHistogram<'a> {
    /// Upper bounds of the buckets, ascending, without +Inf.
    pub bounds: &'a [f64],
    /// Observations up to each bound, cumulative.
    pub counts: &'a [f64],
    /// All observations.
    pub count: f64,
    /// Sum of all observations, tokens.
    pub sum: f64,
}

impl RequestShape {
    /// The shape whose marginals are these histograms, taken as independent, with exactly their means;
    /// [`POINTS`] points at most.
    ///
    /// # Errors
    /// [`ShapeError`] when a histogram is empty, not ascending or not finite.
    pub fn from_histograms(
        input: &CumulativeHistogram<'_>,
        output: &CumulativeHistogram<'_>,
        prefix_hit: f64,
    ) -> Result<Self, ShapeError> {
        let points = product(&input.cells()?, &output.cells()?);
        Self::new(compress(points, POINTS), prefix_hit)
    }
}

/// One bucket: interval and probability.
struct Interval {
    low: f64,
    high: f64,
    weight: f64,
}

impl CumulativeHistogram<'_> {
    fn cells(&self) -> Result<Vec<(f64, f64)>, ShapeError> {
        let intervals = self.intervals()?;
        let mean = (self.sum / self.count).max(1.0);
        let base: f64 = intervals.iter().map(|i| i.weight * i.low).sum();
        let width: f64 = intervals.iter().map(|i| i.weight * (i.high - i.low)).sum();
        let position = if width > 0.0 {
            ((mean - base) / width).clamp(0.0, 1.0)
        } else {
            0.5
        };
        let mut cells: Vec<(f64, f64)> =
            intervals.iter().flat_map(|i| i.pieces(position)).collect();
        // Beyond the clamp, or where tokens were lifted to 1, the sum wins over the buckets.
        let got: f64 = cells.iter().map(|c| c.0 * c.1).sum();
        cells.iter_mut().for_each(|c| c.0 *= mean / got);
        Ok(cells)
    }

    fn intervals(&self) -> Result<Vec<Interval>, ShapeError> {
        self.check()?;
        let mut out = Vec::new();
        let (mut low, mut below) = (0.0, 0.0);
        for (&high, &count) in self.bounds.iter().zip(self.counts) {
            if count > below {
                out.push(Interval {
                    low,
                    high,
                    weight: (count - below) / self.count,
                });
            }
            (low, below) = (high, count);
        }
        if self.count > below {
            out.push(Interval {
                low,
                high: (2.0 * low).max(2.0),
                weight: (self.count - below) / self.count,
            });
        }
        Ok(out)
    }

    fn check(&self) -> Result<(), ShapeError> {
        super::check("sum of a histogram", self.sum)?;
        super::check("count of a histogram", self.count)?;
        if self.count <= 0.0 {
            return Err(ShapeError::Empty);
        }
        if self.bounds.len() != self.counts.len() {
            return Err(ShapeError::Text(
                "a histogram needs as many counts as bounds",
            ));
        }
        for &b in self.bounds {
            super::check("bound of a histogram", b)?;
        }
        let ascending = |xs: &[f64]| xs.windows(2).all(|w| w[0] <= w[1]);
        let within = self.counts.iter().all(|&c| (0.0..=self.count).contains(&c));
        if ascending(self.bounds) && ascending(self.counts) && within {
            Ok(())
        } else {
            Err(ShapeError::Text(
                "bounds and cumulative counts of a histogram must ascend, and counts stay within the total",
            ))
        }
    }
}

impl Interval {
    /// Uniform on the sub-interval whose mean is at `position` (0 low end, 1 high end), in equal pieces.
    fn pieces(&self, position: f64) -> impl Iterator<Item = (f64, f64)> {
        let width = self.high - self.low;
        let half = position.min(1.0 - position) * width;
        let start = self.low + position * width - half;
        let weight = self.weight / f64::from(PIECES);
        (0..PIECES).map(move |i| {
            let middle = (f64::from(i) + 0.5) / f64::from(PIECES);
            ((start + 2.0 * half * middle).max(1.0), weight)
        })
    }
}
