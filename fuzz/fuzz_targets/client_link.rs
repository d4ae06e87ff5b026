//! The end that dials: the tunnel, the upgrade, the WebSocket. The body is `tests/src/fuzz/client_link.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::client_link::run(data));
