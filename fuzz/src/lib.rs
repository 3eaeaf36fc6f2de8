//! What must hold for every decoder whatever bytes it is given, one function per decoder.
//!
//! Each function takes arbitrary bytes and panics if an invariant is broken; not panicking is the least
//! of them. `fuzz_targets/` hands the functions to libFuzzer, and `tests/short.rs` runs all of
//! [`TARGETS`] for a few thousand mutations of `corpus/<name>/` with every test run.
//!
//! A new decoder needs four things: its function here, its row in [`TARGETS`], a few seeds in
//! `corpus/<name>/`, and a target of the same name in `fuzz_targets/` and `Cargo.toml`.

mod websocket;

pub use websocket::{websocket_client, websocket_server};

/// Every decoder by the name of its corpus, with the function that holds it to its invariants.
pub const TARGETS: &[Target] =
    &[("websocket_server", websocket_server), ("websocket_client", websocket_client)];

/// A name and the function behind it.
pub type Target = (&'static str, fn(&[u8]));
