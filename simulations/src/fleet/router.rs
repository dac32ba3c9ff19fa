//! Which of the ready replicas gets a request.

use std::fmt;
use std::str::FromStr;

use wva_epp_core::router::Router as Ready;

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
    /// As the Endpoint Picker does it, by one of its ready-made pickers; see the module `endpoints` for what it knows.
    Picker(Ready),
}

impl Router {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LeastLoad,
        Self::Picker(Ready::Random),
        Self::Picker(Ready::LeastQueue),
        Self::Picker(Ready::Prefix),
        Self::Picker(Ready::Slo),
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastLoad => "least-load",
            Self::Picker(ready) => ready.name(),
        }
    }
}

impl fmt::Display for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of [`Router::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no router is called `{0}`: choose least-load, random, least-queue, prefix or slo")]
pub struct UnknownRouter(pub String);

impl FromStr for Router {
    type Err = UnknownRouter;

    fn from_str(name: &str) -> Result<Self, UnknownRouter> {
        let mut routers = Self::ALL.into_iter();
        routers
            .find(|r| r.name() == name)
            .ok_or_else(|| UnknownRouter(name.to_owned()))
    }
}

/// The least loaded replica's (variant, place in its ready list) among those of `pool` that can hold the request; the
/// first of equals; `None` when there is none.
pub(super) fn least_load(
    variants: &[VariantState],
    pool: &[u32],
    (input, output): (u32, u32),
) -> Option<(usize, usize)> {
    let mut best = None;
    let mut least = (f64::INFINITY, f64::INFINITY);
    for &i in pool {
        let v = &variants[i as usize];
        if !v.can_hold(input, output) {
            continue;
        }
        for (place, load) in v.loads.iter().enumerate() {
            let key = (
                (load.prefill as f64 + f64::from(input)) * v.speed.0,
                f64::from(load.requests) * v.speed.1,
            );
            if key < least {
                least = key;
                best = Some((i as usize, place));
            }
        }
    }
    best
}
