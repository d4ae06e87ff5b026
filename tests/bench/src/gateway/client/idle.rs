//! Holds links on which nothing happens, and says what they cost.

use std::time::{Duration, Instant};

use clap::Args;
use relay_proto::client::{Event, Events, Gateway};
use relay_proto::gateway::{Config, State, Timing};
use relay_proto::wire::{ClientTls, ClientTlsBuilder};
use serde_json::json;

use super::{Client, unexpected};
use crate::Result;
use crate::gateway::child;
use crate::process::Process;

#[derive(Args)]
pub(super) struct Options {
    #[arg(long)]
    address: String,
    #[arg(long)]
    client: Client,
    #[arg(long)]
    links: usize,
    /// With TLS: the certificate that is trusted, as PEM.
    #[arg(long)]
    authority: Option<String>,
    /// Silence after which the peer is pinged.
    #[arg(long)]
    ping_ms: u64,
}

/// Links that are being made at the same time.
const TOGETHER: usize = 64;
/// For pings to be answered.
const MARGIN: Duration = Duration::from_millis(500);

pub(super) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let _entered = runtime.enter();
    let tls = match &options.authority {
        Some(pem) => Some(ClientTlsBuilder::new().roots(pem).build()?),
        None => None,
    };
    let ping = Duration::from_millis(options.ping_ms);
    let mut timing = Timing::default();
    timing.ping_after = ping;
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let config = Config::new(format!("{scheme}://{}", options.address)).identity("discord", "bot");
    let config = config.no_proxy().timing(timing);
    let connect = |tls: Option<ClientTls>| -> Result<(Gateway, Events)> {
        match options.client {
            Client::RelayTokio => Ok(relay_tokio::connect_with_tls(config.clone(), tls)?),
            Client::RelayAsyncStd => Ok(relay_async_std::connect_with_tls(config.clone(), tls)?),
            other => Err(format!("{} holds no idle links here", other.name()).into()),
        }
    };
    let (process, began) = (Process(std::process::id()), Instant::now());
    let before = process.resident();
    let mut links = Vec::with_capacity(options.links);
    while links.len() < options.links {
        let some = TOGETHER.min(options.links - links.len());
        let mut new = (0..some).map(|_| connect(tls.clone())).collect::<Result<Vec<_>>>()?;
        for (_, events) in &mut new {
            match runtime.block_on(events.next()) {
                Some(Event::Ready { .. }) => {}
                other => return Err(unexpected(&other)),
            }
        }
        links.extend(new);
    }
    let each = |resident: f64| (resident - before) * 1024.0 / options.links as f64;
    let (linked, fresh) = (began.elapsed(), each(process.resident()));
    child::tell(&json!({"linked": true}));
    // The last link to ping is the last that was made. Then, until the first pings again, nothing has to happen.
    std::thread::sleep(ping + MARGIN);
    let settled = each(process.resident());
    let quiet = (began + 2 * ping).saturating_duration_since(Instant::now() + MARGIN);
    let before = (process.cpu("").0, process.switches());
    std::thread::sleep(quiet);
    let (cpu, switches) = (process.cpu("").0 - before.0, process.switches() - before.1);
    let alive = links.iter().filter(|(gateway, _)| gateway.state() == State::Ready).count();
    if alive != options.links {
        return Err(format!("{alive} of {} links are left", options.links).into());
    }
    // Nothing was measured when linking took longer than the silence that follows it.
    let quiet = Some(quiet.as_secs_f64()).filter(|seconds| *seconds > 0.5);
    child::tell(&json!({
        "fresh": fresh, "settled": settled, "linked_s": linked.as_secs_f64(), "threads": process.threads(),
        "quiet_s": quiet, "cpu_s": quiet.map(|_| cpu), "switches": quiet.map(|_| switches),
    }));
    child::wait();
    // Links need not end in order.
    std::process::exit(0)
}
