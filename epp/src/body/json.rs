//! A cursor over JSON text: strict grammar, no values.
//!
//! Strings are the bulk of a prompt, so they are looked at in blocks of 32 bytes that compilers turn into a few vector
//! instructions; everything else is too short to matter.

use std::ops::Range;

/// Deepest nesting that is read; deeper text is refused rather than followed.
pub const MOST_DEPTH: u32 = 128;

/// Text that is not JSON, and where that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Something else should stand here.
    #[error("invalid character at offset {0}")]
    At(usize),
    /// The text ends before the value does.
    #[error("unexpected end of JSON input")]
    Ends,
    /// Nested deeper than [`MOST_DEPTH`].
    #[error("nested deeper than {MOST_DEPTH} levels at offset {0}")]
    TooDeep(usize),
    /// A byte that is no text.
    #[error("invalid UTF-8 at offset {0}")]
    NotText(usize),
}

/// A string's contents, without its quotes, as a place in the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// Where.
    pub span: Range<usize>,
    /// Bytes that its escapes take beyond what they stand for; 0 means that it stands as it is.
    pub escapes: usize,
}

impl Text {
    /// The string, decoded where it has escapes.
    #[must_use]
    pub fn decoded<'a>(&self, body: &'a [u8]) -> std::borrow::Cow<'a, str> {
        let raw = body.get(self.span.clone()).unwrap_or_default();
        if self.escapes == 0 {
            return String::from_utf8_lossy(raw);
        }
        let quoted = body.get(self.span.start.saturating_sub(1)..self.span.end + 1);
        let decoded = quoted.and_then(|q| serde_json::from_slice::<String>(q).ok());
        // Lone surrogates are JSON and no string: they stay as they were written.
        decoded.map_or_else(|| String::from_utf8_lossy(raw), Into::into)
    }
}

/// What was passed over, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Bytes of string values, unescaped; those that carry media as data are left out.
    pub text: u64,
    /// Numbers.
    pub numbers: u64,
    /// Whether there are images, audio or video.
    pub media: bool,
}

/// Kinds of content parts that are no text.
const MEDIA: [&[u8]; 8] = [
    b"image",
    b"image_url",
    b"input_image",
    b"audio_url",
    b"input_audio",
    b"video",
    b"video_url",
    b"input_video",
];

/// A place in a text, and how deep it is.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    #[must_use]
    pub const fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    fn wrong<T>(&self) -> Result<T, Malformed> {
        match self.at < self.text.len() {
            true => Err(Malformed::At(self.at)),
            false => Err(Malformed::Ends),
        }
    }

    /// The next byte that is not white space, which stays the next.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return self.wrong();
        }
        self.at += 1;
        Ok(())
    }

    /// Passes the end of the text, if nothing but white space is before it.
    ///
    /// # Errors
    /// [`Malformed::At`] where there is more.
    pub fn finish(mut self) -> Result<(), Malformed> {
        self.peek().map_or(Ok(()), |_| self.wrong())
    }

    /// Passes a string.
    ///
    /// # Errors
    /// [`Malformed`] if there is none.
    pub fn string(&mut self) -> Result<Text, Malformed> {
        self.expect(b'"')?;
        let (start, mut escapes) = (self.at, 0);
        loop {
            self.at = plain(self.text, self.at);
            match self.text.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => escapes += self.escape()?,
                _ => return self.wrong(),
            }
        }
        let span = start..self.at;
        self.at += 1;
        Ok(Text { span, escapes })
    }

    /// Passes an escape; how many bytes longer it is than what it stands for, about.
    fn escape(&mut self) -> Result<usize, Malformed> {
        self.at += 1;
        match self.text.get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(1)
            }
            Some(b'u') => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.text.get(self.at).is_some_and(u8::is_ascii_hexdigit) {
                        return self.wrong();
                    }
                }
                self.at += 1;
                // Three bytes of UTF-8, as most that is escaped this way would take.
                Ok(3)
            }
            _ => self.wrong(),
        }
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if start == self.at {
            return self.wrong();
        }
        Ok(())
    }

    /// Passes a number; its text.
    ///
    /// # Errors
    /// [`Malformed`] if there is none.
    pub fn number(&mut self) -> Result<&'a [u8], Malformed> {
        self.peek();
        let start = self.at;
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        for &byte in word {
            if self.text.get(self.at) != Some(&byte) {
                return self.wrong();
            }
            self.at += 1;
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(Malformed::TooDeep(self.at - 1));
        }
        Ok(())
    }

    /// Passes an object; `each` is given each key, and passes its value.
    ///
    /// # Errors
    /// [`Malformed`] if there is none, and what `each` says.
    pub fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, Text) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if self.peek() != Some(b'{') {
            return self.wrong();
        }
        self.enter()?;
        if self.peek() == Some(b'}') {
            return self.leave();
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            each(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => return self.leave(),
                _ => return self.wrong(),
            }
        }
    }

    /// Passes an array; `each` passes each value.
    ///
    /// # Errors
    /// [`Malformed`] if there is none, and what `each` says.
    pub fn array(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if self.peek() != Some(b'[') {
            return self.wrong();
        }
        self.enter()?;
        if self.peek() == Some(b']') {
            return self.leave();
        }
        loop {
            each(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => return self.leave(),
                _ => return self.wrong(),
            }
        }
    }

    fn leave(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Passes any value, and counts what is in it.
    ///
    /// # Errors
    /// [`Malformed`] if there is none.
    pub fn skip(&mut self, tally: &mut Tally) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                self.count(&text, tally);
                Ok(())
            }
            Some(b'{') => self.object(|cursor, key| {
                let is_type = cursor.text.get(key.span) == Some(b"type");
                if is_type && cursor.peek() == Some(b'"') {
                    let kind = cursor.string()?;
                    let kind = cursor.text.get(kind.span).unwrap_or_default();
                    tally.media |= MEDIA.contains(&kind);
                    return Ok(());
                }
                cursor.skip(tally)
            }),
            Some(b'[') => self.array(|cursor| cursor.skip(tally)),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => {
                tally.numbers += 1;
                self.number().map(drop)
            }
        }
    }

    fn count(&self, text: &Text, tally: &mut Tally) {
        let raw = self.text.get(text.span.clone()).unwrap_or_default();
        if raw.starts_with(b"data:") && raw.len() > 64 {
            tally.media = true;
        } else {
            tally.text += (raw.len() - text.escapes.min(raw.len())) as u64;
        }
    }
}

/// Where the first byte at or after `at` stands that ends plain text in a string: a quote, a backslash or a control
/// character; the end of the text if there is none.
fn plain(text: &[u8], mut at: usize) -> usize {
    const BLOCK: usize = 32;
    let ends = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    while let Some(block) = text.get(at..at + BLOCK) {
        if block.iter().fold(false, |any, &byte| any | ends(byte)) {
            break;
        }
        at += BLOCK;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|&byte| ends(byte))
        .unwrap_or(rest.len())
}
