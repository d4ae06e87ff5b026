//! A store that counts what another one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use relay_connector::{Backlog, Change, EntryId, Fetch, GatewayId, Store, StoreError};

#[derive(Default)]
pub(super) struct Counts {
    pub(super) commits: AtomicU64,
    pub(super) changes: AtomicU64,
    pub(super) commit_ns: AtomicU64,
    pub(super) fetches: AtomicU64,
    pub(super) fetch_ns: AtomicU64,
}

pub(super) struct Counting<S>(pub(super) S, pub(super) Arc<Counts>);

impl<S: Store> Store for Counting<S> {
    fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
        self.0.backlogs()
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let begun = Instant::now();
        let result = self.0.commit(changes);
        self.1.commits.fetch_add(1, Ordering::Relaxed);
        self.1.changes.fetch_add(changes.len() as u64, Ordering::Relaxed);
        self.1.commit_ns.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    fn fetch(&self, gateway: &GatewayId, fetch: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
        let begun = Instant::now();
        let result = self.0.fetch(gateway, fetch);
        self.1.fetches.fetch_add(1, Ordering::Relaxed);
        self.1.fetch_ns.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}
