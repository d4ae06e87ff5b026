//! A store that does what it is told, when it is told.

use std::collections::BTreeMap;

use relay_proto::connector::{Backlog, EntryId, Fetch};

#[derive(Default)]
pub(super) struct Store {
    /// What a crash leaves.
    pub(super) durable: BTreeMap<u64, (EntryId, String)>,
    /// What was handed over, and is not durable yet.
    pub(super) appended: Vec<(EntryId, String)>,
    /// What was deleted, and not yet said to be.
    pub(super) discarded: Vec<EntryId>,
    pub(super) fetch: Option<Fetch>,
}

impl Store {
    /// The next entry becomes durable.
    pub(super) fn commit(&mut self) -> Option<EntryId> {
        if self.appended.is_empty() {
            return None;
        }
        let (id, frame) = self.appended.remove(0);
        self.durable.insert(id.seq(), (id, frame));
        Some(id)
    }

    pub(super) fn discard(&mut self, id: EntryId) {
        assert!(self.durable.remove(&id.seq()).is_some_and(|(stored, _)| stored == id), "what is discarded was stored");
        self.discarded.push(id);
    }

    pub(super) fn fetched(&self, fetch: &Fetch) -> Vec<(EntryId, String)> {
        self.durable.range(fetch.from..fetch.until).take(fetch.count).map(|(_, entry)| entry.clone()).collect()
    }

    /// The process is gone.
    pub(super) fn crash(&mut self) -> Backlog {
        self.appended.clear();
        self.discarded.clear();
        self.fetch = None;
        let first = self.durable.keys().next().copied().unwrap_or(0);
        let next = self.durable.keys().next_back().map_or(0, |last| last + 1);
        Backlog::new(first..next, self.durable.len() as u64)
    }
}
