//! How many tokens a server says it used, found in the answer as it passes.
//!
//! Both forms of answer carry an object called `usage`, in the last event of a stream or near the end of a document.
//! Each chunk is searched for its name from behind; nothing is kept but what may be the beginning of one.

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
    /// What was found so far; of several, the last.
    pub usage: Usage,
    /// The end of what has passed, where it may be the beginning of an object.
    open: Vec<u8>,
}

const NAME: &[u8] = b"\"usage\"";
/// An object longer than this is none of ours.
const MOST: usize = 4096;

impl UsageScan {
    /// Looks at the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.open.is_empty() {
            self.open = self.search(chunk).to_vec();
            return;
        }
        // An object begun in the last chunk ends near the beginning of this one.
        let mut open = std::mem::take(&mut self.open);
        let before = open.len();
        open.extend_from_slice(&chunk[..chunk.len().min(MOST)]);
        let rest = self.search(&open);
        if open.len() - before < chunk.len() {
            self.open = self.search(chunk).to_vec();
        } else {
            self.open = rest.to_vec();
        }
    }

    /// Reads the last usage in the text; what may be the beginning of another.
    fn search<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let mut end = text.len();
        while let Some(at) = memmem::rfind(&text[..end], NAME) {
            match read(&text[at + NAME.len()..]) {
                Ok(Some(usage)) => {
                    self.usage.take(usage);
                    return tail(&text[at + NAME.len()..]);
                }
                Err(Malformed::Ends) if text.len() - at < MOST => return &text[at..],
                // A null, as every event but the last has.
                _ if end == text.len() || text.len() - at < 8 * MOST => end = at,
                _ => break,
            }
        }
        tail(text)
    }
}

/// The end of the text, as far as it begins the name.
fn tail(text: &[u8]) -> &[u8] {
    let most = text.len().min(NAME.len() - 1);
    let lengths = (1..=most).rev();
    let mut ends = lengths.map(|n| &text[text.len() - n..]);
    ends.find(|end| NAME.starts_with(end)).unwrap_or_default()
}

/// Reads `: {…}`; `None` where the value is no object.
fn read(text: &[u8]) -> Result<Option<Usage>, Malformed> {
    let mut cursor = Cursor::new(text);
    let mut usage = Usage::default();
    // The cursor knows whole values only, so the colon is passed by hand.
    match cursor.peek() {
        Some(b':') => {}
        Some(_) => return Ok(None),
        None => return Err(Malformed::Ends),
    }
    let text = &text[cursor.at() + 1..];
    let mut cursor = Cursor::new(text);
    match cursor.peek() {
        Some(b'{') => {}
        Some(_) => return Ok(None),
        None => return Err(Malformed::Ends),
    }
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
    Ok(Some(usage))
}

#[cfg(test)]
mod tests {
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
        let (start, delta) =
            events.split_at(events.find("data: {\"type\":\"message_delta").unwrap());
        let usage = scan(&[start.as_bytes(), delta.as_bytes()]);
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
}
