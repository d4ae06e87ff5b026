//! Links on which nothing happens: memory, and the CPU that they take all the same.

use super::Plan;
use super::child::Child;
use super::client::Client::{self, RelayAsyncStd, RelayTokio};
use crate::Result;
use crate::report::{Cell, Table};

/// Many links over TLS take this long to be made, and then have to be silent for longer than that.
const PING_MS: (u64, u64) = (8_000, 20_000);

pub(super) fn run(plan: &Plan<'_>) -> Result<Table> {
    let mut table = Table::new(
        "gateway_idle",
        "Idle links: resident memory, and CPU and wake-ups between two keepalives",
        &[
            "what",
            "links",
            "just linked, bytes each",
            "after a ping, bytes each",
            "target",
            "threads",
            "linked each second",
            "quiet, s",
            "CPU, ms/s",
            "wake-ups/s",
        ],
    );
    let few = plan.links.div_ceil(10);
    let all = [
        (RelayTokio, plan.links, true),
        (RelayTokio, plan.links, false),
        (RelayTokio, few, false),
        (RelayTokio, few, true),
        (RelayAsyncStd, few, false),
        (RelayAsyncStd, few, true),
    ];
    // The next one links while the one before is silent.
    let mut under_way = Vec::new();
    for (client, links, tls) in all {
        let ping = match links {
            _ if plan.quick => 2_500,
            links if links > 2_000 => PING_MS.1,
            _ => PING_MS.0,
        };
        under_way.push(start(client, links, tls, ping)?);
    }
    for ((client, links, tls), (_peer, mut process)) in all.into_iter().zip(under_way) {
        let told = process.next()?;
        let number = |name: &str| told[name].as_f64().unwrap_or(f64::NAN);
        let per_second = |name: &str| number(name) / number("quiet_s");
        table.row(vec![
            Cell::text(format!("{}, {}", client.name(), if tls { "TLS" } else { "plain" })),
            Cell::count(links as u64),
            Cell::number(number("fresh"), 0, ""),
            Cell::number(number("settled"), 0, ""),
            if client == RelayTokio { Cell::count(if tls { 16 << 10 } else { 4 << 10 }) } else { Cell::none() },
            Cell::number(number("threads"), 0, ""),
            Cell::number(links as f64 / number("linked_s"), 0, ""),
            Cell::number(number("quiet_s"), 1, ""),
            Cell::number(per_second("cpu_s") * 1000.0, 2, ""),
            Cell::number(per_second("switches"), 1, ""),
        ]);
    }
    Ok(table)
}

/// A process whose links are made, and its peer.
fn start(client: Client, links: usize, tls: bool, ping_ms: u64) -> Result<(Child, Child)> {
    let mut arguments = vec!["peer-process", "idle"];
    if tls {
        arguments.push("--tls");
    }
    let mut peer = Child::start(&arguments)?;
    let told = peer.next()?;
    let address = told["address"].as_str().ok_or("no address")?;
    let [links, ping_ms] = [links as u64, ping_ms].map(|number| number.to_string());
    let mut arguments = vec!["client-process", "idle", "--address", address, "--client", client.name()];
    arguments.extend(["--links", &links, "--ping-ms", &ping_ms]);
    // It begins with dashes.
    let authority = told["authority"].as_str().map(|pem| format!("--authority={pem}"));
    arguments.extend(authority.as_deref());
    let mut process = Child::start(&arguments)?;
    process.next()?;
    Ok((peer, process))
}
