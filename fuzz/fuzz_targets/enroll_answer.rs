//! Answers to enrolments. The body is `tests/src/fuzz/enroll_answer.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fuzz::bodies::enroll_answer::run(data));
