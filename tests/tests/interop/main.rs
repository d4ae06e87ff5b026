//! The project against the reference: the real Python gateway (`hermes-agent` from PyPI) against `relay connector`, and
//! `relay gateway` against a connector that is scripted with Python's `websockets`.
//!
//! Python and PyPI are needed. Where one is missing the tests say so, and pass without having shown anything; with
//! `RELAY_INTEROP=require`, as in CI, they fail instead.

// Pipes and signals: what is tested here is as the system has it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod enrol;
mod process;
mod python;
mod reference;
mod relay;
mod scripted;
