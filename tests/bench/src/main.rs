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

/// Measures the relay protocol. Without a section it is `gateway`, a few minutes; `connector` takes a quarter of an hour.
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
    let report = match cli.section.unwrap_or_else(|| Section::Gateway(gateway::Options::default())) {
        Section::ConnectorProcess(options) => return connector::child::run(&options),
        Section::CoreProcess(options) => return gateway::core_process::run(&options),
        Section::PeerProcess(options) => return gateway::peer::run(options),
        Section::ClientProcess(options) => return gateway::client::run(options),
        Section::Connector(options) => {
            let mut report = Report::new(&options.dir());
            connector::run(&options, cli.quick, &mut report)?;
            report
        }
        Section::Gateway(options) => {
            let mut report = Report::new(&std::env::temp_dir());
            gateway::run(&options, cli.quick, &mut report)?;
            report
        }
    };
    report.print(cli.json)
}
