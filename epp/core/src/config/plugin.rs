//! The plugins that are listed: what each type makes of its parameters.

use wva_models::catalogue::Place;
use wva_models::catalogue::names::nearest;

use super::fields::Fields;
use super::known::{Standing, known_plugins, standing};
use super::surroundings::{Engines, MetricsSource, Parser};
use super::tree::At;
use super::{ConfigError, others, scheduling};
use crate::choose::Choose;
use crate::filter::Filter;
use crate::flow::{Fairness, Ordering};
use crate::picker::Decider;
use crate::prefix::PrefixLimits;
use crate::saturation::Detector;
use crate::scorer::Scorer;

/// What a plugin is.
#[derive(Debug, Clone)]
pub(super) enum Plugin {
    Filter(Filter),
    Scorer(Scorer),
    Both(Filter, Scorer),
    PrefixScorer(Option<PrefixLimits>),
    Choose(Choose),
    Handler(HandlerText),
    Decider(Decider),
    Prefix(PrefixLimits),
    Detector(Detector),
    Fairness(Fairness),
    Ordering(Ordering),
    UsageLimit,
    RefuseHopeless,
    Parser(Parser),
    Metrics(MetricsSource),
    Engines(Engines),
    EndpointsFile(String),
    Nothing,
}

/// A profile handler, profiles and deciders still by name.
#[derive(Debug, Clone)]
pub(super) enum HandlerText {
    Single,
    DataParallel { primary_port: u16 },
    Disaggregated(Box<StagesText>),
}

#[derive(Debug, Clone)]
pub(super) struct StagesText {
    pub place: Place,
    pub decode: String,
    pub prefill: String,
    pub encode: String,
    pub prefill_decider: Option<DeciderText>,
    pub encode_decider: Option<DeciderText>,
}

#[derive(Debug, Clone)]
pub(super) enum DeciderText {
    Named(At<String>),
    Here(Decider),
}

/// The listed plugins by name.
#[derive(Debug)]
pub(super) struct Plugins {
    listed: Vec<(At<String>, Plugin)>,
}

impl Plugins {
    pub(super) fn read(fields: &mut Fields, notes: &mut Vec<String>) -> Result<Self, ConfigError> {
        let mut plugins = Self { listed: Vec::new() };
        for mut entry in fields.maps("plugins", "a plugin")? {
            let kind = entry.text("type")?;
            let name = entry.optional_text("name")?.unwrap_or_else(|| kind.clone());
            let parameters = entry.optional_fields("parameters")?;
            entry.finish()?;
            let mut parameters = match parameters {
                Some(parameters) => parameters,
                None => Fields::empty("parameters", kind.place.clone()),
            };
            parameters.of = format!("plugin {}", kind.value);
            if plugins.listed.iter().any(|(n, _)| n.value == name.value) {
                let (place, name) = (name.place, name.value);
                return Err(ConfigError::Twice {
                    place,
                    what: "plugin",
                    name,
                });
            }
            let plugin = build(&kind, &mut parameters, notes)?;
            parameters.finish()?;
            plugins.listed.push((name, plugin));
        }
        Ok(plugins)
    }

    /// The plugin of this name.
    pub(super) fn get(&self, name: &At<String>) -> Result<&Plugin, ConfigError> {
        let listed = self.listed.iter().find(|(n, _)| n.value == name.value);
        listed.map(|(_, plugin)| plugin).ok_or_else(|| {
            let names = self.listed.iter().map(|(n, _)| n.value.as_str());
            let nearest = nearest(&name.value, names, str::to_lowercase).map(str::to_owned);
            let (place, name) = (name.place.clone(), name.value.clone());
            ConfigError::UnknownReference {
                place,
                name,
                nearest,
            }
        })
    }

    /// What `want` makes of the plugin that the map's `pluginRef` names.
    pub(super) fn referenced<T>(
        &self,
        mut fields: Fields,
        wanted: &'static str,
        want: impl FnOnce(&Plugin) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let name = fields.text("pluginRef")?;
        fields.finish()?;
        self.named(name, wanted, want)
    }

    pub(super) fn named<T>(
        &self,
        name: At<String>,
        wanted: &'static str,
        want: impl FnOnce(&Plugin) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let found = want(self.get(&name)?);
        let (place, name) = (name.place, name.value);
        found.ok_or(ConfigError::WrongKind {
            place,
            name,
            wanted,
        })
    }

    /// The saturation detector that the map's `pluginRef` names; the default where it names none.
    pub(super) fn detector(&self, mut fields: Fields) -> Result<Detector, ConfigError> {
        let Some(name) = fields.optional_text("pluginRef")? else {
            fields.finish()?;
            return Ok(Detector::default());
        };
        fields.finish()?;
        let unlisted = self.get(&name).is_err() && name.value == "utilization-detector";
        if unlisted {
            return Ok(Detector::default());
        }
        self.named(name, "saturation detector", |p| match p {
            Plugin::Detector(detector) => Some(*detector),
            _ => None,
        })
    }

    /// The only listed plugin that `want` makes something of; `None` for none or several.
    pub(super) fn only<T>(&self, want: impl Fn(&Plugin) -> Option<T>) -> Option<T> {
        let mut found = self.listed.iter().filter_map(|(_, p)| want(p));
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&At<String>, &Plugin)> {
        self.listed.iter().map(|(n, p)| (n, p))
    }
}

fn build(
    kind: &At<String>,
    parameters: &mut Fields,
    notes: &mut Vec<String>,
) -> Result<Plugin, ConfigError> {
    let name = kind.value.as_str();
    match standing(name) {
        None => {
            let known = known_plugins().iter().map(|(known, _)| *known);
            let nearest = nearest(name, known, str::to_lowercase).map(str::to_owned);
            let (place, name) = (kind.place.clone(), name.to_owned());
            return Err(ConfigError::UnknownPlugin {
                place,
                name,
                nearest,
            });
        }
        Some(Standing::Unsupported(instead)) => {
            let (place, name) = (kind.place.clone(), name.to_owned());
            return Err(ConfigError::Unsupported {
                place,
                name,
                instead,
            });
        }
        Some(Standing::Needless(why)) => {
            notes.push(format!(
                "{}: plugin {name} has no effect: {why}",
                kind.place
            ));
            parameters.ignore_all();
            return Ok(Plugin::Nothing);
        }
        Some(Standing::Renamed(to)) => {
            notes.push(format!("{}: plugin {name} is called {to} now", kind.place));
        }
        Some(Standing::Works) => {}
    }
    if let Some(plugin) = scheduling::build(name, parameters)? {
        return Ok(plugin);
    }
    Ok(others::build(name, parameters)?.unwrap_or(Plugin::Nothing))
}
