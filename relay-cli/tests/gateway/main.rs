//! `relay gateway`: the real binary against a connector that does what the test tells it.

// Pipes, signals and a shell: what is tested here is as the system has it.
#![cfg(unix)]
// A test that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod closing;
mod commands;
mod connector;
mod deliveries;
mod exec;
mod links;
mod process;

use std::time::Duration;

/// How long a test waits for what should come at once, before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
