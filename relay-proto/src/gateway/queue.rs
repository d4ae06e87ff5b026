//! Events that the application has not read yet (REQ-7, STOP-1).

use alloc::collections::VecDeque;

use super::output::{Delivered, Event};
use crate::frame::Interrupt;

/// What an event is taken to weigh beyond its text.
const OVERHEAD: usize = 256;
/// How many unread reports of links and dials are kept. An application that reads none for hours must not
/// pile them up, and those of ready links hold a descriptor each.
const REPORTS: usize = 16;

/// The queue. Bounded by its owner, which asks for [`bytes`](Self::bytes).
#[derive(Debug, Default)]
pub(crate) struct Queue {
    interrupts: VecDeque<Interrupt>,
    events: VecDeque<Event>,
    bytes: usize,
    reports: usize,
}

impl Queue {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.interrupts.is_empty() && self.events.is_empty()
    }

    pub(crate) fn push_interrupt(&mut self, interrupt: Interrupt) {
        self.bytes += interrupt_weight(&interrupt);
        self.interrupts.push_back(interrupt);
    }

    /// Appends an event. Whether an old report had to be dropped for it.
    pub(crate) fn push(&mut self, event: Event) -> bool {
        let mut dropped = false;
        if is_report(&event) {
            if self.reports == REPORTS
                && let Some(oldest) = self.events.iter().position(is_report)
            {
                self.events.remove(oldest);
                self.reports -= 1;
                dropped = true;
            }
            self.reports += 1;
        }
        self.bytes += weight(&event);
        self.events.push_back(event);
        dropped
    }

    /// The next event: interrupts first.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        if let Some(interrupt) = self.interrupts.pop_front() {
            self.bytes -= interrupt_weight(&interrupt);
            if self.interrupts.is_empty() {
                self.interrupts = VecDeque::new();
            }
            return Some(Event::Interrupt(interrupt));
        }
        let event = self.events.pop_front()?;
        self.bytes -= weight(&event);
        self.reports -= usize::from(is_report(&event));
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        Some(event)
    }
}

/// Reports of links and dials. Terminal events are none: they come once, and must arrive.
fn is_report(event: &Event) -> bool {
    matches!(event, Event::Ready { .. } | Event::Disconnected { .. } | Event::Idle)
}

fn interrupt_weight(interrupt: &Interrupt) -> usize {
    OVERHEAD + interrupt.session_key.len() + interrupt.chat_id.as_ref().map_or(0, |chat| chat.len())
}

/// Reports weigh nothing: they are bounded by number, and must not stop the link from being read.
fn weight(event: &Event) -> usize {
    match event {
        // Lists of tiny things weigh more than their text.
        Event::Message(delivered) => {
            let event = &delivered.payload;
            let lists = 8 * event.media_urls().len() + 24 * event.context().len();
            delivery_weight(delivered) + event.raw().len() + lists
        }
        // The body is held twice: decoded, and within the raw text.
        Event::Passthrough(delivered) => {
            let forward = &delivered.payload;
            let lists = 48 * forward.headers.len();
            delivery_weight(delivered) + forward.raw.as_str().len() + forward.body.len() + lists
        }
        Event::Undecodable(delivered) => {
            delivery_weight(delivered) + delivered.payload.raw.as_ref().map_or(0, |raw| raw.as_str().len())
        }
        _ => 0,
    }
}

/// The buffer id is held twice: here, and where its acknowledgement is owed.
fn delivery_weight<T>(delivered: &Delivered<T>) -> usize {
    OVERHEAD + 2 * delivered.buffer_id.as_ref().map_or(0, |id| id.as_str().len())
}
