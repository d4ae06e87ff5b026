//! The clocks that a gateway goes by.

use std::time::{Duration, Instant};

use super::system;

/// A runtime's clocks (CLOCK-3). A gateway computes its deadlines with [`now`](Self::now), and its runtime's timer waits for
/// them: both have to read the same clock, or a deadline is never over, or over at once and again and again.
///
/// Calls come from every thread that has a handle, also from one that does not belong to the runtime.
pub trait Clock: Send + Sync + 'static {
    /// The monotonic clock, which [`Net::poll_timer`](super::Net::poll_timer) waits by.
    fn now(&self) -> Instant;

    /// The wall clock at the time `now`, which [`now`](Self::now) has just returned: the time since the Unix epoch.
    ///
    /// By default it is the system's, moved by as much as `now` is ahead of the system's monotonic clock or behind it. So
    /// the two go together when a test owns the monotonic one: a test that advances it by an hour ages tokens by an hour, and
    /// is not taken for a machine that was suspended (CLOCK-2).
    fn unix(&self, now: Instant) -> Duration {
        let unix = system::unix();
        let system = system::clock();
        match now.checked_duration_since(system) {
            Some(ahead) => unix.saturating_add(ahead),
            None => unix.saturating_sub(system.saturating_duration_since(now)),
        }
    }
}

/// The system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        system::clock()
    }

    fn unix(&self, _: Instant) -> Duration {
        system::unix()
    }
}
