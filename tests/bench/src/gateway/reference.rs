//! The reference gateway, run by a Python that has it.

use std::path::Path;
use std::process::Command;

use super::child::Child;
use crate::Result;

fn script(python: &Path, arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/reference.py")).args(arguments);
    Child::start_as("the reference", command)
}

/// Its read loop over deliveries in memory: how many a second.
pub(super) fn read_loop(python: &Path, size: usize, frames: usize) -> Result<f64> {
    // The same bytes, only not as a WebSocket.
    let frame = relay_bench::frames::inbound(size, 0, true);
    let mut child = script(python, &["loop", &frame, &frames.to_string()])?;
    // Ready, and warm.
    for _ in 0..2 {
        child.next()?;
    }
    Ok(child.next()?["rate"].as_f64().ok_or("no rate")?)
}

/// The whole transport, over a socket. It says when it is linked, and then its rate.
pub(super) fn over_socket(python: &Path, address: &str, frames: usize) -> Result<Child> {
    script(python, &["socket", address, &frames.to_string()])
}
