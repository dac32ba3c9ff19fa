//! Which of the ready replicas gets a request.

use std::fmt;
use std::str::FromStr;

use wva_epp_core::router::Router as Ready;
use wva_models::iteration::{Composition, ReplicaModel};

use super::pod::VariantState;

/// How the gateway picks a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Router {
    /// The replica with the least work, in its variant's seconds: prefill outstanding (input tokens sent to it whose
    /// requests have no first token yet) with half of this request's own, and a part of a typical request for each that it
    /// holds. The gateway knows all of it without asking: it sent the requests and sees the first tokens pass. Leaving out
    /// the prompt's own time sends long prompts to idle small devices; counting it in full keeps a fast replica among many
    /// slow ones computing prompts without pause, and leaving out the requests sends everything to the variant that is
    /// fastest with prompts: either way its decoding stalls.
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

/// How fast a variant is, as the router believes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Seconds per prefill token.
    prompt_token: f64,
    /// Seconds of the device that a typical request takes, its answer decoded along with others.
    request: f64,
}

/// Prompt and answer of a typical request, tokens: a chat's.
const TYPICAL: (f64, f64) = (1200.0, 256.0);
/// Requests that are decoded together.
const TOGETHER: f64 = 32.0;

impl Pace {
    /// By what the catalogue believes.
    pub(crate) fn of(model: &ReplicaModel) -> Self {
        let chunk = 1024.0;
        let prefill = Composition {
            tokens: chunk,
            kv_tokens: chunk,
            sequences: 1.0,
            chunk_context: chunk * chunk / 2.0,
            any_prefill: true,
        };
        let decode = Composition {
            tokens: TOGETHER,
            kv_tokens: TOGETHER * chunk,
            sequences: TOGETHER,
            ..Composition::default()
        };
        let prompt_token = model.law.seconds(&prefill) / chunk;
        let answer_token = model.law.seconds(&decode) / TOGETHER;
        Self {
            prompt_token,
            request: TYPICAL.0 * prompt_token + TYPICAL.1 * answer_token,
        }
    }
}

/// Part of the time of a request's own prompt that counts. Of 24 L4 and one H100 with prompts of 8,600 tokens, at 85 % of
/// what they carry, 2.9 % of requests miss their promise where all of it counts, .5 % at a half and .4 % at a third; of 6
/// L4 and two H100, at all they carry, .09, .10 and .25 %. Among replicas of one variant it changes nothing.
const OWN: f64 = 0.5;
/// Part of a typical request that one in flight is taken to have left beside its prompt.
const HELD: f64 = 0.1;

/// The least loaded replica's (variant, place in its ready list) among those of `pool` that can hold the request; the
/// first of equals; `None` when there is none.
pub(super) fn least_load(
    variants: &[VariantState],
    pool: &[u32],
    (input, output): (u32, u32),
) -> Option<(usize, usize)> {
    let mut best = None;
    let mut least = (f64::INFINITY, u32::MAX);
    for &i in pool {
        let v = &variants[i as usize];
        if !v.can_hold(input, output) {
            continue;
        }
        for (place, load) in v.loads.iter().enumerate() {
            let prompts = load.prefill as f64 + OWN * f64::from(input);
            let held = HELD * (f64::from(load.requests) + 1.0);
            let work = prompts * v.pace.prompt_token + held * v.pace.request;
            let key = (work, load.requests);
            if key < least {
                least = key;
                best = Some((i as usize, place));
            }
        }
    }
    best
}
