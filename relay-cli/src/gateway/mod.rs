//! `relay gateway`: a gateway whose application is at the other end of two pipes.

mod answered;
mod commands;
mod exec;
mod held;
mod report;
mod session;
pub(crate) mod tls;

use std::ffi::OsStr;
use std::io;
use std::process::ExitCode;

use relay_proto::chat::SessionKeys;
use relay_tokio::{ClientTls, Config, ConfigError, Events, Gateway};

use crate::args::{GatewayArgs, Runtime};
use crate::outbox::Outbox;
use crate::streams::Patient;
use crate::{input, output, runtime, signals, url};
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
    let checked = match args.config().and_then(|(config, session_keys)| check(args, config, session_keys)) {
        Ok(checked) => checked,
        Err(problem) => return output::fail(&problem, crate::USAGE),
    };
    // One thread moves everything but the two pipes, which have a thread each.
    runtime::run(Box::pin(serve(args, checked)))
}

/// What a gateway is started with.
struct Checked {
    config: Config,
    tls: Option<ClientTls>,
    session_keys: SessionKeys,
    /// The platforms that it fronts.
    fronted: Vec<String>,
    /// It dials without TLS.
    plaintext: bool,
}

/// Finds what is wrong before anything is started.
fn check(args: &GatewayArgs, config: Config, session_keys: SessionKeys) -> Result<Checked, String> {
    match config.clone().build() {
        Ok(settings) => {
            let target = settings.target();
            url::warn_about_user(target);
            let tls = tls::read(&args.tls, target)?;
            let fronted = settings.identities().iter().map(|identity| identity.platform.clone()).collect();
            Ok(Checked { config, tls, session_keys, fronted, plaintext: !target.is_tls() })
        }
        Err(error @ ConfigError::PlaintextCredentials { .. }) => {
            Err(format!("{error} (here: --allow-plaintext-credentials)"))
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn serve(args: &GatewayArgs, checked: Checked) -> Result<ExitCode, String> {
    let Checked { config, tls, session_keys, fronted, plaintext } = checked;
    let (signal, again) = signals::watch_both()?;
    let pipes = |error: io::Error| format!("cannot start: {error}");
    let (child, commands, outbox) = match &args.exec {
        Some(command) => {
            let hidden: Vec<&OsStr> = args.secret_env.iter().map(OsStr::new).chain(SECRETS.map(OsStr::new)).collect();
            let (child, to, from) = exec::start(command, &hidden).map_err(|error| {
                format!("cannot run `{}`: {error}", command.first().map(|c| c.to_string_lossy()).unwrap_or_default())
            })?;
            let outbox = Outbox::start(Patient(to), None).map_err(pipes)?;
            (Some(child), input::start(Patient(from), args.sizes.input()).map_err(pipes)?, outbox)
        }
        None => {
            let outbox = Outbox::start(Patient(io::stdout()), Some(output::UNREAD)).map_err(pipes)?;
            (None, input::start(Patient(io::stdin()), args.sizes.input()).map_err(pipes)?, outbox)
        }
    };
    let (gateway, events) = connect(args.runtime, config, tls)?;
    let options =
        Options { ack: args.ack(), raw: args.raw, session_keys, wait_for_link: args.wait_for_link, fronted, plaintext };
    let session = Session::new(options, gateway, events, commands, outbox, child, signal);
    tokio::select! {
        code = session.run() => Ok(code),
        // The session is dropped, and with it a program that still runs is killed.
        () = again.notified() => Ok(ExitCode::from(crate::FAILED)),
    }
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
