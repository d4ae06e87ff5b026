//! The `relay` command line.
//!
//! It is how a newcomer, or a program in another language, uses the relay protocol. Everything that programs read is on
//! standard output, one JSON object a line; logs and errors are on standard error.

mod args;
mod connector;
mod decode;
mod demo;
mod draft;
mod enroll;
mod env_file;
mod environment;
mod gateway;
mod input;
mod json;
mod lines;
mod members;
mod outbox;
mod output;
mod render;
mod signals;
mod token;
mod url;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use args::{Cli, Command};

/// The exit code for what failed.
pub(crate) const FAILED: u8 = 1;
/// The exit code for a wrong command line, or a wrong environment.
pub(crate) const USAGE: u8 = 2;
/// The exit code for revoked credentials.
pub(crate) const REVOKED: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output. If nobody reads it, nobody misses it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    if let Err(problem) = log_to_stderr() {
        return output::fail(&problem, USAGE);
    }
    match &cli.command {
        None => {
            output::note("no subcommand, so this is `relay demo`; see `relay --help` for the others");
            demo::run(false)
        }
        Some(Command::Demo(args)) => demo::run(args.once),
        Some(Command::Gateway(args)) => gateway::run(args),
        Some(Command::Connector(args)) => connector::run(args),
        Some(Command::Enroll(args)) => enroll::run(args),
        Some(Command::Decode(args)) => decode::run(args),
        Some(Command::Token(command)) => token::run(command),
        Some(Command::Url(args)) => url::run(args),
    }
}

fn log_to_stderr() -> Result<(), String> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .with_env_var("RELAY_LOG")
        .from_env()
        .map_err(|error| format!("the environment variable `RELAY_LOG` is no filter for logs: {error}"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .log_internal_errors(false);
    // It fails only when it was done before.
    let _ = logs.try_init();
    Ok(())
}
