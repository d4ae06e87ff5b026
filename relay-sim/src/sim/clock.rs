//! The clocks of one machine: a monotonic one that may stand still while it is suspended, and a wall clock that may be
//! wrong.

use std::time::Duration;

use relay_proto::time::Now;

use super::{Nanos, SECOND};

/// The wall clock of the world at its beginning.
const EPOCH: u64 = 1_800_000_000;

/// One machine's clocks.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Nanos,
    /// How long the monotonic clock has stood still.
    stood: Nanos,
    /// Whether suspended time counts, which differs between systems.
    counts_suspend: bool,
    /// How far the wall clock is off, in seconds.
    pub skew: i64,
}

impl Clock {
    pub fn new(origin: Nanos, counts_suspend: bool) -> Self {
        Self { origin, stood: 0, counts_suspend, skew: 0 }
    }

    /// What the clocks say at this moment of the world.
    pub fn now(&self, at: Nanos) -> Now {
        Now { monotonic: Duration::from_nanos(self.monotonic(at)), unix: self.unix(at) }
    }

    pub fn monotonic(&self, at: Nanos) -> Nanos {
        at - self.stood + self.origin
    }

    pub fn unix(&self, at: Nanos) -> u64 {
        (EPOCH + at / SECOND).saturating_add_signed(self.skew)
    }

    /// The moment of the world at which the monotonic clock shows this.
    pub fn when(&self, monotonic: Duration) -> Nanos {
        let nanos = u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX / 4);
        nanos.saturating_sub(self.origin) + self.stood
    }

    /// The machine was suspended for so long.
    pub fn suspended(&mut self, time: Nanos) {
        if !self.counts_suspend {
            self.stood += time;
        }
    }
}
