//! Addresses of connectors and proxies. The body is `tests/src/fuzz/address.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::address::run(data));
