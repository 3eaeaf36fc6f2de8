//! WebSocket (RFC 6455) on bytes alone: what a read brought becomes messages, a message becomes bytes.
//!
//! [`Decoder`] takes the input of one connection in pieces of any size and hands out whole messages.
//! A frame that lies whole in the input is unmasked where it lies and borrowed from there; only an
//! unfinished rest is copied. [`Frame`] is the way out: header and payload in one shared buffer, since
//! a server masks nothing and so sends every receiver the same bytes. [`handshake`] holds the two
//! computations of the opening handshake; the HTTP around it belongs to whoever speaks HTTP.
//!
//! No extension is spoken: a reserved bit is always a violation.
//!
//! Invariants
//! * No IO, no clock, no randomness: even a client's mask is an argument.
//! * A decoder with no frame unfinished owns no heap memory.
//! * Memory grows with the bytes that arrived, never with a length that a peer announced.
//! * Every byte is looked at a bounded number of times, however the input is cut.
//! * How the input is cut changes neither the messages nor the verdict.
//! * After a violation or a close message a decoder hands out nothing more.

mod close;
mod decoder;
mod frame;
pub mod handshake;
mod header;
mod mask;
mod violation;

pub use decoder::{Decoder, Input};
pub use frame::{Frame, encode_masked};
pub use violation::Violation;

/// The largest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// How many frames one message may be cut into, unless the owner says otherwise.
///
/// Browsers and the usual libraries send one frame per message, and a proxy that cuts messages does
/// so by the kilobyte: 4096 frames of 1 KiB are already 4 MiB. A message of endless one-byte frames
/// costs the peer 7 bytes each and us a turn of the decoder, so a far larger number (other
/// implementations allow 131072) still lets one peer keep a processor busy without ever finishing.
pub const FRAGMENTS_MAX: u32 = 4096;

/// Which end of the connection we are. It decides what the peer must send (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We are the server: every frame that comes in must be masked.
    Server,
    /// We are the client: no frame that comes in may be masked.
    Client,
}

/// What a frame carries (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A further piece of the message that is open.
    Continuation,
    /// A text message, or its first piece.
    Text,
    /// A binary message, or its first piece.
    Binary,
    /// The peer leaves; nothing follows.
    Close,
    /// The peer asks for a pong with the same payload.
    Ping,
    /// The answer to a ping, or an unasked sign of life.
    Pong,
}

impl Opcode {
    /// Close, ping and pong: never cut, at most [`CONTROL_BYTES_MAX`] bytes, allowed between the
    /// pieces of a message (RFC 6455 section 5.5).
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }
}

/// One whole message, unmasked and checked, borrowed from the input or from the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message, valid UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping of at most [`CONTROL_BYTES_MAX`] bytes; whoever owns the connection answers it.
    Ping(&'a [u8]),
    /// A pong of at most [`CONTROL_BYTES_MAX`] bytes.
    Pong(&'a [u8]),
    /// The peer leaves, with a code that may stand on the wire and a reason if it gave them
    /// (RFC 6455 section 5.5.1).
    Close(Option<(u16, &'a str)>),
}

/// What a peer may make us keep for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload of one text or binary message, in bytes; exactly this many are allowed.
    /// Control frames have a limit of their own, [`CONTROL_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// The most frames a fragmented message may have; [`FRAGMENTS_MAX`] unless there is a reason.
    pub fragments_max: u32,
}
