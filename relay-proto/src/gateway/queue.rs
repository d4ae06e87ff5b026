//! Events that the application has not read yet (REQ-7, STOP-1).

use alloc::collections::VecDeque;
use alloc::string::String;

use super::output::{Delivered, Event};
use crate::frame::{Content, Interrupt, PassthroughForward};
use crate::queue::{Queue as InOrder, Unread};

/// What an event is taken to weigh beyond its text.
const OVERHEAD: usize = 256;

/// What a header is taken to weigh beyond its texts: two `String`s, each with the least that is allocated.
const HEADER: usize = 2 * (size_of::<String>() + 32);

/// Up to what size the descriptor in a report weighs nothing. One with short texts and the contract's operations has less
/// than 2 KiB.
const ORDINARY_DESCRIPTOR: usize = 16 << 10;

/// The queue: events in order, and interrupts ahead of them. Bounded by its owner, which asks for
/// [`bytes`](Self::bytes).
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    interrupts: VecDeque<Interrupt>,
    interrupt_bytes: usize,
    events: InOrder<Event>,
}

impl Queue {
    pub(crate) fn bytes(&self) -> usize {
        self.interrupt_bytes + self.events.bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.interrupts.is_empty() && self.events.is_empty()
    }

    pub(crate) fn push_interrupt(&mut self, interrupt: Interrupt) {
        self.interrupt_bytes += interrupt_weight(&interrupt);
        self.interrupts.push_back(interrupt);
    }

    /// Gives back the room that holds nothing.
    pub(crate) fn shrink(&mut self) {
        self.events.shrink();
    }

    /// Appends an event. Whether an old report had to be dropped for it.
    pub(crate) fn push(&mut self, event: Event) -> bool {
        self.events.push(event)
    }

    /// The next event: interrupts first.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let Some(interrupt) = self.interrupts.pop_front() else { return self.events.pop() };
        self.interrupt_bytes -= interrupt_weight(&interrupt);
        if self.interrupts.is_empty() {
            self.interrupts = VecDeque::new();
        }
        Some(Event::Interrupt(interrupt))
    }
}

fn interrupt_weight(interrupt: &Interrupt) -> usize {
    OVERHEAD + interrupt.session_key.len() + interrupt.chat_id.as_ref().map_or(0, |chat| chat.len())
}

impl Unread for Event {
    /// Those of ready links hold a descriptor each.
    const REPORTS: usize = 16;
    /// As many as come with a read, and no more than a few KiB.
    const ROOM: usize = 64;

    /// Reports weigh nothing, so that they do not stop the link from being read: they are bounded by number. Except for a
    /// descriptor without measure: the link holds the same one, but reports outlive their links.
    fn weight(&self) -> usize {
        match self {
            Self::Delivery(delivered) => delivery_weight(delivered),
            Self::Ready { descriptor } => descriptor.size().saturating_sub(ORDINARY_DESCRIPTOR),
            _ => 0,
        }
    }

    /// Terminal events are none: they come once, and must arrive.
    fn is_report(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Disconnected { .. } | Self::Idle)
    }
}

/// All of it is held twice: decoded, and within the raw text.
fn forward_weight(forward: &PassthroughForward) -> usize {
    let PassthroughForward { platform, bot_id, method, path, headers, body, raw, .. } = forward;
    let fields = [platform, bot_id, method, path].map(String::len).iter().sum::<usize>();
    let headers = headers.iter().map(|(name, value)| HEADER + name.len() + value.len()).sum::<usize>();
    raw.as_str().len() + body.len() + fields + headers
}

/// The buffer id is held twice: here, and where its acknowledgement is owed.
fn delivery_weight(delivered: &Delivered) -> usize {
    let content = match &delivered.content {
        // Lists of tiny things weigh more than their text.
        Content::Message(message) => {
            message.raw().len() + 8 * message.media_urls().len() + 24 * message.context().len()
        }
        Content::Passthrough(forward) => forward_weight(forward),
        Content::Undecodable(_) => delivered.content.raw().len(),
    };
    OVERHEAD + 2 * delivered.buffer_id.as_ref().map_or(0, |id| id.len()) + content
}
