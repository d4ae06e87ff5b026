//! Memory for each connected gateway that nothing happens to.

use std::time::Duration;

use super::client::Crowd;
use super::control::Control;
use super::{Kind, Plan};
use crate::Result;
use crate::report::{Cell, Table};
use crate::stats::Sample;

/// Silence after which gateways are pinged here. With the first ping a link gives back what its handshake needed; the
/// default of 30 s would make the measurement long, and changes nothing else.
const PING: Duration = Duration::from_secs(1);

pub(super) async fn run(plan: &Plan) -> Result<Table> {
    let mut table = Table::new(
        "connector_idle",
        format!("Idle links: resident memory of the connector, with {} gateways linked", plan.gateways),
        &["store", "none linked, KiB", "just linked, bytes each", "after a ping, bytes each"],
    );
    let ping = PING.as_millis().to_string();
    for kind in [Kind::Memory, Kind::Disk] {
        let (mut alone, mut fresh, mut settled) = (Sample::default(), Sample::default(), Sample::default());
        for _ in 0..plan.rounds {
            let control = Control::start_with(plan, kind, &["--ping-ms", &ping]).await?;
            let before = control.process.resident();
            let mut crowd = Crowd::open(control.address, 0..plan.gateways).await?;
            let each = |now: f64| (now - before) * 1024.0 / plan.gateways as f64;
            alone.push(before);
            fresh.push(each(control.process.resident()));
            tokio::time::sleep(PING * 2).await;
            settled.push(each(control.process.resident()));
            if !crowd.is_complete() {
                return Err("a gateway lost its link".into());
            }
            control.stop().await?;
        }
        table.row(vec![Cell::text(kind.name()), Cell::sample(&alone), Cell::sample(&fresh), Cell::sample(&settled)]);
    }
    Ok(table)
}
