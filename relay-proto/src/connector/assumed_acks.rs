//! The ways out of the buffer without an acknowledgement.

use alloc::vec::Vec;
use core::time::Duration;

use super::config::AckPolicy;
use super::link::Probe;
use super::output::{EntryId, Event, LinkId, Notice};
use super::peer::Peer;

/// How many forwards that left without an ack are remembered, in case that it comes late.
const MAX_ASSUMED_ACKED: usize = 64;

impl Peer {
    // ── gateways that acknowledge nothing ────────────────────────────────

    /// Whether entries leave as they are handed to a link. A gateway that acknowledges is held to its acks.
    pub(super) fn assumes_acks(&self) -> bool {
        self.settings.acks == AckPolicy::Assumed && !self.acknowledges
    }

    /// Whether there is something to presume. Not done where entries are handed out: hosts drain the outputs, and look
    /// at events, after inputs.
    pub(super) fn has_handed(&self) -> bool {
        self.assumes_acks()
            && self.current.as_ref().is_some_and(|link| self.buffer.in_flight(link.cursor).next().is_some())
    }

    /// What was handed to the link counts as taken. With the next input, whatever it is: also one that ends the link.
    pub(super) fn assume_handed_acked(&mut self) {
        if !self.has_handed() {
            return;
        }
        let Some(link) = &self.current else { return };
        let handed: Vec<EntryId> = self.buffer.in_flight(link.cursor).map(|entry| entry.id).collect();
        for id in handed {
            self.buffer.remove(id);
            self.stats.assumed_acked += 1;
            self.discard(id);
            self.push_event(Event::AssumedAcked(id));
        }
        self.refill();
    }

    // ── forwards that nobody acknowledges ────────────────────────────────

    /// The gateway answered a ping. If that was written behind forwards that it should have acknowledged long ago, they
    /// count as taken.
    pub(super) fn assume_forwards_acked(&mut self, link: LinkId, pong: &[u8]) {
        let Some(link) = self.current.as_mut().filter(|current| current.id == link) else { return };
        let Probe::Written { asked, payload } = link.probe else { return };
        if payload != pong {
            return;
        }
        link.probe = Probe::None;
        let Some(patience) = self.settings.timing.forward_patience.filter(|_| !self.acks_forwards) else { return };
        let overdue = |carried| asked >= Duration::saturating_add(carried, patience);
        let taken: Vec<EntryId> = self
            .buffer
            .forwards(link.cursor)
            .take_while(|entry| entry.carried.is_some_and(|(_, at)| overdue(at)))
            .map(|entry| entry.id)
            .collect();
        for id in taken {
            self.remove_forward(id, Notice::ForwardAssumedAcked(id), Event::AssumedAcked(id));
        }
        self.refill();
    }

    /// A new link is about to be given what the earlier ones did not get acknowledged: forwards that enough of them
    /// carried are not tried again.
    pub(super) fn give_up_forwards(&mut self) {
        if self.acks_forwards {
            return;
        }
        let most = self.settings.limits.forward_attempts;
        let given_up: Vec<EntryId> = self
            .buffer
            .forwards(self.carried_until)
            .filter(|entry| entry.attempts >= most)
            .map(|entry| entry.id)
            .collect();
        for id in given_up {
            self.remove_forward(id, Notice::ForwardGivenUp(id), Event::GivenUp(id));
        }
    }

    fn remove_forward(&mut self, id: EntryId, notice: Notice, event: Event) {
        self.buffer.remove(id);
        self.stats.forwards_unacknowledged += 1;
        self.assumed_acked.push_back(id);
        if self.assumed_acked.len() > MAX_ASSUMED_ACKED {
            self.assumed_acked.pop_front();
        }
        self.discard(id);
        self.notice(notice);
        self.push_event(event);
    }
}
