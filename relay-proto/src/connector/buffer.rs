//! What waits for one gateway (CONN-3, CONN-7).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use super::output::{EntryId, Fetch, LinkId};

/// One entry that is held.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) frame: Arc<str>,
    pub(crate) is_forward: bool,
    /// The last link that it was written to, and when.
    pub(crate) carried: Option<(LinkId, Duration)>,
    /// How many links carried it.
    pub(crate) attempts: u32,
}

impl Entry {
    fn new(id: EntryId, frame: Arc<str>) -> Self {
        // The frames are our own, also those from a store, and always start with their type.
        let is_forward = frame.starts_with("{\"type\":\"passthrough_forward\"");
        Self { id, frame, is_forward, carried: None, attempts: 0 }
    }

    pub(crate) fn is_carried_by(&self, link: LinkId) -> bool {
        self.carried.is_some_and(|(by, _)| by == link)
    }
}

/// Where entries are kept.
#[derive(Clone, Debug)]
enum Keeping {
    /// All of them here.
    Memory,
    /// All of them in the host's store, and the next ones here.
    Store {
        /// How many are held here at most, besides what is unsent for want of an answer from the store.
        most: usize,
        fetching: Option<Fetch>,
    },
}

/// The buffer: every entry that was taken up and has not left, in order.
///
/// What is held here is always the front of the order, so that the next entry to send is either held or, if nothing
/// is, has to be fetched. Entries that a link carried are always held: there are never more of them than the window.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    epoch: u64,
    /// The place of the next entry.
    next: u64,
    held: BTreeMap<u64, Entry>,
    held_bytes: usize,
    /// The places of those that are forwards.
    forwards: BTreeSet<u64>,
    /// The link that entries were last written to, and how many of them are still held: a window can be large, and is
    /// asked for with each frame.
    flight: Option<(LinkId, usize)>,
    /// Of the entries below, those that have not left are held.
    held_until: u64,
    /// Given to the store, which has not said that they are durable.
    unstored: BTreeSet<u64>,
    /// Entries that have not left, stored ones included.
    waiting: u64,
    keeping: Keeping,
    /// How many entries were looked at one by one.
    #[cfg(test)]
    pub(crate) walked: core::cell::Cell<usize>,
}

impl Buffer {
    pub(crate) fn in_memory(epoch: u64) -> Self {
        Self {
            epoch,
            next: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            forwards: BTreeSet::new(),
            flight: None,
            held_until: 0,
            unstored: BTreeSet::new(),
            waiting: 0,
            keeping: Keeping::Memory,
            #[cfg(test)]
            walked: core::cell::Cell::default(),
        }
    }

    pub(crate) fn stored(epoch: u64, first: u64, next: u64, waiting: u64, window: usize) -> Self {
        let keeping = Keeping::Store { most: window.saturating_mul(2), fetching: None };
        Self { next, held_until: first.min(next), waiting, keeping, ..Self::in_memory(epoch) }
    }

    /// The entry that the next [`append`](Self::append) makes.
    pub(crate) fn next_id(&self) -> EntryId {
        EntryId::new(self.epoch, self.next)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(crate) fn is_storing(&self) -> bool {
        !self.unstored.is_empty()
    }

    /// Takes an entry up at the end. Returns its frame when it has to be stored.
    pub(crate) fn append(&mut self, frame: String) -> Option<Arc<str>> {
        let (id, frame) = (self.next_id(), Arc::<str>::from(frame));
        let most = match self.keeping {
            Keeping::Memory => usize::MAX,
            Keeping::Store { most, .. } => most,
        };
        self.waiting += 1;
        if self.held_until == self.next && self.held.len() < most {
            self.hold(Entry::new(id, frame.clone()));
        }
        self.next = self.next.saturating_add(1);
        match self.keeping {
            Keeping::Memory => None,
            Keeping::Store { .. } => {
                self.unstored.insert(id.seq());
                Some(frame)
            }
        }
    }

    fn hold(&mut self, entry: Entry) {
        self.held_bytes += entry.frame.len();
        self.held_until = entry.id.seq().saturating_add(1);
        if entry.is_forward {
            self.forwards.insert(entry.id.seq());
        }
        self.held.insert(entry.id.seq(), entry);
    }

    fn let_go(&mut self, id: EntryId) -> Option<Entry> {
        let entry = self.held.remove(&id.seq())?;
        self.held_bytes -= entry.frame.len();
        self.forwards.remove(&id.seq());
        if let Some((_, count)) = self.flight.as_mut().filter(|(link, _)| entry.is_carried_by(*link)) {
            *count = count.saturating_sub(1);
        }
        Some(entry)
    }

    // ── the store ────────────────────────────────────────────────────────

    /// The store has it. Whether that was news.
    pub(crate) fn on_stored(&mut self, id: EntryId) -> bool {
        id.epoch() == self.epoch && self.unstored.remove(&id.seq())
    }

    /// The store could not take it: it is none of ours any more.
    pub(crate) fn on_not_stored(&mut self, id: EntryId) {
        if self.on_stored(id) {
            self.waiting = self.waiting.saturating_sub(1);
            self.let_go(id);
        }
    }

    /// Nothing from here on may be sent: it could be lost in a crash after it was seen.
    fn durable_until(&self) -> u64 {
        self.unstored.first().copied().unwrap_or(self.next)
    }

    /// What to read from the store now, if anything. It then counts as asked for.
    pub(crate) fn fetch(&mut self) -> Option<Fetch> {
        let until = self.durable_until();
        let Keeping::Store { most, fetching } = &mut self.keeping else { return None };
        // Not for each acknowledgement, and not so late that the link would have to wait.
        let low = self.held.len() < *most - *most / 4;
        if fetching.is_some() || self.held_until >= until || !low {
            return None;
        }
        *fetching = Some(Fetch { from: self.held_until, until, count: *most - self.held.len() });
        *fetching
    }

    /// The answer of the store.
    pub(crate) fn on_fetched(&mut self, entries: impl IntoIterator<Item = (EntryId, String)>) {
        let Keeping::Store { fetching, .. } = &mut self.keeping else { return };
        let Some(fetch) = fetching.take() else { return };
        let mut count = 0;
        for (id, frame) in entries.into_iter().take(fetch.count) {
            count += 1;
            // Out of order or out of range: a store that errs must not make us send anything twice.
            if id.seq() >= self.held_until && id.seq() < fetch.until {
                self.hold(Entry::new(id, frame.into()));
            }
        }
        if count < fetch.count {
            self.held_until = self.held_until.max(fetch.until);
        }
    }

    // ── the order ────────────────────────────────────────────────────────

    /// The next entry for a link that has been given everything below `cursor`.
    pub(crate) fn next_for(&self, cursor: u64) -> Option<&Entry> {
        let durable = self.durable_until();
        self.held.range(cursor..).next().filter(|(seq, _)| **seq < durable).map(|(_, entry)| entry)
    }

    /// Of the entries below `cursor`, those that have not left: what is in flight on the link of that cursor.
    pub(crate) fn in_flight(&self, cursor: u64) -> impl Iterator<Item = &Entry> {
        let entries = self.held.range(..cursor).map(|(_, entry)| entry);
        #[cfg(test)]
        let entries = entries.inspect(|_| self.walked.set(self.walked.get() + 1));
        entries
    }

    /// How many those are, for the link that entries are written to now.
    pub(crate) fn count_in_flight(&self, link: LinkId) -> usize {
        self.flight.filter(|(by, _)| *by == link).map_or(0, |(_, count)| count)
    }

    /// The forwards among the entries below `cursor`, in order.
    pub(crate) fn forwards(&self, cursor: u64) -> impl Iterator<Item = &Entry> {
        self.forwards.range(..cursor).filter_map(|seq| self.held.get(seq))
    }

    /// An entry was written to a link, which is the latest. Whether an earlier one had carried it.
    pub(crate) fn carry(&mut self, id: EntryId, link: LinkId, now: Duration) -> bool {
        let count = self.count_in_flight(link);
        let Some(entry) = self.held.get_mut(&id.seq()) else { return false };
        self.flight = Some((link, count + 1));
        entry.carried = Some((link, now));
        entry.attempts = entry.attempts.saturating_add(1);
        entry.attempts > 1
    }

    /// Removes the entry of this id if it is in flight on this link.
    pub(crate) fn ack(&mut self, id: EntryId, link: LinkId) -> Option<Entry> {
        let entry = self.held.get(&id.seq())?;
        if entry.id != id || !entry.is_carried_by(link) { None } else { self.remove(id) }
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, id: EntryId) -> Option<Entry> {
        let entry = self.let_go(id)?;
        self.waiting = self.waiting.saturating_sub(1);
        Some(entry)
    }

    /// Whether what leaves has to be deleted from a store.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.keeping, Keeping::Store { .. })
    }
}
