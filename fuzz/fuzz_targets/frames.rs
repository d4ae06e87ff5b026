//! One line, read by either side. The body is `relay-sim/src/fuzz/frames.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::frames::run(data));
