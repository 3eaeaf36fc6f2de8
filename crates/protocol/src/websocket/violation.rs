//! The ways a peer can break RFC 6455, and the close code that answers each.

use thiserror::Error;

/// What the peer did that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// RSV1, RSV2 or RSV3 is set although no extension was agreed on (RFC 6455 section 5.2).
    #[error("a reserved bit is set")]
    ReservedBit,
    /// Opcode 3-7 or 11-15 (RFC 6455 section 5.2).
    #[error("the opcode is reserved")]
    ReservedOpcode,
    /// A close, ping or pong without FIN (RFC 6455 section 5.5).
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A close, ping or pong of more than 125 bytes (RFC 6455 section 5.5).
    #[error("a control frame carries more than 125 bytes")]
    ControlTooLong,
    /// A continuation while no message is open (RFC 6455 section 5.4).
    #[error("a continuation without a message to continue")]
    UnexpectedContinuation,
    /// A new text or binary frame while a message is open (RFC 6455 section 5.4).
    #[error("a new message inside an unfinished one")]
    UnfinishedMessage,
    /// A client sent a frame without a mask (RFC 6455 section 5.1).
    #[error("a client's frame is not masked")]
    MaskMissing,
    /// A server sent a frame with a mask (RFC 6455 section 5.1).
    #[error("a server's frame is masked")]
    MaskUnexpected,
    /// A length in more bytes than it needs (RFC 6455 section 5.2).
    #[error("the length is not written in the fewest bytes")]
    LengthNotMinimal,
    /// A 64-bit length whose highest bit is set (RFC 6455 section 5.2).
    #[error("the length has its highest bit set")]
    LengthHighBit,
    /// A close payload of a single byte: half a code (RFC 6455 section 5.5.1).
    #[error("a close frame carries half a code")]
    CloseTruncated,
    /// A close code that may not stand on the wire (RFC 6455 section 7.4).
    #[error("the close code is not allowed")]
    CloseCodeNotAllowed,
    /// A text message or a close reason that is not UTF-8 (RFC 6455 section 8.1).
    #[error("the text is not UTF-8")]
    InvalidUtf8,
    /// A message, or the announced length of one, beyond [`Limits::message_bytes_max`](super::Limits).
    #[error("the message is too big")]
    TooBig,
    /// A message of more frames than [`Limits::fragments_max`](super::Limits).
    #[error("the message has too many fragments")]
    TooManyFragments,
}

impl Violation {
    /// The code of the close frame that answers this violation (RFC 6455 section 7.4.1):
    /// 1002 protocol error, 1007 invalid UTF-8, 1009 too big.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::ReservedBit
            | Self::ReservedOpcode
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::UnexpectedContinuation
            | Self::UnfinishedMessage
            | Self::MaskMissing
            | Self::MaskUnexpected
            | Self::LengthNotMinimal
            | Self::LengthHighBit
            | Self::CloseTruncated
            | Self::CloseCodeNotAllowed => 1002,
            Self::InvalidUtf8 => 1007,
            // A limit was reached and no rule was broken, so 1002 would send the reader of a log astray.
            Self::TooBig | Self::TooManyFragments => 1009,
        }
    }
}
