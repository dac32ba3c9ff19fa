//! Lines of bounded length: a file without line ends must not fill the memory.

use std::io::BufRead;

use super::bad_line::{BadLine, LineProblem, TrafficFileError};

/// Longest line that is kept, in bytes: a prompt of a million tokens has 2,000 prefix hashes, some 20 kB.
pub(super) const LONGEST_LINE: usize = 1 << 20;

/// A line number and the line's text, or what is wrong with it.
type Numbered<'a> = (u64, Result<&'a str, BadLine>);

/// Reads non-blank lines one at a time, trimmed, with their numbers.
pub(super) struct Lines<R> {
    input: R,
    /// Name of the input, for messages.
    pub origin: String,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R, origin: &str) -> Self {
        Self {
            input,
            origin: origin.to_owned(),
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The next line that is not blank, or what is wrong with it; `None` at the end.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn next_line(&mut self) -> Result<Option<Numbered<'_>>, TrafficFileError> {
        loop {
            let (any, whole) = self.fill()?;
            if !any {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.buffer.drain(..3);
            }
            if !whole || !self.buffer.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((self.number, self.text(whole))));
            }
        }
    }

    fn text(&self, whole: bool) -> Result<&str, BadLine> {
        let bad = |problem| BadLine {
            line: self.number,
            problem,
        };
        if !whole {
            return Err(bad(LineProblem::TooLong {
                limit: LONGEST_LINE,
            }));
        }
        std::str::from_utf8(&self.buffer)
            .map(str::trim)
            .map_err(|_| bad(LineProblem::NotText))
    }

    /// Fills the buffer with the next line: whether there was any, and whether it fitted.
    fn fill(&mut self) -> Result<(bool, bool), TrafficFileError> {
        self.buffer.clear();
        let (mut any, mut whole) = (false, true);
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(TrafficFileError::Read {
                        origin: self.origin.clone(),
                        message: e.to_string(),
                    });
                }
            };
            if chunk.is_empty() {
                return Ok((any, whole));
            }
            any = true;
            let end = chunk.iter().position(|&b| b == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = LONGEST_LINE - self.buffer.len();
            whole &= part.len() <= room;
            self.buffer.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok((any, whole));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_the_line_and_goes_on_after_it() {
        let mut text = b"\xef\xbb\xbffirst\r\n\n  \n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 2 * LONGEST_LINE));
        text.extend(b"\n\xff\xfe\nlast");
        // A small buffer, so that lines span chunks.
        let mut lines = Lines::new(std::io::BufReader::with_capacity(7, &text[..]), "t");
        assert_eq!(lines.next_line(), Ok(Some((1, Ok("first")))));
        let (number, long) = lines.next_line().expect("readable").expect("a line");
        assert_eq!(number, 4);
        assert!(matches!(
            long,
            Err(BadLine {
                line: 4,
                problem: LineProblem::TooLong { .. }
            })
        ));
        assert!(lines.buffer.len() <= LONGEST_LINE);
        let (_, binary) = lines.next_line().expect("readable").expect("a line");
        assert!(matches!(
            binary,
            Err(BadLine {
                line: 5,
                problem: LineProblem::NotText
            })
        ));
        assert_eq!(lines.next_line(), Ok(Some((6, Ok("last")))));
        assert_eq!(lines.next_line(), Ok(None));
    }
}
