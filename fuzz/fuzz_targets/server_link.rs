//! The end that accepts: the upgrade, the WebSocket. The body is `tests/src/fuzz/server_link.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::server_link::run(data));
