//! The WebSocket codec at its boundary: raw bytes in, messages or a violation out.

mod against_tungstenite;
mod frames;
mod handshake;
mod limits;
mod memory;
mod rules;
mod support;
