//! Socket.IO's packets, and what a client may send in which order.

mod connection;
mod msgpack;
// One oracle for both: the property tests of the protocol crate use it too.
#[path = "../../crates/protocol/tests/socketio/oracle.rs"]
mod oracle;
mod packet;

pub use connection::socketio_connection;
pub use msgpack::socketio_msgpack;
pub use packet::socketio_packet;
