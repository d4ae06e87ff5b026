//! Time in the hands of a test: hours of a gateway or a connector on tokio pass in milliseconds.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::GUARD;

/// Tokio's clock, paused, and held: it moves by [`advance`](Self::advance) alone.
///
/// Left to itself, a paused clock jumps to the next timer whenever every task waits, also while bytes are on their way from
/// one socket to the other. A task that tokio takes to block keeps it from doing so.
///
/// After two [`GUARD`]s of real time, which only a hung test takes, the clock is let go, and the guard of what the test waits
/// for fails soon.
#[derive(Debug)]
pub struct HeldClock {
    _held: Sender<()>,
    holding: JoinHandle<()>,
}

impl HeldClock {
    /// Pauses the clock of the runtime that this is called on, which has one thread.
    ///
    /// # Panics
    /// On a runtime with several threads, or whose clock is paused already.
    pub fn pause() -> Self {
        tokio::time::pause();
        let (held, let_go) = channel::<()>();
        let holding = tokio::task::spawn_blocking(move || {
            let _ = let_go.recv_timeout(2 * GUARD);
        });
        Self { _held: held, holding }
    }

    /// Moves the clock by so much, and a millisecond: tokio's timers count whole ones, and are late by up to that.
    ///
    /// # Panics
    /// In a test that hung.
    pub async fn advance(&self, by: Duration) {
        assert!(!self.holding.is_finished(), "the clock had to be let go: the test hung");
        tokio::time::advance(by + Duration::from_millis(1)).await;
    }
}
