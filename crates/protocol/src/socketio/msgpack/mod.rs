//! Packets as `socket.io-msgpack-parser` writes them: one binary message each, a map of `type`, `data`, `id` and
//! `nsp`, with binary values in their places.
//!
//! Inside the gateway an event stays JSON text with attachments whatever its client speaks, so this is a
//! translation at the door: [`repack`] on the way out, [`decode`] on the way in.
//!
//! Source of the protocol facts: the observed behaviour of socket.io-msgpack-parser 3.0, notepack.io 2.2 and
//! python-socketio 5; the MessagePack specification.
//!
//! Invariants
//! * What [`decode`] returns is valid JSON of the shape its type demands, as from the other parser.
//! * A length that a peer claims allocates nothing: only bytes that are there count.

mod read;
mod value;
mod write;

pub(super) use read::decode;
pub use write::repack;
