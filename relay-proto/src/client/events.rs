//! The stream of events.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::delivery::Delivery;
use super::shared::Shared;

/// What the application is told: [`gateway::Event`](crate::gateway::Event), whose deliveries know their gateway.
pub type Event = crate::gateway::Event<Delivery>;

/// The events of one gateway. Not clonable: there is one reader.
///
/// What is not read is what holds the link back: see [`Limits::queue`](crate::gateway::Limits::queue). Results of
/// requests are not events, and arrive whether or not events are read (REQ-7).
///
/// A program that only sends drops this: what happens is then discarded as it comes, deliveries as if each were dropped
/// (ACK-6).
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.add_user();
        Self { shared }
    }

    /// The next event; `None` after the terminal one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next event, as a stream has it.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let deliver = |delivered| Delivery::new(self.shared.clone(), delivered);
        self.shared.poll_event(context.waker()).map(|event| event.map(|event| event.map_delivery(deliver)))
    }
}

impl futures_core::Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        Events::poll_next(self.get_mut(), context)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.remove_reader();
    }
}
