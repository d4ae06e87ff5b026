//! What gateways that behave notice of one that does not, and what it costs the connector in memory.

use std::time::Duration;

use serde_json::json;

use super::client::Crowd;
use super::control::Control;
use super::hostile::{ALL, Harm, Hostile};
use super::{Kind, Plan};
use crate::Result;
use crate::process::Process;
use crate::report::{Cell, Table};
use crate::stats::Sample;

/// Gateways whose round trips are measured.
const PROBES: usize = 20;
/// Gateways that are linked, those included.
const LINKED: usize = 100;
/// Between an acknowledgement and the next delivery to the same gateway.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Felt {
    before: Vec<Sample>,
    during: Vec<Sample>,
    memory: [Sample; 3],
    did: Sample,
}

pub(super) async fn run(plan: &Plan, kind: Kind, only: &[String]) -> Result<Table> {
    let mut table = Table::new(
        if kind == Kind::Disk { "connector_harm_disk" } else { "connector_harm_memory" },
        format!(
            "One gateway that means harm, store: {}. Round trips from delivery to acknowledgement of {PROBES} others of {} \
             linked, in µs, before and while it is at it; resident memory of the connector in MiB, before, at most, and 2 s after",
            kind.name(),
            LINKED.min(plan.gateways),
        ),
        &[
            "gateway",
            "p50 before",
            "p50",
            "p99 before",
            "p99",
            "max before",
            "max",
            "MiB before",
            "MiB at most",
            "MiB after",
            "it did",
            "of what",
        ],
    );
    let harms: Vec<Harm> =
        ALL.into_iter().filter(|harm| only.is_empty() || only.iter().any(|name| name == harm.name())).collect();
    if harms.is_empty() {
        let known: Vec<&str> = ALL.iter().map(|harm| harm.name()).collect();
        return Err(format!("no such gateway; there are {}", known.join(", ")).into());
    }
    let mut felt: Vec<Felt> = harms.iter().map(|_| Felt::default()).collect();
    for _ in 0..plan.rounds {
        for (harm, felt) in harms.iter().zip(&mut felt) {
            suffer(plan, kind, *harm, felt).await?;
        }
    }
    for (harm, felt) in harms.iter().zip(&felt) {
        let mut row = vec![Cell::text(harm.name())];
        let over = |rounds: &[Sample], what: fn(&Sample) -> f64| Sample::new(rounds.iter().map(what).collect());
        for what in [|sample: &Sample| sample.quantile(0.5), |sample: &Sample| sample.quantile(0.99)] {
            for rounds in [&felt.before, &felt.during] {
                row.push(Cell::number(over(rounds, what).median(), 0, ""));
            }
        }
        for rounds in [&felt.before, &felt.during] {
            row.push(Cell::number(over(rounds, Sample::max).max(), 0, ""));
        }
        row.extend(felt.memory.iter().map(|sample| Cell::number(sample.median() / 1024.0, 1, "")));
        row.push(if harm.unit().is_empty() { Cell::none() } else { Cell::number(felt.did.median(), 0, "") });
        row.push(Cell::text(harm.unit()));
        table.row(row);
    }
    Ok(table)
}

async fn suffer(plan: &Plan, kind: Kind, harm: Harm, felt: &mut Felt) -> Result<()> {
    let time = Duration::from_millis(if plan.quick { 250 } else { 2000 });
    let mut control = Control::start(plan, kind).await?;
    let mut crowd = Crowd::open(control.address, 0..LINKED.min(plan.gateways)).await?;
    let sink = control.ask(json!({"do": "sink"})).await?;
    let sink = sink["address"].as_str().ok_or("no address")?.parse()?;
    // The first round trips are those of a cold process.
    control.probe(PROBES, time / 4, PAUSE).await?;
    felt.before.push(control.probe(PROBES, time, PAUSE).await?);
    felt.memory[0].push(control.process.resident());
    let hostile = Hostile::start(harm, control.address, sink);
    if let Some(size) = harm.fed() {
        control.ask(json!({"do": "feed", "size": size})).await?;
    }
    let most = tokio::spawn(most_memory(control.process, time));
    felt.during.push(control.probe(PROBES, time, PAUSE).await?);
    felt.memory[1].push(most.await?);
    felt.did.push(tokio::task::spawn_blocking(|| hostile.stop()).await? as f64);
    control.ask(json!({"do": "starve"})).await?;
    tokio::time::sleep(Duration::from_secs(if plan.quick { 0 } else { 2 })).await;
    felt.memory[2].push(control.process.resident());
    if !crowd.is_complete() {
        return Err(format!("{}: a gateway that behaves lost its link", harm.name()).into());
    }
    control.stop().await
}

/// The most memory that it has during this time.
async fn most_memory(process: Process, time: Duration) -> f64 {
    let mut most: f64 = 0.0;
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        most = most.max(process.resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    most
}
