//! A gateway, from the bytes of its wire. The body is `relay-sim/src/fuzz/gateway.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::gateway::run(data));
