//! Entries each second out of backlogs, and what the store has to do with it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Crowd;
use super::control::Control;
use super::{Kind, Plan};
use crate::Result;
use crate::report::{Cell, Table};
use crate::stats::Sample;

/// The threads of a connector's store, whose names the kernel cuts.
const STORE_THREADS: &str = "relay-store";

/// What one drain told.
#[derive(Default)]
struct Drained {
    fill: Sample,
    rate: Sample,
    cpu: Sample,
    store_cpu: Sample,
    committing: Sample,
    fetching: Sample,
    per_commit: Sample,
    per_fetch: Sample,
}

pub(super) async fn run(plan: &Plan) -> Result<Table> {
    let Plan { gateways, draining, backlog, .. } = plan;
    let mut table = Table::new(
        "connector_drain",
        format!(
            "Draining: {draining} gateways link, with {backlog} entries each, beside {} idle ones",
            gateways - draining
        ),
        &[
            "store",
            "entries/s",
            "of memory's",
            "CPU, µs/entry",
            "of it the store's threads",
            "time in commits",
            "time in fetches",
            "per commit",
            "per fetch",
            "appended/s before",
        ],
    );
    let (mut memory, mut disk, mut ratio) = (Drained::default(), Drained::default(), Sample::default());
    for _ in 0..plan.rounds {
        drain(plan, Kind::Memory, &mut memory).await?;
        drain(plan, Kind::Disk, &mut disk).await?;
    }
    ratio.push(disk.rate.median() / memory.rate.median());
    for (kind, drained) in [(Kind::Memory, &memory), (Kind::Disk, &disk)] {
        let of = if kind == Kind::Memory { 1.0 } else { ratio.median() };
        let percent = |sample: &Sample| Cell::number(sample.median() * 100.0, 0, "%");
        table.row(vec![
            Cell::text(kind.name()),
            Cell::sample(&drained.rate),
            Cell::number(of, 2, ""),
            Cell::number(drained.cpu.median(), 1, ""),
            percent(&drained.store_cpu),
            percent(&drained.committing),
            percent(&drained.fetching),
            Cell::number(drained.per_commit.median(), 0, ""),
            Cell::number(drained.per_fetch.median(), 1, ""),
            Cell::sample(&drained.fill),
        ]);
    }
    Ok(table)
}

async fn drain(plan: &Plan, kind: Kind, drained: &mut Drained) -> Result<()> {
    let Plan { gateways, draining, backlog, .. } = *plan;
    let entries = (draining * backlog) as f64;
    let mut control = Control::start(plan, kind).await?;
    let first = gateways - draining;
    let _idle = Crowd::open(control.address, 0..first).await?;
    let filled = control
        .ask(json!({"do": "fill", "first": first, "gateways": draining, "each": backlog, "under_way": 1000}))
        .await?;
    // The disk's own caches, and the idle handshakes, are not to be paid for by the drain.
    tokio::time::sleep(Duration::from_millis(if plan.quick { 100 } else { 1000 })).await;
    let (counts, cpu) = (control.ask(json!({"do": "counts"})).await?, control.process.cpu(STORE_THREADS));
    let begun = Instant::now();
    let _draining = Crowd::open(control.address, first..gateways).await?;
    control.ask(json!({"do": "acked", "count": draining * backlog})).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let (after, cpu_after) = (control.ask(json!({"do": "counts"})).await?, control.process.cpu(STORE_THREADS));
    control.stop().await?;
    let delta = |name: &str| {
        let number = |counts: &Value| counts[name].as_f64().unwrap_or_default();
        number(&after) - number(&counts)
    };
    drained.fill.push(entries / filled["seconds"].as_f64().unwrap_or(f64::NAN));
    drained.rate.push(entries / seconds);
    let (all, store) = (cpu_after.0 - cpu.0, cpu_after.1 - cpu.1);
    drained.cpu.push(all * 1e6 / entries);
    drained.store_cpu.push(store / all);
    drained.committing.push(delta("commit_ns") / 1e9 / seconds);
    drained.fetching.push(delta("fetch_ns") / 1e9 / seconds);
    if delta("commits") > 0.0 {
        drained.per_commit.push(delta("changes") / delta("commits"));
    }
    if delta("fetches") > 0.0 {
        drained.per_fetch.push(entries / delta("fetches"));
    }
    Ok(())
}
