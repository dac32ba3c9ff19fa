//! Request bodies. The first byte says which API; the rest is the body.

use bytes::Bytes;
use serde_json::Value;
use wva_epp::body::rename::with_model;
use wva_epp::body::{Api, Facts, Invalid};
use wva_epp_core::prefix::Chain;

use crate::engine::{fuzz, seen, size};

const APIS: [Api; 6] = [
    Api::Chat,
    Api::Completions,
    Api::Embeddings,
    Api::Responses,
    Api::Messages,
    Api::Other,
];

const WORDS: [&[u8]; 26] = [
    b"\"model\":",
    b"\"messages\":[",
    b"\"prompt\":",
    b"\"input\":",
    b"\"tools\":[{}],",
    b"\"system\":",
    b"\"instructions\":",
    b"\"cache_salt\":\"s\",",
    b"\"max_tokens\":",
    b"\"stream\":true",
    b"\"type\":\"image_url\"",
    b"\"data:image/png;base64,",
    b"\\u00e9",
    b"\\ud83d\\ude00",
    b"\\ud800",
    b"\\\"",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"-0.5e-7",
    b"1e999",
    b"18446744073709551616",
    b"null",
    b"false",
    b"[[[[[[[[",
    b"{\"a\":{\"a\":",
    b"\"\"",
];

#[test]
fn bodies() {
    fuzz("body", &WORDS, |input| {
        let (first, body) = input.split_first().unwrap_or((&0, &[]));
        let api = APIS[usize::from(*first) % APIS.len()];
        let facts = Facts::read(body, api);
        agrees(body, api, &facts);
        let Ok(facts) = facts else {
            return seen(
                facts
                    .map_err(|e| match e {
                        Invalid::Malformed(m) => format!("{:?}", std::mem::discriminant(&m)),
                        other => other.to_string(),
                    })
                    .err(),
            );
        };
        for span in &facts.prompt {
            assert!(span.start <= span.end && span.end <= body.len());
        }
        let mut chain = Chain::new("m", "", 64, 100);
        facts.pieces(body).for_each(|piece| chain.push(piece));
        assert!(chain.hashes().len() <= body.len() / 256);
        assert!(facts.tally.text <= body.len() as u64);
        assert!(facts.tokens(4.0) >= 0.0 && facts.tokens(4.0) <= body.len() as f64);
        rename(body, &facts);
        let lengths = facts.prompt.clone().map(|span| size(span.len()));
        seen((
            *first,
            lengths,
            facts.model.map(|m| (size(m.span.len()), size(m.escapes))),
            facts.salt.is_some(),
            facts.most_output.is_some(),
            (
                facts.stream,
                facts.tally.media,
                size(facts.tally.numbers as usize),
            ),
        ))
    });
}

/// What is taken as JSON is what another reader takes as JSON.
fn agrees(body: &[u8], api: Api, facts: &Result<Facts, Invalid>) {
    let object = body.trim_ascii_start().first() == Some(&b'{');
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    let json = json && object && std::str::from_utf8(body).is_ok();
    match facts {
        Ok(_) => assert!(json, "{api:?} took what is no JSON"),
        Err(Invalid::Malformed(wva_epp::body::json::Malformed::TooDeep(_))) => {}
        Err(Invalid::Malformed(why)) => assert!(!json, "{api:?} refused JSON: {why}"),
        Err(_) => assert!(json && api != Api::Other),
    }
}

/// A new name changes the name and nothing else.
fn rename(body: &[u8], facts: &Facts) {
    let Some(model) = &facts.model else { return };
    let decoded = model.decoded(body);
    let whole = Bytes::copy_from_slice(body);
    for within in [0, 7, body.len() / 2, body.len() + 1] {
        let [front, rest] = with_model(&whole, model, "new \"name\"", within);
        let renamed = [front, rest].concat();
        let again = Facts::read(&renamed, Api::Other).expect("still JSON");
        let name = again.model.expect("still there");
        // Of two models the last counts, and it is the last that was renamed.
        assert_eq!(name.decoded(&renamed), "new \"name\"");
        assert_eq!(again.tally, facts.tally);
    }
    // Escapes in keys may spell another model, and lone surrogates are no text anywhere else.
    let plain = memchr::memmem::find(body, b"\\u").is_none();
    if plain && let Ok(Value::Object(fields)) = serde_json::from_slice(body) {
        assert_eq!(fields.get("model").and_then(Value::as_str), Some(&*decoded));
    }
}
