//! A body that comes in chunks.

use bytes::{Bytes, BytesMut};

/// Most that is set aside for a body before it has come.
const MOST_AHEAD: usize = 1 << 20;

/// The chunks so far. A body of one chunk stays as it came; of several, one is made, so that they do not keep the
/// connection's buffers.
#[derive(Debug, Default)]
pub struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    /// Bytes that have come.
    pub fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// Takes the next chunk of a body that is said to have `expected` bytes.
    pub fn push(&mut self, chunk: Bytes, expected: usize) {
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            let first = std::mem::take(&mut self.first);
            let needed = expected.min(MOST_AHEAD).max(first.len() + chunk.len());
            self.all.reserve(needed);
            self.all.extend_from_slice(&first);
        }
        self.all.extend_from_slice(&chunk);
    }

    /// The body.
    pub fn finish(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}
