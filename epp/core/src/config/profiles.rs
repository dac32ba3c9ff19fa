//! Scheduling profiles and the handler that runs them.

use wva_models::catalogue::Place;

use super::ConfigError;
use super::fields::Fields;
use super::plugin::{DeciderText, HandlerText, Plugin, Plugins, StagesText};
use super::tree::At;
use crate::picker::{Decider, Handler, Picker};
use crate::prefix::PrefixLimits;
use crate::profile::Profile;
use crate::scorer::Scorer;

/// What decides.
pub(super) struct Scheduling {
    profiles: Vec<Profile>,
    handler: Handler,
}

impl Scheduling {
    pub(super) fn read(fields: &mut Fields, plugins: &Plugins) -> Result<Self, ConfigError> {
        let mut profiles: Vec<Profile> = Vec::new();
        for mut entry in fields.maps("schedulingProfiles", "a scheduling profile")? {
            let name = entry.text("name")?;
            if profiles.iter().any(|p| p.name == name.value) {
                let (place, name) = (name.place, name.value);
                return Err(ConfigError::Twice {
                    place,
                    what: "profile",
                    name,
                });
            }
            let mut profile = Profile {
                name: name.value,
                ..Profile::default()
            };
            for mut used in entry.maps("plugins", "a plugin of a profile")? {
                let plugin = used.text("pluginRef")?;
                let weight = used.number("weight", 1.0, 0.0, f64::MAX)?;
                used.finish()?;
                add(&mut profile, plugins.get(&plugin)?, weight, &plugin)?;
            }
            entry.finish()?;
            profiles.push(profile);
        }
        if profiles.is_empty() {
            profiles.push(everything(plugins));
        }
        let handler = handler(fields.place.clone(), plugins, &profiles)?;
        Ok(Self { profiles, handler })
    }

    /// The picker, its detector the default.
    pub(super) fn picker(self, plugins: &Plugins) -> Picker {
        let limits = |p: &Plugin| match p {
            Plugin::Prefix(limits) | Plugin::PrefixScorer(Some(limits)) => Some(*limits),
            _ => None,
        };
        let limits: Option<PrefixLimits> = plugins.all().find_map(|(_, p)| limits(p));
        let refuses = |p: &Plugin| matches!(p, Plugin::RefuseHopeless).then_some(());
        let session = self.profiles.iter().find_map(|p| {
            let scorer = p.scorers.iter().find_map(|(s, _)| match s {
                Scorer::Session { header } => Some(header.clone()),
                _ => None,
            });
            let filter = p.filters.iter().find_map(|f| match f {
                crate::filter::Filter::Session { header } => Some(header.clone()),
                _ => None,
            });
            scorer.or(filter)
        });
        Picker {
            profiles: self.profiles,
            handler: self.handler,
            refuse_hopeless: plugins.all().any(|(_, p)| refuses(p).is_some()),
            session_header: session,
            prefix: limits.unwrap_or_default(),
            ..Picker::default()
        }
    }
}

/// Adds a plugin to where it belongs in a profile.
fn add(
    profile: &mut Profile,
    plugin: &Plugin,
    weight: f64,
    name: &At<String>,
) -> Result<(), ConfigError> {
    match plugin {
        Plugin::Filter(filter) => profile.filters.push(filter.clone()),
        Plugin::Detector(detector) => {
            profile
                .filters
                .push(crate::filter::Filter::NotSaturated(*detector));
        }
        Plugin::Scorer(scorer) => profile.scorers.push((scorer.clone(), weight)),
        Plugin::PrefixScorer(_) => profile.scorers.push((Scorer::Prefix, weight)),
        Plugin::Both(filter, scorer) => {
            profile.filters.push(filter.clone());
            profile.scorers.push((scorer.clone(), weight));
        }
        Plugin::Choose(choose) => profile.choose = *choose,
        Plugin::Nothing => {}
        _ => {
            let (place, name) = (name.place.clone(), name.value.clone());
            return Err(ConfigError::WrongKind {
                place,
                name,
                wanted: "filter, scorer or picker",
            });
        }
    }
    Ok(())
}

/// The profile of a configuration that has none: all filters, scorers and pickers that are listed.
fn everything(plugins: &Plugins) -> Profile {
    let mut profile = Profile {
        name: "default".to_owned(),
        ..Profile::default()
    };
    for (name, plugin) in plugins.all() {
        if !matches!(plugin, Plugin::Detector(_)) {
            // What belongs elsewhere is no error here: nobody asked for it to be in a profile.
            let _ = add(&mut profile, plugin, 1.0, name);
        }
    }
    profile
}

fn handler(place: Place, plugins: &Plugins, profiles: &[Profile]) -> Result<Handler, ConfigError> {
    let wrong = |place, problem| Err(ConfigError::Profiles { place, problem });
    let mut handlers = plugins.all().filter_map(|(name, p)| match p {
        Plugin::Handler(handler) => Some((name, handler)),
        _ => None,
    });
    let handler = handlers.next();
    if let Some((second, _)) = handlers.next() {
        return wrong(
            second.place.clone(),
            "there are two profile handlers; keep one",
        );
    }
    match handler {
        None if profiles.len() == 1 => Ok(Handler::Single),
        None => wrong(
            place,
            "several scheduling profiles need a profile handler; list disagg-profile-handler",
        ),
        Some((_, HandlerText::Disaggregated(stages))) => disaggregated(stages, plugins, profiles),
        Some((name, _)) if profiles.len() != 1 => wrong(
            name.place.clone(),
            "this profile handler runs one scheduling profile; there are several",
        ),
        Some((_, HandlerText::DataParallel { primary_port })) => Ok(Handler::DataParallel {
            primary_port: *primary_port,
        }),
        Some((_, HandlerText::Single)) => Ok(Handler::Single),
    }
}

fn disaggregated(
    stages: &StagesText,
    plugins: &Plugins,
    profiles: &[Profile],
) -> Result<Handler, ConfigError> {
    let find = |name: &str| profiles.iter().position(|p| p.name == name);
    let missing = |problem| ConfigError::Profiles {
        place: stages.place.clone(),
        problem,
    };
    let decider = |text: &Option<DeciderText>| -> Result<Option<Decider>, ConfigError> {
        match text {
            None => Ok(None),
            Some(DeciderText::Here(decider)) => Ok(Some(*decider)),
            Some(DeciderText::Named(name)) => {
                let want = |p: &Plugin| match p {
                    Plugin::Decider(decider) => Some(*decider),
                    _ => None,
                };
                plugins.named(name.clone(), "decider", want).map(Some)
            }
        }
    };
    let stage = |name: &str, text, problem| -> Result<Option<(usize, Decider)>, ConfigError> {
        let Some(decider) = decider(text)? else {
            return Ok(None);
        };
        let profile = find(name).ok_or_else(|| missing(problem))?;
        Ok(Some((profile, decider)))
    };
    Ok(Handler::Disaggregated {
        decode: find(&stages.decode)
            .ok_or_else(|| missing("there is no scheduling profile for decode"))?,
        prefill: stage(
            &stages.prefill,
            &stages.prefill_decider,
            "there is no scheduling profile for prefill",
        )?,
        encode: stage(
            &stages.encode,
            &stages.encode_decider,
            "there is no scheduling profile for encode",
        )?,
    })
}
