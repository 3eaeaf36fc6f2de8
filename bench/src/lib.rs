//! Measurements of idae-socket. `cargo bench -p idae-socket-bench --bench codec` runs those of the codec.
