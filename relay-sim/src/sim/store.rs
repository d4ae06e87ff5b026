//! The connector's store as a connector has it: one for all gateways, written by one keeper in groups, and read beside
//! that. What the keeper does is what a connector's does: it commits everything that was asked for while the commit before
//! ran, a commit is durable as a whole or not at all, one that fails leaves in doubt which of the two, and until a
//! commit of nothing but discards has made up for that, nothing new is tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use relay_proto::connector::{Backlog, EntryId, Fetch};

/// Something that the store was asked to do for a gateway.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Append(EntryId, Arc<str>),
    Discard(EntryId),
}

/// Several of them, each for a gateway. They become durable together.
pub(super) type Group = Vec<(usize, Job)>;

/// What a store that is in trouble does not commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// A group that appends anything: there is no room.
    Appends,
    /// Any group: there is no room to note down that something is gone, either.
    Everything,
}

/// What is durable of one gateway.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    durable: BTreeMap<u64, (EntryId, Arc<str>)>,
    pub(super) fetch: Option<Fetch>,
}

impl Shelf {
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

    fn apply(&mut self, job: &Job) {
        match job {
            Job::Append(entry, frame) => {
                self.durable.insert(entry.seq(), (*entry, frame.clone()));
            }
            Job::Discard(entry) => {
                if self.has(*entry) {
                    self.durable.remove(&entry.seq());
                }
            }
        }
    }
}

/// The store, and the keeper that writes it.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) shelves: Vec<Shelf>,
    /// Asked for, and not being committed yet.
    queue: Group,
    /// Being committed.
    committing: Option<Group>,
    /// What a commit that failed leaves to be discarded. Until that is done nothing new is tried.
    owed: Group,
    /// Told to be refused, and perhaps durable.
    unwanted: BTreeSet<(usize, EntryId)>,
    pub(super) trouble: Trouble,
    /// The next commit fails.
    pub(super) fails_next: bool,
}

/// What came of a commit.
#[derive(Debug)]
pub(super) struct Committed {
    /// These are durable.
    pub(super) done: Group,
    /// These appends are refused.
    pub(super) refused: Vec<(usize, EntryId)>,
    /// Refused, and durable all the same.
    pub(super) in_doubt: usize,
}

impl Store {
    pub(super) fn new(gateways: usize) -> Self {
        Self {
            shelves: (0..gateways).map(|_| Shelf::default()).collect(),
            queue: Group::new(),
            committing: None,
            owed: Group::new(),
            unwanted: BTreeSet::new(),
            trouble: Trouble::None,
            fails_next: false,
        }
    }

    /// Asks for something.
    pub(super) fn ask(&mut self, gateway: usize, job: Job) {
        self.queue.push((gateway, job));
    }

    /// Everything that the process waits for.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Job> {
        self.committing.iter().flatten().chain(&self.queue).map(|(_, job)| job)
    }

    /// Whether a commit is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.committing.is_some()
    }

    /// Starts the next commit, with everything that was asked for by now. Whether there is anything to commit.
    pub(super) fn begin(&mut self) -> bool {
        if self.is_busy() || self.queue.is_empty() && self.owed.is_empty() {
            return false;
        }
        self.committing = Some(std::mem::take(&mut self.queue));
        true
    }

    /// The commit ends.
    pub(super) fn finish(&mut self, rng: &mut Rng) -> Committed {
        let group = self.committing.take().unwrap_or_default();
        let mut committed = Committed { done: Group::new(), refused: Vec::new(), in_doubt: 0 };
        if !self.owed.is_empty() {
            let owed = std::mem::take(&mut self.owed);
            if self.fails(&owed) {
                // Nothing new is tried: its appends are refused without any doubt, and its discards are owed as well.
                self.owed = owed;
                for (gateway, job) in group {
                    match job {
                        Job::Append(entry, _) => committed.refused.push((gateway, entry)),
                        Job::Discard(_) => self.owed.push((gateway, job)),
                    }
                }
                return committed;
            }
            self.apply(&owed);
            committed.done = owed;
        }
        if self.fails(&group) {
            let durable = rng.bool();
            if durable {
                self.apply(&group);
            }
            for (gateway, job) in group {
                if let Job::Append(entry, _) = job {
                    committed.in_doubt += usize::from(durable);
                    committed.refused.push((gateway, entry));
                    self.unwanted.insert((gateway, entry));
                }
                let (Job::Append(entry, _) | Job::Discard(entry)) = job;
                self.owed.push((gateway, Job::Discard(entry)));
            }
        } else {
            self.apply(&group);
            committed.done.extend(group);
        }
        committed
    }

    fn fails(&mut self, group: &Group) -> bool {
        let appends = group.iter().any(|(_, job)| matches!(job, Job::Append(..)));
        let once = !group.is_empty() && std::mem::take(&mut self.fails_next);
        once || match self.trouble {
            Trouble::None => false,
            Trouble::Appends => appends,
            Trouble::Everything => !group.is_empty(),
        }
    }

    fn apply(&mut self, group: &Group) {
        for (gateway, job) in group {
            self.shelves[*gateway].apply(job);
            if let Job::Discard(entry) = job {
                self.unwanted.remove(&(*gateway, *entry));
            }
        }
    }

    /// Whether a failed commit has not been made up for.
    pub(super) fn is_failing(&self) -> bool {
        !self.owed.is_empty()
    }

    /// The answer to a fetch, if there is one: what is durable and was not refused.
    pub(super) fn read(&mut self, gateway: usize) -> Option<Vec<(EntryId, String)>> {
        let fetch = self.shelves[gateway].fetch.take()?;
        let range = self.shelves[gateway].durable.range(fetch.from..fetch.until);
        let wanted = range.filter(|(_, (entry, _))| !self.unwanted.contains(&(gateway, *entry))).take(fetch.count);
        Some(wanted.map(|(_, (entry, frame))| (*entry, String::from(&**frame))).collect())
    }

    /// The process that used it is gone, or its machine lost its power. The commit that was under way is durable as a
    /// whole, or is rolled back as a whole; what had not begun is gone. Whether something was rolled back.
    pub(super) fn crash(&mut self, rng: &mut Rng) -> bool {
        let group = self.committing.take().unwrap_or_default();
        // While discards are owed they are committed first, and a store in trouble commits nothing.
        let first = std::mem::take(&mut self.owed);
        let mut rolled_back = false;
        for group in [first, group] {
            if rolled_back || self.fails(&group) || rng.bool() {
                rolled_back |= !group.is_empty();
            } else {
                self.apply(&group);
            }
        }
        self.queue.clear();
        self.unwanted.clear();
        self.shelves.iter_mut().for_each(|shelf| shelf.fetch = None);
        rolled_back
    }

    /// All is well from now on.
    pub(super) fn heal(&mut self) {
        (self.trouble, self.fails_next) = (Trouble::None, false);
    }
}
