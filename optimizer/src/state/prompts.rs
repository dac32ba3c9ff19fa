//! What a model's streams tell of its prompts, which no counter of an engine does.

use wva_models::shape::RequestShape;

use super::State;

/// Lengths of the prompts that a model gets, all its classes together.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompts {
    /// Mean input tokens.
    pub mean: f64,
    /// Mean tokens per prompt that are found in the prefix cache.
    pub cached: f64,
    /// (input tokens, weight), ascending.
    lengths: Vec<(f64, f64)>,
}

impl Prompts {
    /// The prompts of all streams of a model together, each stream weighted by its rate; `None` where nothing is known.
    #[must_use]
    pub fn of(state: &State, model: &str) -> Option<Self> {
        let streams = state.streams_of(model);
        Self::mixed(streams.filter_map(|(_, stream)| {
            let shape = stream.shape()?;
            Some((stream.forecast(0.0)?.mean, shape))
        }))
    }

    /// The prompts of (rate, shape) together.
    fn mixed<'a>(parts: impl Iterator<Item = (f64, &'a RequestShape)>) -> Option<Self> {
        let (mut weight, mut sum, mut cached) = (0.0, 0.0, 0.0);
        let mut lengths = Vec::new();
        for (rate, shape) in parts {
            weight += rate;
            sum += rate * shape.mean_input();
            cached += rate * shape.mean_input() * shape.prefix_hit();
            let points = shape.points().iter();
            lengths.extend(points.map(|p| (p.input, rate * p.weight)));
        }
        lengths.sort_by(|a, b| a.0.total_cmp(&b.0));
        (weight > 0.0 && sum > 0.0).then(|| Self {
            mean: sum / weight,
            cached: cached / weight,
            lengths,
        })
    }

    /// Coefficient of variation of the input tokens of the shortest prompts, as many as have the mean `share`·[`Self::mean`]:
    /// of what a router that sorts sends to a small device. Of all of them from 1 on.
    #[must_use]
    pub fn cv_of_shortest(&self, share: f64) -> f64 {
        let mean = share * self.mean;
        let (mut weight, mut sum, mut square) = (0.0, 0.0, 0.0);
        for &(input, all) in &self.lengths {
            // As much of this length as brings their mean up to the one that is sought.
            let room = (mean * weight - sum) / (input - mean);
            let part = if input > mean { room.min(all) } else { all };
            weight += part;
            sum += part * input;
            square += part * input * input;
            if part < all {
                break;
            }
        }
        if sum > 0.0 {
            (square * weight / (sum * sum) - 1.0).max(0.0).sqrt()
        } else {
            0.0
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Prompts of this shape.
    pub fn shaped(shape: &RequestShape) -> Prompts {
        Prompts::mixed([(1.0, shape)].into_iter()).expect("a shape has prompts")
    }

    #[test]
    fn short_prompts_vary_less_than_all_of_them() {
        let prompts = Prompts {
            mean: 4.0,
            cached: 0.0,
            lengths: vec![(1.0, 2.0), (2.0, 2.0), (5.0, 2.0), (8.0, 2.0)],
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} and {b}");
        // All: mean 4, mean square 23.5.
        close(prompts.cv_of_shortest(1.0), (23.5_f64 / 16.0 - 1.0).sqrt());
        close(prompts.cv_of_shortest(2.0), prompts.cv_of_shortest(1.0));
        // 1 and 2 alone: mean 1.5, mean square 2.5.
        close(
            prompts.cv_of_shortest(1.5 / 4.0),
            (2.5_f64 / 2.25 - 1.0).sqrt(),
        );
        // With one of the two 5: mean 11/5, mean square 7.
        close(
            prompts.cv_of_shortest(2.2 / 4.0),
            (7.0_f64 / 4.84 - 1.0).sqrt(),
        );
        // None is as short as that: nothing varies.
        close(prompts.cv_of_shortest(0.1), 0.0);
        close(
            prompts.cv_of_shortest(f64::NAN),
            prompts.cv_of_shortest(1.0),
        );
    }
}
