//! The `relay` command line.
//!
//! It is how a newcomer, or a program in another language, uses the relay protocol. Everything that programs read is on
//! standard output, one JSON object a line; logs and errors are on standard error.

mod args;
mod atomic_file;
mod connector;
mod decode;
mod demo;
mod enroll;
mod env_file;
mod environment;
mod gateway;
mod gateway_id;
mod input;
mod json;
mod lines;
mod log;
mod members;
mod outbox;
mod output;
mod render;
mod runtime;
mod signals;
mod streams;
mod text;
mod token;
mod url;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use args::{Cli, Command};
use output::Output;

/// The exit code for what failed.
pub(crate) const FAILED: u8 = 1;
/// The exit code for a wrong command line, or a wrong environment.
pub(crate) const USAGE: u8 = 2;
/// The exit code for revoked credentials.
pub(crate) const REVOKED: u8 = 3;

fn main() -> ExitCode {
    let code = run();
    log::finish();
    code
}

fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render().to_string();
            if error.use_stderr() {
                log::line(&text);
            } else {
                // Help. If nobody reads it, nobody misses it.
                let mut output = Output::stdout();
                let _ = output.line(text.trim_end_matches('\n')).and_then(|()| output.flush());
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    // What goes wrong in the demonstration is told by the demonstration.
    let level = if matches!(cli.command, None | Some(Command::Demo(_))) { LevelFilter::OFF } else { LevelFilter::WARN };
    if let Err(problem) = log_to_stderr(level) {
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

/// `level`: what is logged unless `RELAY_LOG` says otherwise.
fn log_to_stderr(level: LevelFilter) -> Result<(), String> {
    let problem =
        |error: &dyn std::fmt::Display| format!("the environment variable `RELAY_LOG` is no filter for logs: {error}");
    let filter = match std::env::var("RELAY_LOG") {
        Ok(filter) if !filter.trim().is_empty() => {
            // It would be taken for the name of a target, and silence all others.
            let words = filter.split(',').map(str::trim);
            let mut bare = words.filter(|word| !word.is_empty() && !word.contains('='));
            if let Some(word) = bare.find(|word| word.parse::<LevelFilter>().is_err()) {
                let levels = "off, error, warn, info, debug and trace";
                return Err(problem(&format!(
                    "{word:?} is no level: there are {levels} (for one target: TARGET=LEVEL)"
                )));
            }
            filter.parse::<Targets>().map_err(|error| problem(&error))?
        }
        Err(error @ std::env::VarError::NotUnicode(_)) => return Err(problem(&error)),
        _ => Targets::new().with_default(level),
    };
    let logs =
        tracing_subscriber::fmt::layer().with_writer(|| log::Events).with_target(false).log_internal_errors(false);
    // It fails only when it was done before.
    let _ = tracing_subscriber::registry().with(filter).with(logs).try_init();
    Ok(())
}
