//! What the buffer and the host's store say to each other (CONN-7).

use alloc::string::String;

use super::output::{EntryId, Output};
use super::peer::Peer;
use crate::time::Now;

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
}
