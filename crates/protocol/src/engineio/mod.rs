//! Engine.IO v4: one session over HTTP long polling, WebSocket, or the upgrade from one to the other.
//!
//! [`Request`] says what an HTTP request to the endpoint wants, [`Packet`] reads and writes the
//! packets of both transports, and [`Session`] is the state of one session: heartbeat, who may
//! poll, who may upgrade.
//!
//! Source of the protocol facts: the Engine.IO v4 protocol document and the observed behaviour of
//! engine.io 6.6.
//!
//! Invariants
//! * A session has one transport at a time; a probe is not a transport until it is upgraded.
//! * A ping is sent only when the one before was answered.

mod packet;
mod request;
mod session;

pub use packet::{InvalidPacket, Message, Packet, Payload, SEPARATOR, push_base64};
pub use request::{Refusal, Request, Transport};
pub use session::{CloseReason, Due, Probe, Session, Settings, open_packet};
