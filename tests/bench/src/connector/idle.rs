//! Memory for each connected gateway that nothing happens to.

use std::time::Duration;

use super::client::Crowd;
use super::control::Control;
use super::{Kind, Plan};
use crate::Result;
use crate::report::{Cell, Table};
use crate::stats::Sample;

pub(super) async fn run(plan: &Plan) -> Result<Table> {
    let mut table = Table::new(
        "connector_idle",
        format!("Idle links: resident memory of the connector with {} gateways linked", plan.gateways),
        &["store", "without links, KiB", "with links, KiB", "each link, bytes"],
    );
    for kind in [Kind::Memory, Kind::Disk] {
        let (mut before, mut after, mut each) = (Sample::default(), Sample::default(), Sample::default());
        for _ in 0..plan.rounds {
            let control = Control::start(plan, kind).await?;
            let alone = control.process.resident();
            let mut crowd = Crowd::open(control.address, 0..plan.gateways).await?;
            // What the handshakes needed is given back by and by.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let full = control.process.resident();
            if !crowd.is_complete() {
                return Err("a gateway lost its link".into());
            }
            before.push(alone);
            after.push(full);
            each.push((full - alone) * 1024.0 / plan.gateways as f64);
            control.stop().await?;
        }
        table.row(vec![Cell::text(kind.name()), Cell::sample(&before), Cell::sample(&after), Cell::sample(&each)]);
    }
    Ok(table)
}
