//! The stream of events.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::delivery::Delivery;
use super::shared::Shared;
use crate::frame::{Descriptor, Interrupt, MessageEvent, PassthroughForward, Undecodable};
use crate::gateway::{Ended, Event as MachineEvent};

/// What the application is told, in order, except that interrupts overtake what waits before them (STOP-1).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A link is ready (HELLO-2).
    Ready {
        /// The link's first, and therefore default, descriptor.
        descriptor: Arc<Descriptor>,
    },
    /// A message. Ack it once it is taken: see [`Delivery`].
    Message(Delivery<MessageEvent>),
    /// A forwarded HTTP request (PASS-1); on Discord, buttons and commands come so:
    /// [`interaction`](PassthroughForward::interaction). Ack it also if it is of no use: dropped, it holds up the
    /// acknowledgements of everything behind it until the next link.
    Passthrough(Delivery<PassthroughForward>),
    /// A delivery that cannot be decoded (ACK-5). Ack it to be rid of it: dropped, it holds up the acknowledgements of
    /// everything behind it until the next link, which brings it again.
    Undecodable(Delivery<Undecodable>),
    /// A user stopped a session (STOP-1).
    Interrupt(Interrupt),
    /// A link or a dial ended (LINK-2).
    Disconnected {
        /// How.
        ended: Ended,
        /// When the next dial comes; `None` when none will come by itself.
        retry_in: Option<Duration>,
    },
    /// The connector acknowledged that this gateway went idle: it delivers nothing more on this link (IDLE-1). Also when
    /// the acknowledgement came too late for the call that asked for it; [`reconnect`](super::Gateway::reconnect) then
    /// brings deliveries back.
    Idle,
    /// The credentials are revoked. Terminal (AUTH-2).
    Revoked {
        /// How the connector said so.
        ended: Ended,
    },
    /// The gateway is shut down. Terminal (CLOSE-1).
    Closed,
}

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
        self.shared.poll_event(context.waker()).map(|event| event.map(|event| self.wrap(event)))
    }

    fn wrap(&self, event: MachineEvent) -> Event {
        let shared = &self.shared;
        match event {
            MachineEvent::Ready { descriptor } => Event::Ready { descriptor },
            MachineEvent::Message(delivered) => Event::Message(Delivery::new(shared.clone(), delivered)),
            MachineEvent::Passthrough(delivered) => Event::Passthrough(Delivery::new(shared.clone(), *delivered)),
            MachineEvent::Undecodable(delivered) => Event::Undecodable(Delivery::new(shared.clone(), delivered)),
            MachineEvent::Interrupt(interrupt) => Event::Interrupt(interrupt),
            MachineEvent::Disconnected { ended, retry_in } => Event::Disconnected { ended, retry_in },
            MachineEvent::Idle => Event::Idle,
            MachineEvent::Revoked { ended } => Event::Revoked { ended },
            MachineEvent::Closed => Event::Closed,
        }
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
