//! SIGINT, SIGTERM and SIGHUP.

use std::io::{self, IsTerminal as _};
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
    watch_for_renewal(false).map(|(asked, _)| asked)
}

/// Watches as [`watch`] does. With `renews`, SIGHUP is no signal to end: the other one is told of it, even if it was ignored
/// at the start. Only where it says that the terminal of the process has gone, it ends.
///
/// # Errors
/// Why they cannot be watched.
pub(crate) fn watch_for_renewal(renews: bool) -> Result<(Arc<Notify>, Arc<Notify>), String> {
    let renewed = renews.then(|| Arc::new(Notify::new()));
    let (asked, again) = watch_all(renewed.clone())?;
    tokio::spawn(async move {
        again.notified().await;
        crate::log::finish();
        std::process::exit(crate::FAILED.into());
    });
    Ok((asked, renewed.unwrap_or_default()))
}

/// Watches for signals: tells of the first, and of a second, if it is another, which should end the process at once.
///
/// # Errors
/// Why they cannot be watched.
pub(crate) fn watch_both() -> Result<(Arc<Notify>, Arc<Notify>), String> {
    watch_all(None)
}

/// `renewed` is told of SIGHUP, which ends nothing then.
fn watch_all(renewed: Option<Arc<Notify>>) -> Result<(Arc<Notify>, Arc<Notify>), String> {
    let (asked, again) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (teller, last) = (asked.clone(), again.clone());
    let mut signals = Signals::new(renewed).map_err(|error| format!("cannot watch for signals: {error}"))?;
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
struct Signals {
    ending: Vec<tokio::signal::unix::Signal>,
    /// SIGHUP, when it does not end the process, and who is told of it.
    renewing: Option<(tokio::signal::unix::Signal, Arc<Notify>)>,
    /// The process began in a terminal.
    in_terminal: bool,
}

#[cfg(unix)]
impl Signals {
    fn new(renewed: Option<Arc<Notify>>) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        // Whoever started this may have it ignored, as nohup does.
        if renewed.is_none() && !hang_up_is_ignored() {
            kinds.push(SignalKind::hangup());
        }
        let ending = kinds.into_iter().map(signal).collect::<io::Result<_>>()?;
        let renewing =
            renewed.map(|renewed| signal(SignalKind::hangup()).map(|hang_up| (hang_up, renewed))).transpose()?;
        Ok(Self { ending, renewing, in_terminal: io::stdin().is_terminal() })
    }

    async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let mut came = self.ending.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            while let Some((hang_up, renewed)) = &mut self.renewing
                && hang_up.poll_recv(context).is_ready()
            {
                if self.in_terminal && !io::stdin().is_terminal() {
                    came = true;
                } else {
                    renewed.notify_one();
                }
            }
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
    fn new(_: Option<Arc<Notify>>) -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
