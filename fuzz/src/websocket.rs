//! The WebSocket decoder, at either end.

use std::slice;

use idae_socket_protocol::websocket::{
    CONTROL_BYTES_MAX, Decoder, Frame, Input, Limits, Message, Opcode, Role, Violation, encode_masked,
};

/// Low, so that short inputs reach the limits too.
const LIMITS: Limits = Limits { message_bytes_max: 300, fragments_max: 4 };

const HEADER_BYTES_MAX: usize = 14;

/// Any mask will do: that it is taken off again is what is looked at.
const MASK: [u8; 4] = [0x5a, 0x00, 0xff, 0x81];

/// The decoder of a server, fed with what a client may send.
///
/// The first byte says into how large reads the rest is cut; the rest is the input. Checked are:
/// * the messages and the verdict do not depend on how the input is cut;
/// * what is held stays below what arrived and below the limits;
/// * nothing comes out after a close or a violation, and nothing stays held;
/// * what was read, encoded anew, is read as the same.
pub fn websocket_server(data: &[u8]) {
    check(Role::Server, data);
}

/// The decoder of a client, fed with what a server may send; the same invariants as for
/// [`websocket_server`].
pub fn websocket_client(data: &[u8]) {
    check(Role::Client, data);
}

fn check(role: Role, data: &[u8]) {
    let [cut, bytes @ ..] = data else { return };
    let read_bytes = usize::from(cut % 64) + 1;

    let whole = decode(role, slice::from_ref(&bytes).iter().copied());
    let cut = decode(role, bytes.chunks(read_bytes));
    assert_eq!(whole, cut, "reads of {read_bytes} bytes change what is read");
    let single = decode(role, bytes.chunks(1));
    assert_eq!(whole, single, "reads of one byte change what is read");

    let encoded = encode(role, &whole.messages);
    let again = decode(role, slice::from_ref(&encoded.as_slice()).iter().copied());
    assert_eq!(again.messages, whole.messages, "a message is not read as it was written");
    assert_eq!(again.violation, None, "our own frames must keep the rules");
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Transcript {
    messages: Vec<Owned>,
    violation: Option<Violation>,
}

impl Transcript {
    fn is_over(&self) -> bool {
        self.violation.is_some() || matches!(self.messages.last(), Some(Owned::Close(_)))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_owned()),
            Message::Ping(bytes) => Self::Ping(bytes.to_owned()),
            Message::Pong(bytes) => Self::Pong(bytes.to_owned()),
            Message::Close(status) => Self::Close(status.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

fn decode<'a>(role: Role, reads: impl Iterator<Item = &'a [u8]>) -> Transcript {
    let mut decoder = Decoder::new(role, LIMITS);
    let mut transcript = Transcript::default();
    let mut arrived = 0;
    for read in reads {
        arrived += read.len();
        let mut read = read.to_vec();
        let mut input = Input::new(&mut read);
        loop {
            let was_over = transcript.is_over();
            match decoder.next(&mut input) {
                Ok(None) => break,
                _ if was_over => panic!("something comes out after the end: {transcript:?}"),
                Ok(Some(message)) => {
                    check_limits(&message);
                    transcript.messages.push(message.into());
                }
                Err(violation) => transcript.violation = Some(violation),
            }
        }
        assert!(input.is_empty(), "input is left behind");
        let held = decoder.held_bytes();
        assert!(held <= arrived, "{held} bytes are held of {arrived}");
        assert!(
            held <= LIMITS.message_bytes_max + CONTROL_BYTES_MAX + HEADER_BYTES_MAX,
            "{held} bytes are held"
        );
        assert!(held == 0 || !transcript.is_over(), "{held} bytes are held after the end");
    }
    transcript
}

fn check_limits(message: &Message<'_>) {
    let (bytes, limit) = match message {
        Message::Text(text) => (text.len(), LIMITS.message_bytes_max),
        Message::Binary(bytes) => (bytes.len(), LIMITS.message_bytes_max),
        Message::Ping(bytes) | Message::Pong(bytes) => (bytes.len(), CONTROL_BYTES_MAX),
        Message::Close(status) => (status.map_or(0, |(_, reason)| 2 + reason.len()), CONTROL_BYTES_MAX),
    };
    assert!(bytes <= limit, "a message of {bytes} bytes passes a limit of {limit}");
}

/// The messages as the peer of `role` writes them.
fn encode(role: Role, messages: &[Owned]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        let (frame, opcode) = match message {
            Owned::Text(text) => (Frame::text(text), Opcode::Text),
            Owned::Binary(bytes) => (Frame::binary(bytes), Opcode::Binary),
            Owned::Ping(bytes) => (Frame::ping(bytes), Opcode::Ping),
            Owned::Pong(bytes) => (Frame::pong(bytes), Opcode::Pong),
            Owned::Close(status) => {
                let status = status.as_ref().map(|(code, reason)| (*code, reason.as_str()));
                (Frame::close(status), Opcode::Close)
            }
        };
        assert_eq!(frame.opcode(), opcode);
        match role {
            Role::Client => out.extend_from_slice(frame.as_bytes()),
            Role::Server => encode_masked(opcode, &frame.payload(), MASK, &mut out),
        }
    }
    out
}
