//! Durable appends each second, beside what the disk can do.

use std::fs::File;
use std::io::{Seek, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use super::control::Control;
use super::{EVENT, Kind, Plan};
use crate::Result;
use crate::report::{Cell, Table};
use crate::stats::Sample;

/// What a frame has around its event, roughly: the floor writes as much.
const AROUND: usize = 62;

/// The size of the file that is written in place.
const IN_PLACE: usize = 32 << 20;

/// The samples of one row.
#[derive(Default)]
struct Row {
    rate: Sample,
    per_commit: Sample,
    appended: Sample,
    of_appended: Sample,
    in_place: Sample,
    of_in_place: Sample,
}

pub(super) async fn run(plan: &Plan) -> Result<Table> {
    let mut table = Table::new(
        "connector_accept",
        format!(
            "Accepting: durable appends of {EVENT}-byte events per second, beside write and fdatasync of the same bytes, at \
             the end of a file that grows and in place in one that does not"
        ),
        &["under way", "connector", "per commit", "floor, growing", "of it", "floor, in place", "of it "],
    );
    let time = Duration::from_millis(if plan.quick { 250 } else { 2000 });
    let sizes = [1, 16, 64, 256, 1000];
    let mut rows = sizes.map(|_| Row::default());
    for _ in 0..plan.rounds {
        for (under_way, row) in sizes.into_iter().zip(&mut rows) {
            let appended = floor(plan, under_way, time, false)?;
            let in_place = floor(plan, under_way, time, true)?;
            let mut control = Control::start(plan, Kind::Disk).await?;
            let gateways = plan.draining.min(under_way);
            let command = json!({
                "do": "accept", "gateways": gateways, "under_way": under_way, "seconds": time.as_secs_f64(),
            });
            let answer = control.ask(command).await?;
            control.stop().await?;
            let number = |name: &str| answer[name].as_f64().unwrap_or(f64::NAN);
            let rate = number("appends") / number("seconds");
            row.rate.push(rate);
            row.per_commit.push(number("appends") / number("commits"));
            row.appended.push(appended);
            row.of_appended.push(rate / appended);
            row.in_place.push(in_place);
            row.of_in_place.push(rate / in_place);
        }
    }
    for (under_way, row) in sizes.into_iter().zip(&rows) {
        table.row(vec![
            Cell::count(under_way as u64),
            Cell::sample(&row.rate),
            Cell::number(row.per_commit.median(), 1, ""),
            Cell::sample(&row.appended),
            Cell::number(row.of_appended.median(), 2, ""),
            Cell::sample(&row.in_place),
            Cell::number(row.of_in_place.median(), 2, ""),
        ]);
    }
    Ok(table)
}

/// Appends each second to a plain file that is synced after every group. A file that grows costs the file system a
/// journal entry each time; a store that reuses its pages does not pay for that.
fn floor(plan: &Plan, group: usize, time: Duration, in_place: bool) -> Result<f64> {
    let dir = tempfile::tempdir_in(&plan.dir)?;
    let mut file = File::create(dir.path().join("floor"))?;
    if in_place {
        file.write_all(&vec![b'o'; IN_PLACE])?;
        file.sync_all()?;
        file.rewind()?;
    }
    let bytes = vec![b'x'; (EVENT + AROUND) * group];
    let (begun, mut appends) = (Instant::now(), 0);
    while begun.elapsed() < time {
        if in_place && file.stream_position()? as usize + bytes.len() > IN_PLACE {
            file.rewind()?;
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        appends += group;
    }
    Ok(appends as f64 / begun.elapsed().as_secs_f64())
}
