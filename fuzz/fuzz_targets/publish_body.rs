//! Feeds libFuzzer's inputs to the invariants of the body of a publish.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idae_socket_fuzz::publish_body(data));
