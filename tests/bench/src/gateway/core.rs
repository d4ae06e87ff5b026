//! The core without sockets: from bytes to events that were read, and to the bytes of acknowledgements.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use relay_bench::core::{self, Core};
use relay_bench::frames::{Block, SIZES, USUAL};

use super::pair::{COLUMNS, Pair, rows};
use super::{Plan, build, reference};
use crate::Result;
use crate::report::{Cell, Table};

const CORES: [&str; 2] = ["ours", "floor"];

/// Instructions and allocations: no clock, no noise, no rounds.
pub(super) fn counts(plan: &Plan<'_>) -> Result<Table> {
    let mut table = Table::new(
        "gateway_core_counts",
        "Core: what one delivery takes, from socket bytes to an event that was read and acknowledged",
        &[
            "event, bytes",
            "instructions",
            "of the floor",
            "ratio",
            "allocations",
            "of the floor",
            "allocated, bytes",
            "of the floor",
        ],
    );
    let valgrind = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let valgrind = valgrind.is_ok_and(|status| status.success());
    if !valgrind {
        eprintln!("gateway core: valgrind is not here, so no instructions are counted");
    }
    let counter = build::build("Cargo.toml", "relay-bench", "allocations")?;
    let sizes = if plan.quick { &SIZES[1..2] } else { &SIZES[..] };
    for size in sizes {
        // Enough for the ends of the chunks not to matter.
        let frames = if *size > 100_000 { 16 } else { 512 };
        let mut row = vec![Cell::count(*size as u64)];
        let mut instructions = [f64::NAN; 2];
        if valgrind {
            for (at, name) in CORES.into_iter().enumerate() {
                let twice = count_instructions(name, *size, 2 * frames, 2 * frames)?;
                instructions[at] = (twice - count_instructions(name, *size, 2 * frames, frames)?) / frames as f64;
            }
        }
        row.extend(instructions.map(|count| Cell::number(count, 0, "")));
        row.push(Cell::number(instructions[0] / instructions[1], 2, ""));
        let mut counted = [[f64::NAN; 2]; 2];
        for (at, name) in CORES.into_iter().enumerate() {
            let output = Command::new(&counter).args([name, &size.to_string(), &frames.to_string()]).output()?;
            let text = String::from_utf8(output.stdout)?;
            let (count, bytes) = text.trim().split_once(' ').ok_or("allocations were not counted")?;
            counted[at] = [count.parse::<f64>()? / frames as f64, bytes.parse::<f64>()? / frames as f64];
        }
        for (what, decimals) in [(0, 2), (1, 0)] {
            row.extend([0, 1].map(|core| Cell::number(counted[core][what], decimals, "")));
        }
        table.row(row);
    }
    Ok(table)
}

/// All instructions of a process, by callgrind.
fn count_instructions(core: &str, size: usize, built: usize, read: usize) -> Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["core-process", "--core", core, "--size", &size.to_string()])
        .args(["--built", &built.to_string(), "--read", &read.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match count {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("callgrind counted nothing: {text}").into()),
    }
}

/// The same against the clock.
pub(super) fn rates(plan: &Plan<'_>) -> Result<Table> {
    let mut table =
        Table::new("gateway_core", "Core: deliveries each second, on one thread, without sockets", &COLUMNS);
    let time = Duration::from_millis(if plan.quick { 50 } else { 200 });
    let mut pairs = Vec::new();
    for size in SIZES {
        let make = |name| -> Result<_> { Ok(Box::new(timed(core::named(name)?, size, time)) as Box<_>) };
        pairs.push(Pair {
            name: format!("{size}-byte events"),
            own: make("ours")?,
            other_name: "tungstenite and serde",
            other: make("floor")?,
            target: None,
        });
    }
    if let Some(python) = plan.python {
        let frames = plan.count(100_000);
        pairs.push(Pair {
            name: format!("{USUAL}-byte events"),
            own: Box::new(timed(core::named("ours")?, USUAL, time)),
            other_name: "the reference's read loop",
            other: Box::new(move || reference::read_loop(python, USUAL, frames)),
            target: Some(20.0),
        });
    }
    for row in rows(pairs, plan.rounds)? {
        table.row(row);
    }
    Ok(table)
}

/// Reads for about this long, and returns how many a second. Numbering the deliveries anew is not in the time.
fn timed(mut core: Box<dyn Core>, size: usize, time: Duration) -> impl FnMut() -> Result<f64> {
    let mut block = None;
    move || {
        let block = block.get_or_insert_with(|| Block::new(size, ((4 << 20) / size).clamp(16, 4096), true));
        let (mut took, mut read, mut warm) = (Duration::ZERO, 0, false);
        while took < time {
            block.renumber();
            let began = Instant::now();
            core::run(&mut *core, block, block.frames())?;
            if warm {
                took += began.elapsed();
                read += block.frames();
            }
            warm = true;
        }
        Ok(read as f64 / took.as_secs_f64())
    }
}
