//! Model names, put in place of each other without touching anything else.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::json::Text;

/// A model's name as JSON, quotes included.
fn quoted(name: &str) -> Vec<u8> {
    serde_json::to_vec(name).unwrap_or_default()
}

/// The body with another model's name. The first `within` bytes are new; the rest is shared with `body`.
#[must_use]
pub fn with_model(body: &Bytes, model: &Text, name: &str, within: usize) -> [Bytes; 2] {
    let (start, end) = (model.span.start.saturating_sub(1), model.span.end + 1);
    let rest = end.max(within.min(body.len()));
    let name = quoted(name);
    let mut front = BytesMut::with_capacity(rest + name.len());
    front.extend_from_slice(&body[..start]);
    front.extend_from_slice(&name);
    front.extend_from_slice(&body[end..rest]);
    [front.freeze(), body.slice(rest..)]
}

/// Gives an answer's chunks the model's name that the client asked for.
///
/// Only the value of a key `"model"` that is exactly the other name is replaced; inside of strings the quotes would be
/// escaped, so text that speaks of models stays as it is.
#[derive(Debug, Clone)]
pub struct Restore {
    served: Vec<u8>,
    asked: Vec<u8>,
    held: BytesMut,
}

const KEY: &[u8] = b"\"model\"";

impl Restore {
    /// Puts `asked` wherever the model is said to be `served`.
    #[must_use]
    pub fn new(served: &str, asked: &str) -> Self {
        Self {
            served: quoted(served),
            asked: quoted(asked),
            held: BytesMut::new(),
        }
    }

    /// The next chunk as the client should see it. What may be the beginning of a name is held back until the next, or
    /// until the `last`.
    pub fn push(&mut self, chunk: &Bytes, last: bool) -> Bytes {
        if self.held.is_empty() && memmem::find(chunk, KEY).is_none() && !self.may_begin(chunk) {
            return chunk.clone();
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(chunk);
        let mut out = BytesMut::with_capacity(text.len() + self.asked.len());
        let mut done = 0;
        while let Some(key) = memmem::find(&text[done..], KEY) {
            let after = done + key + KEY.len();
            let value = after + gap(&text[after..]);
            let rest = &text[value..];
            if rest.starts_with(&self.served) {
                out.extend_from_slice(&text[done..value]);
                out.extend_from_slice(&self.asked);
                done = value + self.served.len();
            } else if !last && self.served.starts_with(rest) && after + 16 > value {
                out.extend_from_slice(&text[done..done + key]);
                self.held = text.split_off(done + key);
                return out.freeze();
            } else {
                out.extend_from_slice(&text[done..after]);
                done = after;
            }
        }
        let mut keep = text.len();
        if !last {
            keep -= begun(&text[done..]);
        }
        out.extend_from_slice(&text[done..keep]);
        self.held = text.split_off(keep);
        out.freeze()
    }

    /// What is still held back.
    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }

    fn may_begin(&self, chunk: &[u8]) -> bool {
        begun(chunk) > 0
    }
}

/// Bytes of a colon with white space around it.
fn gap(text: &[u8]) -> usize {
    let mut colon = false;
    let part = |b: &&u8| {
        let first = **b == b':' && !colon;
        colon |= first;
        first || b.is_ascii_whitespace()
    };
    text.iter().take_while(part).count()
}

/// How many of the last bytes begin the key.
fn begun(text: &[u8]) -> usize {
    let most = text.len().min(KEY.len() - 1);
    (1..=most)
        .rev()
        .find(|n| KEY.starts_with(&text[text.len() - n..]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Api, Facts};

    #[test]
    fn the_model_is_put_in_its_place() {
        let body = Bytes::from_static(b"{\"messages\":[1],\"model\": \"a\\u0062\", \"n\":1}");
        let facts = Facts::read(&body, Api::Chat).unwrap();
        let model = facts.model.unwrap();
        assert_eq!(model.decoded(&body), "ab");
        for within in [0, 5, 20, 30, 1000] {
            let [front, rest] = with_model(&body, &model, "x\"y", within);
            let whole = [front, rest].concat();
            assert_eq!(whole, b"{\"messages\":[1],\"model\": \"x\\\"y\", \"n\":1}");
        }
    }

    #[test]
    fn names_are_restored_wherever_the_chunks_end() {
        let text = b"data: {\"model\":\"new\",\"c\":\"\\\"model\\\":\\\"new\\\"\"}\n\ndata: {\"model\" : \"new\"}\n\n{\"model\":\"newer\"}";
        let expected = b"data: {\"model\":\"old\",\"c\":\"\\\"model\\\":\\\"new\\\"\"}\n\ndata: {\"model\" : \"old\"}\n\n{\"model\":\"newer\"}";
        for cut in 0..=text.len() {
            let mut restore = Restore::new("new", "old");
            let first = restore.push(&Bytes::copy_from_slice(&text[..cut]), false);
            let second = restore.push(&Bytes::copy_from_slice(&text[cut..]), true);
            let whole = [first, second].concat();
            assert_eq!(whole, expected, "cut at {cut}");
        }
        let mut restore = Restore::new("new", "old");
        let mut whole: Vec<u8> = Vec::new();
        for byte in text.chunks(1) {
            whole.extend_from_slice(&restore.push(&Bytes::copy_from_slice(byte), false));
        }
        whole.extend_from_slice(&restore.rest());
        assert_eq!(whole, expected);
    }

    #[test]
    fn other_chunks_pass_as_they_are() {
        let mut restore = Restore::new("new", "old");
        let chunk = Bytes::from_static(b"data: [DONE]\n\n");
        assert_eq!(restore.push(&chunk, false).as_ptr(), chunk.as_ptr());
    }
}
