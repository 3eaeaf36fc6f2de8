//! Packets of both transports, and the payload that joins several of them on polling.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What stands between two packets of a polling payload.
pub const SEPARATOR: u8 = 0x1e;

// Some clients leave the padding out, and Node accepts that.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One Engine.IO packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the handshake, from the server.
    Open(&'a str),
    /// `1`: the session is over.
    Close,
    /// `2`: a heartbeat from the server, or `2probe` from a client that upgrades.
    Ping(&'a str),
    /// `3`: the answer to a ping.
    Pong(&'a str),
    /// `4`, or a binary frame: what the session is for.
    Message(Message<'a>),
    /// `5`: the client has moved to the probed transport.
    Upgrade,
    /// `6`: nothing; ends a poll.
    Noop,
}

/// The content of a message packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, without its type character.
    Text(&'a str),
    /// Bytes.
    Binary(Cow<'a, [u8]>),
}

/// A text that is no packet: empty, of an unknown type, or bad base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid Engine.IO packet")]
pub struct InvalidPacket;

impl<'a> Packet<'a> {
    /// Reads a text frame, or one packet of a polling payload.
    pub fn decode(text: &'a str) -> Result<Self, InvalidPacket> {
        let kind = *text.as_bytes().first().ok_or(InvalidPacket)?;
        // Every known type is one ASCII character, so the rest starts at a character boundary.
        let rest = text.get(1..).unwrap_or_default();
        Ok(match kind {
            b'0' => Self::Open(rest),
            b'1' => Self::Close,
            b'2' => Self::Ping(rest),
            b'3' => Self::Pong(rest),
            b'4' => Self::Message(Message::Text(rest)),
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            b'b' => {
                let bytes = BASE64.decode(rest).map_err(|_| InvalidPacket)?;
                Self::Message(Message::Binary(Cow::Owned(bytes)))
            }
            _ => return Err(InvalidPacket),
        })
    }
}

/// The packets of a polling request body, in order.
///
/// Stops after the first invalid one: what came before it counts, what follows does not.
#[derive(Debug, Clone)]
pub struct Payload<'a> {
    rest: Option<&'a str>,
}

impl<'a> Payload<'a> {
    /// Reads a request body.
    pub const fn new(body: &'a str) -> Self {
        Self { rest: Some(body) }
    }
}

impl<'a> Iterator for Payload<'a> {
    type Item = Result<Packet<'a>, InvalidPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let packet = match memchr::memchr(SEPARATOR, rest.as_bytes()) {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                &rest[..end]
            }
            None => rest,
        };
        let decoded = Packet::decode(packet);
        if decoded.is_err() {
            self.rest = None;
        }
        Some(decoded)
    }
}

/// Appends a binary message as polling writes it: `b` and base64.
pub fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.push(b'b');
    // Four characters for every three bytes, rounded up.
    out.resize(at + 1 + bytes.len().div_ceil(3) * 4, 0);
    let written = BASE64.encode_slice(bytes, &mut out[at + 1..]).unwrap_or(0);
    out.truncate(at + 1 + written);
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Expect) {
        let lines: Vec<String> = Payload::new(body).map(|packet| format!("{packet:?}")).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn packets_are_read_in_order() {
        check(
            "4hello\u{1e}bAQIDBA==\u{1e}4€\u{1e}3",
            expect![[r#"
                Ok(Message(Text("hello")))
                Ok(Message(Binary([1, 2, 3, 4])))
                Ok(Message(Text("€")))
                Ok(Pong(""))"#]],
        );
    }

    #[test]
    fn reading_stops_at_the_first_invalid_packet() {
        check(
            "4a\u{1e}zz\u{1e}4b",
            expect![[r#"
                Ok(Message(Text("a")))
                Err(InvalidPacket)"#]],
        );
    }

    #[test]
    fn an_empty_body_is_an_invalid_packet() {
        check("", expect!["Err(InvalidPacket)"]);
        check(
            "4a\u{1e}",
            expect![[r#"
            Ok(Message(Text("a")))
            Err(InvalidPacket)"#]],
        );
    }

    #[test]
    fn every_type_is_read() {
        check(
            "0{}\u{1e}1\u{1e}2probe\u{1e}3probe\u{1e}4\u{1e}5\u{1e}6\u{1e}b",
            expect![[r#"
                Ok(Open("{}"))
                Ok(Close)
                Ok(Ping("probe"))
                Ok(Pong("probe"))
                Ok(Message(Text("")))
                Ok(Upgrade)
                Ok(Noop)
                Ok(Message(Binary([])))"#]],
        );
    }

    #[test]
    fn base64_needs_no_padding_but_its_alphabet() {
        check("bAQIDBA", expect!["Ok(Message(Binary([1, 2, 3, 4])))"]);
        check("b!!!!", expect!["Err(InvalidPacket)"]);
        check("é", expect!["Err(InvalidPacket)"]);
    }

    #[test]
    fn binary_is_written_as_it_is_read() {
        for length in 0..20_u8 {
            let bytes: Vec<u8> = (0..length).collect();
            let mut out = b"x".to_vec();
            push_base64(&bytes, &mut out);
            let text = std::str::from_utf8(&out[1..]).unwrap();
            assert_eq!(Packet::decode(text), Ok(Packet::Message(Message::Binary(bytes.into()))));
        }
    }
}
