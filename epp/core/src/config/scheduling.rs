//! Filters, scorers and pickers from their parameters. Names and defaults are the upstream's.

use super::ConfigError;
use super::fields::Fields;
use super::plugin::Plugin;
use super::tree::{At, Tree};
use crate::choose::{By, Choose};
use crate::endpoint::Roles;
use crate::filter::{Filter, PrefixAffinity, Requirement, Selector};
use crate::prefix::{MIN_BLOCK_TOKENS, PrefixLimits};
use crate::scorer::{Headroom, LatencyWeights, Scorer};

const ANY: f64 = f64::MAX;

/// The plugin; `None` if it is of another kind.
pub(super) fn build(name: &str, p: &mut Fields) -> Result<Option<Plugin>, ConfigError> {
    let filter = |f| Ok(Some(Plugin::Filter(f)));
    let scorer = |s| Ok(Some(Plugin::Scorer(s)));
    match name {
        "decode-filter" => filter(Filter::Roles(Roles::DECODE)),
        "prefill-filter" => filter(Filter::Roles(Roles::PREFILL)),
        "encode-filter" => filter(Filter::Roles(Roles::ENCODE)),
        "label-selector-filter" | "by-label-selector" => filter(Filter::Labels(selector(p)?)),
        "by-label" => filter(Filter::Labels(by_label(p)?)),
        "prefix-cache-affinity-filter" => filter(Filter::PrefixAffinity(affinity(p)?)),
        "slo-headroom-tier-filter" => {
            let explore = p.number("epsilonExploreNeg", 0.01, 0.0, 1.0)?;
            filter(Filter::SloTier { explore })
        }
        "session-affinity-filter" => filter(Filter::Session {
            header: session(p)?,
        }),
        "header-based-testing-filter" => filter(Filter::Testing),
        "queue-scorer" => scorer(Scorer::Queue),
        "running-requests-size-scorer" => scorer(Scorer::Running),
        "kv-cache-utilization-scorer" | "kv-cache-scorer" => scorer(Scorer::KvUsage),
        "load-aware-scorer" => {
            let threshold = p.number("threshold", 128.0, 1.0, ANY)?;
            scorer(Scorer::LoadAware { threshold })
        }
        "prefix-cache-scorer" => Ok(Some(prefix_scorer(p)?)),
        "approx-prefix-cache-producer" => Ok(Some(Plugin::Prefix(prefix(p)?))),
        "lora-affinity-scorer" => scorer(Scorer::Lora),
        "active-request-scorer" => {
            ignore(p, &["requestTimeout", "inFlightLoadProducerName"]);
            let idle = p.number("idleThreshold", 0.0, 0.0, 1e6)? as u32;
            let busy = p.number("maxBusyScore", 1.0, 0.0, 1.0)?;
            scorer(Scorer::ActiveRequests { idle, busy })
        }
        "token-load-scorer" => {
            ignore(p, &["inFlightLoadProducerName", "nonTextTokenWeight"]);
            let threshold = p.number("queueThresholdTokens", 4_194_304.0, 1.0, ANY)?;
            scorer(Scorer::TokenLoad { threshold })
        }
        "no-hit-lru-scorer" => {
            ignore(
                p,
                &[
                    "prefixPluginType",
                    "prefixPluginName",
                    "lruSize",
                    "prefixMatchInfoProducerName",
                ],
            );
            scorer(Scorer::NoHitLru)
        }
        "session-affinity-scorer" => scorer(Scorer::Session {
            header: session(p)?,
        }),
        "latency-scorer" | "predicted-latency-scorer" | "slo-aware-routing" => {
            scorer(Scorer::Latency(latency(p)?))
        }
        "slo-scorer" => scorer(Scorer::Slo),
        "context-length-aware" => {
            let label = p.optional_text("label")?;
            let label =
                label.map_or_else(|| "llm-d.ai/context-length-range".to_owned(), |l| l.value);
            let scorer = Scorer::ContextLength {
                label: label.clone(),
            };
            Ok(Some(if p.flag("enableFiltering", false)? {
                Plugin::Both(Filter::ContextLength { label }, scorer)
            } else {
                Plugin::Scorer(scorer)
            }))
        }
        "header-label-affinity-scorer" => {
            let header = p.text("headerName")?.value.to_lowercase();
            scorer(Scorer::HeaderLabel {
                header,
                label: p.text("labelKey")?.value,
            })
        }
        "max-score-picker" => choose(p, By::MaxScore),
        "random-picker" => choose(p, By::Random),
        "weighted-random-picker" => choose(p, By::WeightedRandom),
        _ => Ok(None),
    }
}

/// Parameters that say how the upstream's plugins hand data to each other; here there is one way.
fn ignore(p: &mut Fields, keys: &[&'static str]) {
    keys.iter().for_each(|key| p.ignore(key));
}

fn choose(p: &mut Fields, by: By) -> Result<Option<Plugin>, ConfigError> {
    let most = p.number("maxNumOfEndpoints", 1.0, 0.0, 1000.0)? as usize;
    Ok(Some(Plugin::Choose(Choose {
        by,
        most: most.max(1),
    })))
}

/// The header of a session's token. Of the upstream's two ways of binding, the one that needs no memory.
fn session(p: &mut Fields) -> Result<String, ConfigError> {
    let algorithm = p.optional_text("algorithm")?;
    if let Some(other) = algorithm.filter(|a| a.value != "encoded_endpoint_header") {
        return Err(other.wrong("algorithm", "encoded_endpoint_header"));
    }
    ignore(p, &["profileName"]);
    p.header("headerName", "x-session-token")
}

fn latency(p: &mut Fields) -> Result<LatencyWeights, ConfigError> {
    let default = LatencyWeights::default();
    ignore(
        p,
        &[
            "latencyPredictionInfoProducerName",
            "prefixMatchInfoProducerName",
        ],
    );
    let strategy = match p.optional_text("headroomSelectionStrategy")? {
        None => Headroom::Least,
        Some(s) if s.value == "least" => Headroom::Least,
        Some(s) if s.value == "most" => Headroom::Most,
        Some(s) => return Err(s.wrong("headroomSelectionStrategy", "least or most")),
    };
    Ok(LatencyWeights {
        ttft: p.number("ttftWeight", default.ttft, 0.0, ANY)?,
        tpot: p.number("tpotWeight", default.tpot, 0.0, ANY)?,
        strategy,
        kv: p.number("compositeKVWeight", default.kv, 0.0, ANY)?,
        queue: p.number("compositeQueueWeight", default.queue, 0.0, ANY)?,
        prefix: p.number("compositePrefixWeight", default.prefix, 0.0, ANY)?,
    })
}

fn affinity(p: &mut Fields) -> Result<PrefixAffinity, ConfigError> {
    ignore(
        p,
        &[
            "prefixMatchInfoProducerName",
            "inFlightLoadProducerName",
            "latencyPredictionInfoProducerName",
        ],
    );
    let predict = match p.optional_text("ttftSource")? {
        None => true,
        Some(s) if s.value == "latencyPredictor" => true,
        Some(s) if s.value == "prefillThroughput" => false,
        Some(s) => return Err(s.wrong("ttftSource", "latencyPredictor or prefillThroughput")),
    };
    Ok(PrefixAffinity {
        threshold: p.number("affinityThreshold", 0.8, 0.0, 1.0)?,
        explore: p.number("explorationProbability", 0.0, 0.0, 1.0)?,
        penalty_s: p.number("maxTTFTPenaltyMs", 18_000.0, 0.0, ANY)? / 1e3,
        tokens_per_s: p.number("peakPrefillThroughput", 15_928.0, 1.0, ANY)?,
        predict,
    })
}

/// The scorer; with limits where it has parameters that older configurations set on it.
fn prefix_scorer(p: &mut Fields) -> Result<Plugin, ConfigError> {
    ignore(p, &["prefixMatchInfoProducerName"]);
    let limits = prefix(p)?;
    Ok(Plugin::PrefixScorer(
        (limits != PrefixLimits::default()).then_some(limits),
    ))
}

fn prefix(p: &mut Fields) -> Result<PrefixLimits, ConfigError> {
    let default = PrefixLimits::default();
    // Characters, in older configurations.
    let characters = p.number("blockSize", 0.0, 0.0, 1e6)?;
    let legacy = p.number("hashBlockSize", characters, 0.0, 1e6)? / 4.0;
    let stated = p.number("blockSizeTokens", legacy, 0.0, 1e6)?;
    let block_tokens = coarse(stated as u32);
    let by_blocks = p.number("maxPrefixBlocksToMatch", 0.0, 0.0, 1e9)? * stated.max(1.0);
    let tokens = p.number(
        "maxPrefixTokensToMatch",
        if by_blocks > 0.0 {
            by_blocks
        } else {
            131_072.0
        },
        0.0,
        1e9,
    )?;
    let tokens = if tokens > 0.0 {
        tokens
    } else {
        f64::from(u32::MAX)
    };
    let lru = p.number("lruCapacityPerServer", 0.0, 0.0, 1e9)? * stated.max(1.0)
        / f64::from(block_tokens);
    Ok(PrefixLimits {
        block_tokens,
        default_blocks: if lru > 0.0 {
            lru.ceil() as usize
        } else {
            default.default_blocks
        },
        most_per_prompt: (tokens / f64::from(block_tokens)).ceil() as usize,
        learn_capacity: p.flag("autoTune", true)?,
        ..default
    })
}

/// The least multiple of a block size that is not too fine to be indexed.
fn coarse(tokens: u32) -> u32 {
    match tokens {
        0 => MIN_BLOCK_TOKENS,
        fine => fine * MIN_BLOCK_TOKENS.div_ceil(fine),
    }
}

fn selector(p: &mut Fields) -> Result<Selector, ConfigError> {
    let labels = p.texts("matchLabels")?.into_iter();
    let mut requirements: Vec<_> = labels.map(|(k, v)| Requirement::In(k, vec![v])).collect();
    for mut entry in p.maps("matchExpressions", "a label requirement")? {
        let key = entry.text("key")?.value;
        let operator = entry.text("operator")?;
        let values = texts(entry.list("values")?)?;
        entry.finish()?;
        requirements.push(match operator.value.as_str() {
            "In" => Requirement::In(key, values),
            "NotIn" => Requirement::NotIn(key, values),
            "Exists" => Requirement::Exists(key),
            "DoesNotExist" => Requirement::DoesNotExist(key),
            _ => return Err(operator.wrong("operator", "In, NotIn, Exists or DoesNotExist")),
        });
    }
    Ok(Selector { requirements })
}

fn by_label(p: &mut Fields) -> Result<Selector, ConfigError> {
    let label = p.text("label")?.value;
    let values = texts(p.list("validValues")?)?;
    let absent = p.flag("allowsNoLabel", false)?;
    let requirement = if absent {
        Requirement::InOrAbsent(label, values)
    } else {
        Requirement::In(label, values)
    };
    Ok(Selector {
        requirements: vec![requirement],
    })
}

fn texts(items: Vec<At<Tree>>) -> Result<Vec<String>, ConfigError> {
    items
        .into_iter()
        .map(|i| Ok(i.into_text("a value")?.value))
        .collect()
}
