//! Other programs of this repository, built when they are needed. What is there already costs a moment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Result;

/// Builds a program as a release. `manifest` is relative to this package.
pub(super) fn build(manifest: &str, package: &str, program: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
    let output = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--message-format=json", "--package", package, "--bin", program])
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{program} does not build").into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let path = artifacts.filter_map(|artifact| Some(artifact["executable"].as_str()?.into())).next_back();
    Ok(path.ok_or("cargo named no program")?)
}
