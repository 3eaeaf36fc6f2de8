//! Socket.IO v5: packets with namespaces, acknowledgements and binary attachments.
//!
//! [`decode`] and the `encode` functions read and write single packets with the default (JSON)
//! parser; [`Decoder`] puts binary packets together; [`repack`] writes the packets of msgpack;
//! [`Connection`] is the state machine of one client: which parser it uses, which namespaces it joined,
//! and what it may therefore send.
//!
//! JSON is checked but never taken apart: an event's arguments stay the text that the peer sent.
//!
//! Source of the protocol facts: the Socket.IO v5 protocol document and the observed behaviour of
//! socket.io 4.8 and socket.io-parser 4.2.
//!
//! Invariants
//! * What [`decode`] returns is valid JSON of the shape its type demands.
//! * A binary packet is complete or not there: nothing gets between its attachments.
//! * A connection that breaks a rule gets an error and takes nothing more.

mod args;
mod connection;
mod decode;
mod decoder;
mod encode;
mod json;
mod msgpack;

pub use args::Args;
pub use connection::{Connection, Held, Inbound, Limits, NAMESPACE_BYTES_MAX, Parser, Parsers, Violation};
pub use decode::{ATTACHMENTS_MAX, DecodeError, Kind, Packet, RESERVED_EVENTS, decode};
pub use decoder::{Content, Decoded, Decoder};
pub use encode::{ack, connect, connect_error, disconnect, event, namespace_prefix};
pub use msgpack::repack;
