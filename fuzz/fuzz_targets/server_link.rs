//! The end that accepts: the upgrade, the WebSocket. The body is `relay-sim/src/fuzz/server_link.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::server_link::run(data));
