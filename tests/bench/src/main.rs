//! What the relay protocol costs on this machine, beside the floor of the same machine in the same run.
//!
//! `cargo run --release --manifest-path tests/bench/Cargo.toml -- --help`

mod connector;
mod machine;
mod process;
mod report;
mod stats;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Report;

/// What can go wrong here ends the run.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

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
    let options = match cli.section {
        Some(Section::ConnectorProcess(options)) => return connector::child::run(&options),
        Some(Section::Connector(options)) => options,
        None => connector::Options::default(),
    };
    let mut report = Report::new(&options.dir());
    connector::run(&options, cli.quick, &mut report)?;
    report.print(cli.json)
}
