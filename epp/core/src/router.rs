//! Ready-made pickers, by the names that the simulator's `--router` takes.

use std::fmt;

use crate::choose::{By, Choose};
use crate::endpoint::Roles;
use crate::filter::Filter;
use crate::picker::{Decider, Handler, Picker};
use crate::prefix::PrefixLimits;
use crate::profile::Profile;
use crate::saturation::Detector;
use crate::scorer::Scorer;

/// A ready-made picker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Router {
    /// Any endpoint, all alike.
    Random,
    /// The fewest requests in flight.
    LeastQueue,
    /// The upstream's default: queue 2, KV cache 2, prefix 3.
    Prefix,
    /// The least predicted latency relative to the SLO, among endpoints that still meet theirs. Ours.
    #[default]
    Slo,
}

impl Router {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Random, Self::LeastQueue, Self::Prefix, Self::Slo];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::LeastQueue => "least-queue",
            Self::Prefix => "prefix",
            Self::Slo => "slo",
        }
    }

    /// The picker.
    #[must_use]
    pub fn picker(self) -> Picker {
        let profile = |filters: Vec<Filter>, scorers: Vec<(Scorer, f64)>| {
            let by = if self == Self::Random {
                By::Random
            } else {
                By::MaxScore
            };
            Profile {
                name: self.name().to_owned(),
                filters,
                scorers,
                choose: Choose { by, most: 1 },
            }
        };
        let profile = match self {
            Self::Random => profile(vec![], vec![]),
            Self::LeastQueue => profile(
                vec![],
                vec![(Scorer::ActiveRequests { idle: 0, busy: 1.0 }, 1.0)],
            ),
            Self::Prefix => profile(
                vec![],
                vec![
                    (Scorer::Queue, 2.0),
                    (Scorer::KvUsage, 2.0),
                    (Scorer::Prefix, 3.0),
                ],
            ),
            Self::Slo => profile(
                vec![Filter::SloTier { explore: 0.0 }],
                vec![(Scorer::Slo, 1.0)],
            ),
        };
        Picker {
            profiles: vec![profile],
            detector: match self {
                Self::Slo => Detector::SloConcurrency {
                    default: 100.0,
                    headroom: 0.0,
                },
                _ => Detector::default(),
            },
            prefix: PrefixLimits::default(),
            ..Picker::default()
        }
    }
}

impl Router {
    /// The picker for prompts that are computed on prefill servers and continued on decode servers: this way of choosing,
    /// once among each.
    #[must_use]
    pub fn disaggregated(self) -> Picker {
        let picker = self.picker();
        let stage = |roles: Roles| {
            let mut profile = picker.profiles[0].clone();
            profile.filters.insert(0, Filter::Roles(roles));
            profile
        };
        Picker {
            profiles: vec![stage(Roles::DECODE), stage(Roles::PREFILL)],
            handler: Handler::Disaggregated {
                decode: 0,
                prefill: Some((1, Decider::Always)),
                encode: None,
            },
            ..picker
        }
    }
}

impl fmt::Display for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
