//! `relay connector`: a connector whose chat platforms are at the other end of two pipes.

mod accepting;
mod actions;
mod answers;
mod commands;
mod descriptors;
mod enrolment;
mod fronts;
mod messages;
mod report;
mod session;
mod setup;
mod tls;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::{fs, io};

use relay_connector::{self as connector, Connector, Disk, StoreError, StoreProblem, listen};
use tokio::sync::{Notify, oneshot};

use crate::args::ConnectorArgs;
use crate::outbox::Outbox;
use crate::streams::Patient;
use crate::{input, output, runtime, signals};
use answers::Answers;
use session::Session;
use setup::Setup;

pub(crate) fn run(args: &ConnectorArgs) -> ExitCode {
    let setup = match setup::read(args) {
        Ok(setup) => setup,
        Err(problem) => return output::fail(&problem, crate::USAGE),
    };
    // Before anybody can dial: reading an old store can take a while.
    let store = match args.store.as_deref().map(open).transpose() {
        Ok(store) => store,
        Err(problem) => return output::fail(&unopened(&problem), crate::FAILED),
    };
    // One thread moves everything but the two pipes, which have a thread each.
    runtime::run(Box::pin(serve(args, setup, store)))
}

/// Opens the store.
fn open(path: &Path) -> Result<Disk, StoreError> {
    // A pipe or a device would be waited for, or read for ever.
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(StoreError::new(path.display().to_string(), StoreProblem::NotAStore, "not a regular file"));
    }
    Disk::open(path)
}

/// Reads the certificate, its key and the authorities of clients again whenever that is asked for.
async fn renew(connector: Connector, asked: Arc<Notify>, files: (PathBuf, PathBuf, Vec<PathBuf>)) {
    loop {
        asked.notified().await;
        let (told, read) = oneshot::channel();
        let files = files.clone();
        // A pipe, or a disk that is far away, may take any time, and everything else goes on meanwhile. A task that blocks
        // would be waited for at the end, too.
        let started = std::thread::Builder::new().name("relay-tls".into()).spawn(move || {
            let (certificate, key, clients) = files;
            let _ = told.send(tls::read(&certificate, &key, &clients));
        });
        let read = match started {
            Ok(_) => read.await.unwrap_or_else(|_| Err("the files could not be read".into())),
            Err(error) => Err(format!("no thread to read the files: {error}")),
        };
        match read {
            Ok(tls) => {
                connector.set_tls(tls);
                output::note("SIGHUP: the TLS files were read again, and new connections are served with them");
            }
            Err(problem) => output::note(&format!("warning: SIGHUP: {problem}; the certificate stays what it was")),
        }
    }
}

/// Why the store was not opened.
fn unopened(error: &StoreError) -> String {
    match error.problem {
        // Only a connector that runs goes on by itself.
        StoreProblem::Full => {
            format!("the store at {}: no room is left ({}): make room, and start again", error.place, error.detail)
        }
        _ => error.to_string(),
    }
}

/// What gateways did over HTTP that is not told yet.
const HTTP_EVENTS: usize = 64;

async fn serve(args: &ConnectorArgs, setup: Setup, store: Option<Disk>) -> Result<ExitCode, String> {
    let tls = args.tls_cert.is_some();
    // The usual sign that a certificate was renewed.
    let (signals, renewed) = signals::watch_for_renewal(tls)?;
    let listener = match listen(&args.listen).await {
        Ok(listener) => listener,
        Err(error) => return Err(format!("cannot listen on `{}`: {error}", args.listen)),
    };
    let cannot_start = |error: io::Error| format!("cannot start: {error}");
    let durable = store.is_some();
    let (http_events, http) = tokio::sync::mpsc::channel(HTTP_EVENTS);
    let Setup { config, mut gateways, descriptors } = setup;
    let answers = Answers::new(args.answer, descriptors)?;
    let config = config.http_events(http_events);
    let (connector, events) = match store {
        Some(store) => connector::serve_with(listener, config, store).map_err(|error| error.to_string())?,
        None => connector::serve(listener, config).map_err(cannot_start)?,
    };
    if connector.authenticates() {
        gateways.close();
    }
    for id in connector.enrolled() {
        gateways.add(id.as_str());
    }
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let files = (certificate.clone(), key.clone(), args.tls_client_ca.clone());
        tokio::spawn(renew(connector.clone(), renewed, files));
    }
    setup::warn_about(connector.address(), tls, &gateways);
    let commands = input::start(Patient(io::stdin()), args.sizes.input()).map_err(cannot_start)?;
    let outbox = Outbox::start(Patient(io::stdout()), Some(output::UNREAD)).map_err(cannot_start)?;
    outbox.event(report::listening(&args.listen, connector.address(), tls), None);
    let told = (events, http);
    Ok(Session::new(connector, told, gateways, durable, answers, commands, outbox, signals).run().await)
}
