//! One line, read by either side. The body is `tests/src/fuzz/frames.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::frames::run(data));
