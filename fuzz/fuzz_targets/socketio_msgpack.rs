//! Feeds libFuzzer's inputs to the invariants of msgpack's packets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idae_socket_fuzz::socketio_msgpack(data));
