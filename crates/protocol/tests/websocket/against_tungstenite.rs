//! The same bytes to this codec and to tungstenite: the same messages, the same verdict.
//!
//! Where the two differ on purpose:
//! * A length in more bytes than it needs is refused here (RFC 6455 section 5.2) and read there.
//! * A close code that is not for the wire is refused here; there it is handed out as code 1002.
//!   The registered 1014 is accepted here and counts as such a code there.
//! * Text is checked at the end of its message here and frame by frame there, so a control frame
//!   behind a broken fragment still comes out here.
//! * A header is refused here at its first wrong byte and there when its frame is whole. The test
//!   puts enough bytes behind the input that every frame which may be whole becomes whole, and all
//!   of them with reserved bits set, so that both must have refused or closed by the end.

use std::io::{self, Read, Write};

use idae_socket_protocol::websocket::{Limits, Role, Violation};
use proptest::prelude::*;
use tungstenite::protocol::{CloseFrame, Role as TheirRole, WebSocket, WebSocketConfig};

use crate::support::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Seen, TEXT, binary, close, decode, frame, ping, pong, text,
};

/// Above 125, since the oracle measures control frames with it too.
const MESSAGE_BYTES_MAX: usize = 1000;

/// So many fragments that the oracle, which has no such limit, need not know of it.
const LIMITS: Limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: u32::MAX };

/// What is read comes from the given bytes; what is written is of no interest.
struct Peer<'a>(&'a [u8]);

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Waiting,
    Closed,
    BrokenText,
    Refused,
}

fn their_reading(role: Role, bytes: &[u8]) -> (Vec<Seen>, Verdict) {
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = WebSocket::from_raw_socket(Peer(bytes), role, Some(config));
    let mut seen = Vec::new();
    loop {
        let message = match socket.read() {
            Ok(message) => message,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (seen, Verdict::Waiting);
            }
            Err(tungstenite::Error::Utf8(_)) => return (seen, Verdict::BrokenText),
            Err(_) => return (seen, Verdict::Refused),
        };
        seen.push(match message {
            tungstenite::Message::Text(payload) => text(&payload),
            tungstenite::Message::Binary(payload) => binary(&payload),
            tungstenite::Message::Ping(payload) => ping(&payload),
            tungstenite::Message::Pong(payload) => pong(&payload),
            tungstenite::Message::Close(status) => {
                seen.push(match status {
                    None => Seen::Close(None),
                    Some(CloseFrame { code, reason }) => close(code.into(), &reason),
                });
                return (seen, Verdict::Closed);
            }
            tungstenite::Message::Frame(_) => unreachable!("reading gives no raw frames"),
        });
    }
}

/// Both read the same from bytes that may break any rule.
fn check_any(role: Role, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    bytes.extend([0xff; MESSAGE_BYTES_MAX + 100]);

    let ours = decode(role, LIMITS, [&bytes[..]]);
    let (theirs, verdict) = their_reading(role, &bytes);
    let (our_end, our_messages) = ours.split_last().expect("the tail ends every input");

    match (our_end, verdict) {
        (_, Verdict::Waiting) => panic!("the tail ends every input: {ours:?} {theirs:?}"),
        // A control frame whose length is written longer than it needs is too long by that alone.
        // If they got less far than we, they stopped at a broken text, which is the arm below.
        (Seen::Refused(Violation::LengthNotMinimal | Violation::ControlTooLong), _)
            if our_messages.len() <= theirs.len() =>
        {
            assert!(theirs.starts_with(our_messages), "{ours:?} {theirs:?}");
        }
        (Seen::Refused(Violation::CloseCodeNotAllowed) | Seen::Close(Some((1014, _))), Verdict::Closed) => {
            let (their_close, their_messages) = theirs.split_last().expect("a close is a message");
            assert_eq!(their_close, &close(1002, "Protocol violation"));
            assert_eq!(our_messages, their_messages);
        }
        (_, Verdict::BrokenText) => {
            let (common, beyond) = our_messages.split_at(theirs.len());
            assert_eq!(common, theirs);
            assert!(beyond.iter().all(|seen| matches!(seen, Seen::Ping(_) | Seen::Pong(_))), "{beyond:?}");
        }
        (Seen::Close(_), Verdict::Closed) => assert_eq!(ours, theirs),
        (Seen::Refused(_), Verdict::Refused) => assert_eq!(our_messages, theirs),
        (end, verdict) => panic!("we: {end:?}, they: {verdict:?}"),
    }
}

/// A message, how it is cut into frames, and what comes between them.
#[derive(Debug, Clone)]
struct Sent {
    opcode: u8,
    payload: Vec<u8>,
    cuts: Vec<prop::sample::Index>,
    between: Vec<(bool, Vec<u8>)>,
}

impl Sent {
    fn write(&self, role: Role, out: &mut Vec<u8>) {
        let mut cuts: Vec<usize> = self.cuts.iter().map(|cut| cut.index(self.payload.len() + 1)).collect();
        cuts.sort_unstable();
        let mut between = self.between.iter();
        let mut opcode = self.opcode;
        let mut start = 0;
        for cut in cuts {
            out.extend(frame(role, opcode, &self.payload[start..cut]));
            if let Some((is_ping, payload)) = between.next() {
                out.extend(frame(role, FIN | if *is_ping { PING } else { PONG }, payload));
            }
            opcode = CONTINUATION;
            start = cut;
        }
        out.extend(frame(role, FIN | opcode, &self.payload[start..]));
    }

    fn expect(&self, expected: &mut Vec<Seen>) {
        for (is_ping, payload) in self.between.iter().take(self.cuts.len()) {
            expected.push(if *is_ping { ping(payload) } else { pong(payload) });
        }
        expected.push(match self.opcode {
            TEXT => text(str::from_utf8(&self.payload).expect("a text was made from a string")),
            BINARY => binary(&self.payload),
            PING => ping(&self.payload),
            _ => pong(&self.payload),
        });
    }
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=max)
}

fn sent() -> impl Strategy<Value = Sent> {
    let data = prop_oneof![
        ".{0,200}".prop_map(|text| (TEXT, text.into_bytes())),
        bytes(MESSAGE_BYTES_MAX).prop_map(|bytes| (BINARY, bytes)),
    ];
    let between = prop::collection::vec((any::<bool>(), bytes(125)), 0..3);
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..5);
    prop_oneof![
        4 => (data, cuts, between)
            .prop_map(|((opcode, payload), cuts, between)| Sent { opcode, payload, cuts, between }),
        1 => (prop::sample::select(vec![PING, PONG]), bytes(125))
            .prop_map(|(opcode, payload)| Sent { opcode, payload, cuts: vec![], between: vec![] }),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Server, Role::Client])
}

/// One frame with anything in its header, weighted towards what nearly keeps the rules.
fn odd_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![
            FIN | TEXT, FIN | BINARY, FIN | PING, FIN | PONG, FIN | CLOSE, FIN | CONTINUATION, TEXT, BINARY, CONTINUATION,
        ]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => ".{0,20}".prop_map(String::into_bytes),
        2 => bytes(130),
        1 => (1000..1016_u16, ".{0,5}").prop_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat()),
        1 => bytes(MESSAGE_BYTES_MAX + 2),
    ];
    (role(), first, payload).prop_map(|(role, first, payload)| frame(role, first, &payload))
}

/// A stream of frames for one role; now and then one for the other role slips in.
fn odd_frames(role: Role) -> impl Strategy<Value = Vec<u8>> {
    let fitting = odd_frame().prop_map(move |mut frame| {
        // Turning the mask bit shifts what the bytes mean, which is as good an oddity as any.
        match role {
            Role::Server => frame[1] |= 0x80,
            Role::Client => frame[1] &= 0x7f,
        }
        frame
    });
    prop::collection::vec(prop_oneof![20 => fitting, 1 => odd_frame()], 1..8)
        .prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_messages_in_any_cut_read_the_same(
        role in role(),
        sent in prop::collection::vec(sent(), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut wire = Vec::new();
        let mut expected = Vec::new();
        for message in &sent {
            message.write(role, &mut wire);
            message.expect(&mut expected);
        }
        prop_assert_eq!(&their_reading(role, &wire), &(expected.clone(), Verdict::Waiting));

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let reads = cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]);
        prop_assert_eq!(&decode(role, LIMITS, reads), &expected);
        prop_assert_eq!(&decode(role, LIMITS, wire.chunks(1)), &expected);
    }

    #[test]
    fn odd_frames_get_the_same_verdict((role, wire) in role().prop_flat_map(|role| (Just(role), odd_frames(role)))) {
        check_any(role, &wire);
    }

    #[test]
    fn mutated_messages_get_the_same_verdict(
        role in role(),
        sent in prop::collection::vec(sent(), 1..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut wire = Vec::new();
        for message in &sent {
            message.write(role, &mut wire);
        }
        for (at, byte) in changes {
            // Headers are few among the bytes, so half of the changes are moved to the first one.
            let at = if byte % 2 == 0 { at.index(wire.len()) } else { at.index(wire.len().min(8)) };
            wire[at] = byte;
        }
        check_any(role, &wire);
    }

    #[test]
    fn random_bytes_get_the_same_verdict(role in role(), wire in bytes(200)) {
        check_any(role, &wire);
    }

    #[test]
    fn odd_frames_read_the_same_in_any_cut(
        (role, wire) in role().prop_flat_map(|role| (Just(role), odd_frames(role))),
        size in 1..40_usize,
    ) {
        let limits = Limits { message_bytes_max: 100, fragments_max: 4 };
        let whole = decode(role, limits, [&wire[..]]);
        prop_assert_eq!(&decode(role, limits, wire.chunks(size)), &whole);
        prop_assert_eq!(&decode(role, limits, wire.chunks(1)), &whole);
    }
}

#[test]
fn the_deliberate_differences_are_these() {
    for role in [Role::Server, Role::Client] {
        for code in [999, 1000, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 2999, 3000, 5000_u16] {
            check_any(role, &frame(role, FIN | CLOSE, &code.to_be_bytes()));
        }
        check_any(role, &[frame(role, TEXT, b"\xff"), frame(role, FIN | PING, b"p")].concat());
    }
    check_any(Role::Client, b"\x81\x7e\x00\x01x");
}
