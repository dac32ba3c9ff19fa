//! The cycle that is to be explained, found in a bundle, in a log of decisions, or on its own.

use wva_models::catalogue::names;
use wva_optimizer::decision::Decision;
use wva_optimizer::replay::{self, BUNDLE_SCHEMA, Bundle, MOMENT_SCHEMA, Recorded};
use wva_optimizer::snapshot::Snapshot;
use wva_optimizer::state::State;
use wva_optimizer::step::Autoscaler;

use crate::commands::replay::Decider;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::input::Input;

/// Which cycle.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The last one at or before this time; absent: the last one that changed something.
    pub at: Option<f64>,
    /// Only decisions about this variant count.
    pub variant: Option<&'a str>,
}

impl Wanted<'_> {
    /// Whether a decision is about the wanted variant.
    pub fn concerns(&self, decision: &Decision) -> bool {
        self.variant.is_none_or(|v| v == decision.variant)
    }

    fn fits(&self, at: f64, decisions: &[Decision]) -> bool {
        match self.at {
            Some(latest) => at <= latest && decisions.iter().any(|d| self.concerns(d)),
            None => decisions
                .iter()
                .any(|d| self.concerns(d) && d.target != d.current),
        }
    }
}

/// A cycle and, from a bundle, what led to it.
pub struct Moment {
    /// Time of the cycle.
    pub at: f64,
    /// What was decided.
    pub decisions: Vec<Decision>,
    /// What it was decided from.
    pub cause: Option<Cause>,
}

/// Everything that a decision follows from.
pub struct Cause {
    /// Catalogue and settings.
    pub autoscaler: Autoscaler,
    /// What the cycle saw.
    pub snapshot: Snapshot,
    /// What it remembered.
    pub state: State,
}

impl Moment {
    /// The wanted cycle of a bundle or a log.
    pub fn find(input: &Input, wanted: &Wanted<'_>) -> Result<Self, Failure> {
        let first = input.text.lines().next().unwrap_or_default();
        if first.contains(BUNDLE_SCHEMA) {
            in_bundle(input, wanted)
        } else if first.contains(MOMENT_SCHEMA) {
            Ok(Self::document(&input.text, &input.name)?)
        } else {
            in_log(input, wanted)
        }
    }
}

impl Moment {
    /// The one cycle that a controller shows, with what it started from.
    pub fn document(json: &str, origin: &str) -> Result<Self, Diagnostic> {
        let read = replay::Moment::parse(json, origin);
        let read = read.map_err(|e| Diagnostic::placed(&e.to_string()))?;
        Ok(Self {
            at: read.snapshot.at,
            decisions: read.cycle.decisions,
            cause: Some(Cause {
                autoscaler: read.autoscaler,
                snapshot: read.snapshot,
                state: read.state,
            }),
        })
    }
}

fn in_bundle(input: &Input, wanted: &Wanted<'_>) -> Result<Moment, Failure> {
    let placed = |e: wva_optimizer::replay::ReplayError| Diagnostic::placed(&e.to_string());
    let mut bundle = Bundle::open(input.text.as_bytes(), &input.name).map_err(placed)?;
    let mut decider = Decider::of(&bundle);
    let mut state = std::mem::take(&mut bundle.state);
    let autoscaler = bundle.autoscaler.clone();
    let cycles: Vec<Recorded> = bundle
        .map(|c| c.map(|(_, cycle)| cycle))
        .collect::<Result<_, _>>()
        .map_err(placed)?;
    let index = cycles
        .iter()
        .rposition(|c| wanted.fits(c.snapshot.at, &c.cycle.decisions));
    let Some(index) = index else {
        return Err(nothing(
            input,
            wanted,
            cycles.iter().flat_map(|c| &c.cycle.decisions),
        )
        .into());
    };
    for earlier in &cycles[..index] {
        state = decider.decide(&autoscaler, &earlier.snapshot, state).0;
    }
    let Recorded { snapshot, cycle } = cycles
        .into_iter()
        .nth(index)
        .expect("the index was found in these cycles");
    Ok(Moment {
        at: snapshot.at,
        decisions: cycle.decisions,
        cause: Some(Cause {
            autoscaler,
            snapshot,
            state,
        }),
    })
}

/// A log has one decision a line; those of one time are one cycle.
fn in_log(input: &Input, wanted: &Wanted<'_>) -> Result<Moment, Failure> {
    let mut all: Vec<Decision> = Vec::new();
    for (i, line) in input
        .text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        let decision = serde_json::from_str(line).map_err(|e| {
            input
                .complaint(format!("neither a bundle nor a decision: {e}"), i + 1, 0)
                .help("record a bundle with `wva simulate SCENARIO --record FILE`")
        })?;
        all.push(decision);
    }
    let found = all
        .iter()
        .rfind(|d| wanted.fits(d.at, std::slice::from_ref(d)));
    let Some(at) = found.map(|d| d.at) else {
        return Err(nothing(input, wanted, all.iter()).into());
    };
    all.retain(|d| d.at.total_cmp(&at).is_eq());
    Ok(Moment {
        at,
        decisions: all,
        cause: None,
    })
}

/// Why there is nothing to explain.
fn nothing<'a>(
    input: &Input,
    wanted: &Wanted<'_>,
    all: impl Iterator<Item = &'a Decision> + Clone,
) -> Diagnostic {
    let file = &input.name;
    if all.clone().next().is_none() {
        return Diagnostic::new(format!("{file}: there is no decision in it"))
            .help("record a bundle with `wva simulate SCENARIO --record FILE`");
    }
    if let Some(name) = wanted
        .variant
        .filter(|v| all.clone().all(|d| d.variant != *v))
    {
        let missing = Diagnostic::new(format!("{file}: no decision is about a variant `{name}`"));
        let known: std::collections::BTreeSet<&str> = all.map(|d| d.variant.as_str()).collect();
        let near = names::nearest(name, known.iter().copied(), str::to_lowercase);
        let known: Vec<&str> = known.into_iter().collect();
        return missing.help(near.map_or(format!("known: {}", known.join(", ")), |n| {
            format!("did you mean `{n}`?")
        }));
    }
    match wanted.at {
        Some(at) => Diagnostic::new(format!("{file}: there is no decision at or before {at} s")),
        None => Diagnostic::new(format!("{file}: no decision changed anything"))
            .help("name a time: `--at SECONDS`"),
    }
}
