//! SIGINT and SIGTERM.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// For how long after the first signal others are taken for part of it: `timeout` sends one to the process and one to its
/// group, and a terminal and a supervisor may both pass one on.
const SAME: Duration = Duration::from_millis(500);

/// Watches for signals: the first is told, a second, if it is another, ends the process at once.
///
/// # Errors
/// Why they cannot be watched.
pub(crate) fn watch() -> Result<Arc<Notify>, String> {
    let asked = Arc::new(Notify::new());
    let teller = asked.clone();
    let mut signals = Signals::new().map_err(|error| format!("cannot watch for signals: {error}"))?;
    tokio::spawn(async move {
        signals.next().await;
        teller.notify_one();
        let _ = timeout(SAME, async {
            loop {
                signals.next().await;
            }
        })
        .await;
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
