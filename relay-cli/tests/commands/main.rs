//! `relay url`, `token` and `decode`, and the command line as such: the real binary, run as a program runs it.

// Pipes and a shell: what is tested here is as the system has it.
#![cfg(unix)]
// A test that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod decode;
mod demo;
mod help;
#[allow(dead_code, reason = "the suite that it comes from uses the rest")]
#[path = "../gateway/pipes.rs"]
mod pipes;
mod secrets;
mod token;
mod url;
mod usage;

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A secret that has no business in any output.
pub(crate) const SECRET: &str = "hunter2-correct-horse";

pub(crate) fn relay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RELAY_LOG");
    for name in ["URL", "ID", "SECRET", "PLATFORMS", "BOT_IDS"] {
        command.env_remove(format!("GATEWAY_RELAY_{name}"));
    }
    command
}

/// Standard output, standard error, exit code.
pub(crate) fn text(output: &Output) -> (String, String, i32) {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (utf8(&output.stdout), utf8(&output.stderr), output.status.code().unwrap())
}

pub(crate) fn run(arguments: &[&str]) -> (String, String, i32) {
    text(&relay(arguments).output().unwrap())
}

pub(crate) fn vectors(name: &str) -> Vec<Value> {
    let path = format!("{}/../tests/conformance/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let vectors: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(!vectors.is_empty());
    vectors
}

pub(crate) fn run_with_key(arguments: &[&str]) -> (String, String, i32) {
    text(&relay(arguments).env("K", SECRET).env("RELAY_LOG", "trace").output().unwrap())
}
