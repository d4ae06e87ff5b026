//! Events that the application has not read yet.

use alloc::collections::VecDeque;

use super::output::{Event, Identity};
use crate::frame::RawJson;

/// What an event is taken to weigh beyond its text.
const OVERHEAD: usize = 128;
/// How many unread reports of links are kept: a gateway that opens and closes in a loop must not pile them up.
const REPORTS: usize = 64;

/// The queue. Bounded by its owner, which asks for [`bytes`](Self::bytes).
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    reports: usize,
}

impl Queue {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= weight(&event);
        self.reports -= usize::from(is_report(&event));
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        Some(event)
    }
}

fn is_report(event: &Event) -> bool {
    matches!(event, Event::Idle | Event::LinkEnded { .. })
}

/// Reports weigh nothing: they are bounded by number.
fn weight(event: &Event) -> usize {
    let len = |text: &Option<alloc::string::String>| text.as_ref().map_or(0, |text| text.len());
    match event {
        Event::Idle | Event::LinkEnded { .. } => 0,
        Event::Acked(_) => OVERHEAD,
        Event::Hello(identity) => OVERHEAD + identity_weight(identity),
        Event::Interrupt { session_key, reason } => OVERHEAD + session_key.len() + len(reason),
        Event::Outbound(outbound) => {
            let ids = outbound.request_id.len() + len(&outbound.platform) + len(&outbound.bot_id);
            OVERHEAD + ids + outbound.action.as_str().len()
        }
    }
}

pub(crate) fn identity_weight(identity: &Identity) -> usize {
    let manifest = identity.command_manifest.as_ref().map_or(0, |manifest: &RawJson| manifest.as_str().len());
    identity.platform.len() + identity.bot_id.len() + manifest
}
