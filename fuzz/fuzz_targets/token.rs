//! Upgrade tokens. The body is `relay-sim/src/fuzz/token.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::token::run(data));
