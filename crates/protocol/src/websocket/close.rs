//! The payload of a close frame: nothing, or a code and a reason (RFC 6455 sections 5.5.1 and 7.4).

use super::{CONTROL_BYTES_MAX, Violation};

const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - size_of::<u16>();

pub(super) fn parse(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::CloseTruncated),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_sendable(code) {
                return Err(Violation::CloseCodeNotAllowed);
            }
            match simdutf8::basic::from_utf8(reason) {
                Ok(reason) => Ok(Some((code, reason))),
                Err(_) => Err(Violation::InvalidUtf8),
            }
        }
    }
}

pub(super) fn write(status: Option<(u16, &str)>, out: &mut Vec<u8>) {
    // A code that stands for "there was none" is said by sending none.
    if let Some((code, reason)) = status.filter(|(code, _)| is_sendable(*code)) {
        out.extend_from_slice(&code.to_be_bytes());
        // Half a character would make the peer answer our goodbye with a violation of its own.
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        out.extend_from_slice(&reason.as_bytes()[..end]);
    }
}

/// Codes that may stand on the wire: those defined for it, the three registered later (1012-1014),
/// and the ranges for libraries and applications. 1004-1006 and 1015 are for local use only.
const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
