//! What a choice needs to know of a request body.

use std::ops::Range;

use super::json::{Cursor, Malformed, Tally, Text};

/// The APIs whose bodies are understood, told by the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's completions.
    Completions,
    /// Embeddings, pooling, scores and reranking.
    Embeddings,
    /// OpenAI's responses and conversations.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Anything else: routed, and read as far as it goes.
    Other,
}

impl Api {
    /// The API of a path, whatever stands before it.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        match path.trim_end_matches('/') {
            p if p.ends_with("/chat/completions") => Self::Chat,
            p if p.ends_with("/completions") => Self::Completions,
            p if p.ends_with("/embeddings") => Self::Embeddings,
            p if p.ends_with("/responses") => Self::Responses,
            p if p.ends_with("/v1/messages") => Self::Messages,
            _ => Self::Other,
        }
    }
}

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is not JSON, or not an object.
    #[error("error unmarshaling request bodyMap: {0}")]
    Malformed(#[from] Malformed),
    /// It does not say which model it wants.
    #[error("model not found in request body")]
    NoModel,
    /// A chat with nothing said.
    #[error("invalid chat completions request: must have at least one message")]
    NoMessages,
    /// A completion of nothing.
    #[error("invalid completions request: must have prompt")]
    NoPrompt,
    /// Nothing to embed or to respond to.
    #[error("invalid request: must have input")]
    NoInput,
}

/// Spans of the body and numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// The model's name, as it stands in the body.
    pub model: Option<Text>,
    /// What precedes the conversation in a prompt, and the conversation: tools, system prompt, messages, prompt or input.
    /// In the order in which servers put them together.
    pub prompt: [Range<usize>; 3],
    /// What is in them.
    pub tally: Tally,
    /// Most output tokens, as the client says.
    pub most_output: Option<u64>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Text that sets prefix caches apart.
    pub salt: Option<Text>,
    conversation: Option<Key>,
}

/// Where the conversation was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Messages,
    Prompt,
    Input,
}

impl Facts {
    /// Reads a body of an API.
    ///
    /// # Errors
    /// [`Invalid`] for what a server would refuse. Of [`Api::Other`] only what is not JSON.
    pub fn read(body: &[u8], api: Api) -> Result<Self, Invalid> {
        let facts = Self::scan(body)?;
        let has = |keys: &[Key]| facts.conversation.is_some_and(|key| keys.contains(&key));
        if api != Api::Other && facts.model.is_none() {
            return Err(Invalid::NoModel);
        }
        match api {
            Api::Chat | Api::Messages if !has(&[Key::Messages]) => Err(Invalid::NoMessages),
            Api::Completions if !has(&[Key::Prompt]) => Err(Invalid::NoPrompt),
            Api::Embeddings if facts.conversation.is_none() => Err(Invalid::NoInput),
            Api::Responses if !has(&[Key::Input, Key::Prompt]) => Err(Invalid::NoInput),
            _ => Ok(facts),
        }
    }

    fn scan(body: &[u8]) -> Result<Self, Malformed> {
        if let Err(error) = std::str::from_utf8(body) {
            return Err(Malformed::NotText(error.valid_up_to()));
        }
        let mut facts = Self::default();
        let mut cursor = Cursor::new(body);
        cursor.object(|cursor, key| {
            let key = body.get(key.span).unwrap_or_default();
            facts.field(body, cursor, key)
        })?;
        cursor.finish()?;
        Ok(facts)
    }

    /// Reads the value of one field. Of fields that come twice the last counts, as in most readers.
    fn field(&mut self, body: &[u8], cursor: &mut Cursor<'_>, key: &[u8]) -> Result<(), Malformed> {
        match key {
            b"model" => self.model = text(cursor)?,
            b"cache_salt" => self.salt = text(cursor)?,
            b"messages" => self.conversation(body, cursor, Key::Messages)?,
            b"prompt" => self.conversation(body, cursor, Key::Prompt)?,
            b"input" => self.conversation(body, cursor, Key::Input)?,
            b"tools" => self.prompt[0] = self.part(cursor)?,
            b"system" | b"instructions" => self.prompt[1] = self.part(cursor)?,
            b"max_tokens" | b"max_completion_tokens" | b"max_output_tokens" => {
                self.most_output = number(cursor)?.or(self.most_output);
            }
            b"stream" => {
                self.stream = cursor.peek() == Some(b't');
                cursor.skip(&mut Tally::default())?;
            }
            _ => cursor.skip(&mut Tally::default())?,
        }
        Ok(())
    }

    /// Passes a part of the prompt and counts it; where it stands.
    fn part(&mut self, cursor: &mut Cursor<'_>) -> Result<Range<usize>, Malformed> {
        cursor.peek();
        let start = cursor.at();
        cursor.skip(&mut self.tally)?;
        Ok(start..cursor.at())
    }

    fn conversation(
        &mut self,
        body: &[u8],
        cursor: &mut Cursor<'_>,
        key: Key,
    ) -> Result<(), Malformed> {
        let first = cursor.peek();
        let span = self.part(cursor)?;
        let inside = body.get(span.start + 1..span.end.saturating_sub(1));
        let inside = inside.unwrap_or_default();
        let filled = inside.iter().any(|b| !b.is_ascii_whitespace());
        let sound = match (first, key) {
            (Some(b'['), _) => filled,
            (Some(b'"'), Key::Prompt | Key::Input) => true,
            (Some(b'{'), Key::Prompt | Key::Input) => filled,
            _ => false,
        };
        if sound {
            // Without the opening quote or bracket's partner, a longer conversation begins with the shorter one.
            self.prompt[2] = span.start..span.end - 1;
            self.conversation = Some(key);
        }
        Ok(())
    }

    /// The bytes of the prompt, in pieces, in order.
    pub fn pieces<'b>(&'b self, body: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        let pieces = self.prompt.iter();
        pieces.filter_map(|span| body.get(span.clone()).filter(|piece| !piece.is_empty()))
    }

    /// Prompt tokens, at so many bytes of text each. Numbers in a prompt are tokens already.
    #[must_use]
    pub fn tokens(&self, bytes_per_token: f64) -> f64 {
        let numbers = self.tally.numbers as f64;
        (numbers + self.tally.text as f64 / bytes_per_token).ceil()
    }
}

/// Passes a value; its text if it is a string.
fn text(cursor: &mut Cursor<'_>) -> Result<Option<Text>, Malformed> {
    if cursor.peek() == Some(b'"') {
        return cursor.string().map(Some);
    }
    cursor.skip(&mut Tally::default()).map(|()| None)
}

/// Passes a value; the number if it is a whole one.
pub(super) fn number(cursor: &mut Cursor<'_>) -> Result<Option<u64>, Malformed> {
    if !matches!(cursor.peek(), Some(b'-' | b'0'..=b'9')) {
        return cursor.skip(&mut Tally::default()).map(|()| None);
    }
    let digits = cursor.number()?;
    let digits = std::str::from_utf8(digits).ok();
    Ok(digits.and_then(|d| d.parse().ok()))
}
