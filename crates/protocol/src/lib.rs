//! Bytes to packets and back.
pub mod websocket;
