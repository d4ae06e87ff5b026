//! A connector's peer, from the bytes of its wires. The body is `relay-sim/src/fuzz/connector.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::connector::run(data));
