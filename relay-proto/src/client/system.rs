//! What the host has from the system: a lock, clocks and randomness. No other file of the host names them, so that the
//! tests of schedules can put simulated ones in their place.

#[cfg(not(shuttle))]
pub(super) use self::real::{clock, seed, unix};
#[cfg(shuttle)]
pub(super) use simulated::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{now as clock, seed, unix},
};
#[cfg(not(shuttle))]
pub(super) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

#[cfg(not(shuttle))]
mod real {
    use std::time::{Duration, Instant, SystemTime};

    /// The monotonic clock. This and [`unix`] are the only places that read one.
    #[allow(clippy::disallowed_methods)] // The host is what hands time to the machine.
    pub(in super::super) fn clock() -> Instant {
        Instant::now()
    }

    /// The wall clock.
    #[allow(clippy::disallowed_methods)] // As above.
    pub(in super::super) fn unix() -> Duration {
        // A wall clock before 1970 reads as 1970.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    /// The seed of jitter and request ids.
    pub(in super::super) fn seed() -> u64 {
        // Without the operating system's randomness nothing here is unsafe, only less spread out.
        getrandom::u64().unwrap_or_else(|_| unix().as_nanos() as u64)
    }
}
