//! `relay gateway`: a gateway whose application is at the other end of two pipes.

mod commands;
mod exec;
mod held;
mod report;
mod session;
pub(crate) mod tls;

use std::ffi::OsStr;
use std::io;
use std::process::ExitCode;

use relay_tokio::{ClientTls, Config, ConfigError, Events, Gateway};

use crate::args::{GatewayArgs, Runtime};
use crate::outbox::Outbox;
use crate::{input, output, runtime, signals};
use session::{Options, Session};

/// The variables with secrets, which are none of the program's business: the configuration is made of the first, and
/// `relay enroll` reads or writes the others.
const SECRETS: [&str; 4] = [
    "GATEWAY_RELAY_SECRET",
    "GATEWAY_RELAY_DELIVERY_KEY",
    "GATEWAY_RELAY_ENROLL_TOKEN",
    "GATEWAY_RELAY_IDENTITY_TOKEN",
];

pub(crate) fn run(args: &GatewayArgs) -> ExitCode {
    let (config, tls) = match args.config().and_then(|config| check(args, config)) {
        Ok(checked) => checked,
        Err(problem) => return output::fail(&problem, crate::USAGE),
    };
    // One thread moves everything but the two pipes, which have a thread each.
    runtime::run(Box::pin(serve(args, config, tls)))
}

/// Finds what is wrong before anything is started.
fn check(args: &GatewayArgs, config: Config) -> Result<(Config, Option<ClientTls>), String> {
    match config.clone().build() {
        Ok(settings) => Ok((config, tls::read(&args.tls, settings.target())?)),
        Err(error @ ConfigError::PlaintextCredentials { .. }) => {
            Err(format!("{error} (here: --allow-plaintext-credentials)"))
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn serve(args: &GatewayArgs, config: Config, tls: Option<ClientTls>) -> Result<ExitCode, String> {
    let signals = signals::watch()?;
    let pipes = |error: io::Error| format!("cannot start: {error}");
    let (child, commands, outbox) = match &args.exec {
        Some(command) => {
            let hidden: Vec<&OsStr> = args.secret_env.iter().map(OsStr::new).chain(SECRETS.map(OsStr::new)).collect();
            let (child, to, from) = exec::start(command, &hidden).map_err(|error| {
                format!("cannot run `{}`: {error}", command.first().map(|c| c.to_string_lossy()).unwrap_or_default())
            })?;
            (Some(child), input::start(from).map_err(pipes)?, Outbox::start(to).map_err(pipes)?)
        }
        None => (None, input::start(io::stdin()).map_err(pipes)?, Outbox::start(io::stdout()).map_err(pipes)?),
    };
    let (gateway, events) = connect(args.runtime, config, tls)?;
    let options = Options { ack: args.ack, raw: args.raw, wait_for_link: args.wait_for_link };
    Ok(Session::new(options, gateway, events, commands, outbox, child, signals).run().await)
}

/// The handle is the same whatever drives it, so the session does not know.
fn connect(runtime: Runtime, config: Config, tls: Option<ClientTls>) -> Result<(Gateway, Events), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    match runtime {
        Runtime::Tokio => relay_tokio::connect_with_tls(config, tls).map_err(|error| text(&error)),
        Runtime::AsyncStd => relay_async_std::connect_with_tls(config, tls).map_err(|error| text(&error)),
        Runtime::Blocking => relay_blocking::connect_with_tls(config, tls)
            .map(|(gateway, events)| (gateway.into_async(), events.into_async()))
            .map_err(|error| text(&error)),
    }
}
