//! Upgrade tokens. The body is `tests/src/fuzz/token.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::token::run(data));
