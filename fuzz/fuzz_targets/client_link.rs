//! The end that dials: the tunnel, the upgrade, the WebSocket. The body is `relay-sim/src/fuzz/client_link.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::client_link::run(data));
