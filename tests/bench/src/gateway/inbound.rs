//! Deliveries over loopback.

use std::path::Path;

use relay_bench::frames::{SIZES, USUAL};

use super::child::Child;
use super::client::Client;
use super::pair::{COLUMNS, Pair, rows};
use super::{Plan, reference};
use crate::Result;
use crate::report::Table;

/// What is sent to whom.
#[derive(Clone, Copy)]
struct Load {
    client: Client,
    size: usize,
    /// On each link.
    frames: usize,
    links: usize,
    acked: bool,
    /// Threads of tokio's; 0 is a runtime on the main thread.
    workers: usize,
}

impl Load {
    fn of(client: Client, frames: usize, acked: bool) -> Self {
        Self { client, size: USUAL, frames, links: 1, acked, workers: 0 }
    }

    /// Sends it, and returns how many deliveries were read each second.
    fn run(self) -> Result<f64> {
        self.run_with(|address| {
            let Self { client, size, frames, links, acked, workers } = self;
            let numbers = [size, frames, links, workers].map(|number| number.to_string());
            let [size, frames, links, workers] = &numbers;
            let mut arguments = vec!["client-process", "inbound", "--address", address, "--client", client.name()];
            arguments.extend(["--size", size, "--frames", frames, "--links", links, "--workers", workers]);
            if acked {
                arguments.push("--acked");
            }
            Child::start(&arguments)
        })
    }

    fn run_with(self, start: impl FnOnce(&str) -> Result<Child>) -> Result<f64> {
        let numbers = [self.size, self.frames, self.links].map(|number| number.to_string());
        let [size, frames, links] = &numbers;
        let mut arguments = vec!["peer-process", "flood", "--size", size, "--frames", frames, "--links", links];
        if self.acked {
            arguments.push("--acked");
        }
        let mut peer = Child::start(&arguments)?;
        let mut client = start(peer.next()?["address"].as_str().ok_or("no address")?)?;
        // Linked, and then warm.
        for _ in 0..2 {
            client.next()?;
            peer.go()?;
        }
        let rate = client.next()?["rate"].as_f64().ok_or("no rate")?;
        if self.acked && peer.next()?["acknowledged"] != true {
            return Err("not all deliveries were acknowledged".into());
        }
        Ok(rate)
    }
}

fn pair<'a>(name: String, own: Load, other: Load, target: Option<f64>) -> Pair<'a> {
    Pair {
        name,
        own: Box::new(move || own.run()),
        other_name: other.client.name(),
        other: Box::new(move || other.run()),
        target,
    }
}

/// Every runtime, with and without acknowledgements.
pub(super) fn clients(plan: &Plan<'_>) -> Result<Table> {
    let mut table = Table::new(
        "gateway_inbound",
        format!("Inbound over loopback: {USUAL}-byte events, one a message, one link, deliveries each second"),
        &COLUMNS,
    );
    let frames = plan.count(100_000);
    let mut pairs = Vec::new();
    for acked in [false, true] {
        let how = if acked { "acknowledged" } else { "no acks" };
        let [relay, floor] = [Client::RelayTokio, Client::TokioTungstenite].map(|c| Load::of(c, frames, acked));
        pairs.push(pair(format!("relay-tokio, {how}"), relay, floor, Some(0.85)));
        let workers = |load| Load { workers: 2, ..load };
        pairs.push(pair(format!("relay-tokio, {how}, 2 workers"), workers(relay), workers(floor), None));
        for client in [Client::RelayAsyncStd, Client::RelayBlocking] {
            let own = Load { client, ..relay };
            pairs.push(pair(format!("{}, {how}", client.name()), own, relay, Some(0.7)));
        }
    }
    if let Some(python) = plan.python {
        let relay = Load::of(Client::RelayTokio, frames, true);
        let reference = Load { frames: plan.count(20_000), ..relay };
        pairs.push(Pair {
            name: "relay-tokio, acknowledged".into(),
            own: Box::new(move || relay.run()),
            other_name: "the reference",
            other: Box::new(move || run_reference(python, reference)),
            target: Some(20.0),
        });
    }
    for row in rows(pairs, plan.rounds)? {
        table.row(row);
    }
    Ok(table)
}

fn run_reference(python: &Path, load: Load) -> Result<f64> {
    load.run_with(|address| reference::over_socket(python, address, load.frames))
}

/// What grows with the size of events and the number of links.
pub(super) fn sizes(plan: &Plan<'_>) -> Result<Table> {
    let mut table = Table::new(
        "gateway_inbound_linear",
        "Inbound over loopback, acknowledged: sizes of events, numbers of links, deliveries each second",
        &COLUMNS,
    );
    let mut pairs = Vec::new();
    for size in SIZES {
        let frames = plan.count((200_000_000 / (size + 2000)).min(60_000)).max(200);
        let [relay, floor] = [Client::RelayTokio, Client::TokioTungstenite]
            .map(|client| Load { size, ..Load::of(client, frames, true) });
        pairs.push(pair(format!("{size}-byte events, 1 link"), relay, floor, None));
    }
    for links in if plan.quick { [10, 50] } else { [100, 1000] } {
        let frames = plan.count(60_000).div_ceil(links);
        let [relay, floor] = [Client::RelayTokio, Client::TokioTungstenite]
            .map(|client| Load { links, ..Load::of(client, frames, true) });
        pairs.push(pair(format!("{USUAL}-byte events, {links} links"), relay, floor, None));
    }
    for row in rows(pairs, plan.rounds)? {
        table.row(row);
    }
    Ok(table)
}
