//! Lines out of messages. The body is `tests/src/fuzz/lines.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::lines::run(data));
