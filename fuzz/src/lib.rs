//! What must hold for every decoder whatever bytes it is given, one function per decoder.
//!
//! Each function takes arbitrary bytes and panics if an invariant is broken; not panicking is the least
//! of them. `fuzz_targets/` hands the functions to libFuzzer, and `tests/short.rs` runs all of
//! [`TARGETS`] for a few thousand mutations of `corpus/<name>/` with every test run.
//!
//! A new decoder needs four things: its function here, its row in [`TARGETS`], a few seeds in
//! `corpus/<name>/`, and a target of the same name in `fuzz_targets/` and `Cargo.toml`.

mod engineio;
mod gateway;
mod socketio;
mod websocket;

pub use engineio::{engineio_payload, engineio_request};
pub use gateway::{http_request, publish_body, token};
pub use socketio::{socketio_connection, socketio_msgpack, socketio_packet};
pub use websocket::{websocket_client, websocket_server};

/// Every decoder by the name of its corpus, with the function that holds it to its invariants.
pub const TARGETS: &[Target] = &[
    ("websocket_server", websocket_server),
    ("websocket_client", websocket_client),
    ("engineio_payload", engineio_payload),
    ("engineio_request", engineio_request),
    ("socketio_packet", socketio_packet),
    ("socketio_connection", socketio_connection),
    ("socketio_msgpack", socketio_msgpack),
    ("http_request", http_request),
    ("publish_body", publish_body),
    ("token", token),
];

/// Those that ask a whole gateway, for which a run of a second has fewer inputs.
pub const THROUGH_A_GATEWAY: &[&str] = &["http_request", "publish_body", "token"];

/// A name and the function behind it.
pub type Target = (&'static str, fn(&[u8]));
