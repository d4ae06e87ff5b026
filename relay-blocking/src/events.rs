//! The iterator of events.

use std::iter::FusedIterator;
use std::time::Duration;

use relay_proto::host::{self, Event};

use crate::signal::{block_on, block_on_until};
use crate::system::now;

/// The events of one gateway: an iterator that waits, and is over after the terminal event. Not clonable: there is one
/// reader.
///
/// What is not read is what holds the link back: see [`Limits::queue`](crate::Limits::queue). Results of requests are not
/// events, and arrive whether or not events are read (REQ-7).
///
/// A program that only sends drops this: what happens is then discarded as it comes, deliveries as if each were dropped
/// (ACK-6).
#[derive(Debug)]
pub struct Events(pub(crate) host::Events);

impl Events {
    /// The next event, if it comes within this time; `Ok(None)` after the terminal one.
    ///
    /// # Errors
    /// [`NotYet`]: nothing has come, and more may. Nothing is lost by that.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, NotYet> {
        // So far away that nobody will see it is never.
        let until = now().checked_add(timeout);
        block_on_until(until, self.0.next()).ok_or(NotYet)
    }

    /// The next event, if it is there; `Ok(None)` after the terminal one. Does not wait.
    ///
    /// # Errors
    /// [`NotYet`]: there is none now, and more may come.
    pub fn try_next(&mut self) -> Result<Option<Event>, NotYet> {
        self.next_timeout(Duration::ZERO)
    }

    /// The same events for async code: see [`Gateway::into_async`](crate::Gateway::into_async).
    pub fn into_async(self) -> host::Events {
        self.0
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        block_on(self.0.next())
    }
}

impl FusedIterator for Events {}

/// No event has come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event yet")]
pub struct NotYet;
