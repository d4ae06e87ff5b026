//! Lines out of messages. The body is `relay-sim/src/fuzz/lines.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::lines::run(data));
