//! The two computations of the opening handshake (RFC 6455 section 4); its HTTP is the caller's.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// What RFC 6455 section 1.3 appends to a key, so that only a WebSocket server can answer it.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How many characters the base64 of 16 bytes has before its padding `==`.
const KEY_DIGITS: usize = 22;

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}

/// Whether a `Sec-WebSocket-Key` is the base64 of exactly 16 bytes (RFC 6455 section 4.2.1).
///
/// The four bits that are left over in the last digit may be anything: they carry nothing, and the
/// answer is computed from the text of the key.
pub fn is_valid_key(key: &str) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix("==")
        .is_some_and(|digits| digits.len() == KEY_DIGITS && digits.as_bytes().iter().all(is_digit))
}
