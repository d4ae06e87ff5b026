//! The command `relay`: its size, and how fast it starts.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Plan, build};
use crate::Result;
use crate::report::{Cell, Table};
use crate::stats::Sample;

pub(super) fn run(plan: &Plan<'_>) -> Result<Table> {
    let mut table = Table::new(
        "gateway_command",
        "The command: bytes of a stripped release, and microseconds from start to end",
        &["what", "bytes", "target", "µs", "more than true, µs", "target"],
    );
    let relay = match plan.relay {
        Some(path) => path.clone(),
        None => build::build("../../Cargo.toml", "hermes-relay-cli", "relay")?,
    };
    let (mut own, mut floor, mut more) = (Sample::default(), Sample::default(), Sample::default());
    for _ in 0..plan.count(400).max(plan.rounds) {
        let (relay, nothing) = (time(&relay, &["--version"])?, time(Path::new("/bin/true"), &[])?);
        own.push(relay);
        floor.push(nothing);
        more.push(relay - nothing);
    }
    table.row(vec![
        Cell::text("relay --version"),
        Cell::count(std::fs::metadata(&relay)?.len()),
        Cell::count(6_000_000),
        Cell::quartiles(&own),
        Cell::quartiles(&more),
        Cell::count(5_000),
    ]);
    table.row(vec![
        Cell::text("/bin/true"),
        Cell::none(),
        Cell::none(),
        Cell::quartiles(&floor),
        Cell::none(),
        Cell::none(),
    ]);
    Ok(table)
}

fn time(program: &Path, arguments: &[&str]) -> Result<f64> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let status = command.status()?;
    let took = began.elapsed();
    if status.success() { Ok(took.as_secs_f64() * 1e6) } else { Err(format!("{}: {status}", program.display()).into()) }
}
