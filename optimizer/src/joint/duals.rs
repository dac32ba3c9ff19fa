//! Prices of shared rows: projected subgradient ascent on the model of the dual that the known columns give.
//!
//! The model is D(λ) = Σ_blocks min_columns (f + λ·a) − λ·L, concave and piecewise linear; evaluating it costs a few
//! microseconds a block, so some hundred steps cost less than one round of pricing. Its maximiser need not be exact:
//! the Lagrangian bound holds for any λ ≥ 0.

/// A column as the dual sees it: objective and use of every row.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub objective: f64,
    pub uses: Vec<f64>,
}

/// Steps of one ascent.
const STEPS: u32 = 600;
/// Steps without improvement after which the target is lowered.
const PATIENCE: u32 = 8;

/// Prices that (nearly) maximise the model, and the model's value there. Rows are scaled by what there is of them.
///
/// `start` is where to begin, `most` bounds the prices (columns known so far may leave the model unbounded), and `worth`
/// is the size of the objective, from which the first steps are measured.
pub(super) fn ascend(
    cuts: &[Vec<Cut>],
    at_most: &[f64],
    start: &[f64],
    most: &[f64],
    worth: f64,
) -> (Vec<f64>, f64) {
    let scale: Vec<f64> = at_most.iter().map(|&l| l.max(1.0)).collect();
    let mut prices = start.to_vec();
    let (mut value, mut slope) = model(cuts, at_most, &prices);
    let (mut best, mut best_value) = (prices.clone(), value);
    let worth = worth.abs().max(value.abs()).max(1e-9);
    let mut target = 0.05 * worth;
    let mut stale = 0;
    for _ in 0..STEPS {
        let norm: f64 = slope
            .iter()
            .zip(&scale)
            .zip(&prices)
            .filter(|((g, _), p)| **g > 0.0 || **p > 0.0)
            .map(|((g, s), _)| (g / s) * (g / s))
            .sum();
        if norm < 1e-18 || target < 1e-7 * worth {
            break;
        }
        let step = (best_value + target - value) / norm;
        for i in 0..prices.len() {
            let moved = prices[i] + step * slope[i] / (scale[i] * scale[i]);
            prices[i] = moved.clamp(0.0, most[i]);
        }
        (value, slope) = model(cuts, at_most, &prices);
        if value > best_value + 0.1 * target {
            stale = 0;
        } else {
            stale += 1;
        }
        if value > best_value {
            best_value = value;
            best.copy_from_slice(&prices);
        }
        if stale >= PATIENCE {
            stale = 0;
            target /= 2.0;
            prices.copy_from_slice(&best);
            (value, slope) = model(cuts, at_most, &prices);
        }
    }
    (best, best_value)
}

/// Value and a supergradient of the model.
fn model(cuts: &[Vec<Cut>], at_most: &[f64], prices: &[f64]) -> (f64, Vec<f64>) {
    let mut value = 0.0;
    let mut slope: Vec<f64> = at_most.iter().map(|l| -l).collect();
    for block in cuts {
        let best = block
            .iter()
            .map(|cut| (cut, cut.value(prices)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((cut, reduced)) = best {
            value += reduced;
            for (g, a) in slope.iter_mut().zip(&cut.uses) {
                *g += a;
            }
        }
    }
    let owed: f64 = prices.iter().zip(at_most).map(|(p, l)| p * l).sum();
    (value - owed, slope)
}

impl Cut {
    /// f + λ·a.
    pub fn value(&self, prices: &[f64]) -> f64 {
        let charged: f64 = self.uses.iter().zip(prices).map(|(a, p)| a * p).sum();
        self.objective + charged
    }
}
