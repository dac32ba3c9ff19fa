//! How many tokens a server says it used, found in the answer as it passes.
//!
//! Both forms of answer carry an object called `usage`, in the last event of a stream or near the end of a document.
//! Every byte is passed once, so that it makes no difference where chunks end, neither to what is found nor to what it
//! costs; nothing is kept but the beginning of such an object. (To search each chunk from behind, with what may have
//! begun in those before, is a little faster for one large chunk, and takes time with the square of a thousand small ones.)

use memchr::memmem;

use super::facts::number;
use super::json::{Cursor, Malformed, Tally};

/// Tokens as the server counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the prompt.
    pub prompt: Option<u64>,
    /// Of the answer.
    pub output: Option<u64>,
    /// Of the prompt, those that were in a prefix cache.
    pub cached: Option<u64>,
}

impl Usage {
    fn take(&mut self, newer: Self) {
        self.prompt = newer.prompt.or(self.prompt);
        self.output = newer.output.or(self.output);
        self.cached = newer.cached.or(self.cached);
    }
}

/// Looks for usage in an answer's chunks.
#[derive(Debug, Clone, Default)]
pub struct UsageScan {
    /// What was found so far; of several numbers, the last.
    pub usage: Usage,
    place: Place,
    /// Bytes that were looked at, some of them twice.
    #[cfg(test)]
    work: usize,
}

/// Where in an answer a scan stands.
#[derive(Debug, Clone)]
enum Place {
    /// Outside, or so many bytes into the name.
    Before(usize),
    /// After the name, and perhaps the colon.
    Named(bool),
    /// In an object of that name.
    Within(Object),
}

impl Default for Place {
    fn default() -> Self {
        Self::Before(0)
    }
}

const NAME: &[u8] = b"\"usage\"";
/// An object longer than this is none of ours.
const MOST: usize = 4096;

impl UsageScan {
    /// Looks at the next chunk.
    pub fn push(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            let (place, passed) = match std::mem::take(&mut self.place) {
                Place::Before(0) => find(chunk),
                Place::Before(begun) => (goes_on(begun, chunk[0]), 1),
                Place::Named(colon) => named(colon, chunk),
                Place::Within(object) => self.within(object, chunk),
            };
            self.place = place;
            #[cfg(test)]
            {
                self.work += passed;
            }
            chunk = &chunk[passed..];
        }
    }

    fn within(&mut self, mut object: Object, chunk: &[u8]) -> (Place, usize) {
        let room = MOST - object.text.len();
        let near = &chunk[..chunk.len().min(room)];
        let end = near.iter().position(|&byte| object.ends(byte));
        let passed = end.map_or(near.len(), |end| end + 1);
        object.text.extend_from_slice(&near[..passed]);
        if end.is_none() && object.text.len() < MOST {
            return (Place::Within(object), passed);
        }
        #[cfg(test)]
        {
            self.work += object.text.len();
        }
        if end.is_some()
            && let Ok(usage) = read(&object.text)
        {
            self.usage.take(usage);
        }
        (Place::default(), passed)
    }
}

/// Passes what is before the name, and the name, as far as they have come.
fn find(chunk: &[u8]) -> (Place, usize) {
    match memmem::find(chunk, NAME) {
        Some(at) => (Place::Named(false), at + NAME.len()),
        None => (Place::Before(begun(chunk)), chunk.len()),
    }
}

/// How much of the name stands at the end of the text.
fn begun(text: &[u8]) -> usize {
    let most = text.len().min(NAME.len() - 1);
    let mut lengths = (1..=most).rev();
    let longest = lengths.find(|n| text.ends_with(&NAME[..*n]));
    longest.unwrap_or_default()
}

/// Where a scan stands that was so many bytes into the name.
fn goes_on(begun: usize, byte: u8) -> Place {
    match begun + 1 {
        whole if byte == NAME[begun] && whole == NAME.len() => Place::Named(false),
        more if byte == NAME[begun] => Place::Before(more),
        // Of what has come of the name, only its quote may be the beginning of another.
        _ => Place::Before(usize::from(byte == NAME[0])),
    }
}

/// Passes what is between a name and its object.
fn named(colon: bool, chunk: &[u8]) -> (Place, usize) {
    match chunk[0] {
        b' ' | b'\n' | b'\r' | b'\t' => (Place::Named(colon), 1),
        b':' if !colon => (Place::Named(true), 1),
        b'{' if colon => (Place::Within(Object::default()), 0),
        // A null, as every event but the last has.
        _ => (Place::default(), 0),
    }
}

/// An object that is coming.
#[derive(Debug, Clone, Default)]
struct Object {
    text: Vec<u8>,
    depth: usize,
    quoted: bool,
    escaped: bool,
}

impl Object {
    /// Whether it ends with its next byte.
    fn ends(&mut self, byte: u8) -> bool {
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match byte {
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            _ if self.quoted => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }
}

/// Reads `{…}`.
fn read(text: &[u8]) -> Result<Usage, Malformed> {
    let mut cursor = Cursor::new(text);
    let mut usage = Usage::default();
    cursor.object(|cursor, key| {
        match text.get(key.span).unwrap_or_default() {
            b"prompt_tokens" | b"input_tokens" => {
                usage.prompt = number(cursor)?.or(usage.prompt);
            }
            b"completion_tokens" | b"output_tokens" => {
                usage.output = number(cursor)?.or(usage.output);
            }
            b"cache_read_input_tokens" => usage.cached = number(cursor)?.or(usage.cached),
            b"prompt_tokens_details" | b"input_tokens_details" if cursor.peek() == Some(b'{') => {
                cursor.object(|cursor, key| {
                    if text.get(key.span) == Some(b"cached_tokens") {
                        usage.cached = number(cursor)?.or(usage.cached);
                        return Ok(());
                    }
                    cursor.skip(&mut Tally::default())
                })?;
            }
            _ => cursor.skip(&mut Tally::default())?,
        }
        Ok(())
    })?;
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SSE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"the \\\"usage\\\": {\"}}],\"usage\":null}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":64,\"total_tokens\":71,\
        \"prompt_tokens_details\":{\"cached_tokens\":3}}}\n\ndata: [DONE]\n\n";

    fn scan(chunks: &[&[u8]]) -> Usage {
        let mut scan = UsageScan::default();
        chunks.iter().for_each(|chunk| scan.push(chunk));
        scan.usage
    }

    #[test]
    fn usage_is_found_wherever_the_chunks_end() {
        let (text, all) = (SSE.as_bytes(), scan(&[SSE.as_bytes()]));
        let expected = Usage {
            prompt: Some(7),
            output: Some(64),
            cached: Some(3),
        };
        assert_eq!(all, expected);
        for cut in 0..text.len() {
            assert_eq!(
                scan(&[&text[..cut], &text[cut..]]),
                expected,
                "cut at {cut}"
            );
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(scan(&bytes), expected);
    }

    #[test]
    fn anthropic_counts_in_two_events() {
        let events = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
            data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\": 15}}\n\n";
        let usage = scan(&[events.as_bytes()]);
        assert_eq!((usage.prompt, usage.output), (Some(25), Some(15)));
    }

    #[test]
    fn what_is_no_usage_is_left_alone() {
        assert_eq!(
            scan(&[b"\"usage\"", b": 5", b"\"usage\":{\"prompt_tokens\":-1}"]),
            Usage::default()
        );
        assert_eq!(
            scan(&[b"\"usage\":{", &[b' '; 9000], b"}"]),
            Usage::default()
        );
    }

    #[test]
    fn what_is_too_long_is_passed_and_what_follows_is_read() {
        let long = ["\"usage\":{\"a\":\"", &"x".repeat(MOST), "\"}"].concat();
        let usage = scan(&[long.as_bytes(), SSE.as_bytes()]);
        assert_eq!(usage.prompt, Some(7));
        let longest = "\"usage\":{\"input_tokens\":5}";
        let padded = longest.replace('}', &[&" ".repeat(MOST - 18), "}"].concat());
        assert_eq!(scan(&[padded.as_bytes()]).prompt, Some(5));
        assert_eq!(
            scan(&[padded.replace('}', " }").as_bytes()]),
            Usage::default()
        );
    }

    /// Bytes looked at for each byte that has come.
    fn work(text: &[u8], chunk: usize) -> f64 {
        let mut scan = UsageScan::default();
        text.chunks(chunk).for_each(|chunk| scan.push(chunk));
        scan.work as f64 / text.len() as f64
    }

    #[test]
    fn no_byte_is_looked_at_more_than_twice_however_they_come() {
        let hostile = [
            "\"usage\"",
            "\"usage\":",
            "\"usage\":{",
            "\"usage\":{\"",
            "\"usage\":{}",
            "\"usage\":{\"a\":[{}]}",
            "\"usa",
            "{\\\"",
        ];
        for part in hostile {
            let text = part.repeat(3600 / part.len());
            for chunk in [1, 2, 5, 64, 3600] {
                let work = work(text.as_bytes(), chunk);
                assert!(work <= 2.0, "{work} a byte for {part} in chunks of {chunk}");
            }
        }
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(
            parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..30),
            cuts in prop::collection::vec(1_usize..40, 1..8),
        ) {
            let text = parts.concat().into_bytes();
            let (mut chunks, mut rest) = (Vec::new(), &text[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            prop_assert_eq!(scan(&chunks), scan(&[&text]));
        }
    }

    const PARTS: [&str; 12] = [
        "\"usage\"",
        ":",
        "{",
        "}",
        "\"prompt_tokens\":3",
        ",",
        "\"output_tokens\" : 12",
        "\"us",
        "\"",
        "\\",
        " ",
        "\"usage\":{\"prompt_tokens_details\":{\"cached_tokens\":9}}",
    ];
}
