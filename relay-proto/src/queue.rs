//! Events that the application has not read yet: what both halves need of a queue.

use alloc::collections::VecDeque;

/// What an unread event costs.
pub(crate) trait Unread {
    /// How many unread reports are kept.
    const REPORTS: usize;
    /// For how many events an empty queue may keep room, once there were more than a few. Zero: it holds no memory.
    const ROOM: usize;

    /// About how many bytes it holds.
    fn weight(&self) -> usize;

    /// Whether it reports what happened to a link. Reports are bounded by number: an application that reads none for
    /// hours must not pile them up, and the latest say the most.
    fn is_report(&self) -> bool;
}

/// The room that a first event makes. It is not worth keeping.
const FEW: usize = 4;

/// The queue. Bounded in bytes by its owner, which asks for [`bytes`](Self::bytes).
#[derive(Clone, Debug)]
pub(crate) struct Queue<E> {
    events: VecDeque<E>,
    bytes: usize,
    reports: usize,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { events: VecDeque::new(), bytes: 0, reports: 0 }
    }
}

impl<E: Unread> Queue<E> {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Appends an event. Whether the oldest report had to be dropped for it.
    pub(crate) fn push(&mut self, event: E) -> bool {
        let mut dropped = false;
        if event.is_report() {
            if self.reports == E::REPORTS
                && let Some(oldest) = self.events.iter().position(E::is_report)
                && let Some(oldest) = self.events.remove(oldest)
            {
                self.bytes -= oldest.weight();
                self.reports -= 1;
                dropped = true;
            }
            self.reports += 1;
        }
        self.bytes += event.weight();
        self.events.push_back(event);
        dropped
    }

    /// The oldest event.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let event = self.events.pop_front()?;
        self.bytes -= event.weight();
        self.reports -= usize::from(event.is_report());
        // Events come a read at a time: where they do, the next one needs the same room.
        if self.events.is_empty() && !(FEW + 1..=E::ROOM).contains(&self.events.capacity()) {
            self.events = VecDeque::new();
        }
        Some(event)
    }

    /// Gives back the room that holds nothing.
    pub(crate) fn shrink(&mut self) {
        self.events.shrink_to_fit();
    }
}
