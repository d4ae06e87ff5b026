//! The machine and the reference model, side by side. The body is `relay-sim/src/fuzz/model.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::model::run(data));
