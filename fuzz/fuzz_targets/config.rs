//! A configuration from variables. The body is `relay-sim/src/fuzz/config.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::config::run(data));
