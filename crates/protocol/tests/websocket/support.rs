//! Bytes as a peer would send them, and what a decoder made of them.

use idae_socket_protocol::websocket::{Decoder, FRAGMENTS_MAX, Input, Limits, Message, Role, Violation};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

pub(crate) const LIMITS: Limits = Limits { message_bytes_max: 1 << 20, fragments_max: FRAGMENTS_MAX };

/// A message that owns its payload, or the refusal that ended the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Refused(Violation),
}

impl Seen {
    pub(crate) const fn is_last(&self) -> bool {
        matches!(self, Self::Close(_) | Self::Refused(_))
    }
}

impl From<Message<'_>> for Seen {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.into()),
            Message::Binary(bytes) => Self::Binary(bytes.into()),
            Message::Ping(bytes) => Self::Ping(bytes.into()),
            Message::Pong(bytes) => Self::Pong(bytes.into()),
            Message::Close(status) => Self::Close(status.map(|(code, reason)| (code, reason.into()))),
        }
    }
}

pub(crate) fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

pub(crate) fn binary(bytes: &[u8]) -> Seen {
    Seen::Binary(bytes.into())
}

pub(crate) fn ping(bytes: &[u8]) -> Seen {
    Seen::Ping(bytes.into())
}

pub(crate) fn pong(bytes: &[u8]) -> Seen {
    Seen::Pong(bytes.into())
}

pub(crate) fn close(code: u16, reason: &str) -> Seen {
    Seen::Close(Some((code, reason.into())))
}

/// One frame as a peer of `role` sends it, with the length in the fewest bytes.
pub(crate) fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask_bit = match role {
        Role::Server => 0x80,
        Role::Client => 0,
    };
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(mask_bit | length as u8),
        length @ 126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(mask_bit | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    match role {
        Role::Server => {
            let mask = [0x9d, 0x00, 0xff, 0x36 ^ first];
            out.extend(mask);
            out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
        Role::Client => out.extend(payload),
    }
    out
}

pub(crate) fn frames(role: Role, frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| frame(role, *first, payload)).collect()
}

/// Everything a decoder makes of these reads, up to a refusal or a close; after those it must stay silent.
pub(crate) fn decode<'a>(role: Role, limits: Limits, reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = Decoder::new(role, limits);
    let mut seen: Vec<Seen> = Vec::new();
    let mut arrived = 0;
    for read in reads {
        arrived += read.len();
        let mut read = read.to_vec();
        let mut input = Input::new(&mut read);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(message)) => seen.push(message.into()),
                Ok(None) => break,
                Err(violation) => seen.push(Seen::Refused(violation)),
            }
        }
        assert!(input.is_empty(), "no message is left, yet input is");
        assert!(decoder.held_bytes() <= arrived, "more is held than arrived");
    }
    if seen.last().is_some_and(Seen::is_last) {
        let mut later = frame(role, FIN | PING, b"too late");
        let mut input = Input::new(&mut later);
        assert_eq!(decoder.next(&mut input), Ok(None), "the end is the end");
        assert!(input.is_empty());
        assert_eq!(decoder.held_bytes(), 0);
    }
    let ends = seen.iter().filter(|seen| seen.is_last()).count();
    assert!(ends <= 1, "nothing comes after the end: {seen:?}");
    seen
}

/// The bytes give these messages, however they are cut: whole, byte by byte, and in two.
#[track_caller]
pub(crate) fn check(role: Role, limits: Limits, bytes: &[u8], expected: &[Seen]) {
    assert_eq!(decode(role, limits, [bytes]), expected, "in one read");
    assert_eq!(decode(role, limits, bytes.chunks(1)), expected, "byte by byte");
    // Everything that depends on a cut lies around a header, and the tables' frames are short.
    for at in 1..bytes.len().min(300) {
        let (start, end) = bytes.split_at(at);
        assert_eq!(decode(role, limits, [start, end]), expected, "cut at {at}");
    }
}

/// These frames give these messages to a server and to a client.
#[track_caller]
pub(crate) fn check_frames(sent: &[(u8, &[u8])], expected: &[Seen]) {
    for role in [Role::Server, Role::Client] {
        check(role, LIMITS, &frames(role, sent), expected);
    }
}
