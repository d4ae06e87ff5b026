//! The iterator of events.

use std::fmt;
use std::iter::FusedIterator;
use std::time::Duration;

use relay_proto::client::{self, Event};

use crate::system::now;
use crate::system::sync::Weak;
use crate::threads::{Threads, wait_for};

/// The events of one gateway: an iterator that waits, and is over after the terminal event. Not clonable: there is one
/// reader.
///
/// What is not read is what holds the link back: see [`Limits::queue`](crate::Limits::queue). Results of requests are not
/// events, and arrive whether or not events are read (REQ-7).
///
/// A program that only sends drops this: what happens is then discarded as it comes, deliveries as if each were dropped
/// (ACK-6).
pub struct Events {
    pub(crate) inner: client::Events,
    pub(crate) threads: Weak<Threads>,
}

impl Events {
    /// The next event, if it comes within this time; `Ok(None)` after the terminal one.
    ///
    /// # Errors
    /// [`NotYet`]: nothing has come, and more may. Nothing is lost by that.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, NotYet> {
        // So far away that nobody will see it is never.
        let until = now().checked_add(timeout);
        wait_for(&self.threads, until, self.inner.next()).ok_or(NotYet)
    }

    /// The next event, if it is there; `Ok(None)` after the terminal one. Does not wait.
    ///
    /// # Errors
    /// [`NotYet`]: there is none now, and more may come.
    pub fn try_next(&mut self) -> Result<Option<Event>, NotYet> {
        self.next_timeout(Duration::ZERO)
    }

    /// The same events for async code: see [`Gateway::into_async`](crate::Gateway::into_async).
    pub fn into_async(self) -> client::Events {
        self.inner
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        wait_for(&self.threads, None, self.inner.next()).flatten()
    }
}

impl FusedIterator for Events {}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// No event has come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event yet")]
pub struct NotYet;
