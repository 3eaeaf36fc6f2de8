//! Feeds libFuzzer's inputs to the invariants of the server's WebSocket decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idae_socket_fuzz::websocket_server(data));
