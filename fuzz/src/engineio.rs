//! Engine.IO's packets and payloads, and the query of its requests.

use std::borrow::Cow;

use idae_socket_protocol::engineio::{
    InvalidPacket, Message, Packet, Payload, Refusal, Request, SEPARATOR, Transport, push_base64,
};

/// A polling payload, and with it the packets inside.
///
/// Checked are:
/// * the packets are those of the pieces between the separators, up to the first invalid one;
/// * binary is what a naive decoder makes of its base64;
/// * what was read, encoded anew, is read as the same.
pub fn engineio_payload(data: &[u8]) {
    let body = String::from_utf8_lossy(data);
    let packets: Vec<_> = Payload::new(&body).collect();

    let mut pieces = body.split(char::from(SEPARATOR));
    for (index, packet) in packets.iter().enumerate() {
        let piece = pieces.next().expect("not more packets than pieces");
        assert_eq!(*packet, Packet::decode(piece), "{piece:?} reads differently on its own");
        assert!(packet.is_ok() || index + 1 == packets.len(), "something follows an invalid packet");
        check_packet(piece, packet.as_ref());
    }
    if packets.last().is_some_and(Result::is_ok) {
        assert_eq!(pieces.next(), None, "a piece is left out");
    }

    let valid: Vec<Packet<'_>> = packets.into_iter().flatten().collect();
    if !valid.is_empty() {
        let encoded = encode(&valid);
        let again: Result<Vec<_>, InvalidPacket> = Payload::new(&encoded).collect();
        assert_eq!(again, Ok(valid), "a packet is not read as it was written");
    }
}

/// The query of a request.
///
/// Checked are:
/// * the value of each key is the last one that a naive reading finds, percent-encoded or not;
/// * an id is never an empty one;
/// * keys that mean nothing change nothing, wherever they stand, and what comes last counts.
pub fn engineio_request(data: &[u8]) {
    let query = String::from_utf8_lossy(data);
    let request = Request::parse(&query);

    let value = |key| last_value(&query, key);
    let transport = match value("transport").as_deref() {
        Some("polling") => Some(Transport::Polling),
        Some("websocket") => Some(Transport::Websocket),
        _ => None,
    };
    let expected = transport.ok_or(Refusal::UnknownTransport).map(|transport| Request {
        transport,
        sid: value("sid").filter(|sid| !sid.is_empty()).map(Cow::Owned),
        version_4: value("EIO").as_deref() == Some("4"),
        text_only: value("b64").is_some_and(|b64| !matches!(b64.as_str(), "" | "0")),
    });
    assert_eq!(request, expected);

    let longer = format!("t=sid&transports=x&{query}&EIOs&b6=1&&=EIO");
    assert_eq!(Request::parse(&longer), request, "keys without a meaning have one");
    let later = format!("{query}&transport=websocket&sid=lat%65r&EIO=4&b64");
    let expected = Request {
        transport: Transport::Websocket,
        sid: Some(Cow::Borrowed("later")),
        version_4: true,
        text_only: false,
    };
    assert_eq!(Request::parse(&later), Ok(expected), "the last value does not count");
}

fn check_packet(piece: &str, packet: Result<&Packet<'_>, &InvalidPacket>) {
    let Some(kind) = piece.chars().next() else {
        assert_eq!(packet, Err(&InvalidPacket), "nothing is no packet");
        return;
    };
    let rest = &piece[kind.len_utf8()..];
    let binary = if kind == 'b' { unbase64(rest) } else { None };
    let expected = match kind {
        '0' => Ok(&Packet::Open(rest)),
        '1' => Ok(&Packet::Close),
        '2' => Ok(&Packet::Ping(rest)),
        '3' => Ok(&Packet::Pong(rest)),
        '4' => Ok(&Packet::Message(Message::Text(rest))),
        '5' => Ok(&Packet::Upgrade),
        '6' => Ok(&Packet::Noop),
        _ => match (binary, packet) {
            (Some(expected), Ok(Packet::Message(Message::Binary(bytes)))) => {
                assert_eq!(**bytes, *expected, "{piece:?}");
                return;
            }
            (Some(_), _) => panic!("{piece:?} is base64 and refused"),
            (None, _) => Err(&InvalidPacket),
        },
    };
    assert_eq!(packet, expected, "{piece:?}");
}

fn encode(packets: &[Packet<'_>]) -> String {
    let mut out = Vec::new();
    for packet in packets {
        if !out.is_empty() {
            out.push(SEPARATOR);
        }
        let (kind, content) = match packet {
            Packet::Open(data) => (b'0', *data),
            Packet::Close => (b'1', ""),
            Packet::Ping(data) => (b'2', *data),
            Packet::Pong(data) => (b'3', *data),
            Packet::Message(Message::Text(text)) => (b'4', *text),
            Packet::Message(Message::Binary(bytes)) => {
                push_base64(bytes, &mut out);
                continue;
            }
            Packet::Upgrade => (b'5', ""),
            Packet::Noop => (b'6', ""),
        };
        out.push(kind);
        out.extend_from_slice(content.as_bytes());
    }
    String::from_utf8(out).expect("packets of a payload are text")
}

/// Bit by bit. Padding may be left out, but there is never more of it than fills a group of four.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let is_padded_well = match digits.len() % 4 {
        0 => padding == 0,
        1 => false,
        last => padding <= 4 - last,
    };
    if !is_padded_well {
        return None;
    }
    let mut bits = Vec::new();
    for digit in digits.chars() {
        let value = ALPHABET.find(digit)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1 == 1));
    }
    let bytes = bits.chunks_exact(8);
    // A digit whose bits are not all used must not say anything with the rest.
    if bytes.remainder().contains(&true) {
        return None;
    }
    Some(bytes.map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect())
}

fn last_value(query: &str, key: &str) -> Option<String> {
    let pairs = query.rsplit('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .map(|(name, value)| (unescape(name), value))
        .find(|(name, _)| name == key)
        .map(|(_, value)| unescape(value))
}

/// `%41` for `A`; a percent sign without two digits behind it stands for itself.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let digits =
            after.get(..2).filter(|digits| *byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let escaped =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
