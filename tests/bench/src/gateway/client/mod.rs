//! This end of the links: each client that is compared, in a process of its own.

mod bare;
mod idle;
mod inbound;
mod many;
mod requests;

use std::future::Future;

use clap::{Args, Subcommand, ValueEnum};
use relay_proto::gateway::Config;
use serde_json::json;

use super::{child, cores};
use crate::Result;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
    /// Stay on one core.
    #[arg(long, global = true)]
    one_core: bool,
}

#[derive(Subcommand)]
enum What {
    /// Reads deliveries.
    Inbound(inbound::Options),
    /// Makes one request after the other.
    RoundTrip(requests::Options),
    /// Has many requests under way.
    InFlight(many::Options),
    /// Holds links.
    Idle(idle::Options),
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    RelayTokio,
    RelayAsyncStd,
    RelayBlocking,
    /// The floors.
    TokioTungstenite,
    Tungstenite,
    /// A client of the same kind.
    Jsonrpsee,
}

impl Client {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RelayTokio => "relay-tokio",
            Self::RelayAsyncStd => "relay-async-std",
            Self::RelayBlocking => "relay-blocking",
            Self::TokioTungstenite => "tokio-tungstenite",
            Self::Tungstenite => "tungstenite",
            Self::Jsonrpsee => "jsonrpsee",
        }
    }
}

pub(crate) fn run(options: Options) -> Result<()> {
    if options.one_core {
        cores::stay_on_one()?;
    }
    rlimit::increase_nofile_limit(u64::MAX)?;
    match options.what {
        What::Inbound(options) => inbound::run(&options),
        What::RoundTrip(options) => requests::run(&options),
        What::InFlight(options) => many::run(&options),
        What::Idle(options) => idle::run(&options),
    }
}

/// Runs this on one thread, or on so many workers.
fn tokio<T>(workers: usize, main: impl Future<Output = T>) -> Result<T> {
    let mut builder = match workers {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if workers > 0 {
        builder.worker_threads(workers);
    }
    Ok(builder.enable_all().build()?.block_on(main))
}

fn config(address: &str) -> Config {
    Config::new(format!("ws://{address}")).identity("discord", "bot").no_proxy()
}

/// The other end may begin.
fn tell_ready() {
    child::tell(&json!({"ready": true}));
}

/// An event that ends a measurement.
fn unexpected(event: &impl std::fmt::Debug) -> Box<dyn std::error::Error + Send + Sync> {
    format!("instead of what was waited for: {event:?}").into()
}
