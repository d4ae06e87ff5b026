//! What links and handles share: the peers, behind one lock.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use relay_proto::connector::{
    Backlog, EntryId, Event, GatewayId, HelloId, Identity, LinkId, Output, Peer, Refusal, Refused, Transmit,
    authenticate,
};
use relay_proto::time::Now;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use super::DeliverError;
use super::config::Config;
use super::keeper::Keeper;
use super::store::{Change, StoreError};
use super::throttle::Throttle;

pub(super) struct Hub {
    pub(super) config: Config,
    origin: Instant,
    state: Mutex<State>,
    /// `None`: entries are kept in memory.
    keeper: Option<Arc<Keeper>>,
    throttle: Mutex<Throttle>,
    /// There may be an event to read, or the end.
    readable: Notify,
    /// The connector shuts down.
    closing: Notify,
    /// The connector has shut down.
    gone: Notify,
}

#[derive(Default)]
struct State {
    peers: BTreeMap<GatewayId, Member>,
    /// Gateways that may have events, each once.
    readable: VecDeque<GatewayId>,
    closing: bool,
    /// Connections that are not over, upgrades included.
    connections: usize,
    /// The accept loop is over.
    deaf: bool,
    /// The store has not been closed.
    storing: bool,
}

/// Which links of a gateway have to look what there is for them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    All,
    /// All but the one whose task this is, which goes on by itself.
    Others(LinkId),
    None,
}

impl State {
    fn has_no_links(&self) -> bool {
        self.closing && self.connections == 0 && self.deaf
    }

    fn is_over(&self) -> bool {
        self.has_no_links() && !self.storing
    }
}

struct Member {
    peer: Peer,
    links: BTreeMap<LinkId, Arc<Notify>>,
    /// Whether it is in line to be read.
    readable: bool,
    /// Whoever delivered what is not durable yet.
    delivering: BTreeMap<EntryId, Delivering>,
    /// Acknowledged entries whose discard is not durable yet: whether their event has come up. It is held back until
    /// then, since after a crash the entry would be delivered again.
    discarding: BTreeMap<EntryId, bool>,
    /// Those that are durable by now.
    acked: VecDeque<EntryId>,
}

struct Delivering {
    told: oneshot::Sender<Result<(), StoreError>>,
    /// The room that the entry takes.
    _room: OwnedSemaphorePermit,
}

impl Member {
    fn new(peer: Peer) -> Self {
        Self {
            peer,
            links: BTreeMap::new(),
            readable: false,
            delivering: BTreeMap::new(),
            discarding: BTreeMap::new(),
            acked: VecDeque::new(),
        }
    }

    fn wake(&self, wake: Wake) {
        if wake != Wake::None {
            let others = self.links.iter().filter(|(link, _)| wake != Wake::Others(**link));
            others.for_each(|(_, notify)| notify.notify_one());
        }
    }

    fn has_event(&self) -> bool {
        !self.acked.is_empty() || self.peer.has_event()
    }

    fn next_event(&mut self) -> Option<Event> {
        if let Some(entry) = self.acked.pop_front() {
            return Some(Event::Acked(entry));
        }
        loop {
            let event = self.peer.next_event()?;
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
}

/// The one gateway of a connector that authenticates nobody: without a verified id there is nothing to tell links apart
/// by (CONN-2).
pub(super) fn anyone() -> GatewayId {
    GatewayId::unverified("default")
}

impl Hub {
    pub(super) fn new(config: Config, keeper: Option<Arc<Keeper>>, backlogs: Vec<(GatewayId, Backlog)>) -> Self {
        let origin = clock();
        let mut state = State { storing: keeper.is_some(), ..State::default() };
        for (id, backlog) in backlogs {
            let peer = Peer::stored(config.settings.clone(), epoch(), backlog, Now { unix: unix(), ..Now::default() });
            state.peers.insert(id, Member::new(peer));
        }
        Self {
            origin,
            state: Mutex::new(state),
            keeper,
            throttle: Mutex::new(Throttle::new(config.refusals, config.refusal_every)),
            config,
            readable: Notify::new(),
            closing: Notify::new(),
            gone: Notify::new(),
        }
    }

    pub(super) fn authenticates(&self) -> bool {
        !self.config.secrets.is_empty()
    }

    /// Who asks for an upgrade (CONN-1, CONN-2).
    pub(super) fn identify(&self, bearer: Option<&str>) -> Result<GatewayId, Refusal> {
        if !self.authenticates() {
            return Ok(anyone());
        }
        authenticate(bearer, |id| self.config.secrets.get(id).cloned(), self.now())
    }

    pub(super) fn now(&self) -> Now {
        Now { monotonic: clock().saturating_duration_since(self.origin), unix: unix() }
    }

    /// The point in time this far ahead.
    pub(super) fn after(&self, wait: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(clock() + wait)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more refusal of this address is answered in full.
    pub(super) fn may_refuse(&self, address: IpAddr) -> bool {
        let now = self.now().monotonic;
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner).take(address, now)
    }

    /// What a peer looks like; `None` for a gateway that nothing ever happened to.
    pub(super) fn view<T>(&self, id: &GatewayId, view: impl FnOnce(&Peer) -> T) -> Option<T> {
        self.lock().peers.get(id).map(|member| view(&member.peer))
    }

    /// Changes a peer, then does what it asks for and tells its links.
    pub(super) fn with<T>(&self, id: &GatewayId, change: impl FnOnce(&mut Peer, Now) -> T) -> T {
        self.with_member(id, Wake::All, |member, now| change(&mut member.peer, now))
    }

    /// The same for the task of one of its links, which goes on by itself and need not be woken.
    pub(super) fn with_link<T>(&self, id: &GatewayId, link: LinkId, change: impl FnOnce(&mut Peer, Now) -> T) -> T {
        self.with_member(id, Wake::Others(link), |member, now| change(&mut member.peer, now))
    }

    fn with_member<T>(&self, id: &GatewayId, wake: Wake, change: impl FnOnce(&mut Member, Now) -> T) -> T {
        let now = self.now();
        let mut state = self.lock();
        let State { peers, readable, closing, .. } = &mut *state;
        let member = match peers.get_mut(id) {
            Some(member) => member,
            None => peers.entry(id.clone()).or_insert_with(|| Member::new(self.peer(*closing, now))),
        };
        let result = change(member, now);
        let hellos = self.settle(id, member);
        member.wake(wake);
        let news = !member.readable && member.has_event();
        if news {
            member.readable = true;
            readable.push_back(id.clone());
        }
        drop(state);
        if news {
            self.readable.notify_one();
        }
        for (hello, identity) in hellos {
            self.answer_hello(id, hello, &identity);
        }
        result
    }

    /// A gateway of which nothing is kept.
    fn peer(&self, closing: bool, now: Now) -> Peer {
        let settings = self.config.settings.clone();
        let mut peer = match self.keeper {
            Some(_) => Peer::stored(settings, epoch(), Backlog::default(), now),
            None => Peer::in_memory(settings, epoch(), now),
        };
        if closing {
            peer.shutdown(now);
        }
        peer
    }

    /// Does what a peer asks for. The hellos that wait for the host's policy.
    #[must_use]
    fn settle(&self, id: &GatewayId, member: &mut Member) -> Vec<(HelloId, Identity)> {
        let mut hellos = Vec::new();
        while let Some(output) = member.peer.poll_output() {
            match output {
                Output::Hello { hello, identity } => hellos.push((hello, identity)),
                Output::Drop(link) => {
                    if let Some(notify) = member.links.remove(&link) {
                        notify.notify_one();
                    }
                }
                Output::Accepted(entry) => {
                    if let Some(delivering) = member.delivering.remove(&entry) {
                        // Whoever delivered it may have gone.
                        let _ = delivering.told.send(Ok(()));
                    }
                }
                Output::Append { entry, frame } => {
                    self.store(Change::Append { gateway: id.clone(), entry, frame });
                }
                Output::Discard(entry) => {
                    member.discarding.insert(entry, false);
                    self.store(Change::Discard { gateway: id.clone(), entry });
                }
                Output::Fetch(fetch) => {
                    if let Some(keeper) = &self.keeper {
                        keeper.fetch(id.clone(), fetch);
                    }
                }
                Output::Notice(notice) => tracing::debug!(gateway = %id, "{notice}"),
                _ => {}
            }
        }
        hellos
    }

    fn store(&self, change: Change) {
        if let Some(keeper) = &self.keeper {
            keeper.change(change);
        }
    }

    /// The host's policy decides (CONN-2). It is asked outside the lock, since it is the user's code.
    fn answer_hello(&self, id: &GatewayId, hello: HelloId, identity: &Identity) {
        let descriptor = self.config.describe_identity(identity);
        self.with(id, |peer, now| {
            let described = descriptor.is_some_and(|descriptor| peer.describe(hello, &descriptor, now).is_ok());
            if !described {
                // A descriptor that cannot be sent makes the link useless as well. A link that is gone has no use for one.
                let _ = peer.refuse(hello, now);
            }
        });
    }

    // ── deliveries and the store ─────────────────────────────────────────

    /// Takes up an entry whose payload has this size, and waits until it is accepted.
    pub(super) async fn deliver(
        &self,
        id: &GatewayId,
        size: usize,
        take_up: impl FnOnce(&mut Peer, Now) -> Result<EntryId, Refused>,
    ) -> Result<EntryId, DeliverError> {
        let Some(keeper) = &self.keeper else { return Ok(self.with(id, take_up)?) };
        let (turn, room) = keeper.room(size).await.ok_or(Refused::ShutDown)?;
        let (told, accepted) = oneshot::channel();
        // Nothing of it may be sent before it is durable.
        let entry = self.with_member(id, Wake::None, |member, now| {
            let entry = take_up(&mut member.peer, now)?;
            member.delivering.insert(entry, Delivering { told, _room: room });
            Ok::<_, Refused>(entry)
        })?;
        drop(turn);
        match accepted.await {
            Ok(Ok(())) => Ok(entry),
            Ok(Err(error)) => Err(DeliverError::NotStored(error)),
            // Not reached: the store answers for every entry before it closes.
            Err(_) => Err(Refused::ShutDown.into()),
        }
    }

    /// The store made these changes, or failed to.
    pub(super) fn committed(&self, changes: &[Change], failure: Option<&StoreError>) {
        let mut by_gateway = BTreeMap::<&GatewayId, Vec<&Change>>::new();
        for change in changes {
            by_gateway.entry(change.gateway()).or_default().push(change);
        }
        for (gateway, changes) in by_gateway {
            self.with_member(gateway, Wake::All, |member, now| {
                for change in changes {
                    match (change, failure) {
                        (Change::Append { entry, .. }, None) => member.peer.handle_stored(*entry, now),
                        (Change::Append { entry, .. }, Some(error)) => {
                            member.peer.handle_not_stored(*entry, now);
                            if let Some(delivering) = member.delivering.remove(entry) {
                                let _ = delivering.told.send(Err(error.clone()));
                            }
                        }
                        (Change::Discard { entry, .. }, None) => {
                            member.peer.handle_discarded(*entry, now);
                            if member.discarding.remove(entry) == Some(true) {
                                member.acked.push_back(*entry);
                            }
                        }
                        // It is tried again.
                        (Change::Discard { .. }, Some(_)) => {}
                    }
                }
            });
        }
    }

    /// The store read what a gateway's peer asked for.
    pub(super) fn fetched(&self, gateway: &GatewayId, entries: Vec<(EntryId, String)>) {
        self.with(gateway, |peer, now| peer.handle_fetched(entries, now));
    }

    /// The store is dropped, with all that it was given.
    pub(super) fn store_closed(&self) {
        self.lock().storing = false;
        self.gone.notify_waiters();
        self.readable.notify_one();
    }

    // ── links ────────────────────────────────────────────────────────────

    /// A link of this gateway is open. It is told through the notifier when there is something to write, and when it
    /// [is dropped](Self::is_dropped).
    pub(super) fn open(&self, id: &GatewayId) -> (LinkId, Arc<Notify>) {
        let notify = Arc::new(Notify::new());
        let link = self.with_member(id, Wake::All, |member, now| {
            let link = member.peer.handle_opened(now);
            member.links.insert(link, notify.clone());
            link
        });
        (link, notify)
    }

    /// The next thing to write to a link. Asking changes nothing that anybody waits for.
    pub(super) fn take_transmit(&self, id: &GatewayId, link: LinkId) -> Option<Transmit> {
        self.lock().peers.get_mut(id)?.peer.poll_transmit(link)
    }

    /// What to wait for on a link: whether to read it, and the peer's deadline.
    pub(super) fn interest(&self, id: &GatewayId, link: LinkId) -> (bool, Option<tokio::time::Instant>) {
        let state = self.lock();
        let Some(member) = state.peers.get(id) else { return (false, None) };
        let deadline = member.peer.poll_timeout().and_then(|deadline| self.origin.checked_add(deadline.at));
        (member.peer.wants_read(link), deadline.map(Into::into))
    }

    pub(super) fn is_dropped(&self, id: &GatewayId, link: LinkId) -> bool {
        !self.lock().peers.get(id).is_some_and(|member| member.links.contains_key(&link))
    }

    pub(super) fn forget(&self, id: &GatewayId, link: LinkId) {
        if let Some(member) = self.lock().peers.get_mut(id) {
            member.links.remove(&link);
        }
    }

    // ── events ───────────────────────────────────────────────────────────

    pub(super) async fn next_event(&self) -> Option<(GatewayId, Event)> {
        loop {
            {
                let mut state = self.lock();
                while let Some(id) = state.readable.pop_front() {
                    let Some(member) = state.peers.get_mut(&id) else { continue };
                    let held_back = member.links.keys().any(|link| !member.peer.wants_read(*link));
                    let event = member.next_event();
                    // Reading makes no hello.
                    let _ = self.settle(&id, member);
                    member.wake(if held_back { Wake::All } else { Wake::None });
                    member.readable = member.has_event();
                    if member.readable {
                        state.readable.push_back(id.clone());
                    }
                    if let Some(event) = event {
                        return Some((id, event));
                    }
                }
                if state.is_over() {
                    return None;
                }
            }
            self.readable.notified().await;
        }
    }

    // ── the end ──────────────────────────────────────────────────────────

    pub(super) fn begin_shutdown(&self) {
        let now = self.now();
        let mut state = self.lock();
        if std::mem::replace(&mut state.closing, true) {
            return;
        }
        let State { peers, readable, .. } = &mut *state;
        for (id, member) in peers {
            member.peer.shutdown(now);
            // Nobody is let in any more.
            let _ = self.settle(id, member);
            member.wake(Wake::All);
            if !member.readable && member.has_event() {
                member.readable = true;
                readable.push_back(id.clone());
            }
        }
        if let Some(keeper) = &self.keeper {
            keeper.refuse_more();
        }
        self.wind_up(state);
        self.closing.notify_waiters();
    }

    /// Links are over, perhaps all of them: then nothing more comes for the store, which commits what it has and closes.
    fn wind_up(&self, state: MutexGuard<'_, State>) {
        if let Some(keeper) = &self.keeper
            && state.has_no_links()
        {
            keeper.close();
        }
        drop(state);
        self.gone.notify_waiters();
        self.readable.notify_one();
    }

    /// Waits until the connector shuts down.
    pub(super) async fn closing(&self) {
        let closing = self.closing.notified();
        tokio::pin!(closing);
        closing.as_mut().enable();
        if !self.lock().closing {
            closing.await;
        }
    }

    pub(super) async fn shutdown(&self) {
        self.begin_shutdown();
        loop {
            let gone = self.gone.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            if self.lock().is_over() {
                return;
            }
            gone.await;
        }
    }

    pub(super) fn connection_begins(&self) {
        self.lock().connections += 1;
    }

    pub(super) fn connection_ends(&self) {
        let mut state = self.lock();
        state.connections -= 1;
        self.wind_up(state);
    }

    pub(super) fn stops_listening(&self) {
        let mut state = self.lock();
        state.deaf = true;
        self.wind_up(state);
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Part of every buffer id, never the same twice.
fn epoch() -> u64 {
    getrandom::u64().unwrap_or_else(|_| unix())
}

#[allow(clippy::disallowed_methods)] // The runtime is what hands time to the machine; this is its one place.
fn clock() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods)] // As above.
fn unix() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
