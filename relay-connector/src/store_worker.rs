//! The two threads that a connector's store runs on, and what waits for them.
//!
//! The writer commits everything that was queued while the commit before ran (group commit), so that many concurrent
//! deliveries share one sync of the disk. The reader answers fetches beside it: a gateway that drains its backlog does
//! not wait for the disk to sync what others deliver.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relay_proto::connector::{EntryId, Fetch, GatewayId};
use tokio::sync::{Mutex as Line, MutexGuard as Turn, OwnedSemaphorePermit, Semaphore};

use super::store::{Change, Store, StoreError, StoreProblem};

/// What a store that failed is left in peace for.
const PAUSE: Duration = Duration::from_millis(200);
/// Discards that wait for the store, from which on nothing more is read from it: a store that cannot write must not make
/// us remember a whole backlog as delivered.
const MAX_DISCARDS: usize = 1 << 16;
/// What an entry is taken to weigh beyond its frame while it waits.
const OVERHEAD: usize = 512;

/// What the threads of a store tell the one that has it: the server.
pub(super) trait StoreClient: Send + Sync + 'static {
    /// The store made these changes, or failed to.
    fn committed(&self, changes: &[Change], failure: Option<&StoreError>);
    /// The store read what a gateway's peer asked for.
    fn fetched(&self, gateway: &GatewayId, entries: Vec<(EntryId, String)>);
    /// The store is dropped, with all that it was given.
    fn store_closed(&self);
}

/// What a connector and the threads of its store share.
pub(super) struct StoreWorker {
    queue: Mutex<Queue>,
    /// Something to write, or the end.
    writable: Condvar,
    /// Something to read, or room to read it, or the end.
    readable: Condvar,
    /// Deliveries that wait for room, in order. Room alone would not keep it: a newcomer may find some left while the
    /// one that waited has not noticed yet that it has got its own.
    line: Line<()>,
    /// Bytes of entries that may wait to become durable.
    room: Arc<Semaphore>,
    most: u32,
}

#[derive(Default)]
struct Queue {
    /// Apart from the discards: a store that has no room for these may have it for those. No entry is in both, since
    /// nothing is discarded before it is durable.
    appends: Vec<Change>,
    leaving: Vec<Change>,
    /// Discards that are not durable, those that are being committed included.
    discards: usize,
    fetches: VecDeque<(GatewayId, Fetch)>,
    /// Reported as not stored, and perhaps in the store nevertheless: to be discarded, and not to be read.
    unwanted: BTreeSet<(GatewayId, EntryId)>,
    closing: bool,
}

/// What the writer waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Anything to write.
    Change,
    /// The same, but appends are left in peace for a while: the last ones failed.
    Discard,
    /// The end of a pause: nothing works.
    Pause,
}

impl Queue {
    fn take(&mut self) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.appends);
        changes.append(&mut self.leaving);
        changes
    }
}

impl StoreWorker {
    pub(super) fn new(room: usize) -> Self {
        let most = u32::try_from(room.max(1)).unwrap_or(u32::MAX >> 3).min(u32::MAX >> 3);
        Self {
            queue: Mutex::default(),
            writable: Condvar::new(),
            readable: Condvar::new(),
            line: Line::default(),
            room: Arc::new(Semaphore::new(most as usize)),
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until an entry of this size may join those that are not durable, first come, first served: nobody else may
    /// until the turn is dropped. `None` once the connector shuts down.
    pub(super) async fn room(&self, size: usize) -> Option<(Turn<'_, ()>, OwnedSemaphorePermit)> {
        // Anything fits when nothing else waits.
        let weight = u32::try_from(size.saturating_add(OVERHEAD)).unwrap_or(u32::MAX).min(self.most);
        // Tokio would make a task that does a lot at once wait for nothing, and so change the order.
        tokio::task::unconstrained(async {
            let turn = self.line.lock().await;
            let room = self.room.clone().acquire_many_owned(weight).await.ok()?;
            Some((turn, room))
        })
        .await
    }

    /// Nobody waits for room any more.
    pub(super) fn refuse_more(&self) {
        self.room.close();
    }

    pub(super) fn change(&self, change: Change) {
        let mut queue = self.lock();
        match change {
            Change::Append { .. } => queue.appends.push(change),
            Change::Discard { .. } => {
                queue.discards += 1;
                queue.leaving.push(change);
            }
        }
        drop(queue);
        self.writable.notify_one();
    }

    pub(super) fn fetch(&self, gateway: GatewayId, fetch: Fetch) {
        self.lock().fetches.push_back((gateway, fetch));
        self.readable.notify_one();
    }

    /// Commits what is queued, and ends the threads.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.writable.notify_one();
        self.readable.notify_one();
    }

    /// Starts the threads. They end after [`close`](Self::close), and tell the client when the store is dropped.
    pub(super) fn start(
        self: &Arc<Self>,
        client: &Arc<impl StoreClient>,
        store: Arc<dyn Store>,
    ) -> std::io::Result<()> {
        let named = |name: &str| std::thread::Builder::new().name(name.into());
        let (store_worker, its_client, its_store) = (self.clone(), client.clone(), store.clone());
        let reader = named("relay-store-read").spawn(move || store_worker.read(&*its_client, &*its_store))?;
        let (store_worker, its_client) = (self.clone(), client.clone());
        let writer = named("relay-store-write").spawn(move || {
            store_worker.write(&*its_client, &*store);
            // It has ended, or does now. A store that panics does so within the guard.
            let _ = reader.join();
            let _ = guarded(|| {
                drop(store);
                Ok(())
            });
            its_client.store_closed();
        });
        if writer.is_err() {
            self.close();
        }
        writer.map(drop)
    }

    /// Waits for changes, and takes them. The flag: these are the last.
    fn next_changes(&self, wait: &mut Wait) -> (Vec<Change>, bool) {
        let queue = self.lock();
        let (mut queue, waited) = match *wait {
            Wait::Change => {
                let idle = |queue: &mut Queue| queue.appends.is_empty() && queue.leaving.is_empty() && !queue.closing;
                (self.writable.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner), true)
            }
            Wait::Discard => {
                let idle = |queue: &mut Queue| queue.leaving.is_empty() && !queue.closing;
                let waited = self.writable.wait_timeout_while(queue, PAUSE, idle);
                let (queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                (queue, timeout.timed_out())
            }
            Wait::Pause => {
                let pause = self.writable.wait_timeout_while(queue, PAUSE, |queue| !queue.closing);
                (pause.unwrap_or_else(PoisonError::into_inner).0, true)
            }
        };
        let last = queue.closing;
        if waited || last {
            *wait = Wait::Change;
            (queue.take(), last)
        } else {
            (std::mem::take(&mut queue.leaving), last)
        }
    }

    fn write(&self, client: &impl StoreClient, store: &dyn Store) {
        // Discards that a failed commit left.
        let mut owed: Vec<Change> = Vec::new();
        let mut wait = Wait::Change;
        // That it fails was told: whether that was about appends.
        let mut told = None;
        loop {
            let (mut changes, last) = self.next_changes(&mut wait);
            if told.is_some() {
                // Before anything new: while this fails nothing new is tried, so that what cannot be told to be stored or
                // not stays bounded. What is full takes discards as well, and by them has room again.
                let (appends, discards) =
                    changes.into_iter().partition(|change| matches!(change, Change::Append { .. }));
                changes = appends;
                owed.extend::<Vec<_>>(discards);
                match self.settle(client, store, &mut owed) {
                    Ok(()) if told == Some(false) => {
                        told = None;
                        tracing::warn!("the connector's store works again");
                    }
                    Ok(()) => {}
                    Err(error) => {
                        client.committed(&changes, Some(&error));
                        wait = Wait::Pause;
                        if last {
                            tracing::error!(%error, discards = owed.len(), "the store closes without these discards");
                            return;
                        }
                        continue;
                    }
                }
            }
            if !changes.is_empty() {
                match guarded(|| store.commit(&changes)) {
                    Ok(()) => {
                        self.committed(&changes);
                        client.committed(&changes, None);
                        if told.take().is_some() {
                            tracing::warn!("the connector's store works again");
                        }
                    }
                    Err(error) => {
                        if told.is_none() {
                            tracing::error!(%error, "the connector's store fails");
                        }
                        let appends = changes.iter().any(|change| matches!(change, Change::Append { .. }));
                        told = Some(appends || told == Some(true));
                        owed = self.unwanted(&changes);
                        client.committed(&changes, Some(&error));
                        // Discards may work where appends do not.
                        let settled = if appends { self.settle(client, store, &mut owed) } else { Err(error) };
                        wait = if settled.is_ok() { Wait::Discard } else { Wait::Pause };
                    }
                }
            }
            if last && owed.is_empty() {
                return;
            }
        }
    }

    /// Commits discards that are owed.
    fn settle(&self, client: &impl StoreClient, store: &dyn Store, owed: &mut Vec<Change>) -> Result<(), StoreError> {
        if !owed.is_empty() {
            guarded(|| store.commit(owed))?;
            self.committed(owed);
            client.committed(owed, None);
            owed.clear();
        }
        Ok(())
    }

    /// A batch is durable.
    fn committed(&self, batch: &[Change]) {
        let mut queue = self.lock();
        for change in batch {
            if let Change::Discard { gateway, entry } = change {
                queue.discards = queue.discards.saturating_sub(1);
                if !queue.unwanted.is_empty() {
                    queue.unwanted.remove(&(gateway.clone(), *entry));
                }
            }
        }
        drop(queue);
        self.readable.notify_one();
    }

    /// Nobody knows whether a batch is durable: what to commit instead.
    fn unwanted(&self, batch: &[Change]) -> Vec<Change> {
        let mut queue = self.lock();
        let instead = batch.iter().map(|change| {
            let (gateway, entry) = (change.gateway().clone(), change.entry());
            if matches!(change, Change::Append { .. }) {
                queue.unwanted.insert((gateway.clone(), entry));
                queue.discards += 1;
            }
            Change::Discard { gateway, entry }
        });
        instead.collect()
    }

    fn next_fetch(&self, failing: bool) -> Option<(GatewayId, Fetch)> {
        let mut queue = self.lock();
        if failing {
            let pause = self.readable.wait_timeout_while(queue, PAUSE, |queue| !queue.closing);
            queue = pause.unwrap_or_else(PoisonError::into_inner).0;
        }
        let idle = |queue: &mut Queue| (queue.fetches.is_empty() || queue.discards > MAX_DISCARDS) && !queue.closing;
        queue = self.readable.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
        if queue.closing { None } else { queue.fetches.pop_front() }
    }

    fn read(&self, client: &impl StoreClient, store: &dyn Store) {
        let mut failing = false;
        while let Some((gateway, fetch)) = self.next_fetch(failing) {
            match self.entries(&gateway, fetch, store) {
                Ok(entries) => {
                    failing = false;
                    client.fetched(&gateway, entries);
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, %gateway, "the connector's store cannot be read");
                    }
                    // At the end: another gateway's entries may be readable.
                    self.lock().fetches.push_back((gateway, fetch));
                }
            }
        }
    }

    /// What a fetch asks for, without what is unwanted.
    fn entries(
        &self,
        gateway: &GatewayId,
        fetch: Fetch,
        store: &dyn Store,
    ) -> Result<Vec<(EntryId, String)>, StoreError> {
        // Taken before the store is read: what becomes unwanted later was not durable when this was asked for, so it is
        // out of the range.
        let unwanted: Vec<EntryId> = {
            let queue = self.lock();
            queue.unwanted.iter().filter(|(whose, _)| whose == gateway).map(|(_, entry)| *entry).collect()
        };
        let (mut rest, mut entries) = (fetch, Vec::new());
        loop {
            let found = guarded(|| store.fetch(gateway, rest))?;
            let (complete, last) = (found.len() < rest.count, found.last().map(|(entry, _)| entry.seq()));
            entries.extend(found.into_iter().filter(|(entry, _)| !unwanted.contains(entry)));
            let missing = fetch.count.saturating_sub(entries.len());
            match last {
                Some(last) if !complete && missing > 0 => {
                    rest.from = last.saturating_add(1);
                    rest.count = missing;
                }
                _ => return Ok(entries),
            }
        }
    }
}

/// A store is somebody else's code: its panic counts as a failure.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::new("(unknown)", StoreProblem::Io, "the store panicked")))
}
