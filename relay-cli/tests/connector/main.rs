//! `relay connector` and `relay gateway`: two processes, and what they make of each other.

// Pipes and signals: what is tested here is as the system has it.
#![cfg(unix)]
// A test that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod closing;
mod commands;
mod crash;
mod deliveries;
mod disk;
mod flips;
mod links;
mod pair;
#[allow(dead_code, reason = "the suite that it comes from uses the rest")]
#[path = "../gateway/pipes.rs"]
mod pipes;
#[allow(dead_code, reason = "the suite that it comes from uses the rest")]
#[path = "../gateway/process.rs"]
mod process;
mod setup;
mod streams;
mod tls;

use std::time::Duration;

/// How long a test waits for what should come at once, before it fails. Only a hang takes so long, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
