//! Configurations that people have, and mistakes that people make.

use proptest::prelude::*;
use wva_epp_core::choose::{By, Choose};
use wva_epp_core::config::{Config, ConfigError, Parser, Standing, known_plugins};
use wva_epp_core::endpoint::Roles;
use wva_epp_core::filter::Filter;
use wva_epp_core::flow::{Fairness, Ordering};
use wva_epp_core::picker::{Decider, Handler};
use wva_epp_core::router::Router;
use wva_epp_core::saturation::Detector;
use wva_epp_core::scorer::Scorer;

fn parse(yaml: &str) -> Result<Config, ConfigError> {
    Config::parse(yaml, "epp.yaml")
}

fn with(rest: &str) -> Result<Config, ConfigError> {
    parse(&format!(
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n{rest}"
    ))
}

fn error(rest: &str) -> String {
    with(rest).expect_err("a mistake").to_string()
}

#[test]
fn none_given_is_the_upstreams_default() {
    let config = Config::standard();
    let [profile] = &config.picker.profiles[..] else {
        panic!("one profile")
    };
    let expected = [
        (Scorer::Queue, 2.0),
        (Scorer::KvUsage, 2.0),
        (Scorer::Prefix, 3.0),
    ];
    assert_eq!(profile.scorers, expected);
    assert_eq!(profile.scorers, Router::Prefix.picker().profiles[0].scorers);
    assert_eq!(
        (profile.choose, &config.picker.handler),
        (Choose::default(), &Handler::Single)
    );
    assert_eq!(
        config.parsers,
        [Parser::OpenAi, Parser::Anthropic, Parser::VllmHttp]
    );
    assert!(config.flow.is_none() && config.notes.is_empty());
}

#[test]
fn both_api_groups_are_read_and_profiles_may_be_left_out() {
    let config = parse(
        "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\n\
         plugins:\n- type: queue-scorer\n- type: decode-filter\n- type: random-picker\n  parameters: {maxNumOfEndpoints: 3}\n",
    )
    .unwrap();
    let profile = &config.picker.profiles[0];
    assert_eq!(profile.scorers, [(Scorer::Queue, 1.0)]);
    assert_eq!(profile.filters, [Filter::Roles(Roles::DECODE)]);
    assert_eq!(
        profile.choose,
        Choose {
            by: By::Random,
            most: 3
        }
    );
}

#[test]
fn disaggregation_names_its_profiles_and_deciders() {
    let profiles = "\
plugins:
- type: prefix-based-pd-decider
  parameters: {nonCachedTokens: 512}
- type: always-disagg-multimodal-decider
- type: disagg-profile-handler
  parameters:
    profiles: {prefill: p}
    deciders: {prefill: prefix-based-pd-decider, encode: always-disagg-multimodal-decider}
- type: prefill-filter
- type: decode-filter
- type: encode-filter
- type: prefix-cache-scorer
  parameters: {blockSizeTokens: 16, lruCapacityPerServer: 31250}
schedulingProfiles:
- {name: p, plugins: [{pluginRef: prefill-filter}, {pluginRef: prefix-cache-scorer, weight: 5}]}
- {name: decode, plugins: [{pluginRef: decode-filter}]}
- {name: encode, plugins: [{pluginRef: encode-filter}]}
";
    let config = with(profiles).unwrap();
    let expected = Handler::Disaggregated {
        decode: 1,
        prefill: Some((0, Decider::Uncached(512.0))),
        encode: Some((2, Decider::Multimodal)),
    };
    assert_eq!(config.picker.handler, expected);
    let prefix = config.picker.prefix;
    assert_eq!(
        (
            prefix.block_tokens,
            prefix.default_blocks,
            prefix.most_per_prompt
        ),
        (64, 7813, 2048)
    );
    assert!(
        error(&profiles.replace("name: decode,", "name: generate,"))
            .contains("no scheduling profile for decode")
    );
    assert!(
        error(&profiles.replace("prefill: prefix-based-pd-decider", "prefill: decode-filter"))
            .contains("is no decider")
    );
    let lone = "plugins: [{type: queue-scorer}]\nschedulingProfiles: [{name: a}, {name: b}]\n";
    assert!(error(lone).contains("list disagg-profile-handler"));
}

#[test]
fn flow_control_is_read_and_gated() {
    let text = "\
plugins:
- type: round-robin-fairness-policy
- {type: concurrency-detector, name: full, parameters: {maxConcurrency: 7, concurrencyMode: hybrid}}
flowControl:
  maxBytes: 1Gi
  maxRequests: 5k
  defaultRequestTTL: 1m30s
  noEndpointRequestTTL: 0s
  saturationDetector: {pluginRef: full}
  defaultNegativePriorityBand: {maxRequests: 10}
  priorityBands:
  - {priority: 5, fairnessPolicyRef: round-robin-fairness-policy, orderingPolicyRef: edf-ordering-policy}
featureGates: [flowControl]
";
    let config = with(text).unwrap();
    let flow = config.flow.expect("gated on");
    assert_eq!((flow.max_bytes, flow.max_requests), (1 << 30, 5000));
    assert_eq!((flow.ttl_s, flow.ttl_empty_s), (Some(90.0), None));
    let band = flow.band(5);
    assert_eq!(
        (band.fairness, band.ordering),
        (Fairness::RoundRobin, Ordering::EarliestDeadline)
    );
    assert_eq!(
        (flow.band(-3).max_requests, flow.band(0).max_requests),
        (10, 5000)
    );
    let expected = Detector::Concurrency {
        requests: 7.0,
        tokens: 1e6,
        headroom: 0.0,
    };
    assert_eq!(config.picker.detector, expected);
    assert!(
        with(&text.replace("[flowControl]", "[flowControl=false]"))
            .unwrap()
            .flow
            .is_none()
    );
    assert!(error(&text.replace("1m30s", "90")).contains("must be a duration"));
    assert!(error(&text.replace("1Gi", "1Xi")).contains("must be a quantity"));
}

#[test]
fn mistakes_are_found_where_they_are() {
    let cases = [
        (
            "plugins:\n- type: queue-scorrer\n",
            "epp.yaml:4:9: no plugin is called `queue-scorrer`; did you mean `queue-scorer`?",
        ),
        (
            "plugins:\n- type: zzz\n",
            "epp.yaml:4:9: no plugin is called `zzz`",
        ),
        (
            "plugins:\n- type: precise-prefix-cache-scorer\n",
            "epp.yaml:4:9: plugin `precise-prefix-cache-scorer` is not supported; use prefix-cache-scorer: it needs no tokenizer and no KV events",
        ),
        (
            "plugins:\n- type: max-score-picker\n  parameters:\n    maxNumEndpoints: 2\n",
            "epp.yaml:6:5: plugin max-score-picker has no `maxNumEndpoints`; did you mean `maxNumOfEndpoints`?",
        ),
        (
            "plugins:\n- type: load-aware-scorer\n  parameters: {threshold: many}\n",
            "epp.yaml:5:27: `threshold` must be a number of at least 1, not `many`",
        ),
        (
            "plugins:\n- type: queue-scorer\n- type: queue-scorer\n",
            "epp.yaml:5:9: plugin `queue-scorer` is there twice",
        ),
        (
            "plugins:\n- type: queue-scorer\nschedulingProfiles:\n- name: a\n  plugins:\n  - pluginRef: queue-score\n",
            "epp.yaml:8:16: no plugin named `queue-score` is listed under `plugins`; did you mean `queue-scorer`?",
        ),
        ("plugins:\n- name: x\n", "a plugin needs `type`"),
        (
            "plugin: []\n",
            "epp.yaml:3:1: EndpointPickerConfig has no `plugin`; did you mean `plugins`?",
        ),
        (
            "plugins: 5\n",
            "epp.yaml:3:10: `plugins` must be a list, not 5",
        ),
    ];
    for (text, expected) in cases {
        let message = error(text);
        assert!(
            message.contains(expected),
            "{message}\n  instead of\n{expected}"
        );
    }
    assert!(parse("apiVersion: v2\nkind: EndpointPickerConfig\n").is_err());
    assert!(parse("- 1\n").is_err() && parse("").is_err() && parse(": :\n\t").is_err());
}

#[test]
fn every_known_plugin_works_or_is_refused_by_name() {
    for (name, standing) in known_plugins() {
        let needs = match *name {
            "file-discovery" => "{path: /etc/endpoints.yaml}",
            "by-label" => "{label: role, validValues: [decode]}",
            "header-label-affinity-scorer" => "{headerName: X-Zone, labelKey: zone}",
            _ => "{}",
        };
        let mut text = format!("plugins:\n- type: {name}\n  parameters: {needs}\n");
        if name.contains("disagg-profile") || name.starts_with("pd-profile") {
            text += "schedulingProfiles: [{name: decode}, {name: prefill}]\n";
        }
        let config = with(&text);
        match standing {
            Standing::Works => assert!(config.expect(name).notes.is_empty(), "{name}"),
            Standing::Renamed(_) | Standing::Needless(_) => {
                assert_eq!(config.expect(name).notes.len(), 1, "{name}")
            }
            Standing::Unsupported(instead) => {
                let message = config.expect_err(name).to_string();
                assert!(
                    message.contains(name) && message.contains(instead),
                    "{message}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn arbitrary_plugins_do_no_harm(
        name in 0..known_plugins().len(),
        key in "(threshold|headroom|label|profiles|deciders|blockSizeTokens|maxNumOfEndpoints|hashBlockSize|lruCapacityPerServer|matchLabels|x)",
        value in "(0|-1|1e300|.nan|.inf|true|~|text|\\[\\]|\\{\\}|\\{a: 1\\}|\\[1, \\{b: c\\}\\])",
    ) {
        let name = known_plugins()[name].0;
        let text = format!("plugins:\n- type: {name}\n  parameters: {{{key}: {value}}}\n");
        if let Ok(config) = with(&text) {
            let (_, pool) = crate::common::idle(3);
            let mut state = config.picker.state(1);
            let _ = config.picker.pick(&pool, &Default::default(), &mut state, 0.0);
        }
    }
}
