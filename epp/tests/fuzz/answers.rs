//! Answers, streamed or whole. The first byte is the number of bytes after it that say where chunks end.

use bytes::Bytes;
use memchr::memmem;
use wva_epp::body::rename::Restore;
use wva_epp::body::usage::UsageScan;

use crate::engine::{fuzz, pieces, seen, size};

const WORDS: [&[u8]; 16] = [
    b"\"usage\":",
    b"\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}",
    b"\"usage\":null",
    b"\"prompt_tokens\":",
    b"\"output_tokens\":",
    b"\"prompt_tokens_details\":{\"cached_tokens\":3}",
    b"\"model\":\"served\"",
    b"\"model\" : ",
    b"\"served\"",
    b"\\\"model\\\":\\\"served\\\"",
    b"data: ",
    b"data: [DONE]\n\n",
    b"\n\n",
    b"18446744073709551616",
    b"\"mod",
    b"\"usa",
];

#[test]
fn answers() {
    fuzz("answer", &WORDS, |input| {
        let (first, rest) = input.split_first().unwrap_or((&0, &[]));
        let (cuts, text) = rest.split_at(usize::from(*first % 16).min(rest.len()));
        let usage = usage(text, cuts);
        let restored = restored(text, cuts);
        seen((usage, size(restored), size(text.len()), cuts.len()))
    });
}

fn usage(text: &[u8], cuts: &[u8]) -> [Option<u32>; 3] {
    let (mut whole, mut cut) = (UsageScan::default(), UsageScan::default());
    whole.push(text);
    pieces(text, cuts).for_each(|piece| cut.push(piece));
    assert_eq!(whole.usage, cut.usage, "chunks made a difference");
    let size = |n: u64| u64::BITS - n.leading_zeros();
    [cut.usage.prompt, cut.usage.output, cut.usage.cached].map(|n| n.map(size))
}

/// Names are put back wherever the chunks end, and nothing else is touched; how many were.
fn restored(text: &[u8], cuts: &[u8]) -> usize {
    let through = |served: &str, asked: &str, text: &[u8]| {
        let mut restore = Restore::new(served, asked);
        let mut out = Vec::new();
        for piece in pieces(text, cuts) {
            out.extend_from_slice(&restore.push(&Bytes::copy_from_slice(piece), false));
        }
        out.extend_from_slice(&restore.rest());
        out
    };
    assert_eq!(
        through("served", "served", text),
        text,
        "something was lost"
    );
    let out = through("served", "asked", text);
    let names = text.len() - out.len();
    assert!(names <= memmem::find_iter(text, b"\"served\"").count());
    // Longer gaps than any server writes are not waited for.
    let gap = text
        .split(|b| !b.is_ascii_whitespace())
        .map(<[u8]>::len)
        .max();
    if gap.unwrap_or(0) < 8 {
        let at_once = Restore::new("served", "asked").push(&Bytes::copy_from_slice(text), true);
        assert_eq!(out, at_once, "chunks made a difference");
    }
    names
}
