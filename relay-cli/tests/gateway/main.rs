//! `relay gateway`: the real binary against a connector that does what the test tells it.

// Pipes, signals and a shell: what is tested here is as the system has it.
#![cfg(unix)]
// A test that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod chat;
mod closing;
mod commands;
mod connector;
mod deliveries;
mod exec;
mod identity;
mod links;
mod pipes;
mod process;
mod sessions;
mod streams;

use std::time::Duration;

use process::RUNTIME;

/// How long a test waits for what should come at once, before it fails. Only a hang takes so long, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Runs all other tests again, over another runtime.
fn everything_over(runtime: &str) {
    // This is such a run.
    if std::env::var_os(RUNTIME).is_some() {
        return;
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let run = again.args(["--skip", "everything_over"]).env(RUNTIME, runtime).output().unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && output.contains(" passed"), "{output}{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn everything_over_async_std() {
    everything_over("async-std");
}

#[test]
fn everything_over_blocking() {
    everything_over("blocking");
}
