//! Durable appends each second, beside what the disk can do.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use super::control::Control;
use super::{EVENT, Kind, Plan};
use crate::Result;
use crate::report::{Cell, Table};
use crate::stats::Sample;

/// What a frame has around its event, roughly: the floor writes as much.
const AROUND: usize = 62;

pub(super) async fn run(plan: &Plan) -> Result<Table> {
    let mut table = Table::new(
        "connector_accept",
        format!(
            "Accepting: durable appends of {EVENT}-byte events per second, beside write and fdatasync of the same bytes"
        ),
        &["under way", "connector, appends/s", "per commit", "floor, appends/s", "of the floor"],
    );
    let time = Duration::from_millis(if plan.quick { 300 } else { 2000 });
    let sizes = [1, 16, 64, 256, 1000];
    let mut rows = sizes.map(|_| (Sample::default(), Sample::default(), Sample::default(), Sample::default()));
    for _ in 0..plan.rounds {
        for (under_way, (rates, groups, floors, ratios)) in sizes.into_iter().zip(&mut rows) {
            let floor = floor(plan, under_way, time)?;
            let mut control = Control::start(plan, Kind::Disk).await?;
            let gateways = plan.draining.min(under_way);
            let command = json!({
                "do": "accept", "gateways": gateways, "under_way": under_way, "seconds": time.as_secs_f64(),
            });
            let answer = control.ask(command).await?;
            control.stop().await?;
            let number = |name: &str| answer[name].as_f64().unwrap_or(f64::NAN);
            let rate = number("appends") / number("seconds");
            rates.push(rate);
            groups.push(number("appends") / number("commits"));
            floors.push(floor);
            ratios.push(rate / floor);
        }
    }
    for (under_way, (rates, groups, floors, ratios)) in sizes.into_iter().zip(&rows) {
        table.row(vec![
            Cell::count(under_way as u64),
            Cell::sample(rates),
            Cell::number(groups.median(), 1, ""),
            Cell::sample(floors),
            Cell::number(ratios.median(), 2, ""),
        ]);
    }
    Ok(table)
}

/// Appends each second to a plain file that is synced after every group.
fn floor(plan: &Plan, group: usize, time: Duration) -> Result<f64> {
    let dir = tempfile::tempdir_in(&plan.dir)?;
    let mut file = File::create(dir.path().join("floor"))?;
    let bytes = vec![b'x'; (EVENT + AROUND) * group];
    let (begun, mut appends) = (Instant::now(), 0);
    while begun.elapsed() < time {
        file.write_all(&bytes)?;
        file.sync_data()?;
        appends += group;
    }
    Ok(appends as f64 / begun.elapsed().as_secs_f64())
}
