//! Conversations with a proxy: up to four requests at once through a picker whose pool has room for two, in any order of
//! messages, with endpoints that come and go. An input is a list of steps of a byte each, some with an argument after it.
//! The messages travel as they do in gRPC, in pieces that begin and end anywhere.

use std::sync::Arc;

use bytes::BytesMut;
use prost::Message;
use tonic::Code;
use wva_epp::clock::Clock;
use wva_epp::objectives::{Objectives, Targets};
use wva_epp::server::framing::put;
use wva_epp::server::shared::{Handling, Shared};
use wva_epp::server::wire::{Answer, Part, ProcessingRequest, ProcessingResponse};
use wva_epp::store::Store;
use wva_epp_core::config::Config;
use wva_epp_core::flow::{BandSettings, FlowSettings};
use wva_epp_core::picker::Picker;
use wva_epp_core::saturation::Detector;

use crate::common::*;
use crate::engine::{fuzz, pieces, seen, size};
use crate::line::Line;

const BODIES: [&[u8]; 8] = [
    BODY.as_bytes(),
    br#"{"model":"m","messages":["#,
    br#"{"content":"go on"}]}"#,
    br#"{"model":"rewritten","prompt":"Once upon a time","stream":true,"max_tokens":5}"#,
    br#"{"model":"#,
    b"",
    b"{}",
    b"\xff\xfe",
];
const ANSWERS: [&[u8]; 6] = [
    b"data: {\"model\":\"m\",\"choices\":[]}\n\n",
    b"data: {\"model\":\"other\",\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\n",
    b"{\"model\":\"oth",
    b"er\",\"usage\":{\"prompt_tokens\"",
    b"",
    b"data: [DONE]\n\n",
];
const PATHS: [&str; 4] = [CHAT, "/v1/completions", "/v1/models", ""];
const OBJECTIVES: [&str; 4] = ["urgent", "batch", "unknown", ""];
const SUBSETS: [&str; 4] = ["10.0.0.1:8000", "10.0.0.2,10.0.0.3:8000", "10.0.0.99", ","];
/// Longest body in these conversations.
const MOST_BODY: usize = 4096;

/// A request that is under way.
struct Talk {
    line: Line,
    /// What is kept back, to go with what comes next.
    kept: BytesMut,
    sent: usize,
}

/// The requests at once, and the picker.
struct Scene {
    store: Arc<Store>,
    shared: Arc<Shared>,
    talks: [Option<Talk>; 4],
    tale: Vec<(u8, u8)>,
}

fn scene() -> Scene {
    let picker = Picker {
        detector: Detector::Concurrency {
            requests: 1.0,
            tokens: f64::INFINITY,
            headroom: 0.0,
        },
        ..Config::standard().picker
    };
    let store = store_of(picker, 2);
    store.set_objectives(Objectives {
        priorities: [("urgent".to_owned(), 10), ("batch".to_owned(), -1)].into(),
        exact: [(
            "rewritten".to_owned(),
            Targets::new([("other".to_owned(), 1)]),
        )]
        .into(),
        ..Objectives::default()
    });
    let band = BandSettings {
        max_requests: 1,
        ..BandSettings::default()
    };
    let flow = FlowSettings {
        max_requests: 2,
        ttl_s: Some(1e-3),
        default_band: band,
        ..FlowSettings::default()
    };
    let handling = Handling {
        flow: Some(flow),
        most_body: MOST_BODY,
        ..Handling::default()
    };
    let shared = Shared::new(Arc::clone(&store), Clock::start(), &handling);
    Scene {
        store,
        shared,
        talks: [const { None }; 4],
        tale: Vec::new(),
    }
}

#[test]
fn exchanges() {
    fuzz("exchange", &[], |input| {
        let mut scene = scene();
        let mut steps = input.iter().copied();
        while let Some(step) = steps.next() {
            let (who, how) = (usize::from(step >> 6), step >> 4 & 3);
            let mut argument = || steps.next().unwrap_or(0);
            let mut bytes = BytesMut::new();
            match step & 15 {
                15 => scene.world(argument()),
                13 => scene.hear(who),
                12 if how == 0 => scene.talks[who] = None,
                12 => scene.finish(who),
                14 => {
                    let length = argument();
                    let raw: Vec<u8> = steps.by_ref().take(usize::from(length & 127)).collect();
                    if length < 128 {
                        bytes.extend_from_slice(&[0, 0, 0, 0, raw.len() as u8]);
                    }
                    bytes.extend_from_slice(&raw);
                }
                kind => put(&mut bytes, &message_of(kind, argument())),
            }
            if !bytes.is_empty() {
                let length = if how == 2 {
                    steps.next().unwrap_or(0)
                } else {
                    1
                };
                scene.say(who, &bytes, how, length);
            }
        }
        scene.end()
    });
}

fn message_of(kind: u8, argument: u8) -> ProcessingRequest {
    let (choice, end) = (usize::from(argument & 7), argument & 8 > 0);
    let (path, objective) = (
        PATHS[choice % 4],
        OBJECTIVES[usize::from(argument >> 4) % 4],
    );
    let subset = (argument >> 6 == 1).then(|| {
        let key = "x-gateway-destination-endpoint-subset";
        metadata("envoy.lb.subset_hint", key, &[SUBSETS[choice % 4]], end)
    });
    let head = [
        (":path", path),
        ("x-request-id", "r"),
        ("content-length", "99999999999"),
        ("x-llm-d-inference-objective", objective),
    ];
    let plain = match kind {
        0..=2 => message(Part::RequestHeaders(headers(&head, false))),
        3 => message(Part::RequestHeaders(headers(&head, end))),
        4..=6 => body(BODIES[choice], end),
        7 => trailers(),
        8 => answer_headers("text/event-stream", end),
        9 => answer_headers("application/json", end),
        10 => answer(ANSWERS[choice % 6], end),
        _ => answer_trailers(),
    };
    let served = (kind == 8 && argument >> 7 == 1).then(|| {
        let key = "x-gateway-destination-endpoint-served";
        metadata("envoy.lb", key, &[SUBSETS[choice % 4]], !end)
    });
    ProcessingRequest {
        metadata_context: served.or(subset),
        ..plain
    }
}

impl Scene {
    /// Sends bytes: at once, each alone, in pieces of one length, or with the next.
    fn say(&mut self, who: usize, bytes: &[u8], how: u8, length: u8) {
        let talk = self.talks[who].get_or_insert_with(|| Talk {
            line: Line::new(&self.shared),
            kept: BytesMut::new(),
            sent: 0,
        });
        talk.kept.extend_from_slice(bytes);
        talk.sent += bytes.len();
        if how == 3 {
            return;
        }
        let bytes = talk.kept.split();
        match how {
            0 => talk.line.send(Some(&bytes)),
            _ => pieces(&bytes, &[length]).for_each(|piece| talk.line.send(Some(piece))),
        }
        self.hear(who);
    }

    /// Sends what was kept back, and no more.
    fn finish(&mut self, who: usize) {
        if let Some(talk) = &mut self.talks[who] {
            let bytes = talk.kept.split();
            talk.line.send(Some(&bytes));
            talk.line.send(None);
            self.hear(who);
        }
    }

    /// What the proxy is told is bounded, ends with a refusal if there is one, and is in chunks that it takes.
    fn hear(&mut self, who: usize) {
        let Some(talk) = &mut self.talks[who] else {
            return;
        };
        let out = talk.line.hear();
        let length: usize = out.iter().map(Message::encoded_len).sum();
        assert!(length <= talk.sent + 2048 * out.len(), "more out than in");
        for (i, response) in out.iter().enumerate() {
            let kind = told(response);
            if kind > 3 {
                let last = (i + 1 == out.len(), talk.line.ended);
                assert_eq!(last, (true, Some(Code::Ok)), "a refusal ends it");
            }
            self.tale.push((kind, who as u8));
        }
        if let Some(code) = talk.line.ended {
            self.tale.push((100, code as u8));
            self.talks[who] = None;
        }
    }

    /// Endpoints come and go, and the process may be about to end.
    fn world(&mut self, what: u8) {
        let which = 1 + what % 3;
        match what >> 4 {
            0..=5 => add(&self.store, which..=which),
            6..=10 => drop(self.store.update(|d| d.remove(&address(which)))),
            11 => self.shared.admission.close(),
            _ => drop(self.store.publish()),
        }
        self.tale
            .push((60 + what / 16, self.store.pool().len() as u8));
    }

    /// Everybody goes, and nothing is left.
    fn end(mut self) -> u64 {
        assert!(self.store.state().inflight.requests() <= 4);
        assert!(self.shared.admission.waiting() <= 2);
        self.talks = [const { None }; 4];
        assert_eq!(self.store.state().inflight.requests(), 0);
        assert_eq!(self.shared.admission.waiting(), 0);
        assert_eq!(self.shared.metrics.streams.get(), 0);
        assert_eq!(self.shared.admission.held(), (self.empty_bands(), false));
        let length = size(self.tale.len());
        self.tale.dedup();
        self.tale.truncate(12);
        seen((length, self.tale))
    }

    fn empty_bands(&self) -> Vec<(i32, usize, u64)> {
        let (bands, _) = self.shared.admission.held();
        bands.into_iter().map(|(p, _, _)| (p, 0, 0)).collect()
    }
}

/// The kind of an answer; the status of one to the client.
fn told(response: &ProcessingResponse) -> u8 {
    match response.answer.as_ref().expect("an answer") {
        Answer::RequestHeaders(_) => {
            destination(response);
            1
        }
        Answer::RequestBody(_) | Answer::ResponseBody(_) => {
            assert!(chunk(response).0.len() <= 62_000);
            2
        }
        Answer::Immediate(refusal) => {
            let code = refusal.status.expect("a status").code;
            assert!((400..600).contains(&code), "{code}");
            (code % 250) as u8
        }
        _ => 3,
    }
}
