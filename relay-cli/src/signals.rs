//! SIGINT and SIGTERM.

use std::io;
use std::sync::Arc;

use tokio::sync::Notify;

/// Watches for signals: the first is told, a second ends the process at once.
pub(crate) fn watch() -> io::Result<Arc<Notify>> {
    let asked = Arc::new(Notify::new());
    let teller = asked.clone();
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.next().await;
        teller.notify_one();
        signals.next().await;
        std::process::exit(crate::FAILED.into());
    });
    Ok(asked)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
