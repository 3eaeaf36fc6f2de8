//! What a decoder keeps, and that it lets go of it.

use idae_socket_protocol::websocket::{Decoder, FRAGMENTS_MAX, Input, Limits, Message, Role};

use crate::support::{BINARY, CONTINUATION, FIN, LIMITS, PING, TEXT, frame, frames};

const HEADER_BYTES_MAX: usize = 14;

/// Feeds one read and returns how many messages came out.
fn feed(decoder: &mut Decoder, read: &[u8]) -> usize {
    let mut read = read.to_vec();
    let mut input = Input::new(&mut read);
    let mut count = 0;
    while decoder.next(&mut input).expect("the input keeps the rules").is_some() {
        count += 1;
    }
    count
}

#[test]
fn a_whole_frame_is_lent_from_the_input() {
    let mut decoder = Decoder::new(Role::Server, LIMITS);
    let mut read = frames(Role::Server, &[(FIN | BINARY, &[7; 1000]), (FIN | PING, b"p")]);
    let memory = read.as_ptr_range();
    let mut input = Input::new(&mut read);
    for _ in 0..2 {
        let message = decoder.next(&mut input).unwrap().unwrap();
        let (Message::Binary(payload) | Message::Ping(payload)) = message else { panic!("{message:?}") };
        assert!(memory.contains(&payload.as_ptr()), "a whole frame must not be copied");
        assert_eq!(decoder.held_bytes(), 0);
    }
}

#[test]
fn a_payload_that_follows_a_cut_header_is_lent_from_the_input() {
    let mut decoder = Decoder::new(Role::Server, LIMITS);
    let mut sent = frame(Role::Server, FIN | BINARY, &[7; 1000]);
    let mut payload = sent.split_off(5);
    assert_eq!(feed(&mut decoder, &sent), 0);
    assert_eq!(decoder.held_bytes(), 5);
    // Three bytes of the mask are still to come with the payload.
    let memory = payload.as_ptr_range();
    let mut input = Input::new(&mut payload);
    let Some(Message::Binary(payload)) = decoder.next(&mut input).unwrap() else { panic!() };
    assert_eq!(payload, [7; 1000]);
    assert!(memory.contains(&payload.as_ptr()));
}

#[test]
fn nothing_is_held_behind_the_last_message() {
    for role in [Role::Server, Role::Client] {
        let sent = frames(role, &[(TEXT, b"ab"), (FIN | PING, b"12345"), (FIN | CONTINUATION, b"cd")]);
        let mut decoder = Decoder::new(role, LIMITS);
        let messages: usize = sent.chunks(1).map(|read| feed(&mut decoder, read)).sum();
        assert_eq!((messages, decoder.held_bytes()), (2, 0));
    }
}

#[test]
fn a_handed_out_ping_does_not_stay_while_its_message_is_open() {
    let mut decoder = Decoder::new(Role::Client, LIMITS);
    assert_eq!(feed(&mut decoder, b"\x01\x02ab\x89\x0512"), 0);
    assert_eq!(decoder.held_bytes(), 4);
    assert_eq!(feed(&mut decoder, b"345"), 1);
    assert_eq!(decoder.held_bytes(), 2);
}

#[test]
fn an_announced_length_alone_holds_nothing() {
    let limits = Limits { message_bytes_max: usize::MAX, fragments_max: FRAGMENTS_MAX };
    let mut decoder = Decoder::new(Role::Client, limits);
    // Four exabytes are announced: allocating them would end the process.
    assert_eq!(feed(&mut decoder, b"\x82\x7f\x40\x00\x00\x00\x00\x00\x00\x00"), 0);
    assert_eq!(decoder.held_bytes(), 0);
    assert_eq!(feed(&mut decoder, b"abc"), 0);
    assert_eq!(decoder.held_bytes(), 3);
}

#[test]
fn a_megabyte_byte_by_byte_holds_what_arrived() {
    let payload: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    for role in [Role::Server, Role::Client] {
        let mut decoder = Decoder::new(role, LIMITS);
        let sent = frame(role, FIN | BINARY, &payload);
        let header_bytes = sent.len() - payload.len();
        let (last, before) = sent.split_last().unwrap();
        for (at, byte) in before.iter().enumerate() {
            assert_eq!(feed(&mut decoder, &[*byte]), 0);
            // A whole header is read and forgotten; payload bytes are held once each.
            let arrived = at + 1;
            let expected = if arrived < header_bytes { arrived } else { arrived - header_bytes };
            assert_eq!(decoder.held_bytes(), expected);
        }
        let mut read = [*last];
        let mut input = Input::new(&mut read);
        assert_eq!(decoder.next(&mut input), Ok(Some(Message::Binary(&payload))));
        assert_eq!(decoder.next(&mut input), Ok(None));
        assert_eq!(decoder.held_bytes(), 0);
        assert!(header_bytes <= HEADER_BYTES_MAX);
    }
}
