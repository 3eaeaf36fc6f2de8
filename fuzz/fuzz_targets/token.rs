//! Feeds libFuzzer's inputs to the invariants of tokens.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idae_socket_fuzz::token(data));
