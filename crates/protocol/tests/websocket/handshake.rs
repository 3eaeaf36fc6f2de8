//! The opening handshake's key and its answer.

use idae_socket_protocol::websocket::handshake::{accept_key, is_valid_key};

#[test]
fn the_example_of_section_1_3_is_answered() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn the_oracle_gives_the_same_answer() {
    for key in ["AAAAAAAAAAAAAAAAAAAAAA==", "/+/+/+/+/+/+/+/+/+/+/w==", "x3JJHMbDL1EzLkh9GBhXDw=="] {
        assert_eq!(accept_key(key), tungstenite::handshake::derive_accept_key(key.as_bytes()));
    }
}

#[test]
fn a_key_is_the_base64_of_16_bytes() {
    for (key, valid) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", true),
        ("AAAAAAAAAAAAAAAAAAAAAA==", true),
        ("++++////0123456789azAQ==", true),
        ("AAAAAAAAAAAAAAAAAAAAAB==", true),
        ("", false),
        ("==", false),
        ("dGhlIHNhbXBsZSBub25jZQ", false),
        ("dGhlIHNhbXBsZSBub25jZQ=", false),
        ("dGhlIHNhbXBsZSBub25jZQ===", false),
        ("dGhlIHNhbXBsZSBub25jZ===", false),
        ("dGhlIHNhbXBsZSBub25jZQA==", false),
        ("dGhlIHNhbXBsZSBub25j", false),
        ("dGhlIHNhbXBsZSBub25jZWVl", false),
        ("dGhlIHNhbXBsZSBub25-ZQ==", false),
        ("dGhlIHNhbXBsZSBub25_ZQ==", false),
        ("dGhlIHNhbXBsZSBub25 ZQ==", false),
        ("dGhlIHNhbXBsZSBub25é==", false),
        (" dGhlIHNhbXBsZSBub25jZQ==", false),
        ("dGhlIHNhbXBsZSBub25jZQ==\n", false),
    ] {
        assert_eq!(is_valid_key(key), valid, "{key:?}");
    }
}
