//! One sample per pod: the freshest reading that can be true, whoever brought it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::engine::EngineReading;
use super::evidence::Candidate;
use super::gates;
use super::gathered::{Outcome, Sampled};
use super::reason::{Missing, Note, Reason, Source};
use super::targets::{Bounds, PodTarget};

/// Readings behind a leap, each of a replica at work, before it is taken for a new beginning.
const STRIKES: u32 = 3;
/// Readings of the same tick of this length are equally fresh, seconds.
const SAME_S: f64 = 1.0;

/// What is remembered of one pod between cycles.
#[derive(Debug, Clone, Default)]
pub struct PodMemory {
    last: Option<Accepted>,
    incarnation: u32,
    leaps: u32,
    /// Prompt tokens computed so far, and the reading up to which they are counted.
    computed: f64,
    /// Where its counters have leapt to, as long as that is not believed.
    leap: Option<Leap>,
    /// Per source the newest time stamp and when it was first seen: a clock ahead of ours cannot keep a dead source fresh.
    first_seen: BTreeMap<Source, (f64, f64)>,
}

/// Counters that are where they cannot have come to.
///
/// Waiting does not make it true: neither that the time since the last reading believed grows, which would let any leap
/// through in the end, nor that nothing contradicts it while the engine has nothing to do. It is a new beginning where the
/// counters go on from there as those of a replica at work do.
#[derive(Debug, Clone)]
struct Leap {
    /// The first reading behind it, and its time.
    first: Arc<EngineReading>,
    since: f64,
    /// The newest one.
    newest: Arc<EngineReading>,
    at: f64,
    /// Readings so far that are like those of a replica at work.
    strikes: u32,
}

/// A reading that was believed.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Who brought it.
    pub source: Source,
    /// The time that it speaks of, by our clock.
    pub at: f64,
    /// The reading.
    pub reading: Arc<EngineReading>,
    /// What is odd about it.
    pub notes: Vec<Note>,
    /// How often the counters of its pod have leapt so far: what lies across a leap was not counted.
    pub leaps: u32,
}

impl Leap {
    /// Whether a replica can have counted on from the first reading behind it to this one.
    fn goes_on(&self, r: &EngineReading, at: f64, bounds: &Bounds) -> bool {
        !gates::restarted(r, &self.newest)
            && gates::possible(r, &self.first, at - self.since, bounds)
    }
}

impl PodMemory {
    /// The reading last believed, fresh or not.
    #[must_use]
    pub const fn accepted(&self) -> Option<&Accepted> {
        self.last.as_ref()
    }

    /// Chooses among the candidates of one cycle at `now` and says what the pod's sample is. A reading that was believed
    /// before stays until it is older than `stale_after` seconds: one failed scrape is no outage.
    pub fn choose(
        &mut self,
        pod: &PodTarget,
        bounds: &Bounds,
        candidates: &[Candidate<EngineReading>],
        failures: &[(Source, Missing)],
        now: f64,
        stale_after: f64,
    ) -> Outcome<wva_optimizer::snapshot::ReplicaSample> {
        let mut rejected: Option<Missing> = None;
        let mut dated: Vec<(f64, &Candidate<EngineReading>, bool)> = candidates
            .iter()
            .map(|c| {
                let (at, ahead) = self.date(c, now);
                (at, c, ahead)
            })
            .collect();
        let tick = |at: f64| (at / SAME_S).floor();
        dated.sort_by(|a, b| {
            let fresher = tick(b.0).total_cmp(&tick(a.0));
            fresher
                .then(a.1.source.cmp(&b.1.source))
                .then(b.0.total_cmp(&a.0))
        });
        for (at, candidate, ahead) in dated {
            if self.last.as_ref().is_some_and(|l| at <= l.at) {
                continue;
            }
            if now - at > stale_after || !at.is_finite() {
                let mut stale = Missing::new(Reason::Stale, candidate.source.as_str());
                stale.age = Some(now - at).filter(|a| a.is_finite());
                rejected.get_or_insert(stale);
                continue;
            }
            match self.judge(candidate, at, pod.started_at, bounds) {
                Ok(restarted) => {
                    self.accept(candidate, at, ahead, restarted);
                    break;
                }
                Err(missing) => {
                    rejected = Some(missing);
                }
            }
        }
        self.outcome(pod, rejected, failures, now, stale_after)
    }

    /// The candidate's time by our clock, and whether its own was ahead.
    fn date(&mut self, candidate: &Candidate<EngineReading>, now: f64) -> (f64, bool) {
        let seen = self
            .first_seen
            .entry(candidate.source)
            .or_insert((candidate.at, now));
        if seen.0 != candidate.at {
            *seen = (candidate.at, now);
        }
        let ahead = candidate.at > now + SAME_S;
        (
            if candidate.at > now {
                seen.1
            } else {
                candidate.at
            },
            ahead,
        )
    }

    /// Whether the reading can be true; if so, whether it begins anew. The first one is held against the beginning of its
    /// pod, as far as that is known.
    fn judge(
        &mut self,
        candidate: &Candidate<EngineReading>,
        at: f64,
        born: Option<f64>,
        bounds: &Bounds,
    ) -> Result<bool, Missing> {
        let r = &candidate.reading;
        gates::plausible(r, bounds)?;
        let last = self.last.as_ref();
        let since = last.map(|l| l.at).or(born.filter(|born| *born <= at));
        let before = last.map(|l| &*l.reading);
        let follows = match since {
            _ if self.is_behind_leap(r, at, bounds) => {
                Err(Missing::new(Reason::Absurd, "its counters have leapt"))
            }
            Some(since) => gates::follows(r, before, at - since, bounds),
            None => Ok(()),
        };
        match follows {
            Ok(()) => {
                let restarted = before.is_some_and(|before| gates::restarted(r, before));
                self.leap = None;
                Ok(restarted)
            }
            Err(absurd) => self.leapt(r, at, bounds).then_some(true).ok_or(absurd),
        }
    }

    /// Whether the counters are where they had leapt to, or beyond, and cannot have come there in the time since.
    fn is_behind_leap(&self, r: &EngineReading, at: f64, bounds: &Bounds) -> bool {
        let Some(leap) = &self.leap else { return false };
        let last = self.last.as_ref();
        !gates::restarted(r, &leap.newest)
            && !last.is_some_and(|l| gates::possible(r, &l.reading, at - l.at, bounds))
    }

    /// Takes note of a reading that cannot have come of the last one; says whether it is a new beginning.
    fn leapt(&mut self, r: &Arc<EngineReading>, at: f64, bounds: &Bounds) -> bool {
        match &mut self.leap {
            Some(leap) if at <= leap.at => return false,
            Some(leap) if leap.goes_on(r, at, bounds) => {
                leap.strikes += u32::from(gates::moved(r, &leap.newest));
                (leap.newest, leap.at) = (Arc::clone(r), at);
            }
            open => {
                *open = Some(Leap {
                    first: Arc::clone(r),
                    since: at,
                    newest: Arc::clone(r),
                    at,
                    strikes: 1,
                });
            }
        }
        if self.leap.as_ref().is_none_or(|l| l.strikes < STRIKES) {
            return false;
        }
        // For the optimizer this is another replica, so that it takes no difference across the leap.
        self.incarnation = self.incarnation.wrapping_add(1);
        self.leaps = self.leaps.wrapping_add(1);
        (self.last, self.leap) = (None, None);
        true
    }

    fn accept(
        &mut self,
        candidate: &Candidate<EngineReading>,
        at: f64,
        ahead: bool,
        restarted: bool,
    ) {
        let r = &candidate.reading;
        let before = self
            .last
            .as_ref()
            .filter(|_| !restarted)
            .map(|l| Arc::clone(&l.reading));
        self.computed = computed(r, before.as_deref(), self.computed);
        let mut notes = candidate.notes.clone();
        let odd = [
            (ahead, Note::ClockAhead),
            (restarted, Note::Restarted),
            (r.mismatch, Note::EngineMismatch),
            (r.duplicates > 0, Note::Duplicated),
        ];
        notes.extend(odd.into_iter().filter(|(is, _)| *is).map(|(_, note)| note));
        notes.sort_unstable();
        notes.dedup();
        self.last = Some(Accepted {
            source: candidate.source,
            at,
            reading: Arc::clone(r),
            notes,
            leaps: self.leaps,
        });
    }

    fn outcome(
        &self,
        pod: &PodTarget,
        rejected: Option<Missing>,
        failures: &[(Source, Missing)],
        now: f64,
        stale_after: f64,
    ) -> Outcome<wva_optimizer::snapshot::ReplicaSample> {
        if let Some(last) = &self.last {
            let age = (now - last.at).max(0.0);
            if age <= stale_after {
                return Outcome::Sample(Sampled {
                    value: last
                        .reading
                        .sample(pod.id(self.incarnation), last.at, self.computed),
                    source: last.source,
                    age,
                    notes: last.notes.clone(),
                });
            }
        }
        let silent = || {
            self.last
                .as_ref()
                .map(|l| Missing::new(Reason::Stale, l.source.as_str()))
        };
        let mut missing = rejected
            .or_else(|| failures.first().map(|(_, m)| m.clone()))
            .or_else(silent)
            .unwrap_or_else(|| Missing::new(Reason::NoSource, ""));
        missing.detail = with_others(&missing, failures);
        missing.age = missing
            .age
            .or_else(|| self.last.as_ref().map(|l| now - l.at));
        Outcome::Missing(missing)
    }
}

/// The detail of `missing`, and what the other sources say.
fn with_others(missing: &Missing, failures: &[(Source, Missing)]) -> String {
    let others = failures.iter().filter(|(_, m)| m.reason != missing.reason);
    let said = others.map(|(source, m)| format!("{}: {} {}", source.as_str(), m.reason, m.detail));
    let all: Vec<String> = std::iter::once(missing.detail.clone())
        .chain(said)
        .map(|s| s.trim_end().to_owned())
        .filter(|s| !s.is_empty())
        .collect();
    all.join("; ")
}

/// Prompt tokens computed so far: as counted, where the engine counts them; else all but the cached ones; else, where only
/// look-ups in the prefix cache are counted, with the share that missed since the last reading. (Look-ups are repeated
/// while a request waits, so their number means nothing, but their ratio does.)
pub(super) fn computed(r: &EngineReading, before: Option<&EngineReading>, so_far: f64) -> f64 {
    if let Some(computed) = r.computed_tokens {
        return computed;
    }
    let fresh = |hits: f64, queries: f64| {
        let share = hits / queries;
        if share.is_finite() {
            1.0 - share.clamp(0.0, 1.0)
        } else {
            1.0
        }
    };
    if let Some(cached) = r.cached_tokens {
        let all = (r.prompt_tokens - cached).max(0.0);
        return if before.is_some() {
            all.max(so_far)
        } else {
            all
        };
    }
    let (hits, queries) = (
        r.prefix_hits.unwrap_or(0.0),
        r.prefix_queries.unwrap_or(0.0),
    );
    let Some(before) = before else {
        return r.prompt_tokens * fresh(hits, queries);
    };
    let grown = (r.prompt_tokens - before.prompt_tokens).max(0.0);
    let looked = queries - before.prefix_queries.unwrap_or(0.0);
    let found = hits - before.prefix_hits.unwrap_or(0.0);
    let share = if looked > 0.0 {
        fresh(found, looked)
    } else {
        fresh(hits, queries)
    };
    so_far + grown * share
}
