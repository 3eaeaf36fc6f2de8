//! Feeds libFuzzer's inputs to the invariants of the Socket.IO packet.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idae_socket_fuzz::socketio_packet(data));
