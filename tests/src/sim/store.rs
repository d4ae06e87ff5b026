//! The connector's store: what it holds durably, and what it has been asked to do and has not done yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;
use relay_proto::connector::{Backlog, EntryId, Fetch};

/// Something that the store was asked to do.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Append(EntryId, Arc<str>),
    Discard(EntryId),
}

/// The store of one gateway.
#[derive(Debug, Default)]
pub(super) struct Store {
    durable: BTreeMap<u64, (EntryId, Arc<str>)>,
    /// Asked for, and not answered.
    pub(super) jobs: VecDeque<Job>,
    pub(super) fetch: Option<Fetch>,
    /// Whether work is under way.
    pub(super) busy: bool,
    /// Refuses what is appended.
    pub(super) full: bool,
}

impl Store {
    /// What a new process finds.
    pub(super) fn backlog(&self) -> Backlog {
        let first = self.durable.keys().next().copied().unwrap_or(0);
        let next = self.durable.keys().next_back().map_or(0, |last| last + 1);
        Backlog::new(first..next, self.durable.len() as u64)
    }

    pub(super) fn has(&self, entry: EntryId) -> bool {
        self.durable.get(&entry.seq()).is_some_and(|(id, _)| *id == entry)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.durable.is_empty()
    }

    /// Makes one job durable.
    pub(super) fn commit(&mut self, job: Job) {
        match job {
            Job::Append(entry, frame) => {
                self.durable.insert(entry.seq(), (entry, frame));
            }
            Job::Discard(entry) => {
                if self.has(entry) {
                    self.durable.remove(&entry.seq());
                }
            }
        }
    }

    /// The answer to a fetch.
    pub(super) fn read(&self, fetch: &Fetch) -> Vec<(EntryId, String)> {
        let range = self.durable.range(fetch.from..fetch.until).take(fetch.count);
        range.map(|(_, (entry, frame))| (*entry, String::from(&**frame))).collect()
    }

    /// The process that used it is gone. What was under way was done, or it was not: a prefix of it, as it is with groups
    /// of one log.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let done = rng.usize(..=self.jobs.len());
        let jobs: Vec<Job> = self.jobs.drain(..).collect();
        for job in jobs.into_iter().take(done) {
            if !(self.full && matches!(job, Job::Append(..))) {
                self.commit(job);
            }
        }
        self.fetch = None;
        self.busy = false;
    }
}
