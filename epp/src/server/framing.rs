//! gRPC's framing: five bytes before each message, in the bodies of HTTP/2.
//!
//! The gRPC library keeps the buffers of a stream's longest message, both ways, until the stream ends. That is 140 kB for
//! as long as a server thinks about a long prompt, and three quarters of what a thousand such requests took. Here a
//! buffer is as long as its message, and goes with it.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tonic::Status;

/// Bytes before a message: whether it is compressed, and its length.
const HEAD: usize = 5;
/// Most that is set aside for a message before it has come.
const MOST_AHEAD: usize = 64 << 10;

/// Cuts pieces into messages.
#[derive(Debug)]
pub struct Messages {
    most: usize,
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    headed: usize,
    message: BytesMut,
    /// What has come and was not looked at.
    rest: Bytes,
}

impl Messages {
    /// Nothing yet, of messages of at most `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            head: [0; HEAD],
            headed: 0,
            message: BytesMut::new(),
            rest: Bytes::new(),
        }
    }

    /// Takes the next piece, when there was no [`Messages::whole`] left in those before.
    pub fn push(&mut self, piece: Bytes) {
        self.rest = piece;
    }

    /// The next message that has come.
    ///
    /// # Errors
    /// A status for one that is compressed or too long; nothing after it can be read.
    pub fn whole(&mut self) -> Result<Option<Bytes>, Status> {
        if self.headed < HEAD {
            let part = self.take(HEAD - self.headed);
            self.head[self.headed..][..part.len()].copy_from_slice(&part);
            self.headed += part.len();
            if self.headed < HEAD {
                return Ok(None);
            }
            let length = self.length()?;
            self.message.reserve(length.min(MOST_AHEAD));
        }
        let length = self.length()?;
        let part = self.take(length - self.message.len());
        self.message.extend_from_slice(&part);
        if self.message.len() < length {
            return Ok(None);
        }
        self.headed = 0;
        Ok(Some(std::mem::take(&mut self.message).freeze()))
    }

    /// Whether nothing of a message has come after the last whole one.
    #[must_use]
    pub const fn is_between(&self) -> bool {
        self.headed == 0
    }

    fn take(&mut self, at_most: usize) -> Bytes {
        self.rest.split_to(at_most.min(self.rest.len()))
    }

    fn length(&self) -> Result<usize, Status> {
        let [compressed, length @ ..] = self.head;
        let (length, most) = (u32::from_be_bytes(length) as usize, self.most);
        match (compressed, length <= most) {
            (0, true) => Ok(length),
            (0, false) => Err(Status::out_of_range(format!(
                "a message of {length} bytes, which is more than {most}"
            ))),
            _ => Err(Status::unimplemented("compressed messages are not read")),
        }
    }
}

/// Appends a message.
pub fn put(out: &mut BytesMut, message: &impl Message) {
    let length = message.encoded_len();
    out.reserve(HEAD + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).expect("an answer is below 4 GiB"));
    message.encode(out).expect("the buffer grows");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(pieces: &[&[u8]]) -> Result<Vec<Bytes>, Status> {
        let (mut messages, mut all) = (Messages::new(1000), Vec::new());
        for piece in pieces {
            messages.push(Bytes::copy_from_slice(piece));
            while let Some(message) = messages.whole()? {
                all.push(message);
            }
        }
        Ok(all)
    }

    #[test]
    fn what_is_too_long_or_compressed_is_refused_by_its_head() {
        let code = |head: [u8; 5]| messages(&[&head]).map_err(|status| status.code());
        assert_eq!(code([0, 0, 0, 3, 232]), Ok(vec![]));
        assert_eq!(code([0, 0, 0, 3, 233]), Err(tonic::Code::OutOfRange));
        assert_eq!(code([1, 0, 0, 0, 1]), Err(tonic::Code::Unimplemented));
    }

    #[test]
    fn a_stream_may_end_between_messages_only() {
        let mut messages = Messages::new(9);
        let mut whole = |piece: &'static [u8]| {
            messages.push(Bytes::from_static(piece));
            messages.whole().unwrap();
            messages.is_between()
        };
        assert!(!whole(&[0, 0]) && !whole(&[0, 0, 2, 7]) && whole(&[8]));
    }

    #[test]
    fn nothing_is_kept_of_a_message() {
        let mut messages = Messages::new(usize::MAX);
        messages.push([&[0, 0, 0, 2, 0][..], &[7; 512]].concat().into());
        assert_eq!(messages.whole().unwrap().unwrap().len(), 512);
        assert_eq!((messages.message.capacity(), messages.rest.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn they_are_the_same_however_they_come(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5), cuts in prop::collection::vec(0_usize..50, 0..9)
        ) {
            let mut all = Vec::new();
            for message in &sent {
                all.extend_from_slice(&[0, 0, 0, 0, message.len() as u8]);
                all.extend_from_slice(message);
            }
            let (mut pieces, mut rest) = (Vec::new(), &all[..]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(messages(&pieces).unwrap(), sent);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..60)) {
            let _ = messages(&[&bytes]);
        }
    }
}
