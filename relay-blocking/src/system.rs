//! What this crate has from the standard library and the system: threads, locks, sockets and a clock. No other file names
//! them, so that the tests of schedules can put simulated ones in their place.

#[cfg(shuttle)]
pub(crate) use simulated::{net, net::has_timeouts, sync, thread, thread_local, time::now};
#[cfg(not(shuttle))]
pub(crate) use std::{net, sync, thread, thread_local};

/// This crate's only clock.
#[cfg(not(shuttle))]
#[allow(clippy::disallowed_methods)] // Threads sleep towards points in time.
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// How long the threads that read and write have, from a deadline on, to tell of what came before it.
#[cfg(not(shuttle))]
pub(crate) const TURN: std::time::Duration = std::time::Duration::from_millis(5);
/// Simulated threads are never stopped, and their clock stands still.
#[cfg(shuttle)]
pub(crate) const TURN: std::time::Duration = std::time::Duration::ZERO;

/// Whether a socket may be used on after a write or a read that took too long. On Windows, nobody knows how much of it was
/// done.
#[cfg(not(shuttle))]
pub(crate) const fn has_timeouts() -> bool {
    cfg!(unix)
}
