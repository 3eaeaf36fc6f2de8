//! Messages on their way out: their bytes, and that a decoder of the other end reads them back.

use idae_socket_protocol::websocket::{Frame, Opcode, Role, encode_masked};
use proptest::prelude::*;

use crate::support::{LIMITS, Seen, binary, check, close, ping, pong, text};

#[track_caller]
fn check_wire(frame: &Frame, wire: &[u8]) {
    assert_eq!(frame.as_bytes(), wire);
    assert_eq!(frame.as_ref(), wire);
    assert_eq!(frame.len(), wire.len());
    assert_eq!(frame.clone().into_bytes(), wire);
}

#[test]
fn frames_have_the_bytes_of_section_5_7() {
    check_wire(&Frame::text("Hello"), b"\x81\x05Hello");
    check_wire(&Frame::ping(b"Hello"), b"\x89\x05Hello");
    check_wire(&Frame::pong(b""), b"\x8a\x00");
    check_wire(&Frame::binary(&[0; 256]), &[&b"\x82\x7e\x01\x00"[..], &[0; 256]].concat());
    let long = vec![0; 65_536];
    check_wire(&Frame::binary(&long), &[b"\x82\x7f\0\0\0\0\0\x01\0\0", &long[..]].concat());

    let mut out = b"before".to_vec();
    encode_masked(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d], &mut out);
    assert_eq!(out, b"before\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
}

#[test]
fn a_text_of_parts_is_the_text_of_their_concatenation() {
    check_wire(&Frame::text_from_parts([]), b"\x81\x00");
    let parts = ["42[\"", "", "événement", "\",", &"x".repeat(70_000), "]"];
    assert_eq!(Frame::text_from_parts(parts), Frame::text(&parts.concat()));
}

#[test]
fn a_frame_knows_its_opcode_and_its_payload() {
    let long = "long ".repeat(20_000);
    for (frame, opcode, payload) in [
        (Frame::text("t"), Opcode::Text, &b"t"[..]),
        (Frame::text(&long[..125]), Opcode::Text, &long.as_bytes()[..125]),
        (Frame::text(&long[..126]), Opcode::Text, &long.as_bytes()[..126]),
        (Frame::text(&long), Opcode::Text, long.as_bytes()),
        (Frame::binary(b""), Opcode::Binary, b""),
        (Frame::ping(b"p"), Opcode::Ping, b"p"),
        (Frame::pong(b"q"), Opcode::Pong, b"q"),
        (Frame::close(Some((1000, "r"))), Opcode::Close, b"\x03\xe8r"),
    ] {
        assert_eq!((frame.opcode(), &frame.payload()[..]), (opcode, payload));
    }
}

#[test]
fn the_payload_and_the_clones_share_the_frames_memory() {
    let frame = Frame::text("shared");
    assert_eq!(frame.payload().as_ptr(), frame.as_bytes()[2..].as_ptr());
    assert_eq!(frame.clone().into_bytes().as_ptr(), frame.as_bytes().as_ptr());
}

#[test]
fn a_control_frame_is_cut_to_what_it_can_carry() {
    let long = [1; 200];
    assert_eq!(Frame::ping(&long).payload(), &long[..125]);
    assert_eq!(Frame::pong(&long).payload(), &long[..125]);
    let mut out = Vec::new();
    encode_masked(Opcode::Pong, &long, [1, 2, 3, 4], &mut out);
    check(Role::Server, LIMITS, &out, &[pong(&long[..125])]);

    let reason = "é".repeat(100);
    let cut = "é".repeat(61);
    check(Role::Client, LIMITS, Frame::close(Some((4000, &reason))).as_ref(), &[close(4000, &cut)]);
}

#[test]
fn a_code_that_is_not_for_the_wire_is_not_sent() {
    check_wire(&Frame::close(None), b"\x88\x00");
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        check_wire(&Frame::close(Some((code, "reason"))), b"\x88\x00");
    }
}

fn message() -> impl Strategy<Value = Seen> {
    let code = prop_oneof![1000..=1003_u16, 1007..=1014_u16, 3000..=4999_u16];
    prop_oneof![
        ".{0,200}".prop_map(Seen::Text),
        proptest::collection::vec(any::<u8>(), 0..400).prop_map(Seen::Binary),
        proptest::collection::vec(any::<u8>(), 65_530..65_540).prop_map(Seen::Binary),
        proptest::collection::vec(any::<u8>(), 0..=125).prop_map(Seen::Ping),
        proptest::collection::vec(any::<u8>(), 0..=125).prop_map(Seen::Pong),
        proptest::option::of((code, "[ -~]{0,123}")).prop_map(Seen::Close),
    ]
}

fn encode(message: &Seen) -> Frame {
    match message {
        Seen::Text(text) => Frame::text(text),
        Seen::Binary(bytes) => Frame::binary(bytes),
        Seen::Ping(bytes) => Frame::ping(bytes),
        Seen::Pong(bytes) => Frame::pong(bytes),
        Seen::Close(status) => Frame::close(status.as_ref().map(|(code, reason)| (*code, reason.as_str()))),
        Seen::Refused(_) => unreachable!("the strategy makes messages only"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_one_end_encodes_the_other_decodes(message in message(), mask: [u8; 4]) {
        let frame = encode(&message);
        check_round_trip(Role::Client, frame.as_ref(), &message);
        let mut masked = Vec::new();
        encode_masked(frame.opcode(), &frame.payload(), mask, &mut masked);
        check_round_trip(Role::Server, &masked, &message);
    }
}

fn check_round_trip(role: Role, wire: &[u8], message: &Seen) {
    use crate::support::decode;
    let expected = std::slice::from_ref(message);
    assert_eq!(decode(role, LIMITS, [wire]), expected);
    assert_eq!(decode(role, LIMITS, wire.chunks(97)), expected);
}

#[test]
fn both_ends_read_what_the_other_writes() {
    let mut masked = Vec::new();
    encode_masked(Opcode::Text, "où".as_bytes(), [9, 8, 7, 6], &mut masked);
    encode_masked(Opcode::Ping, b"p", [0; 4], &mut masked);
    encode_masked(Opcode::Close, &Frame::close(Some((1001, "à"))).payload(), [255; 4], &mut masked);
    check(Role::Server, LIMITS, &masked, &[text("où"), ping(b"p"), close(1001, "à")]);

    let unmasked =
        [Frame::binary(b"b"), Frame::pong(b"q"), Frame::close(None)].map(Frame::into_bytes).concat();
    check(Role::Client, LIMITS, &unmasked, &[binary(b"b"), pong(b"q"), Seen::Close(None)]);
}
