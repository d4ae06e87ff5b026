//! One request under way, client and server on one core.

use super::Plan;
use super::child::Child;
use super::client::Client::{self, RelayAsyncStd, RelayBlocking, RelayTokio, TokioTungstenite, Tungstenite};
use super::pair::{COLUMNS, Pair, rows};
use crate::Result;
use crate::report::Table;

pub(super) fn run(plan: &Plan<'_>) -> Result<Table> {
    let mut table = Table::new(
        "gateway_round_trip",
        "Round trips: one request under way, client and server on one core, requests each second",
        &COLUMNS,
    );
    let requests = plan.count(40_000);
    let pair = |own: Client, other: Client, target| Pair {
        name: own.name().into(),
        own: Box::new(move || measure(own, requests)),
        other_name: other.name(),
        other: Box::new(move || measure(other, requests)),
        target,
    };
    let pairs = vec![
        pair(RelayTokio, TokioTungstenite, Some(0.92)),
        pair(RelayBlocking, Tungstenite, Some(0.85)),
        pair(RelayAsyncStd, RelayTokio, None),
    ];
    for row in rows(pairs, plan.rounds)? {
        table.row(row);
    }
    Ok(table)
}

fn measure(client: Client, requests: usize) -> Result<f64> {
    let mut peer = Child::start(&["peer-process", "answer", "--one-core"])?;
    let address = peer.next()?;
    let address = address["address"].as_str().ok_or("no address")?;
    let requests = requests.to_string();
    let mut arguments = vec!["client-process", "round-trip", "--one-core", "--address", address];
    arguments.extend(["--client", client.name(), "--requests", &requests]);
    let rate = Child::start(&arguments)?.next()?["rate"].as_f64();
    Ok(rate.ok_or("no rate")?)
}
