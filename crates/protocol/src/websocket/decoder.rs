//! Messages on their way in: bytes as the network cuts them become whole, checked messages.
//!
//! The common frame arrives whole in one read. It is unmasked where it lies and lent to the caller;
//! nothing is copied and nothing is allocated. Everything else, a header cut in two, a payload that
//! is still arriving, a fragmented message, is kept in one box until its message is handed out.
//!
//! Invariants
//! * `kept` is empty unless something is unfinished, or lent out until the next call.
//! * A header is parsed once; a payload byte is copied to its place once, plus what growing costs.

use std::{cmp::min, ops::Range};

use super::{
    Limits, Message, Opcode, Role, Violation, close,
    header::{Allowed, HEADER_BYTES_MAX, Header},
    mask,
};

/// Where a growing buffer starts, in bytes: below this, doubling is not worth its calls.
const BUFFER_BYTES_MIN: usize = 64;

/// What one read brought, and how far it is used up.
#[derive(Debug)]
pub struct Input<'b> {
    bytes: &'b mut [u8],
    at: usize,
}

impl<'b> Input<'b> {
    /// The bytes of one read, in any cut. They are unmasked in place, so they change.
    pub const fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Whether every byte was taken.
    pub const fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Takes the next `count` bytes; at most [`Self::left`].
    const fn take(&mut self, count: usize) -> Range<usize> {
        let start = self.at;
        self.at += count;
        start..self.at
    }

    const fn use_up(&mut self) {
        self.at = self.bytes.len();
    }
}

/// Turns the input of one connection into messages.
///
/// ```
/// use idae_socket_protocol::websocket::{Decoder, FRAGMENTS_MAX, Input, Limits, Message, Role};
///
/// let limits = Limits { message_bytes_max: 1024, fragments_max: FRAGMENTS_MAX };
/// let mut decoder = Decoder::new(Role::Client, limits);
/// let mut read = *b"\x81\x02hi\x81\x05the";
/// let mut input = Input::new(&mut read);
/// assert_eq!(decoder.next(&mut input), Ok(Some(Message::Text("hi"))));
/// assert_eq!(decoder.next(&mut input), Ok(None));
/// assert_eq!(decoder.held_bytes(), 3);
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    kept: Option<Box<Kept>>,
    role: Role,
    ended: bool,
}

// Every idle connection has one of these, ten thousand times over.
const _: () = assert!(size_of::<Decoder>() <= 64, "an idle decoder must stay small");

impl Decoder {
    /// A decoder at the start of a connection, right behind the handshake.
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self { limits, kept: None, role, ended: false }
    }

    /// The next message of the input; `None` when the input is used up. Call it until then: an
    /// unfinished rest is kept here, and the memory of a finished message is given back.
    ///
    /// After a violation or a close message all further input is dropped and nothing comes out.
    pub fn next<'a>(&'a mut self, input: &'a mut Input<'_>) -> Result<Option<Message<'a>>, Violation> {
        self.release();
        if self.ended {
            input.use_up();
            return Ok(None);
        }
        let whole = match self.advance(input) {
            Ok(Some(whole)) => whole,
            Ok(None) => return Ok(None),
            Err(violation) => {
                self.end();
                input.use_up();
                return Err(violation);
            }
        };

        let kept = self.kept.as_deref();
        let payload = match whole.place {
            Place::Input(range) => &input.bytes[range],
            Place::Message => kept.map_or(&[][..], |kept| &kept.message),
            Place::Control => kept.map_or(&[][..], |kept| &kept.control),
        };
        let message = read_message(whole.opcode, payload);
        self.ended = matches!(message, Err(_) | Ok(Message::Close(_)));
        message.map(Some)
    }

    /// How many bytes of unfinished frames and messages are kept: payloads, and a header cut in two.
    /// A message that was just handed out from here counts until the next call.
    pub fn held_bytes(&self) -> usize {
        self.kept
            .as_ref()
            .map_or(0, |kept| kept.message.len() + kept.control.len() + usize::from(kept.header_bytes))
    }

    /// Gives back what the last call lent out.
    fn release(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        if self.ended || kept.is_spent() {
            self.kept = None;
        } else if kept.frame.is_none() {
            // Only a control message can have been handed out while a message stays open.
            kept.control = Vec::new();
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.kept = None;
    }

    /// Takes input until a message is whole or the input is used up.
    fn advance(&mut self, input: &mut Input<'_>) -> Result<Option<Whole>, Violation> {
        while !input.is_empty() {
            let frame = match self.kept.as_ref().and_then(|kept| kept.frame) {
                Some(frame) => frame,
                None => {
                    let Some(header) = self.read_header(input)? else {
                        return Ok(None);
                    };
                    if header.is_whole_message() && header.payload_bytes <= input.left() {
                        return Ok(Some(take_in_place(header, input)));
                    }
                    self.open_frame(header)
                }
            };
            if let Some(whole) = self.keep_payload(frame, input) {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }

    /// The header of the next frame; `None` if the input ends inside it.
    fn read_header(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, Violation> {
        let allowed = self.allowed();
        match &mut self.kept {
            Some(kept) if kept.header_bytes > 0 => kept.complete_header(input, allowed),
            _ => {
                if let Some(header) = Header::parse(input.rest(), allowed)? {
                    input.take(header.header_bytes);
                    return Ok(Some(header));
                }
                self.kept.get_or_insert_default().complete_header(input, allowed)
            }
        }
    }

    fn allowed(&self) -> Allowed {
        let kept = self.kept.as_deref();
        let open = kept.and_then(|kept| kept.open);
        Allowed {
            role: self.role,
            message_open: open.is_some(),
            fragments_left: self.limits.fragments_max - open.map_or(0, |open| open.fragments),
            // Held bytes never exceed the limit: no header that would make them is let through.
            message_bytes_left: self.limits.message_bytes_max - kept.map_or(0, |kept| kept.message.len()),
        }
    }

    /// Notes what a header says about the message it belongs to.
    fn open_frame(&mut self, header: Header) -> OpenFrame {
        let Header { fin, opcode, mask, payload_bytes, .. } = header;
        if !header.is_whole_message() {
            let open = &mut self.kept.get_or_insert_default().open;
            open.get_or_insert(OpenMessage { opcode, fragments: 0 }).fragments += 1;
        }
        OpenFrame { fin, opcode, mask, bytes_left: payload_bytes }
    }

    /// Moves what has arrived of a payload out of the input; a message if that was the end of one.
    fn keep_payload(&mut self, mut frame: OpenFrame, input: &mut Input<'_>) -> Option<Whole> {
        let kept = self.kept.get_or_insert_default();
        let range = input.take(min(frame.bytes_left, input.left()));
        let arrived = &mut input.bytes[range];
        mask::apply(arrived, frame.mask);
        // The next piece starts somewhere inside the mask.
        frame.mask.rotate_left(arrived.len() % 4);
        frame.bytes_left -= arrived.len();

        let is_control = frame.opcode.is_control();
        let buffer = if is_control { &mut kept.control } else { &mut kept.message };
        append(buffer, arrived, frame.fin.then_some(frame.bytes_left));

        if frame.bytes_left > 0 {
            kept.frame = Some(frame);
            return None;
        }
        kept.frame = None;
        if is_control {
            return Some(Whole { opcode: frame.opcode, place: Place::Control });
        }
        if !frame.fin {
            return None;
        }
        let opcode = kept.open.take().map_or(frame.opcode, |open| open.opcode);
        Some(Whole { opcode, place: Place::Message })
    }
}

/// What a decoder keeps from one read to the next.
#[derive(Debug, Default)]
struct Kept {
    /// A header that is not whole, and how much of it is there.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// A frame whose payload is still arriving.
    frame: Option<OpenFrame>,
    /// A fragmented message whose last frame is still to come.
    open: Option<OpenMessage>,
    /// The unmasked payload of the message so far.
    message: Vec<u8>,
    /// The same for a control frame, which may come between the frames of a message.
    control: Vec<u8>,
}

impl Kept {
    const fn is_spent(&self) -> bool {
        self.header_bytes == 0 && self.frame.is_none() && self.open.is_none()
    }

    /// Adds byte after byte to the header, at most 14 in all, until it is whole.
    fn complete_header(
        &mut self,
        input: &mut Input<'_>,
        allowed: Allowed,
    ) -> Result<Option<Header>, Violation> {
        while let Some(byte) = input.rest().first() {
            self.header[usize::from(self.header_bytes)] = *byte;
            self.header_bytes += 1;
            input.take(1);
            let header = Header::parse(&self.header[..usize::from(self.header_bytes)], allowed)?;
            if header.is_some() {
                self.header_bytes = 0;
                return Ok(header);
            }
        }
        Ok(None)
    }
}

/// A frame whose header is known and whose payload is not all here.
#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    fin: bool,
    opcode: Opcode,
    /// Turned so that its first byte meets the next byte of the payload.
    mask: [u8; 4],
    bytes_left: usize,
}

/// A message of several frames.
#[derive(Debug, Clone, Copy)]
struct OpenMessage {
    opcode: Opcode,
    fragments: u32,
}

/// A message that is whole, and where its payload lies. A place instead of a slice, because the
/// input cannot be lent out while the search for a message still goes on.
struct Whole {
    opcode: Opcode,
    place: Place,
}

enum Place {
    Input(Range<usize>),
    Message,
    Control,
}

impl Header {
    /// Neither a fragment nor the end of fragments.
    const fn is_whole_message(&self) -> bool {
        self.fin && !matches!(self.opcode, Opcode::Continuation)
    }
}

fn take_in_place(header: Header, input: &mut Input<'_>) -> Whole {
    let range = input.take(header.payload_bytes);
    mask::apply(&mut input.bytes[range.clone()], header.mask);
    Whole { opcode: header.opcode, place: Place::Input(range) }
}

/// Appends to a buffer that grows with what arrives. Doubling keeps the copying linear; where the
/// end is known (`bytes_to_come`), the buffer does not grow beyond it.
fn append(buffer: &mut Vec<u8>, arrived: &[u8], bytes_to_come: Option<usize>) {
    let needed = buffer.len() + arrived.len();
    if needed > buffer.capacity() {
        let doubled = (2 * buffer.capacity()).max(BUFFER_BYTES_MIN);
        let enough = bytes_to_come.map_or(doubled, |to_come| min(doubled, needed + to_come));
        buffer.reserve_exact(enough.max(needed) - buffer.len());
    }
    buffer.extend_from_slice(arrived);
}

fn read_message(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, Violation> {
    match opcode {
        Opcode::Text => match simdutf8::basic::from_utf8(payload) {
            Ok(text) => Ok(Message::Text(text)),
            Err(_) => Err(Violation::InvalidUtf8),
        },
        Opcode::Binary => Ok(Message::Binary(payload)),
        Opcode::Ping => Ok(Message::Ping(payload)),
        Opcode::Pong => Ok(Message::Pong(payload)),
        Opcode::Close => close::parse(payload).map(Message::Close),
        // A header lets a continuation through only while a message is open, and that has a kind.
        Opcode::Continuation => Err(Violation::UnexpectedContinuation),
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Input, Message};
    use crate::websocket::{FRAGMENTS_MAX, Limits, Role};

    const LIMITS: Limits = Limits { message_bytes_max: 1 << 20, fragments_max: FRAGMENTS_MAX };

    /// What feeding some reads cost: how often the message's buffer moved, and how many bytes that copied.
    #[derive(Default)]
    struct Growth {
        moves: usize,
        copied_bytes: usize,
        largest: usize,
    }

    impl Growth {
        fn feed(&mut self, decoder: &mut Decoder, mut read: Vec<u8>) {
            let before = capacity(decoder);
            assert_eq!(decoder.next(&mut Input::new(&mut read)), Ok(None));
            let after = capacity(decoder);
            if after != before {
                self.moves += 1;
                self.copied_bytes += before;
                self.largest = after;
            }
        }
    }

    fn capacity(decoder: &Decoder) -> usize {
        decoder.kept.as_ref().map_or(0, |kept| kept.message.capacity())
    }

    #[test]
    fn a_frame_byte_by_byte_is_copied_a_linear_number_of_times() {
        let size = 1 << 20;
        let mut decoder = Decoder::new(Role::Client, LIMITS);
        let mut growth = Growth::default();
        growth.feed(&mut decoder, b"\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x00".to_vec());
        for _ in 1..size {
            growth.feed(&mut decoder, vec![b'x']);
        }
        assert!(growth.moves <= 20, "{} moves", growth.moves);
        assert!(growth.copied_bytes < 2 * size, "{} bytes copied", growth.copied_bytes);
        assert_eq!(growth.largest, size, "the buffer ends where the frame ends");

        let mut read = [b'x'];
        let mut input = Input::new(&mut read);
        assert!(matches!(decoder.next(&mut input), Ok(Some(Message::Binary(bytes))) if bytes.len() == size));
        assert_eq!(decoder.next(&mut input), Ok(None));
        assert!(decoder.kept.is_none(), "an idle decoder owns nothing");
    }

    #[test]
    fn fragments_of_one_byte_are_copied_a_linear_number_of_times() {
        let mut decoder = Decoder::new(Role::Client, LIMITS);
        let mut growth = Growth::default();
        growth.feed(&mut decoder, b"\x02\x01x".to_vec());
        for _ in 1..FRAGMENTS_MAX {
            growth.feed(&mut decoder, b"\x00\x01x".to_vec());
        }
        assert!(growth.moves <= 8, "{} moves", growth.moves);
        assert!(growth.copied_bytes <= 4096, "{} bytes copied", growth.copied_bytes);
    }

    #[test]
    fn a_decoder_owns_nothing_after_frames_that_lay_whole_in_the_input() {
        let mut decoder = Decoder::new(Role::Client, LIMITS);
        let mut read = *b"\x81\x02hi\x89\x01p\x82\x00";
        let mut input = Input::new(&mut read);
        while let Ok(Some(_)) = decoder.next(&mut input) {
            assert!(decoder.kept.is_none());
        }
        assert!(input.is_empty());
    }
}
