//! Addresses of connectors and proxies. The body is `relay-sim/src/fuzz/address.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::address::run(data));
