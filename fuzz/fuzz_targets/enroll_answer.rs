//! Answers to enrolments. The body is `relay-sim/src/fuzz/enroll_answer.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_sim::fuzz::enroll_answer::run(data));
