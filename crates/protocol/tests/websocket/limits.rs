//! What a peer may make us keep: exactly the limit is fine, one more is not.

use idae_socket_protocol::websocket::{FRAGMENTS_MAX, Limits, Role, Violation};

use crate::support::{
    BINARY, CONTINUATION, FIN, PING, Seen, TEXT, binary, check, decode, frame, frames, ping, text,
};

const SMALL: Limits = Limits { message_bytes_max: 10, fragments_max: 3 };

#[track_caller]
fn check_small(sent: &[(u8, &[u8])], expected: &[Seen]) {
    for role in [Role::Server, Role::Client] {
        check(role, SMALL, &frames(role, sent), expected);
    }
}

#[test]
fn a_message_of_exactly_the_limit_is_read() {
    check_small(&[(FIN | TEXT, b"0123456789")], &[text("0123456789")]);
    check_small(
        &[(BINARY, b"01234"), (CONTINUATION, b"56789"), (FIN | CONTINUATION, b"")],
        &[binary(b"0123456789")],
    );
    // The limit is per message: the second one starts anew.
    check_small(
        &[(TEXT, b"01234"), (FIN | CONTINUATION, b"56789"), (TEXT, b"abcde"), (FIN | CONTINUATION, b"fghij")],
        &[text("0123456789"), text("abcdefghij")],
    );
}

#[test]
fn a_message_over_the_limit_is_refused() {
    let refused = [Seen::Refused(Violation::TooBig)];
    check_small(&[(FIN | BINARY, b"0123456789+")], &refused);
    check_small(&[(BINARY, b"0123456789+")], &refused);
    check_small(&[(TEXT, b"01234"), (FIN | CONTINUATION, b"56789+")], &refused);
    check_small(&[(TEXT, b"0123456789"), (CONTINUATION, b""), (FIN | CONTINUATION, b"+")], &refused);
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_announced_length() {
    let refused = [Seen::Refused(Violation::TooBig)];
    check(Role::Client, SMALL, b"\x81\x0b", &refused);
    // Before the mask, even.
    check(Role::Server, SMALL, b"\x81\x8b", &refused);
    check(Role::Server, SMALL, b"\x82\xfe\x01\x00", &refused);
    check(Role::Client, SMALL, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", &refused);
    check(Role::Client, SMALL, b"\x01\x05abcde\x80\x06", &refused);
}

#[test]
fn control_frames_have_a_limit_of_their_own() {
    let payload = [7; 125];
    check_small(
        &[(TEXT, b"0123456789"), (FIN | PING, &payload), (FIN | CONTINUATION, b"")],
        &[ping(&payload), text("0123456789")],
    );
}

#[test]
fn a_limit_of_nothing_lets_empty_messages_through() {
    let nothing = Limits { message_bytes_max: 0, fragments_max: 0 };
    for role in [Role::Server, Role::Client] {
        check(
            role,
            nothing,
            &frames(role, &[(FIN | TEXT, b""), (FIN | PING, b"p")]),
            &[text(""), ping(b"p")],
        );
        check(role, nothing, &frame(role, FIN | TEXT, b"x"), &[Seen::Refused(Violation::TooBig)]);
        check(role, nothing, &frame(role, TEXT, b""), &[Seen::Refused(Violation::TooManyFragments)]);
    }
}

#[test]
fn a_message_has_so_many_fragments_and_no_more() {
    check_small(&[(TEXT, b"a"), (CONTINUATION, b"b"), (FIN | CONTINUATION, b"c")], &[text("abc")]);
    // Neither control frames nor whole messages count.
    check_small(
        &[
            (TEXT, b"a"),
            (FIN | PING, b""),
            (CONTINUATION, b"b"),
            (FIN | PING, b""),
            (FIN | CONTINUATION, b"c"),
            (FIN | TEXT, b"d"),
            (FIN | TEXT, b"e"),
        ],
        &[ping(b""), ping(b""), text("abc"), text("d"), text("e")],
    );
    check_small(
        &[(TEXT, b"a"), (CONTINUATION, b""), (CONTINUATION, b""), (FIN | CONTINUATION, b"")],
        &[Seen::Refused(Violation::TooManyFragments)],
    );
}

#[test]
fn a_flood_of_empty_fragments_ends_at_the_limit() {
    let limits = Limits { message_bytes_max: 1 << 20, fragments_max: FRAGMENTS_MAX };
    for role in [Role::Server, Role::Client] {
        let mut sent = frame(role, TEXT, b"");
        for _ in 2..=FRAGMENTS_MAX {
            sent.extend(frame(role, CONTINUATION, b""));
        }
        assert_eq!(decode(role, limits, [&sent[..]]), []);
        sent.extend(frame(role, CONTINUATION, b""));
        assert_eq!(decode(role, limits, [&sent[..]]), [Seen::Refused(Violation::TooManyFragments)]);
    }
}
