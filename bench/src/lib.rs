//! Measurements of idae-socket. `cargo bench -p idae-socket-bench` runs those of the codec.
