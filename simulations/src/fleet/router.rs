//! Which of the ready replicas gets a request.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::pod::VariantState;

/// How the gateway picks a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Router {
    /// The replica that would have this request's prompt done first: prefill work outstanding (input tokens sent to it
    /// whose requests have no first token yet) plus its own, in the variant's seconds; then the fewest requests in the
    /// variant's decode steps. The gateway knows all of it without asking: it sent the requests and sees the first tokens
    /// pass. Leaving out the prompt's own time sends long prompts to idle small devices.
    #[default]
    LeastLoad,
    /// The replica with the fewest requests that have not ended.
    LeastRequests,
    /// Any replica, all alike.
    Random,
}

impl Router {
    /// The chosen replica's (variant, place in its ready list) among those of `pool` that can hold the request; `None`
    /// when there is none.
    pub(super) fn pick(
        self,
        variants: &[VariantState],
        pool: &[u32],
        (input, output): (u32, u32),
        random: &mut Xoshiro256PlusPlus,
    ) -> Option<(usize, usize)> {
        let fitting = pool
            .iter()
            .map(|&v| (v as usize, &variants[v as usize]))
            .filter(|(_, v)| v.can_hold(input, output));
        match self {
            Self::LeastLoad => {
                let key = |v: &VariantState, place: usize| {
                    let load = v.loads[place];
                    (
                        (load.prefill as f64 + f64::from(input)) * v.speed.0,
                        f64::from(load.requests) * v.speed.1,
                    )
                };
                least(fitting, key)
            }
            Self::LeastRequests => least(fitting, |v, place| {
                (f64::from(v.loads[place].requests), 0.0)
            }),
            Self::Random => {
                let fitting: Vec<_> = fitting.collect();
                let count: usize = fitting.iter().map(|(_, v)| v.ready.len()).sum();
                let mut place = (count > 0).then(|| random.random_range(0..count))?;
                for (i, v) in fitting {
                    match place.checked_sub(v.ready.len()) {
                        Some(rest) => place = rest,
                        None => return Some((i, place)),
                    }
                }
                None
            }
        }
    }
}

/// The (variant, place) of the least key; the first of equals.
fn least<'v>(
    variants: impl Iterator<Item = (usize, &'v VariantState)>,
    key: impl Fn(&VariantState, usize) -> (f64, f64),
) -> Option<(usize, usize)> {
    let mut best = None;
    let mut best_key = (f64::INFINITY, f64::INFINITY);
    for (i, v) in variants {
        for place in 0..v.loads.len() {
            let k = key(v, place);
            if k < best_key {
                best_key = k;
                best = Some((i, place));
            }
        }
    }
    best
}
