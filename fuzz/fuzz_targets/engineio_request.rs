//! Feeds libFuzzer's inputs to the invariants of the Engine.IO request.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idae_socket_fuzz::engineio_request(data));
