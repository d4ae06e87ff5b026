//! Requests to enrol. The body is `tests/src/fuzz/enroll_request.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::enroll_request::run(data));
