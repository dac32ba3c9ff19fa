//! The choice: which endpoint gets a request, and where its prompt is computed.
//!
//! ```text
//!  pool ∩ subset ─► decode profile ─► decider? ─► prefill profile ─► encode profile ─► Choice
//! ```
//! Choosing also books: the request counts as in flight and its prefix as held from here on, so that the next request,
//! a microsecond later, sees it. That is what keeps a burst from landing on one endpoint.

mod choice;
mod refusal;

use crate::endpoint::Slot;
use crate::filter::allows;
use crate::inflight::Flight;
use crate::pool::Pool;
use crate::predict::{Ask, Predicted};
use crate::prefix::PrefixLimits;
use crate::profile::Profile;
use crate::request::Request;
use crate::round::{Round, Scratch, State};
use crate::saturation::Detector;
pub use choice::{Choice, DATA_PARALLEL_HEADER, DESTINATION_HEADER, ENCODE_HEADER, PREFILL_HEADER};
pub use refusal::{Refusal, RefusalKind};

/// When a stage is done elsewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decider {
    /// For every request.
    Always,
    /// For requests with images, audio or video.
    Multimodal,
    /// When at least so many prompt tokens are not in the decode endpoint's cache; never for 0.
    Uncached(f64),
}

impl Decider {
    fn elsewhere(self, request: &Request<'_>, uncached: f64) -> bool {
        match self {
            Self::Always => true,
            Self::Multimodal => request.multimodal,
            Self::Uncached(tokens) => tokens > 0.0 && uncached >= tokens,
        }
    }
}

/// Which profiles run.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Handler {
    /// The first, for everything.
    #[default]
    Single,
    /// The first chooses a data-parallel rank; the request goes to this port of its pod, with the rank in a header.
    DataParallel {
        /// The port that takes requests for all ranks.
        primary_port: u16,
    },
    /// One for each stage, by number among the picker's profiles.
    Disaggregated {
        /// Generates.
        decode: usize,
        /// Computes the prompt, when decided.
        prefill: Option<(usize, Decider)>,
        /// Encodes images, audio and video, when decided.
        encode: Option<(usize, Decider)>,
    },
}

/// Chooses endpoints. Immutable: a new configuration is a new picker.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Picker {
    /// Ways of choosing; never empty in a picker that was configured.
    pub profiles: Vec<Profile>,
    /// Which of them run.
    pub handler: Handler,
    /// How full is full.
    pub detector: Detector,
    /// Whether a request of negative priority is refused when no endpoint is predicted to meet its bounds.
    pub refuse_hopeless: bool,
    /// Header that tells a client its session's token; `None` for no sessions.
    pub session_header: Option<String>,
    /// Bounds of the prefix index that suits it.
    pub prefix: PrefixLimits,
}

impl Picker {
    /// A state for this picker. The same seed and requests make the same choices.
    #[must_use]
    pub fn state(&self, seed: u64) -> State {
        State::new(self.prefix, seed)
    }

    /// The same, with at least so many endpoints for each request: the chosen one and its fallbacks.
    #[must_use]
    pub fn with_at_least(mut self, endpoints: usize) -> Self {
        let main = match self.handler {
            Handler::Disaggregated { decode, .. } => decode,
            Handler::Single | Handler::DataParallel { .. } => 0,
        };
        if let Some(profile) = self.profiles.get_mut(main) {
            profile.choose.most = profile.choose.most.max(endpoints);
        }
        self
    }

    /// Whether requests should come with their block hashes.
    #[must_use]
    pub fn needs_prefix(&self) -> bool {
        let decides = |d: &Option<(usize, Decider)>| matches!(d, Some((_, Decider::Uncached(_))));
        let handler = matches!(&self.handler, Handler::Disaggregated { prefill, encode, .. }
            if decides(prefill) || decides(encode));
        handler || self.refuse_hopeless || self.profiles.iter().any(Profile::needs_prefix)
    }

    /// The request headers it looks at, in lower case; repeated where several plugins do.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.profiles.iter().flat_map(Profile::headers)
    }

    /// Chooses the endpoints of a request and counts it as in flight there until [`Choice::flight`] ends.
    ///
    /// Takes O(endpoints × scorers) time and, once the state has grown to the pool, no memory.
    ///
    /// # Errors
    /// [`Refusal`] when the pool or the subset is empty, filters leave nothing, or the request is hopeless.
    pub fn pick(
        &self,
        pool: &Pool,
        request: &Request<'_>,
        state: &mut State,
        now: f64,
    ) -> Result<Choice, Refusal> {
        let State {
            inflight,
            prefix,
            cold,
            taken,
            random,
            scratch,
        } = state;
        inflight.follow(pool);
        base(pool, request, &mut scratch.base)?;
        taken.restrict(pool, &mut scratch.base);
        let mut matched = std::mem::take(&mut scratch.matched);
        matched.clear();
        let prefixes = self.needs_prefix() && !request.chain.is_empty();
        if prefixes {
            prefix.follow(pool);
            prefix.matched(request.chain, &mut matched);
        }
        let round = Round {
            pool,
            request,
            loads: inflight.loads(),
            matched: &matched,
            block_tokens: f64::from(prefix.limits().block_tokens),
            cold,
            now,
        };
        let stages = self.stages(&round, scratch, random);
        let stages = stages.map(|s| (s.asks(&round), s));
        scratch.matched = matched;
        let (asks, stages) = stages?;
        if prefixes {
            if asks.decode.cached == 0.0 && asks.prefill.is_none_or(|a| a.cached == 0.0) {
                [Some(stages.decode), stages.prefill]
                    .into_iter()
                    .flatten()
                    .for_each(|s| cold.note(s));
            }
            [Some(stages.decode), stages.prefill]
                .into_iter()
                .flatten()
                .for_each(|slot| prefix.touch(slot, request.chain));
        }
        let mut begin = |slot: Slot, uncached: f64, output: f64, predicted: Option<Predicted>| {
            let ticket = inflight.begin(slot, uncached, request.prompt_tokens, output);
            if let Some(predicted) = predicted {
                inflight.expect(ticket, &predicted, now);
            }
            ticket
        };
        let (here, there) = match stages.prefill {
            Some(_) => (None, asks.predicted),
            None => (asks.predicted, None),
        };
        let uncached = asks.decode.uncached;
        let flight = Flight {
            decode: begin(stages.decode, uncached, request.output_tokens, here),
            prefill: stages
                .prefill
                .zip(asks.prefill)
                .map(|(s, ask)| begin(s, ask.uncached, 0.0, there)),
        };
        Ok(self.choice(pool, stages, &asks, flight))
    }

    /// Load of the pool over its capacity, by this picker's detector: 1 is full. 1 for an empty pool.
    #[must_use]
    pub fn saturation(&self, pool: &Pool, state: &mut State, now: f64) -> f64 {
        state.inflight.follow(pool);
        let round = Round {
            pool,
            request: &Request::default(),
            loads: state.inflight.loads(),
            matched: &[],
            block_tokens: 0.0,
            cold: &state.cold,
            now,
        };
        let takers = pool.takers().iter().copied();
        self.detector.saturation(&round, takers)
    }

    fn stages(
        &self,
        round: &Round<'_>,
        scratch: &mut Scratch,
        random: &mut rand::rngs::Xoshiro256PlusPlus,
    ) -> Result<Stages, Refusal> {
        if self.refuse_hopeless && round.request.priority < 0 && hopeless(round, &scratch.base) {
            return Err(Refusal::of(RefusalKind::Infeasible));
        }
        let mut run = |profile: usize| {
            let best = self.profiles.get(profile)?.run(round, scratch, random)?;
            let others = scratch.best.iter().skip(1).map(|b| b.2).collect();
            Some((best, others))
        };
        let nothing = Refusal::of(RefusalKind::NoCandidates);
        let Handler::Disaggregated {
            decode,
            prefill,
            encode,
        } = &self.handler
        else {
            let (decode, fallbacks) = run(0).ok_or(nothing)?;
            return Ok(Stages {
                decode,
                fallbacks,
                prefill: None,
                encode: Vec::new(),
            });
        };
        let (decode, fallbacks) = run(*decode).ok_or(nothing)?;
        let uncached = round.ask(decode).uncached;
        let mut elsewhere = |stage: &Option<(usize, Decider)>| {
            let (profile, decider) = (*stage)?;
            decider
                .elsewhere(round.request, uncached)
                .then(|| run(profile))
                .flatten()
        };
        let encode = elsewhere(encode).map(|(best, mut others): (Slot, Vec<Slot>)| {
            others.insert(0, best);
            others
        });
        let prefill = elsewhere(prefill)
            .map(|(best, _)| best)
            .filter(|p| *p != decode);
        Ok(Stages {
            decode,
            fallbacks,
            prefill,
            encode: encode.unwrap_or_default(),
        })
    }

    fn choice(&self, pool: &Pool, stages: Stages, asks: &Asks, flight: Flight) -> Choice {
        let primary_port = match self.handler {
            Handler::DataParallel { primary_port } => Some(primary_port),
            _ => None,
        };
        let address = |slot: Slot| pool.endpoint(slot).map(|e| e.address);
        Choice {
            primary: stages.decode,
            fallbacks: stages.fallbacks,
            prefill: stages.prefill,
            encode: stages.encode,
            cached_tokens: asks.prefill.map_or(asks.decode.cached, |a| a.cached),
            predicted: asks.predicted,
            flight,
            rank_of: primary_port.and_then(|port| Some((address(stages.decode)?, port))),
            session_header: self.session_header.clone(),
        }
    }
}

/// The endpoints of each stage.
struct Stages {
    decode: Slot,
    fallbacks: Vec<Slot>,
    prefill: Option<Slot>,
    encode: Vec<Slot>,
}

/// What the request asks of them.
struct Asks {
    decode: Ask,
    prefill: Option<Ask>,
    predicted: Option<Predicted>,
}

impl Stages {
    fn asks(&self, round: &Round<'_>) -> Asks {
        let mut decode = round.ask(self.decode);
        let prefill = self.prefill.map(|s| round.ask(s));
        let predicted = round.predicted(self.prefill.unwrap_or(self.decode));
        if prefill.is_some() {
            // The KV cache comes ready made.
            decode.uncached = 0.0;
        }
        Asks {
            decode,
            prefill,
            predicted,
        }
    }
}

/// Candidates before any profile: all, or those the proxy allows; draining ones only if there are no others, and those to
/// avoid only if there are not even draining ones.
fn base(pool: &Pool, request: &Request<'_>, base: &mut Vec<Slot>) -> Result<(), Refusal> {
    base.clear();
    if pool.is_empty() {
        return Err(Refusal::of(RefusalKind::NoEndpoints));
    }
    let members = &pool.members;
    let allowed = |slot: Slot| {
        let within = |subset| {
            pool.endpoint(slot)
                .is_some_and(|e| allows(subset, e.address))
        };
        request.subset.is_none_or(within)
    };
    for avoid in [request.avoid, &[]] {
        for slots in [&members.ready, &members.draining] {
            if request.subset.is_none() && avoid.is_empty() {
                base.extend_from_slice(slots);
            } else {
                let slots = slots.iter().copied();
                base.extend(slots.filter(|s| !avoid.contains(s) && allowed(*s)));
            }
            if !base.is_empty() {
                return Ok(());
            }
        }
    }
    Err(Refusal::of(RefusalKind::EmptySubset))
}

/// Whether every candidate with a prediction is predicted to miss a bound, and some have one.
fn hopeless(round: &Round<'_>, base: &[Slot]) -> bool {
    let targets = round.request.targets;
    if !targets.any() {
        return false;
    }
    let mut predictions = base.iter().filter_map(|&s| round.predicted(s)).peekable();
    let misses = |p: Predicted| {
        targets.ttft.is_some_and(|t| p.ttft > t) || targets.tpot.is_some_and(|t| p.tpot > t)
    };
    predictions.peek().is_some() && predictions.all(misses)
}
