//! Many requests under way.

use super::Plan;
use super::child::Child;
use super::client::Client::{self, Jsonrpsee, RelayTokio, TokioTungstenite};
use super::pair::{COLUMNS, Pair, rows};
use crate::Result;
use crate::report::Table;

const UNDER_WAY: usize = 64;

pub(super) fn run(plan: &Plan<'_>) -> Result<Table> {
    let mut table = Table::new(
        "gateway_in_flight",
        format!("Requests: {UNDER_WAY} under way, from as many tasks on one thread, requests each second"),
        &COLUMNS,
    );
    let requests = plan.count(100_000);
    let pair = |other: Client, other_name, target| Pair {
        name: RelayTokio.name().into(),
        own: Box::new(move || measure(RelayTokio, requests)),
        other_name,
        other: Box::new(move || measure(other, requests)),
        target: Some(target),
    };
    let pairs = vec![
        pair(TokioTungstenite, "tokio-tungstenite, mpsc and oneshot", 0.8),
        pair(Jsonrpsee, "jsonrpsee's client", 5.0),
    ];
    for row in rows(pairs, plan.rounds)? {
        table.row(row);
    }
    Ok(table)
}

fn measure(client: Client, requests: usize) -> Result<f64> {
    let mut peer = Child::start(&["peer-process", "answer"])?;
    let address = peer.next()?;
    let address = address["address"].as_str().ok_or("no address")?;
    let [requests, under_way] = [requests, UNDER_WAY].map(|number| number.to_string());
    let mut arguments = vec!["client-process", "in-flight", "--address", address, "--client", client.name()];
    arguments.extend(["--requests", &requests, "--under-way", &under_way]);
    let rate = Child::start(&arguments)?.next()?["rate"].as_f64();
    Ok(rate.ok_or("no rate")?)
}
