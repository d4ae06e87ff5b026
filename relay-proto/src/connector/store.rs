//! What the buffer and the host's store say to each other (CONN-7), and the one way out of the buffer without an ack.

use alloc::string::String;
use alloc::vec::Vec;

use super::link::Probe;
use super::output::{EntryId, LinkId, Notice, Output};
use super::peer::Peer;
use crate::time::Now;

/// How many forwards that left without an ack are remembered, in case that it comes late.
const MAX_PRESUMED: usize = 64;

impl Peer {
    /// An entry of an [`Output::Append`] is durable. It is accepted, and may go out. Entries may become durable in any
    /// order; none goes out before those in front of it.
    pub fn handle_stored(&mut self, entry: EntryId, now: Now) {
        self.tick(now);
        if self.buffer.on_stored(entry) {
            self.stats.accepted += 1;
            self.outputs.push(Output::Accepted(entry));
            self.refill();
        }
    }

    /// An entry of an [`Output::Append`] could not be stored. It is not accepted and will not go out, and those behind
    /// it no longer wait for it. Tell whoever delivered it.
    pub fn handle_not_stored(&mut self, entry: EntryId, now: Now) {
        self.tick(now);
        self.buffer.on_not_stored(entry);
        self.refill();
    }

    /// An entry of an [`Output::Discard`] is gone from the store, durably. It makes room in the window.
    pub fn handle_discarded(&mut self, entry: EntryId, now: Now) {
        self.tick(now);
        self.discarding.remove(&entry);
    }

    /// The answer to an [`Output::Fetch`]: entries in order, each with the frame that was stored. When the store cannot
    /// be read, leave the fetch unanswered until it can: nothing behind it may go out before it.
    pub fn handle_fetched(&mut self, entries: impl IntoIterator<Item = (EntryId, String)>, now: Now) {
        self.tick(now);
        self.buffer.on_fetched(entries);
        self.refill();
    }

    /// Asks the store for what comes next, while there is a link to send it on.
    pub(super) fn refill(&mut self) {
        if self.is_delivering()
            && let Some(fetch) = self.buffer.fetch()
        {
            self.outputs.push(Output::Fetch(fetch));
        }
    }

    pub(super) fn discard(&mut self, entry: EntryId) {
        if self.buffer.is_stored() {
            self.discarding.insert(entry);
            self.outputs.push(Output::Discard(entry));
        }
    }

    // ── forwards that nobody acknowledges ────────────────────────────────

    /// The gateway was heard. If that proves that it read past forwards that it should have acknowledged long ago,
    /// they count as taken.
    pub(super) fn presume_forwards(&mut self, link: LinkId) {
        let Some(link) = self.current.as_mut().filter(|current| current.id == link) else { return };
        let Probe::Written(asked) = link.probe else { return };
        link.probe = Probe::None;
        let Some(patience) = self.settings.timing.forward_patience.filter(|_| !self.acks_forwards) else { return };
        let overdue = |carried| asked >= core::time::Duration::saturating_add(carried, patience);
        let taken: Vec<EntryId> = self
            .buffer
            .in_flight(link.cursor)
            .filter(|entry| entry.is_forward && entry.carried.is_some_and(|(_, at)| overdue(at)))
            .map(|entry| entry.id)
            .collect();
        for id in taken {
            self.remove_unacknowledged(id, Notice::ForwardPresumed(id));
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
            .in_flight(self.carried_until)
            .filter(|entry| entry.is_forward && entry.attempts >= most)
            .map(|entry| entry.id)
            .collect();
        for id in given_up {
            self.remove_unacknowledged(id, Notice::ForwardGivenUp(id));
        }
    }

    fn remove_unacknowledged(&mut self, id: EntryId, notice: Notice) {
        self.buffer.remove(id);
        self.stats.forwards_unacknowledged += 1;
        self.presumed.push_back(id);
        if self.presumed.len() > MAX_PRESUMED {
            self.presumed.pop_front();
        }
        self.discard(id);
        self.notice(notice);
    }
}
