//! A connector's peer, from the bytes of its wires. The body is `tests/src/fuzz/connector.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::connector::run(data));
