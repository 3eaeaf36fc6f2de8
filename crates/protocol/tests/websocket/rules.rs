//! RFC 6455, rule by rule.

use idae_socket_protocol::websocket::{Role, Violation};

use crate::support::{
    BINARY, CLOSE, CONTINUATION, FIN, LIMITS, PING, PONG, Seen, TEXT, binary, check, check_frames, close,
    frame, frames, ping, pong, text,
};

#[track_caller]
fn refused(sent: &[(u8, &[u8])], violation: Violation) {
    check_frames(sent, &[Seen::Refused(violation)]);
}

#[test]
fn the_examples_of_section_5_7_are_read() {
    check(Role::Client, LIMITS, b"\x81\x05Hello", &[text("Hello")]);
    check(Role::Server, LIMITS, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[text("Hello")]);
    check(Role::Client, LIMITS, b"\x01\x03Hel\x80\x02lo", &[text("Hello")]);
    check(Role::Client, LIMITS, b"\x89\x05Hello", &[ping(b"Hello")]);
    check(Role::Server, LIMITS, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[pong(b"Hello")]);
}

#[test]
fn payloads_around_every_length_form_are_read() {
    for length in [0, 1, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 65_537] {
        let payload = vec![b'*'; length];
        let expected = "*".repeat(length);
        check_frames(&[(FIN | TEXT, &payload)], &[text(&expected)]);
        check_frames(&[(FIN | BINARY, &payload)], &[binary(&payload)]);
    }
}

#[test]
fn several_frames_of_one_read_come_out_in_order() {
    check_frames(
        &[(FIN | TEXT, b"a"), (FIN | BINARY, b"b"), (FIN | PING, b""), (FIN | PONG, b"c"), (FIN | TEXT, b"")],
        &[text("a"), binary(b"b"), ping(b""), pong(b"c"), text("")],
    );
}

#[test]
fn control_frames_carry_up_to_125_bytes() {
    let longest = [0xfe; 125];
    check_frames(
        &[(FIN | PING, b""), (FIN | PING, &longest), (FIN | PONG, &longest)],
        &[ping(b""), ping(&longest), pong(&longest)],
    );
    for control in [CLOSE, PING, PONG] {
        refused(&[(FIN | control, &[0; 126])], Violation::ControlTooLong);
        refused(&[(FIN | control, &[0; 70_000])], Violation::ControlTooLong);
    }
}

#[test]
fn many_pings_in_one_read_all_come_out() {
    let sent: Vec<(u8, &[u8])> = vec![(FIN | PING, b"again"); 10];
    check_frames(&sent, &vec![ping(b"again"); 10]);
}

#[test]
fn a_control_frame_is_never_fragmented() {
    for control in [CLOSE, PING, PONG] {
        refused(&[(control, b""), (FIN | CONTINUATION, b"")], Violation::FragmentedControl);
    }
}

#[test]
fn reserved_bits_are_refused() {
    for bits in 1..8 {
        for opcode in [TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG] {
            refused(&[(FIN | bits << 4 | opcode, b"x")], Violation::ReservedBit);
        }
    }
}

#[test]
fn what_came_before_a_violation_is_delivered() {
    check_frames(
        &[(FIN | TEXT, b"fine"), (FIN | 0x40 | TEXT, b"not"), (FIN | TEXT, b"never seen")],
        &[text("fine"), Seen::Refused(Violation::ReservedBit)],
    );
}

#[test]
fn reserved_opcodes_are_refused() {
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        refused(&[(FIN | opcode, b"")], Violation::ReservedOpcode);
        refused(&[(opcode, b"x")], Violation::ReservedOpcode);
        refused(&[(TEXT, b"open"), (FIN | opcode, b"x")], Violation::ReservedOpcode);
    }
}

#[test]
fn a_message_may_come_in_fragments() {
    check_frames(&[(TEXT, b"one"), (FIN | CONTINUATION, b"two")], &[text("onetwo")]);
    check_frames(
        &[(BINARY, b"1"), (CONTINUATION, b""), (CONTINUATION, b"23"), (FIN | CONTINUATION, b"")],
        &[binary(b"123")],
    );
    check_frames(&[(TEXT, b""), (CONTINUATION, b""), (FIN | CONTINUATION, b"")], &[text("")]);
    check_frames(
        &[
            (TEXT, b"a"),
            (FIN | CONTINUATION, b"b"),
            (FIN | BINARY, b"c"),
            (TEXT, b"d"),
            (FIN | CONTINUATION, b"e"),
        ],
        &[text("ab"), binary(b"c"), text("de")],
    );
}

#[test]
fn control_frames_may_come_between_fragments() {
    check_frames(
        &[
            (TEXT, b"frag"),
            (FIN | PING, b"are you there"),
            (CONTINUATION, b"men"),
            (FIN | PONG, b""),
            (FIN | PING, b"still"),
            (FIN | CONTINUATION, b"ted"),
        ],
        &[ping(b"are you there"), pong(b""), ping(b"still"), text("fragmented")],
    );
    check_frames(&[(TEXT, b"never ends"), (FIN | CLOSE, b"\x03\xe8bye")], &[close(1000, "bye")]);
}

#[test]
fn a_continuation_needs_a_message() {
    refused(&[(CONTINUATION, b"x")], Violation::UnexpectedContinuation);
    refused(&[(FIN | CONTINUATION, b"")], Violation::UnexpectedContinuation);
    check_frames(
        &[(TEXT, b"a"), (FIN | CONTINUATION, b"b"), (FIN | CONTINUATION, b"c")],
        &[text("ab"), Seen::Refused(Violation::UnexpectedContinuation)],
    );
    check_frames(
        &[(FIN | TEXT, b"whole"), (CONTINUATION, b"c")],
        &[text("whole"), Seen::Refused(Violation::UnexpectedContinuation)],
    );
}

#[test]
fn a_new_message_waits_for_the_end_of_the_last() {
    for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        refused(&[(TEXT, b"a"), (first, b"b")], Violation::UnfinishedMessage);
        refused(&[(BINARY, b"a"), (CONTINUATION, b"b"), (first, b"c")], Violation::UnfinishedMessage);
    }
}

#[test]
fn the_mask_tells_clients_from_servers() {
    for first in [FIN | TEXT, BINARY, FIN | PING, FIN | CLOSE] {
        let unmasked = frame(Role::Client, first, b"");
        check(Role::Server, LIMITS, &unmasked, &[Seen::Refused(Violation::MaskMissing)]);
        let masked = frame(Role::Server, first, b"");
        check(Role::Client, LIMITS, &masked, &[Seen::Refused(Violation::MaskUnexpected)]);
    }
}

#[test]
fn a_length_is_written_in_the_fewest_bytes() {
    for (length, violation) in [
        (&b"\x7e\x00\x00"[..], Violation::LengthNotMinimal),
        (b"\x7e\x00\x01", Violation::LengthNotMinimal),
        (b"\x7e\x00\x7d", Violation::LengthNotMinimal),
        (b"\x7f\x00\x00\x00\x00\x00\x00\x00\x00", Violation::LengthNotMinimal),
        (b"\x7f\x00\x00\x00\x00\x00\x00\x00\x7e", Violation::LengthNotMinimal),
        (b"\x7f\x00\x00\x00\x00\x00\x00\xff\xff", Violation::LengthNotMinimal),
        (b"\x7f\x80\x00\x00\x00\x00\x00\x00\x00", Violation::LengthHighBit),
        (b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff", Violation::LengthHighBit),
        (b"\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", Violation::TooBig),
    ] {
        for first in [FIN | TEXT, BINARY] {
            // Nothing behind the length is needed for the verdict, not even a mask.
            let from_server = [&[first], length].concat();
            check(Role::Client, LIMITS, &from_server, &[Seen::Refused(violation)]);
            let mut from_client = from_server;
            from_client[1] |= 0x80;
            check(Role::Server, LIMITS, &from_client, &[Seen::Refused(violation)]);
        }
    }
}

#[test]
fn a_refusal_comes_with_the_first_byte_that_earns_it() {
    for (role, start, violation) in [
        (Role::Server, &b"\xc1"[..], Violation::ReservedBit),
        (Role::Server, b"\x83", Violation::ReservedOpcode),
        (Role::Client, b"\x80", Violation::UnexpectedContinuation),
        (Role::Client, b"\x09", Violation::FragmentedControl),
        (Role::Server, b"\x81\x00", Violation::MaskMissing),
        (Role::Client, b"\x81\x80", Violation::MaskUnexpected),
        (Role::Client, b"\x89\x7e", Violation::ControlTooLong),
        (Role::Client, b"\x88\x7f", Violation::ControlTooLong),
    ] {
        check(role, LIMITS, start, &[Seen::Refused(violation)]);
    }
}

#[test]
fn an_unfinished_frame_is_neither_delivered_nor_refused() {
    for role in [Role::Server, Role::Client] {
        let whole = frames(role, &[(TEXT, b"abc"), (FIN | PING, b"de"), (FIN | CONTINUATION, &[b'f'; 300])]);
        let ping_ends_at = frames(role, &[(TEXT, b"abc"), (FIN | PING, b"de")]).len();
        for end in 0..whole.len() {
            let expected = if end < ping_ends_at { vec![] } else { vec![ping(b"de")] };
            check(role, LIMITS, &whole[..end], &expected);
        }
    }
}

#[test]
fn text_is_utf_8() {
    for valid in [
        "Hello-µ@ßöäüàá-UTF-8!!",
        "κόσμε",
        "\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{10ffff}",
        "\u{feff}a byte order mark stays",
        "👩‍👩‍👧 \u{2028}",
    ] {
        check_frames(&[(FIN | TEXT, valid.as_bytes())], &[text(valid)]);
        for at in 0..=valid.len() {
            // The cut may fall inside a character: only the whole message has to be valid.
            let (start, end) = valid.as_bytes().split_at(at);
            check_frames(
                &[(TEXT, start), (FIN | PING, b""), (FIN | CONTINUATION, end)],
                &[ping(b""), text(valid)],
            );
        }
    }
    let invalid: &[(&str, &[u8])] = &[
        ("a lone continuation byte", b"\x80"),
        ("a lone start byte", b"\xc3"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong NUL", b"\xe0\x80\x80"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("a pair of surrogates", b"\xed\xa0\x80\xed\xb0\x80"),
        ("beyond the last character", b"\xf4\x90\x80\x80"),
        ("a five-byte form", b"\xf8\x88\x80\x80\x80"),
        ("a byte that never occurs", b"\xff"),
        ("an unfinished character at the end", b"\xce\xba\xe1\xbd"),
        ("a broken one in the middle", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"),
    ];
    for (name, bytes) in invalid {
        println!("{name}");
        refused(&[(FIN | TEXT, bytes)], Violation::InvalidUtf8);
        for at in 0..=bytes.len() {
            let (start, end) = bytes.split_at(at);
            refused(&[(TEXT, start), (CONTINUATION, b""), (FIN | CONTINUATION, end)], Violation::InvalidUtf8);
        }
        check_frames(&[(FIN | BINARY, bytes)], &[binary(bytes)]);
        let long = [&[b'a'; 100], *bytes].concat();
        refused(&[(FIN | TEXT, &long)], Violation::InvalidUtf8);
    }
}

#[test]
fn a_close_ends_the_input() {
    check_frames(&[(FIN | CLOSE, b""), (FIN | TEXT, b"unheard")], &[Seen::Close(None)]);
    check_frames(
        &[(FIN | TEXT, b"heard"), (FIN | CLOSE, b"\x03\xe8"), (FIN | CLOSE, b"\x03\xe9")],
        &[text("heard"), close(1000, "")],
    );
    // Not even a violation is found any more.
    check_frames(&[(FIN | CLOSE, b""), (0x7f, b"garbage")], &[Seen::Close(None)]);
}

#[test]
fn a_close_payload_is_a_code_and_a_reason() {
    let longest = "r".repeat(123);
    check_frames(&[(FIN | CLOSE, &[b"\x03\xe8", longest.as_bytes()].concat())], &[close(1000, &longest)]);
    check_frames(&[(FIN | CLOSE, "\u{3}\u{0}".as_bytes())], &[Seen::Refused(Violation::CloseCodeNotAllowed)]);
    refused(&[(FIN | CLOSE, b"\x03")], Violation::CloseTruncated);
    refused(&[(FIN | CLOSE, b"\x03\xe8\xce\xba\xe1\xbd")], Violation::InvalidUtf8);
    refused(&[(FIN | CLOSE, b"\x03\xe8\xff")], Violation::InvalidUtf8);
    refused(&[(FIN | CLOSE, &[b'x'; 126])], Violation::ControlTooLong);
}

#[test]
fn only_codes_for_the_wire_are_accepted_in_a_close() {
    let allowed = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in (0..=5100).chain([10_000, 32_768, 65_535]) {
        let sent = frame(Role::Client, FIN | CLOSE, &u16::to_be_bytes(code));
        let expected =
            if allowed(code) { close(code, "") } else { Seen::Refused(Violation::CloseCodeNotAllowed) };
        check(Role::Client, LIMITS, &sent, &[expected]);
    }
}

#[test]
fn every_violation_has_its_close_code() {
    for (violation, code) in [
        (Violation::ReservedBit, 1002),
        (Violation::ReservedOpcode, 1002),
        (Violation::FragmentedControl, 1002),
        (Violation::ControlTooLong, 1002),
        (Violation::UnexpectedContinuation, 1002),
        (Violation::UnfinishedMessage, 1002),
        (Violation::MaskMissing, 1002),
        (Violation::MaskUnexpected, 1002),
        (Violation::LengthNotMinimal, 1002),
        (Violation::LengthHighBit, 1002),
        (Violation::CloseTruncated, 1002),
        (Violation::CloseCodeNotAllowed, 1002),
        (Violation::InvalidUtf8, 1007),
        (Violation::TooBig, 1009),
        (Violation::TooManyFragments, 1009),
    ] {
        assert_eq!(violation.close_code(), code, "{violation}");
    }
}
