//! What the relay protocol costs on this machine, beside the floor of the same machine in the same run.
//!
//! `cargo run --release --manifest-path tests/bench/Cargo.toml -- --help`

mod connector;
mod gateway;
mod machine;
mod process;
mod report;
mod stats;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use relay_bench::Result;

use report::Report;

/// Measures the relay protocol. Without a section, all of them.
#[derive(Parser)]
struct Cli {
    /// One JSON document instead of tables.
    #[arg(long, global = true)]
    json: bool,
    /// Small numbers, one round: shows that it runs, not what it costs.
    #[arg(long, global = true)]
    quick: bool,
    #[command(subcommand)]
    section: Option<Section>,
}

#[derive(Subcommand)]
enum Section {
    /// The connector half: memory, draining, accepting, and gateways that mean harm.
    Connector(connector::Options),
    /// The connector process that is measured. Started by the section `connector`.
    #[command(hide = true)]
    ConnectorProcess(connector::child::Options),
    /// The gateway half: instructions, allocations, rates, memory, and the command.
    Gateway(gateway::Options),
    /// The processes that are measured. Started by the section `gateway`.
    #[command(hide = true)]
    CoreProcess(gateway::core_process::Options),
    #[command(hide = true)]
    PeerProcess(gateway::peer::Options),
    #[command(hide = true)]
    ClientProcess(gateway::client::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let (mut connector, mut gateway) = (None, None);
    match cli.section {
        Some(Section::ConnectorProcess(options)) => return connector::child::run(&options),
        Some(Section::CoreProcess(options)) => return gateway::core_process::run(&options),
        Some(Section::PeerProcess(options)) => return gateway::peer::run(options),
        Some(Section::ClientProcess(options)) => return gateway::client::run(options),
        Some(Section::Connector(options)) => connector = Some(options),
        Some(Section::Gateway(options)) => gateway = Some(options),
        None => (connector, gateway) = (Some(connector::Options::default()), Some(gateway::Options::default())),
    }
    let dir = connector.as_ref().map_or_else(std::env::temp_dir, connector::Options::dir);
    let mut report = Report::new(&dir);
    if let Some(options) = gateway {
        gateway::run(&options, cli.quick, &mut report)?;
    }
    if let Some(options) = connector {
        connector::run(&options, cli.quick, &mut report)?;
    }
    report.print(cli.json)
}
