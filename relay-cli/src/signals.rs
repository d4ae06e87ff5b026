//! SIGINT, SIGTERM and SIGHUP.

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
    let (asked, again) = watch_both()?;
    tokio::spawn(async move {
        again.notified().await;
        crate::log::finish();
        std::process::exit(crate::FAILED.into());
    });
    Ok(asked)
}

/// Watches for signals: tells of the first, and of a second, if it is another, which should end the process at once.
///
/// # Errors
/// Why they cannot be watched.
pub(crate) fn watch_both() -> Result<(Arc<Notify>, Arc<Notify>), String> {
    let (asked, again) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (teller, last) = (asked.clone(), again.clone());
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
        last.notify_one();
    });
    Ok((asked, again))
}

#[cfg(unix)]
struct Signals(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        // Whoever started this may have it ignored, as nohup does.
        if !hang_up_is_ignored() {
            kinds.push(SignalKind::hangup());
        }
        kinds.into_iter().map(signal).collect::<io::Result<_>>().map(Self)
    }

    async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let came = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// Whether the process was started with SIGHUP ignored. Only Linux tells without a system call of our own.
#[cfg(unix)]
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit n - 1 is for signal n, and this is the first.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
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
