//! Messages on their way out: whole, unfragmented frames.

use bytes::Bytes;

use super::{CONTROL_BYTES_MAX, Opcode, close, header, mask};

/// One message from a server to a client, ready to write.
///
/// Header and payload are one buffer, shared by reference count: a server masks nothing, so the
/// bytes are the same for every receiver and a clone costs no copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

#[expect(clippy::len_without_is_empty, reason = "a frame has at least its header")]
impl Frame {
    /// A text message.
    pub fn text(text: &str) -> Self {
        Self::of(Opcode::Text, [text.as_bytes()])
    }

    /// A text message of several parts in a row, each copied once, straight to its place behind the
    /// header. Prefix, payload and suffix of an event need no string of their own this way.
    pub fn text_from_parts<'a>(parts: impl IntoIterator<Item = &'a str, IntoIter: Clone>) -> Self {
        Self::of(Opcode::Text, parts.into_iter().map(str::as_bytes))
    }

    /// A binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::of(Opcode::Binary, [bytes])
    }

    /// A ping. What is beyond [`CONTROL_BYTES_MAX`] bytes is cut off, since no ping can carry it.
    pub fn ping(payload: &[u8]) -> Self {
        Self::of(Opcode::Ping, [cut(payload)])
    }

    /// A pong; the answer to a ping has its payload (RFC 6455 section 5.5.3). What is beyond
    /// [`CONTROL_BYTES_MAX`] bytes is cut off, since no pong can carry it.
    pub fn pong(payload: &[u8]) -> Self {
        Self::of(Opcode::Pong, [cut(payload)])
    }

    /// A close, with a code and a reason for people (RFC 6455 section 5.5.1).
    ///
    /// The reason is cut to 123 bytes, at a character. With a code that may not stand on the wire
    /// (1005, say) the frame carries neither code nor reason.
    pub fn close(status: Option<(u16, &str)>) -> Self {
        let mut payload = Vec::new();
        close::write(status, &mut payload);
        Self::of(Opcode::Close, [&payload[..]])
    }

    /// What kind of message this is; never [`Opcode::Continuation`].
    pub fn opcode(&self) -> Opcode {
        // The byte was written from an opcode, so the other branch is never taken.
        header::opcode_of(self.0[0]).unwrap_or(Opcode::Continuation)
    }

    /// The payload alone; it shares the frame's memory.
    pub fn payload(&self) -> Bytes {
        self.0.slice(header::unmasked_bytes_of(self.0[1])..)
    }

    /// The whole frame as it stands on the wire.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The whole frame as it stands on the wire.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// How many bytes the whole frame has on the wire, header included.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Overwrites bytes of a frame that nobody else has yet, beginning `from_end` bytes before its end.
    /// Returns whether that was possible.
    pub fn overwrite(&mut self, from_end: usize, bytes: &[u8]) -> bool {
        let Some(begin) = self.0.len().checked_sub(from_end) else { return false };
        match std::mem::take(&mut self.0).try_into_mut() {
            Ok(mut frame) => {
                let place = frame.get_mut(begin..begin + bytes.len());
                let is_inside = place.map(|place| place.copy_from_slice(bytes)).is_some();
                self.0 = frame.freeze();
                is_inside
            }
            Err(shared) => {
                self.0 = shared;
                false
            }
        }
    }

    fn of<'a>(opcode: Opcode, parts: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>) -> Self {
        let parts = parts.into_iter();
        let payload_bytes = parts.clone().map(<[u8]>::len).sum();
        let mut out = Vec::with_capacity(header::unmasked_bytes(payload_bytes) + payload_bytes);
        header::write(opcode, payload_bytes, None, &mut out);
        for part in parts {
            out.extend_from_slice(part);
        }
        Self(Bytes::from(out))
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Appends one frame as a client sends it: whole and masked.
///
/// `mask` must be fresh and unpredictable for each frame (RFC 6455 section 10.3). The payload of a
/// control frame is cut to [`CONTROL_BYTES_MAX`] bytes; the one of a close is that of
/// [`Frame::close`], which keeps its reason whole characters.
pub fn encode_masked(opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let payload = if opcode.is_control() { cut(payload) } else { payload };
    out.reserve(header::HEADER_BYTES_MAX + payload.len());
    header::write(opcode, payload.len(), Some(mask), out);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], mask);
}

fn cut(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(CONTROL_BYTES_MAX)]
}
