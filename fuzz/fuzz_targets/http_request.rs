//! Feeds libFuzzer's inputs to the invariants of an HTTP connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idae_socket_fuzz::http_request(data));
