//! One gateway: its peer, behind its own lock, so that nothing it does holds up another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use relay_proto::connector::{EntryId, Event, GatewayId, LinkId, Peer};
use relay_proto::time::Now;
use relay_proto::token::Secret;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use super::store::StoreError;

/// A gateway that something happened to. Kept for as long as the connector is.
pub(super) struct GatewayEntry {
    pub(super) id: GatewayId,
    inner: Mutex<Inner>,
}

/// Which links of a gateway have to look what there is for them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    All,
    /// All but the one whose task this is, which goes on by itself.
    Others(LinkId),
    None,
}

pub(super) struct Inner {
    pub(super) peer: Peer,
    pub(super) links: BTreeMap<LinkId, Linked>,
    /// Whether it is in line to be read, or about to be.
    pub(super) readable: bool,
    /// Whoever delivered what is not durable yet.
    pub(super) delivering: BTreeMap<EntryId, Delivering>,
    /// Acknowledged entries whose discard is not durable yet: whether their event has come up. It is held back until
    /// then, since after a crash the entry would be delivered again.
    pub(super) discarding: BTreeMap<EntryId, bool>,
    /// Those that are durable by now.
    pub(super) acked: VecDeque<EntryId>,
}

pub(super) struct Linked {
    pub(super) news: Arc<Notify>,
    /// The token that it showed, to be hidden in what the gateway says (TOKEN-3).
    pub(super) bearer: Option<Secret>,
}

pub(super) struct Delivering {
    pub(super) told: oneshot::Sender<Result<(), StoreError>>,
    /// The room that the entry takes.
    pub(super) _room: OwnedSemaphorePermit,
}

impl GatewayEntry {
    pub(super) fn new(id: GatewayId, peer: Peer) -> Arc<Self> {
        let inner = Inner {
            peer,
            links: BTreeMap::new(),
            readable: false,
            delivering: BTreeMap::new(),
            discarding: BTreeMap::new(),
            acked: VecDeque::new(),
        };
        Arc::new(Self { id, inner: Mutex::new(inner) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn wake(&self, wake: Wake) {
        if wake != Wake::None {
            let others = self.links.iter().filter(|(link, _)| wake != Wake::Others(**link));
            others.for_each(|(_, linked)| linked.news.notify_one());
        }
    }

    fn has_event(&self) -> bool {
        !self.acked.is_empty() || self.peer.has_event()
    }

    /// Whether it has to be put in line to be read. It then counts as being there.
    pub(super) fn joins_readable(&mut self) -> bool {
        let joins = !self.readable && self.has_event();
        self.readable |= joins;
        joins
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        if let Some(entry) = self.acked.pop_front() {
            return Some(Event::Acked(entry));
        }
        loop {
            let event = self.peer.poll_event()?;
            let discarding = match &event {
                Event::Acked(entry) => self.discarding.get_mut(entry),
                _ => None,
            };
            match discarding {
                Some(told) => *told = true,
                None => return Some(event),
            }
        }
    }

    /// Nobody will ever read what there is to read.
    pub(super) fn discard_events(&mut self, now: Now) {
        while let Some(event) = self.next_event() {
            if let Event::Outbound(outbound) = event {
                // Its link may have gone meanwhile; then the answer is not awaited.
                let _ = self.peer.fail(outbound.id, "nobody serves requests at this connector", false, now);
            }
        }
    }
}
