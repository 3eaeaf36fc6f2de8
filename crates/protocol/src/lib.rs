//! Bytes to packets and back: WebSocket (RFC 6455), Engine.IO v4 and Socket.IO v5.
//!
//! The crate is the pure ring of idae-socket. A server or client feeds it bytes and the time, and
//! gets packets, actions and the next deadline back, so every rule here can be tested and fuzzed
//! without a socket or a runtime.
//!
//! Invariants
//! * No IO, no clock, no randomness, no logging.
//! * Whatever the input, the answer is a value: nothing here panics on what a peer sent.
//! * Memory kept for a peer is bounded by a limit that the caller names.
#![forbid(unsafe_code)]

pub mod engineio;
pub mod sid;
pub mod socketio;
pub mod websocket;

pub use sid::Sid;
