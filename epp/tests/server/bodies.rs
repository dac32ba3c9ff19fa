//! Reading bodies, against a reader that everybody trusts.

use proptest::prelude::*;
use serde_json::{Value, json};
use wva_epp::body::{Api, Facts, Invalid};

/// Whether the text is a JSON object, as serde_json sees it. It ignores what is in strings that nobody wants, so text
/// must be checked apart.
fn object(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| {
        text.trim_start().starts_with('{')
            && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    })
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        ".{0,40}",
        Just("say \"hi\" \\ \u{0}\u{7f} ü 漢字 🎉\n".to_owned()),
        Just(
            "plain text of more than thirty-two bytes, twice over, so that blocks are used"
                .to_owned()
        ),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof![
            "[a-z\"\\\\é]{0,8}",
            Just("type".to_owned()),
            Just("model".to_owned()),
            Just("content".to_owned()),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn requests() -> impl Strategy<Value = Value> {
    let fields = [
        "model",
        "messages",
        "prompt",
        "input",
        "max_tokens",
        "stream",
        "tools",
        "x",
    ];
    let field = (0..fields.len(), value()).prop_map(move |(i, v)| (fields[i].to_owned(), v));
    let named = prop_oneof![Just("m"), Just("a\"b\\ü"), Just("")];
    (
        proptest::collection::vec(field, 0..6),
        proptest::option::of(named),
    )
        .prop_map(|(fields, named)| {
            let mut object: serde_json::Map<_, _> = fields.into_iter().collect();
            if let Some(name) = named {
                object.insert("model".to_owned(), name.into());
            }
            Value::Object(object)
        })
}

proptest! {
    #[test]
    fn facts_are_what_another_reader_sees(request in requests(), pretty in any::<bool>()) {
        let body = if pretty { serde_json::to_vec_pretty(&request) } else { serde_json::to_vec(&request) };
        let body = body.unwrap();
        let facts = Facts::read(&body, Api::Other).unwrap();
        let model = facts.model.as_ref().map(|m| m.decoded(&body).into_owned());
        prop_assert_eq!(model.as_deref(), request["model"].as_str());
        prop_assert_eq!(facts.stream, request["stream"] == Value::Bool(true));
        prop_assert_eq!(facts.most_output, request["max_tokens"].as_u64());
        if let Some(messages) = request["messages"].as_array().filter(|m| !m.is_empty()) {
            let only = request.get("prompt").is_none() && request.get("input").is_none();
            if only {
                let span = &body[facts.prompt[2].start..=facts.prompt[2].end];
                let read: Value = serde_json::from_slice(span).unwrap();
                prop_assert_eq!(read.as_array(), Some(messages));
            }
        }
    }

    #[test]
    fn what_is_json_is_accepted_and_nothing_else(
        request in requests(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4),
    ) {
        let mut body = serde_json::to_vec(&request).unwrap();
        for (index, byte, kind) in edits {
            if body.is_empty() {
                break;
            }
            let at = index.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => body.truncate(at),
            }
        }
        let ours = Facts::read(&body, Api::Other).is_ok();
        prop_assert_eq!(ours, object(&body), "{:?}", String::from_utf8_lossy(&body));
    }

    #[test]
    fn no_bytes_break_it(body in proptest::collection::vec(any::<u8>(), 0..200), api in 0..6_u8) {
        let api = [Api::Chat, Api::Completions, Api::Embeddings, Api::Responses, Api::Messages, Api::Other][usize::from(api)];
        let _ = Facts::read(&body, api);
    }
}

#[test]
fn numbers_and_words_are_those_of_the_grammar() {
    for (text, sound) in [
        ("0", true),
        ("-0", true),
        ("01", false),
        ("1.", false),
        (".5", false),
        ("1e5", true),
        ("1e", false),
        ("-", false),
        ("+1", false),
        ("1E-05", true),
        ("0.0", true),
        ("tru", false),
        ("true", true),
        ("nulll", false),
        ("NaN", false),
        ("\"\\x\"", false),
        ("\"\\u12g4\"", false),
        ("\"\\ud800\"", true),
        ("[1,]", false),
        ("{\"a\" 1}", false),
        ("{\"a\":1,}", false),
        ("{a:1}", false),
        ("\"\t\"", false),
        ("[[]]", true),
        ("", false),
    ] {
        let body = format!("{{\"x\": {text} }}");
        let read = Facts::read(body.as_bytes(), Api::Other);
        assert_eq!(read.is_ok(), sound, "{body}");
        assert_eq!(object(body.as_bytes()), sound, "{body}");
    }
}

#[test]
fn depth_is_bounded() {
    let deep = |n: usize| format!("{{\"x\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert!(Facts::read(deep(127).as_bytes(), Api::Other).is_ok());
    assert!(Facts::read(deep(128).as_bytes(), Api::Other).is_err());
    assert!(Facts::read(deep(1_000_000).as_bytes(), Api::Other).is_err());
}

#[test]
fn text_is_counted_and_media_is_not() {
    let body = json!({
        "model": "m",
        "tools": [{"name": "ab"}],
        "messages": [
            {"role": "user", "content": "0123456789"},
            {"role": "user", "content": [
                {"type": "text", "text": "line\nline"},
                {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(10_000))}},
            ]},
        ],
    });
    let body = serde_json::to_vec(&body).unwrap();
    let facts = Facts::read(&body, Api::Chat).unwrap();
    assert!(facts.tally.media);
    // "ab", the two roles and contents.
    assert_eq!(facts.tally.text, 2 + 4 + 10 + 4 + 9);
    assert_eq!(facts.tokens(4.0), 8.0);
    let tokens = br#"{"model":"m","prompt":[[1,2,3],[4]]}"#;
    let facts = Facts::read(tokens, Api::Completions).unwrap();
    assert_eq!((facts.tokens(4.0), facts.tally.media), (4.0, false));
}

#[test]
fn a_longer_conversation_begins_with_the_shorter_one() {
    let turn = |n: usize| {
        let said: Vec<_> = (0..n)
            .map(|i| json!({"role": "user", "content": format!("turn {i}")}))
            .collect();
        serde_json::to_vec(&json!({"model": "m", "messages": said})).unwrap()
    };
    let pieces = |body: &[u8]| {
        Facts::read(body, Api::Chat)
            .unwrap()
            .pieces(body)
            .collect::<Vec<_>>()
            .concat()
    };
    assert!(pieces(&turn(5)).starts_with(&pieces(&turn(4))));
    let prompt = |text: &str| format!(r#"{{"model":"m","prompt":"{text}"}}"#);
    let (long, short) = (prompt("abcdef"), prompt("abc"));
    let of = |body: &str| {
        Facts::read(body.as_bytes(), Api::Completions)
            .unwrap()
            .pieces(body.as_bytes())
            .collect::<Vec<_>>()
            .concat()
    };
    assert!(of(&long).starts_with(&of(&short)));
}

#[test]
fn the_last_of_two_fields_counts_and_apis_want_theirs() {
    let twice = br#"{"model":1,"model":"b","prompt":"x","prompt":null}"#;
    let facts = Facts::read(twice, Api::Other).unwrap();
    assert_eq!(facts.model.unwrap().decoded(twice), "b");
    let read = |text: &str, api| Facts::read(text.as_bytes(), api).err();
    assert_eq!(
        read(r#"{"model":"a","messages":"x"}"#, Api::Chat),
        Some(Invalid::NoMessages)
    );
    assert_eq!(read(r#"{"model":"a","prompt":""}"#, Api::Completions), None);
    assert_eq!(
        read(r#"{"model":"a","prompt":[]}"#, Api::Completions),
        Some(Invalid::NoPrompt)
    );
    assert_eq!(read(r#"{"model":"a","input":["x"]}"#, Api::Responses), None);
}
