//! Engine.IO packets and payloads: the same texts to this decoder and to engineioxide's, and there
//! and back.
//!
//! Where the two differ on purpose:
//! * An open packet (`0`) is read here, for the sake of clients; there it is refused.
//! * The data of pings and pongs is kept here; there only `probe` is told apart from the rest.
//! * Base64 needs no padding here, as in the reference; there it does. So the oracle is given the
//!   padding that a text leaves out.

use engineioxide_core::{Packet as TheirPacket, ProtocolVersion};
use idae_socket_protocol::engineio::{InvalidPacket, Message, Packet, Payload, SEPARATOR, push_base64};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// What both decoders can tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Close,
    Ping,
    PingProbe,
    Pong,
    PongProbe,
    Text(String),
    Binary(Vec<u8>),
    Upgrade,
    Noop,
    Refused,
}

fn our_reading(text: &str) -> Seen {
    seen(Packet::decode(text))
}

fn seen(packet: Result<Packet<'_>, InvalidPacket>) -> Seen {
    match packet {
        // Read here, refused there.
        Ok(Packet::Open(_)) | Err(InvalidPacket) => Seen::Refused,
        Ok(Packet::Close) => Seen::Close,
        Ok(Packet::Ping("probe")) => Seen::PingProbe,
        Ok(Packet::Ping(_)) => Seen::Ping,
        Ok(Packet::Pong("probe")) => Seen::PongProbe,
        Ok(Packet::Pong(_)) => Seen::Pong,
        Ok(Packet::Message(Message::Text(text))) => Seen::Text(text.to_owned()),
        Ok(Packet::Message(Message::Binary(bytes))) => Seen::Binary(bytes.into_owned()),
        Ok(Packet::Upgrade) => Seen::Upgrade,
        Ok(Packet::Noop) => Seen::Noop,
    }
}

fn their_reading(text: &str) -> Seen {
    match TheirPacket::parse(ProtocolVersion::V4, padded(text)) {
        Err(_) => Seen::Refused,
        Ok(TheirPacket::Close) => Seen::Close,
        Ok(TheirPacket::Ping) => Seen::Ping,
        Ok(TheirPacket::PingUpgrade) => Seen::PingProbe,
        Ok(TheirPacket::Pong) => Seen::Pong,
        Ok(TheirPacket::PongUpgrade) => Seen::PongProbe,
        Ok(TheirPacket::Message(text)) => Seen::Text(text.as_str().to_owned()),
        Ok(TheirPacket::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
        Ok(TheirPacket::Upgrade) => Seen::Upgrade,
        Ok(TheirPacket::Noop) => Seen::Noop,
        Ok(TheirPacket::Open(_) | TheirPacket::BinaryV3(_)) => panic!("no packet of a client: {text:?}"),
    }
}

/// The text with as much padding as base64 is to have, unless it has enough already.
fn padded(text: &str) -> String {
    let Some(base64) = text.strip_prefix('b') else { return text.to_owned() };
    let missing = base64.len().next_multiple_of(4) - base64.len();
    // Three are missing only behind a single character, which is no byte with any padding.
    if missing == 3 { text.to_owned() } else { text.to_owned() + &"=".repeat(missing) }
}

/// A packet as the client writes it, and what is to be seen of it.
fn written() -> impl Strategy<Value = (String, Seen)> {
    let text = "[^\u{1e}]{0,20}";
    prop_oneof![
        4 => text.prop_map(|text| (format!("4{text}"), Seen::Text(text))),
        4 => (prop::collection::vec(any::<u8>(), 0..20), any::<bool>()).prop_map(|(bytes, is_padded)| {
            let base64 = base64(&bytes);
            let base64 = if is_padded { base64.as_str() } else { base64.trim_end_matches('=') };
            (base64.to_owned(), Seen::Binary(bytes))
        }),
        1 => "[^p\u{1e}]{0,5}".prop_map(|text| (format!("2{text}"), Seen::Ping)),
        1 => "[^p\u{1e}]{0,5}".prop_map(|text| (format!("3{text}"), Seen::Pong)),
        1 => prop::sample::select(vec![
            ("1".to_owned(), Seen::Close),
            ("2probe".to_owned(), Seen::PingProbe),
            ("3probe".to_owned(), Seen::PongProbe),
            ("5".to_owned(), Seen::Upgrade),
            ("6".to_owned(), Seen::Noop),
        ]),
    ]
}

/// Texts that are more often nearly a packet than not.
fn odd() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9b]?\\PC{0,8}",
        "b[A-Za-z0-9+/]{0,9}={0,4}",
        "b[A-F=_/ -]{0,6}",
        "[23](probe|prob|probes)"
    ]
}

fn base64(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    push_base64(bytes, &mut out);
    String::from_utf8(out).expect("base64 is text")
}

fn join<'a>(packets: impl Iterator<Item = &'a str>) -> String {
    packets.collect::<Vec<_>>().join(&char::from(SEPARATOR).to_string())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(4),
        ..ProptestConfig::default()
    }
}

#[test]
fn every_short_base64_text_gets_the_same_verdict() {
    // `A` is nothing but zero bits; `B` leaves some behind where the bytes end before it does.
    let alphabet = ['A', 'B', '/', '-', '='];
    let mut texts = vec!["b".to_owned()];
    for _ in 0..=6 {
        for text in &texts {
            assert_eq!(our_reading(text), their_reading(text), "{text}");
        }
        texts = texts.iter().flat_map(|text| alphabet.map(|last| format!("{text}{last}"))).collect();
    }
}

#[test]
fn base64_is_written_as_the_oracle_writes_it() {
    for length in 0..100_u8 {
        let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
        assert_eq!(base64(&bytes), String::from(TheirPacket::Binary(bytes.into())));
    }
}

#[test]
fn an_open_packet_is_read_here_alone() {
    assert_eq!(Packet::decode(r#"0{"sid":"x"}"#), Ok(Packet::Open(r#"{"sid":"x"}"#)));
    assert_eq!(their_reading(r#"0{"sid":"x"}"#), Seen::Refused);
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn odd_texts_get_the_same_verdict(text in odd()) {
        prop_assert_eq!(our_reading(&text), their_reading(&text));
    }

    #[test]
    fn a_written_packet_is_read_as_what_it_is((text, expected) in written()) {
        prop_assert_eq!(&our_reading(&text), &expected);
        prop_assert_eq!(&their_reading(&text), &expected);
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_payload_is_read_in_order(packets in prop::collection::vec(written(), 1..8)) {
        let body = join(packets.iter().map(|(text, _)| text.as_str()));
        let read: Vec<_> = Payload::new(&body).map(seen).collect();
        let expected: Vec<_> = packets.into_iter().map(|(_, expected)| expected).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_payload_ends_at_the_first_piece_that_the_oracle_refuses(pieces in prop::collection::vec(odd(), 1..8)) {
        let body = join(pieces.iter().map(String::as_str));
        // A piece of arbitrary text has no separator in it, so the pieces are those that were joined.
        let mut expected = Vec::new();
        for piece in &pieces {
            // Open packets do not end a payload here.
            expected.push(their_reading(piece));
            if expected.last() == Some(&Seen::Refused) && !piece.starts_with('0') {
                break;
            }
        }
        prop_assert_eq!(Payload::new(&body).map(seen).collect::<Vec<_>>(), expected);
    }
}
