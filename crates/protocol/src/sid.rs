//! Session ids: 15 bytes, written as 20 characters of `[A-Za-z0-9_-]`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The id of an Engine.IO session or of a Socket.IO socket.
///
/// An Engine.IO id is a secret (whoever knows it can speak for the session), so its bytes must
/// come from a cryptographic generator, and `Debug` shows only the first characters.
/// Twenty characters, because Node's sharded Redis adapter tells ids from rooms by that length.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; Self::BYTES]);

impl Sid {
    /// Length in bytes.
    pub const BYTES: usize = 15;
    /// Length as text.
    pub const CHARS: usize = 20;

    /// Makes an id of random bytes.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Reads an id; `None` for anything that its `Display` does not write.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        if text.len() != Self::CHARS {
            return None;
        }
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(Self::BYTES) => Some(Self(bytes)),
            _ => None,
        }
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; Self::CHARS];
        let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).unwrap_or(0);
        f.write_str(std::str::from_utf8(&text[..written]).unwrap_or_default())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_string();
        write!(f, "Sid({}…)", text.get(..6).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_one_to_one() {
        let sid = Sid::from_bytes([255, 0, 7, 9, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]);
        let text = sid.to_string();
        assert_eq!(text.len(), Sid::CHARS);
        assert_eq!(Sid::parse(&text), Some(sid));
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in
            ["", "__proto__", "AAAA", "AAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAA AAAAAAAAA"]
        {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_does_not_tell_the_secret() {
        let sid = Sid::from_bytes([1; 15]);
        assert!(!format!("{sid:?}").contains(&sid.to_string()));
    }
}
