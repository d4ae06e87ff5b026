//! Requests to enrol. The body is `relay-sim/src/fuzz/enroll_request.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::enroll_request::run(data));
