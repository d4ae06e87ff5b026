//! `relay enroll`: against `relay connector`, and against servers that do what the test tells them.

// Pipes, modes of files and a shell: what is tested here is as the system has it.
#![cfg(unix)]
// A test that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod connector;
mod files;
mod flags;
#[allow(dead_code, reason = "the suite that it comes from uses the rest")]
#[path = "../gateway/process.rs"]
mod process;
mod refusals;
mod secrets;
mod server;
mod setup;

use std::time::Duration;

/// How long a test waits for what should come at once, before it fails. Only a hang takes so long, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
