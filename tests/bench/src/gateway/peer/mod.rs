//! The other end of every link that is measured: a connector as cheap as it can be, in a process of its own.

mod answer;
mod flood;
mod idle;
mod wire;

use std::net::SocketAddr;

use clap::Args;
use clap::Subcommand;
use serde_json::json;

use super::child;
use super::cores;
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
    /// Sends deliveries as fast as they are taken.
    Flood(flood::Options),
    /// Answers requests.
    Answer,
    /// Answers pings.
    Idle {
        /// Over TLS, with a certificate made on the spot.
        #[arg(long)]
        tls: bool,
    },
}

pub(crate) fn run(options: Options) -> Result<()> {
    if options.one_core {
        cores::stay_on_one()?;
    }
    rlimit::increase_nofile_limit(u64::MAX)?;
    match options.what {
        What::Flood(options) => runtime()?.block_on(flood::run(options)),
        What::Answer => answer::run(),
        What::Idle { tls } => runtime()?.block_on(idle::run(tls)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Where it listens: with room for many clients that come at once.
async fn listen() -> Result<tokio::net::TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    Ok(socket.listen(4096)?)
}

fn tell_address(address: SocketAddr, authority: Option<&str>) {
    child::tell(&json!({"address": address.to_string(), "authority": authority}));
}

/// Ends the process when nobody wants it any more.
fn end_with_input(mut on_line: impl FnMut() + Send + 'static) {
    std::thread::spawn(move || {
        while child::wait() {
            on_line();
        }
        std::process::exit(0);
    });
}
