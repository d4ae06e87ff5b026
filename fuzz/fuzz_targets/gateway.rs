//! A gateway, from the bytes of its wire. The body is `tests/src/fuzz/gateway.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::gateway::run(data));
