//! Configurations.

use wva_epp_core::config::Config;

use crate::engine::{fuzz, seen, size};

const WORDS: [&[u8]; 30] = [
    b"plugins:\n",
    b"- type: ",
    b"  name: ",
    b"  parameters: ",
    b"queue-scorer",
    b"kv-cache-utilization-scorer",
    b"prefix-cache-scorer",
    b"max-score-picker",
    b"weighted-random-picker",
    b"single-profile-handler",
    b"utilization-detector",
    b"concurrency-detector",
    b"by-label-selector",
    b"schedulingProfiles:\n- name: default\n  plugins:\n",
    b"  - pluginRef: ",
    b"    weight: ",
    b"featureGates: [flowControl]\n",
    b"flowControl:\n",
    b"  maxBytes: 10Gi\n",
    b"saturationDetector: ",
    b"dataLayer: ",
    b"{blockSize: 64, maxPrefixBlocksToMatch: 256}",
    b"&a [*a, *a]",
    b"<<: *a",
    b"!!binary ",
    b"---\n",
    b"-1",
    b".nan",
    b"1e400",
    b"\"\\u0000\"",
];

#[test]
fn configs() {
    fuzz("config", &WORDS, |input| {
        let text = String::from_utf8_lossy(input);
        match Config::parse(&text, "here") {
            Ok(config) => {
                let again = Config::parse(&text, "here").expect("as before");
                // Numbers that are none would never decide anything.
                assert_eq!(config, again);
                seen((
                    size(format!("{:?}", config.picker).len() / 16),
                    config.flow.is_some(),
                    config.gates.len(),
                    config.notes.len(),
                    config.parsers.len(),
                ))
            }
            Err(error) => {
                let told = error.to_string();
                assert!(told.contains("here"), "which file? {told}");
                // What is said, without what was written there and where.
                let said: String = told.split('`').step_by(2).collect();
                let said = said.split(|c: char| c.is_ascii_digit() || "\"'".contains(c));
                seen(said.flat_map(str::chars).take(80).collect::<String>())
            }
        }
    });
}
