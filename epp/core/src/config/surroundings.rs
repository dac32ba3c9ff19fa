//! What surrounds the choice and is done by the server: parsers, scraping, discovery.

use super::ConfigError;
use super::fields::Fields;
use super::plugin::{Plugin, Plugins};

/// A way of reading request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parser {
    /// OpenAI's paths and bodies.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// vLLM's own paths.
    VllmHttp,
    /// Nothing is read: any body goes anywhere.
    Passthrough,
}

/// How metrics are scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSource {
    /// `http` or `https`.
    pub scheme: String,
    /// Path of the metrics page.
    pub path: String,
    /// Whether any certificate will do.
    pub insecure: bool,
    /// Names of metrics that differ from the engines' usual ones.
    pub engines: Engines,
}

impl Default for MetricsSource {
    fn default() -> Self {
        Self {
            scheme: "http".to_owned(),
            path: "/metrics".to_owned(),
            insecure: true,
            engines: Engines::default(),
        }
    }
}

impl MetricsSource {
    pub(super) fn read(p: &mut Fields) -> Result<Self, ConfigError> {
        let default = Self::default();
        let scheme = p.optional_text("scheme")?;
        if let Some(other) = scheme
            .as_ref()
            .filter(|s| !matches!(s.value.as_str(), "http" | "https"))
        {
            return Err(other.wrong("scheme", "http or https"));
        }
        Ok(Self {
            scheme: scheme.map_or(default.scheme, |s| s.value),
            path: p.optional_text("path")?.map_or(default.path, |s| s.value),
            insecure: p.flag("insecureSkipVerify", default.insecure)?,
            engines: default.engines,
        })
    }
}

/// Names of metrics by engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Engines {
    /// Pod label that names the engine; `None` for the usual one.
    pub label: Option<String>,
    /// Engine of pods without the label.
    pub default: Option<String>,
    /// (engine, which metric, its specification), as the upstream spells them.
    pub names: Vec<(String, String, String)>,
}

impl Engines {
    pub(super) fn read(p: &mut Fields) -> Result<Self, ConfigError> {
        let label = p.optional_text("engineLabelKey")?.map(|l| l.value);
        let default = p.optional_text("defaultEngine")?.map(|l| l.value);
        let mut names = Vec::new();
        for mut engine in p.maps("engineConfigs", "an engine")? {
            let name = engine.text("name")?.value;
            for key in [
                "queuedRequestsSpec",
                "runningRequestsSpec",
                "kvUsageSpec",
                "loraSpec",
                "cacheInfoSpec",
            ] {
                if let Some(spec) = engine.optional_text(key)? {
                    names.push((name.clone(), key.to_owned(), spec.value));
                }
            }
            engine.finish()?;
        }
        Ok(Self {
            label,
            default,
            names,
        })
    }
}

/// What was read.
pub(super) struct Surroundings {
    pub parsers: Vec<Parser>,
    pub metrics: MetricsSource,
    pub endpoints_file: Option<String>,
}

pub(super) fn read(fields: &mut Fields, plugins: &Plugins) -> Result<Surroundings, ConfigError> {
    let mut parsers = Vec::new();
    let wanted = |p: &Plugin| match p {
        Plugin::Parser(parser) => Some(*parser),
        _ => None,
    };
    if let Some(mut handler) = fields.optional_fields("requestHandler")? {
        for parser in handler.maps("parsers", "a parser")? {
            parsers.push(plugins.referenced(parser, "parser", wanted)?);
        }
        handler.finish()?;
    }
    if let Some(parser) = fields.optional_fields("parser")? {
        let parser = plugins.referenced(parser, "parser", wanted)?;
        if parsers.is_empty() {
            parsers.push(parser);
        }
    }
    if parsers.is_empty() {
        parsers.extend([Parser::OpenAi, Parser::Anthropic, Parser::VllmHttp]);
    }
    let endpoints_file = data_layer(fields, plugins)?;
    let metrics = plugins.only(|p| match p {
        Plugin::Metrics(source) => Some(source.clone()),
        _ => None,
    });
    let engines = plugins.only(|p| match p {
        Plugin::Engines(engines) => Some(engines.clone()),
        _ => None,
    });
    let metrics = MetricsSource {
        engines: engines.unwrap_or_default(),
        ..metrics.unwrap_or_default()
    };
    Ok(Surroundings {
        parsers,
        metrics,
        endpoints_file,
    })
}

/// The `dataLayer` section: which file lists the endpoints. Sources and extractors are checked; there is one of each.
fn data_layer(fields: &mut Fields, plugins: &Plugins) -> Result<Option<String>, ConfigError> {
    let Some(mut layer) = fields.optional_fields("dataLayer")? else {
        return Ok(None);
    };
    layer.flag("injectDefaults", true)?;
    for mut source in layer.maps("sources", "a data source")? {
        let name = source.text("pluginRef")?;
        let source_kind =
            |p: &Plugin| matches!(p, Plugin::Metrics(_) | Plugin::Nothing).then_some(());
        plugins.named(name, "data source", source_kind)?;
        for extractor in source.maps("extractors", "an extractor")? {
            let kind = |p: &Plugin| matches!(p, Plugin::Engines(_) | Plugin::Nothing).then_some(());
            plugins.referenced(extractor, "extractor", kind)?;
        }
        source.finish()?;
    }
    let discovery = layer.optional_fields("discovery")?;
    let file = discovery
        .map(|mut d| {
            // Newer configurations have it one level deeper.
            let inner = match d.optional_fields("endpoints")? {
                Some(inner) => d.finish().map(|()| inner)?,
                None => d,
            };
            plugins.referenced(inner, "endpoint discovery", |p| match p {
                Plugin::EndpointsFile(path) => Some(path.clone()),
                _ => None,
            })
        })
        .transpose()?;
    layer.finish()?;
    Ok(file)
}
