//! The machine and the reference model, side by side. The body is `tests/src/fuzz/model.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::model::run(data));
