//! What a request costs without its sockets: reading its body, and from its first message to its last.

#[path = "../tests/server/common.rs"]
#[allow(dead_code)]
mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{CHAT, Talk, answer, answer_headers, message, post, standard};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use wva_epp::body::usage::UsageScan;
use wva_epp::body::{Api, Facts};
use wva_epp::server::shared::Shared;
use wva_epp::server::wire::{HttpBody, Part};

fn main() {
    divan::main();
}

/// A chat of so many tokens of four bytes, every one different from the last request's.
fn chat(tokens: usize, number: u64) -> Bytes {
    let words = (0..tokens as u64).map(|i| {
        let word = (i + number).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
        format!("{word:03x} ")
    });
    let content: String = words.collect();
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{content}"}}],"max_tokens":128,"stream":true}}"#).into()
}

#[divan::bench(args = [500, 100_000])]
fn read_body(bencher: Bencher<'_, '_>, tokens: usize) {
    let body = chat(tokens, 0);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| Facts::read(black_box(&body), Api::Chat));
}

/// One request and its answer through the whole state machine, over 100 endpoints.
fn exchange(shared: &Arc<Shared>, body: &Bytes) {
    let mut talk = Talk::new(shared);
    talk.say(post(CHAT));
    for chunk in 0..body.len().div_ceil(65_536) {
        let end = (chunk + 1) * 65_536;
        let body = HttpBody {
            body: body.slice(chunk * 65_536..end.min(body.len())),
            end_of_stream: end >= body.len(),
        };
        black_box(talk.say(message(Part::RequestBody(body))));
    }
    talk.say(answer_headers("text/event-stream", false));
    talk.say(answer("data: [DONE]\n\n", true));
}

#[divan::bench(args = [500, 100_000])]
fn decide(bencher: Bencher<'_, '_>, tokens: usize) {
    let shared = common::shared(&standard(100));
    let mut number = 0;
    bencher
        .with_inputs(|| {
            number += 7919;
            chat(tokens, number)
        })
        .bench_local_refs(|body| exchange(&shared, body));
}

#[divan::bench]
fn scan_event(bencher: Bencher<'_, '_>) {
    let event = b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"},\"finish_reason\":null}]}\n\n";
    let mut scan = UsageScan::default();
    bencher.bench_local(|| scan.push(black_box(event)));
}
