//! Handlers, deciders, detectors, policies, parsers and sources from their parameters.

use super::ConfigError;
use super::fields::Fields;
use super::plugin::{DeciderText, HandlerText, Plugin, StagesText};
use super::surroundings::{Engines, MetricsSource, Parser};
use crate::flow::{Fairness, Ordering};
use crate::picker::Decider;
use crate::saturation::Detector;

/// The plugin; `None` if it is of another kind.
pub(super) fn build(name: &str, p: &mut Fields) -> Result<Option<Plugin>, ConfigError> {
    Ok(Some(match name {
        "single-profile-handler" => Plugin::Handler(HandlerText::Single),
        "data-parallel-profile-handler" => {
            let primary_port = p.number("primaryPort", 8000.0, 1.0, 65_535.0)? as u16;
            Plugin::Handler(HandlerText::DataParallel { primary_port })
        }
        "disagg-profile-handler" => Plugin::Handler(disaggregated(p)?),
        "pd-profile-handler" => Plugin::Handler(prefill_decode(p)?),
        "prefix-based-pd-decider" => Plugin::Decider(Decider::Uncached(p.number(
            "nonCachedTokens",
            0.0,
            0.0,
            f64::MAX,
        )?)),
        "always-disagg-pd-decider" => Plugin::Decider(Decider::Always),
        "always-disagg-multimodal-decider" => Plugin::Decider(Decider::Multimodal),
        "utilization-detector" => Plugin::Detector(utilization(p)?),
        "concurrency-detector" => Plugin::Detector(concurrency(p)?),
        "slo-concurrency-detector" => Plugin::Detector(Detector::SloConcurrency {
            default: p.number("maxConcurrency", 100.0, 1.0, f64::MAX)?,
            headroom: p.number("headroom", 0.0, 0.0, f64::MAX)?,
        }),
        "global-strict-fairness-policy" => Plugin::Fairness(Fairness::GlobalStrict),
        "round-robin-fairness-policy" => Plugin::Fairness(Fairness::RoundRobin),
        "fcfs-ordering-policy" => Plugin::Ordering(Ordering::FirstCome),
        "edf-ordering-policy" | "slo-deadline-ordering-policy" => {
            Plugin::Ordering(Ordering::EarliestDeadline)
        }
        "static-usage-limit-policy" => {
            // The upstream's only value that it does not warn about is no limit below full.
            p.number("threshold", 1.0, 0.0, 1.0)?;
            Plugin::UsageLimit
        }
        "latency-slo-admitter" => Plugin::RefuseHopeless,
        "openai-parser" => Plugin::Parser(Parser::OpenAi),
        "anthropic-parser" => Plugin::Parser(Parser::Anthropic),
        "vllmhttp-parser" => Plugin::Parser(Parser::VllmHttp),
        "passthrough-parser" => Plugin::Parser(Parser::Passthrough),
        "metrics-data-source" => Plugin::Metrics(MetricsSource::read(p)?),
        "core-metrics-extractor" => Plugin::Engines(Engines::read(p)?),
        "file-discovery" => {
            p.ignore("watchFile");
            Plugin::EndpointsFile(p.text("path")?.value)
        }
        _ => return Ok(None),
    }))
}

fn disaggregated(p: &mut Fields) -> Result<HandlerText, ConfigError> {
    let mut profiles = sub(p, "profiles")?;
    let mut deciders = sub(p, "deciders")?;
    let mut named = |key| -> Result<Option<DeciderText>, ConfigError> {
        Ok(deciders.optional_text(key)?.map(DeciderText::Named))
    };
    let stages = StagesText {
        place: p.place.clone(),
        decode: profile(&mut profiles, "decode", "decode")?,
        prefill: profile(&mut profiles, "prefill", "prefill")?,
        encode: profile(&mut profiles, "encode", "encode")?,
        prefill_decider: named("prefill")?,
        encode_decider: named("encode")?,
    };
    profiles.finish()?;
    deciders.finish()?;
    Ok(HandlerText::Disaggregated(Box::new(stages)))
}

/// The older handler, which had its threshold in itself.
fn prefill_decode(p: &mut Fields) -> Result<HandlerText, ConfigError> {
    for key in [
        "prefixPluginName",
        "prefixPluginType",
        "hashBlockSize",
        "primaryPort",
    ] {
        p.ignore(key);
    }
    let threshold = p.number("threshold", 0.0, 0.0, f64::MAX)?;
    let decider = p
        .optional_text("deciderPluginName")?
        .map(DeciderText::Named);
    let stages = StagesText {
        place: p.place.clone(),
        decode: profile(p, "decodeProfile", "decode")?,
        prefill: profile(p, "prefillProfile", "prefill")?,
        encode: "encode".to_owned(),
        prefill_decider: decider.or(Some(DeciderText::Here(Decider::Uncached(threshold)))),
        encode_decider: None,
    };
    Ok(HandlerText::Disaggregated(Box::new(stages)))
}

fn sub(p: &mut Fields, key: &'static str) -> Result<Fields, ConfigError> {
    let place = p.place.clone();
    Ok(p.optional_fields(key)?
        .unwrap_or_else(|| Fields::empty(key, place)))
}

fn profile(p: &mut Fields, key: &'static str, default: &str) -> Result<String, ConfigError> {
    Ok(p.optional_text(key)?
        .map_or_else(|| default.to_owned(), |t| t.value))
}

fn utilization(p: &mut Fields) -> Result<Detector, ConfigError> {
    let stale = p.duration("metricsStalenessThreshold")?;
    Ok(Detector::Utilization {
        queue: p.number("queueDepthThreshold", 5.0, 1e-9, f64::MAX)?,
        kv: p.number("kvCacheUtilThreshold", 0.8, 1e-9, 1.0)?,
        // What is scraped slowly on purpose must not count as too old.
        stale_s: stale.map_or(5.0, |s| s.max(5.0)),
        headroom: p.number("headroom", 0.0, 0.0, f64::MAX)?,
    })
}

fn concurrency(p: &mut Fields) -> Result<Detector, ConfigError> {
    let requests = p.number("maxConcurrency", 100.0, 1.0, f64::MAX)?;
    let tokens = p.number("maxTokenConcurrency", 1e6, 1.0, f64::MAX)?;
    let headroom = p.number("headroom", 0.0, 0.0, f64::MAX)?;
    let mode = p.optional_text("concurrencyMode")?;
    let (requests, tokens) = match mode.as_ref().map(|m| m.value.as_str()) {
        None | Some("requests") => (requests, f64::INFINITY),
        Some("tokens") => (f64::INFINITY, tokens),
        Some("hybrid") => (requests, tokens),
        Some(_) => {
            let expected = "requests, tokens or hybrid";
            return Err(mode.map_or_else(
                || p.missing("concurrencyMode"),
                |m| m.wrong("concurrencyMode", expected),
            ));
        }
    };
    Ok(Detector::Concurrency {
        requests,
        tokens,
        headroom,
    })
}
