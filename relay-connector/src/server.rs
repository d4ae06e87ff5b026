//! What links and handles share: the gateways, and the life of the connector as a whole.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use relay_proto::client::{Clock as _, SystemClock};
use relay_proto::connector::{
    Backlog, EntryId, Event, GatewayId, HelloId, Identity, LinkId, Output, Peer, Refused, without_credentials,
};
use relay_proto::end::LinkEnd;
use relay_proto::time::Now;
use relay_proto::token::Secret;
use relay_proto::wire::ServerTls;
use tokio::runtime::Handle;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{Notify, oneshot};

use super::admission::Admission;
use super::clock::Clock;
use super::config::Config;
use super::enrolment::{Enroller, HttpEvent, Known};
use super::error::DeliverError;
use super::gateway_entry::{Delivering, GatewayEntry, Inner, Linked, Wake};
use super::lifecycle::Lifecycle;
use super::pending_connections::{PendingConnection, sent_away};
use super::store::{Change, StoreError};
use super::store_worker::{StoreClient, StoreWorker};

pub(super) struct Server {
    pub(super) config: Arc<Config>,
    pub(super) admission: Admission,
    clock: Clock,
    origin: Instant,
    /// Never held together with the lock of a gateway, and never for longer than a look.
    state: Mutex<State>,
    /// `None`: entries are kept in memory.
    store_worker: Option<Arc<StoreWorker>>,
    /// What new connections are served with.
    tls: Mutex<Option<ServerTls>>,
    /// Nobody reads events any more.
    unheard: AtomicBool,
    /// There may be an event to read, or the end.
    readable: Notify,
    /// The connector shuts down.
    closing: Notify,
    /// The connector has shut down.
    gone: Notify,
}

struct State {
    lifecycle: Lifecycle,
    gateways: BTreeMap<GatewayId, Arc<GatewayEntry>>,
    /// Gateways that may have events, each once.
    readable: VecDeque<Arc<GatewayEntry>>,
}

/// Room for one thing that the host is told; without any, the host does not listen.
pub(super) struct EventPermit(Option<OwnedPermit<(GatewayId, HttpEvent)>>);

impl EventPermit {
    pub(super) fn tell(self, gateway: GatewayId, event: HttpEvent) {
        if let Some(permit) = self.0 {
            permit.send((gateway, event));
        }
    }
}

/// What the task of a link has to know before it waits.
pub(super) struct Interest {
    /// Whether to read.
    pub(super) read: bool,
    /// When the peer wants to be told the time.
    pub(super) deadline: Option<tokio::time::Instant>,
}

impl Server {
    /// What a new connection is served with; `None`: without TLS.
    pub(super) fn tls(&self) -> Option<ServerTls> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another one from now on, unless there is none. Whether there is.
    pub(super) fn set_tls(&self, tls: ServerTls) -> bool {
        match &mut *self.tls.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(current) => {
                *current = tls;
                true
            }
            None => false,
        }
    }

    pub(super) fn new(
        config: Arc<Config>,
        runtime: &Handle,
        store_worker: Option<Arc<StoreWorker>>,
        backlogs: Vec<(GatewayId, Backlog)>,
        enroller: Enroller,
    ) -> Self {
        let clock = Clock::new(runtime);
        let origin = clock.now();
        let now = Now { monotonic: Duration::ZERO, unix: clock.unix(origin).as_secs() };
        let lifecycle = Lifecycle::new(store_worker.is_some());
        let mut state = State { lifecycle, gateways: BTreeMap::new(), readable: VecDeque::new() };
        for (id, backlog) in backlogs {
            let peer = Peer::stored(config.settings_for(&id), epoch(), backlog, now);
            state.gateways.insert(id.clone(), GatewayEntry::new(id, peer));
        }
        Self {
            clock,
            origin,
            state: Mutex::new(state),
            store_worker,
            unheard: AtomicBool::new(false),
            tls: Mutex::new(config.tls.clone()),
            admission: Admission::new(config.clone(), enroller),
            config,
            readable: Notify::new(),
            closing: Notify::new(),
            gone: Notify::new(),
        }
    }

    /// A permit for what a gateway does over HTTP among what the host is told. Waits while it has not heard of what was
    /// before, for as long as the connection may: `None` when it has to go.
    pub(super) async fn event_permit(&self, pending: Option<&PendingConnection>) -> Option<EventPermit> {
        let Some(listener) = &self.config.http_events else { return Some(EventPermit(None)) };
        tokio::select! {
            // Nobody need listen any more.
            permit = listener.clone().reserve_owned() => Some(EventPermit(permit.ok())),
            // Who waits for the end of the connector may not listen.
            () = self.closing() => Some(EventPermit(None)),
            () = sent_away(pending) => None,
        }
    }

    pub(super) fn now(&self) -> Now {
        let now = self.clock.now();
        Now { monotonic: now.saturating_duration_since(self.origin), unix: self.clock.unix(now).as_secs() }
    }

    /// The point in time this far ahead, for waits of our own.
    pub(super) fn after(&self, wait: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.clock.now() + wait)
    }

    /// Whether this point in time has come.
    pub(super) fn is_past(&self, at: tokio::time::Instant) -> bool {
        at.into_std() <= self.clock.now()
    }

    /// The same for a wait of anybody's choice; `None` when it never ends.
    pub(super) fn deadline(&self, wait: Duration) -> Option<tokio::time::Instant> {
        // A century: no clock that has to add a little to it overflows.
        const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        self.clock.now().checked_add(wait).filter(|_| wait < NEVER).map(Into::into)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A gateway that something happened to.
    fn known(&self, id: &GatewayId) -> Option<Arc<GatewayEntry>> {
        self.lock().gateways.get(id).cloned()
    }

    /// What the gateway with this id is, whatever enrolment granted it.
    pub(super) fn knows(&self, id: &str) -> Known {
        if self.config.secrets.contains_key(id) {
            Known::Configured
        } else if self.known(&GatewayId::unverified(id)).is_some() {
            Known::Seen
        } else {
            Known::No
        }
    }

    /// A gateway that something happens to.
    pub(super) fn gateway_entry(&self, id: &GatewayId) -> Arc<GatewayEntry> {
        let mut state = self.lock();
        if let Some(gateway_entry) = state.gateways.get(id) {
            return gateway_entry.clone();
        }
        let gateway_entry = GatewayEntry::new(id.clone(), self.peer(id, !state.lifecycle.is_running()));
        state.gateways.insert(id.clone(), gateway_entry.clone());
        gateway_entry
    }

    /// What a peer looks like; `None` for a gateway that nothing ever happened to.
    pub(super) fn view<T>(&self, id: &GatewayId, view: impl FnOnce(&Peer) -> T) -> Option<T> {
        self.known(id).map(|gateway_entry| view(&gateway_entry.lock().peer))
    }

    /// Changes a peer, then does what it asks for and tells its links.
    pub(super) fn with<T>(&self, id: &GatewayId, change: impl FnOnce(&mut Peer, Now) -> T) -> T {
        self.change(&self.gateway_entry(id), Wake::All, |inner, now| change(&mut inner.peer, now))
    }

    /// The same for the task of one of its links, which goes on by itself and need not be woken.
    pub(super) fn with_link<T>(
        &self,
        own: &Arc<GatewayEntry>,
        link: LinkId,
        change: impl FnOnce(&mut Peer, Now) -> T,
    ) -> T {
        self.change(own, Wake::Others(link), |inner, now| change(&mut inner.peer, now))
    }

    fn change<T>(&self, gateway_entry: &Arc<GatewayEntry>, wake: Wake, change: impl FnOnce(&mut Inner, Now) -> T) -> T {
        let mut inner = gateway_entry.lock();
        // Under the lock, so that a peer never sees the time go back.
        let result = change(&mut inner, self.now());
        if self.unheard.load(Ordering::Relaxed) {
            inner.discard_events(self.now());
        }
        let hellos = self.settle(&gateway_entry.id, &mut inner);
        inner.wake(wake);
        let joins = inner.joins_readable();
        drop(inner);
        if joins {
            self.put_in_line(gateway_entry);
        }
        for (hello, identity) in hellos {
            self.answer_hello(gateway_entry, hello, &identity);
        }
        result
    }

    /// It has something to be read.
    fn put_in_line(&self, gateway_entry: &Arc<GatewayEntry>) {
        self.lock().readable.push_back(gateway_entry.clone());
        self.readable.notify_one();
    }

    /// A gateway of which nothing is kept.
    fn peer(&self, id: &GatewayId, closing: bool) -> Peer {
        let (settings, now) = (self.config.settings_for(id), self.now());
        let mut peer = match self.store_worker {
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
    fn settle(&self, id: &GatewayId, gateway_entry: &mut Inner) -> Vec<(HelloId, Identity)> {
        let mut hellos = Vec::new();
        while let Some(output) = gateway_entry.peer.poll_output() {
            match output {
                Output::Hello { hello, identity } => hellos.push((hello, identity)),
                Output::Drop(link) => {
                    if let Some(linked) = gateway_entry.links.remove(&link) {
                        linked.news.notify_one();
                    }
                }
                Output::Accepted(entry) => {
                    if let Some(delivering) = gateway_entry.delivering.remove(&entry) {
                        // Whoever delivered it may have gone.
                        let _ = delivering.told.send(Ok(()));
                    }
                }
                Output::Append { entry, frame } => {
                    self.store(Change::Append { gateway: id.clone(), entry, frame });
                }
                Output::Discard(entry) => {
                    gateway_entry.discarding.insert(entry, false);
                    self.store(Change::Discard { gateway: id.clone(), entry });
                }
                Output::Fetch(fetch) => {
                    if let Some(store_worker) = &self.store_worker {
                        store_worker.fetch(id.clone(), fetch);
                    }
                }
                Output::Notice(notice) if notice.is_warning() => tracing::warn!(gateway = %id, "{notice}"),
                Output::Notice(notice) => {
                    if tracing::enabled!(tracing::Level::DEBUG) {
                        let notice = self.without_credentials(id.as_str(), gateway_entry, &notice.to_string());
                        tracing::debug!(gateway = %id, "{notice}");
                    }
                }
                _ => {}
            }
        }
        hellos
    }

    fn store(&self, change: Change) {
        if let Some(store_worker) = &self.store_worker {
            store_worker.change(change);
        }
    }

    /// The host's policy decides (CONN-2). It is asked outside the lock, since it is the user's code.
    fn answer_hello(&self, gateway_entry: &Arc<GatewayEntry>, hello: HelloId, identity: &Identity) {
        let descriptor = self.config.describe_identity(identity);
        self.change(gateway_entry, Wake::All, |inner, now| {
            let described = descriptor.is_some_and(|descriptor| inner.peer.describe(hello, &descriptor, now).is_ok());
            if !described {
                // A descriptor that cannot be sent makes the link useless as well. A link that is gone has no use for one.
                let _ = inner.peer.refuse(hello, now);
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
        let Some(store_worker) = &self.store_worker else { return Ok(self.with(id, take_up)?) };
        let (turn, room) = store_worker.room(size).await.ok_or(Refused::ShutDown)?;
        let (told, accepted) = oneshot::channel();
        // Nothing of it may be sent before it is durable.
        let entry = self.change(&self.gateway_entry(id), Wake::None, |inner, now| {
            let entry = take_up(&mut inner.peer, now)?;
            inner.delivering.insert(entry, Delivering { told, _room: room });
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

    // ── links ────────────────────────────────────────────────────────────

    /// A link of this gateway is open. It is told through the notifier when there is something to write, and when it is
    /// dropped.
    pub(super) fn open(&self, gateway_entry: &Arc<GatewayEntry>, bearer: Option<&str>) -> (LinkId, Arc<Notify>) {
        let notify = Arc::new(Notify::new());
        let link = self.change(gateway_entry, Wake::All, |inner, now| {
            let link = inner.peer.handle_opened(now);
            inner.links.insert(link, Linked { news: notify.clone(), bearer: bearer.map(Secret::new) });
            link
        });
        (link, notify)
    }

    /// A link is over, as far as the transport knows.
    pub(super) fn leave(&self, gateway_entry: &Arc<GatewayEntry>, link: LinkId, mut end: LinkEnd) {
        if let LinkEnd::Closed { reason, .. } = &mut end {
            let shown = self.without_credentials(gateway_entry.id.as_str(), &gateway_entry.lock(), reason);
            *reason = shown;
        }
        self.with_link(gateway_entry, link, |peer, now| peer.handle_ended(link, end, now));
        gateway_entry.lock().links.remove(&link);
    }

    /// What a gateway says, without its credentials (TOKEN-3).
    fn without_credentials(&self, id: &str, gateway_entry: &Inner, text: &str) -> String {
        let secrets = self.admission.secrets(id);
        let bearers = gateway_entry.links.values().filter_map(|linked| linked.bearer.as_ref());
        without_credentials(text, secrets.iter().chain(bearers))
    }

    /// What to wait for on a link; `None` once it is dropped.
    pub(super) fn interest(&self, gateway_entry: &GatewayEntry, link: LinkId) -> Option<Interest> {
        let inner = gateway_entry.lock();
        inner.links.get(&link)?;
        let deadline = inner.peer.poll_timeout().and_then(|deadline| self.origin.checked_add(deadline.at));
        Some(Interest { read: inner.peer.wants_read(link), deadline: deadline.map(Into::into) })
    }

    // ── events ───────────────────────────────────────────────────────────

    pub(super) async fn next_event(&self) -> Option<(GatewayId, Event)> {
        loop {
            while let Some(gateway_entry) = self.next_in_line() {
                let mut inner = gateway_entry.lock();
                let held_back = inner.links.keys().any(|link| !inner.peer.wants_read(*link));
                let event = inner.next_event();
                // Reading makes no hello.
                let _ = self.settle(&gateway_entry.id, &mut inner);
                inner.wake(if held_back { Wake::All } else { Wake::None });
                inner.readable = false;
                let joins = inner.joins_readable();
                drop(inner);
                if joins {
                    // At the end: the others come first. This reader need not be woken.
                    self.lock().readable.push_back(gateway_entry.clone());
                }
                if let Some(event) = event {
                    return Some((gateway_entry.id.clone(), event));
                }
            }
            if self.is_over() {
                return None;
            }
            self.readable.notified().await;
        }
    }

    /// Nobody reads events from now on: neither those that there are, nor any that come.
    pub(super) fn discard_events(&self) {
        // Before the gateways are looked at: whoever changes one later takes its lock, and sees this.
        self.unheard.store(true, Ordering::Relaxed);
        let gateways: Vec<Arc<GatewayEntry>> = {
            let mut state = self.lock();
            state.readable.clear();
            state.gateways.values().cloned().collect()
        };
        for gateway_entry in &gateways {
            self.change(gateway_entry, Wake::All, |_, _| ());
        }
    }

    fn next_in_line(&self) -> Option<Arc<GatewayEntry>> {
        self.lock().readable.pop_front()
    }

    /// Whether nothing can happen any more, and everything is read.
    fn is_over(&self) -> bool {
        let state = self.lock();
        state.lifecycle.is_over() && state.readable.is_empty()
    }

    // ── the end ──────────────────────────────────────────────────────────

    pub(super) fn begin_shutdown(&self) {
        let gateways: Vec<Arc<GatewayEntry>> = {
            let mut state = self.lock();
            if !state.lifecycle.begin_shutdown() {
                return;
            }
            // A gateway that comes later is shut down from the start.
            state.gateways.values().cloned().collect()
        };
        for gateway_entry in &gateways {
            self.change(gateway_entry, Wake::All, |inner, now| inner.peer.shutdown(now));
        }
        if let Some(store_worker) = &self.store_worker {
            store_worker.refuse_more();
        }
        let mut state = self.lock();
        state.lifecycle.peers_are_shut();
        self.wind_up(state);
        self.closing.notify_waiters();
    }

    /// Links are over, perhaps all of them: then nothing more comes for the store, which commits what it has and closes.
    fn wind_up(&self, state: MutexGuard<'_, State>) {
        if let Some(store_worker) = &self.store_worker
            && state.lifecycle.closes_store()
        {
            store_worker.close();
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
        if self.lock().lifecycle.is_running() {
            closing.await;
        }
    }

    pub(super) async fn shutdown(&self) {
        self.begin_shutdown();
        loop {
            let gone = self.gone.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            if self.lock().lifecycle.is_over() {
                return;
            }
            gone.await;
        }
    }

    /// A connection begins. The listener is one from the start.
    pub(super) fn connection_begins(&self) {
        self.lock().lifecycle.connection_begins();
    }

    /// A connection is over, or the listener.
    pub(super) fn connection_ends(&self) {
        let mut state = self.lock();
        state.lifecycle.connection_ends();
        self.wind_up(state);
    }
}

impl StoreClient for Server {
    fn committed(&self, changes: &[Change], failure: Option<&StoreError>) {
        let mut by_gateway = BTreeMap::<&GatewayId, Vec<&Change>>::new();
        for change in changes {
            by_gateway.entry(change.gateway()).or_default().push(change);
        }
        for (gateway, changes) in by_gateway {
            self.change(&self.gateway_entry(gateway), Wake::All, |inner, now| {
                for change in changes {
                    match (change, failure) {
                        (Change::Append { entry, .. }, None) => inner.peer.handle_stored(*entry, now),
                        (Change::Append { entry, .. }, Some(error)) => {
                            inner.peer.handle_not_stored(*entry, now);
                            if let Some(delivering) = inner.delivering.remove(entry) {
                                let _ = delivering.told.send(Err(error.clone()));
                            }
                        }
                        (Change::Discard { entry, .. }, None) => {
                            inner.peer.handle_discarded(*entry, now);
                            if inner.discarding.remove(entry) == Some(true) {
                                inner.acked.push_back(*entry);
                            }
                        }
                        // It is tried again.
                        (Change::Discard { .. }, Some(_)) => {}
                    }
                }
            });
        }
    }

    fn fetched(&self, gateway: &GatewayId, entries: Vec<(EntryId, String)>) {
        self.with(gateway, |peer, now| peer.handle_fetched(entries, now));
    }

    fn store_closed(&self) {
        self.lock().lifecycle.store_closed();
        self.gone.notify_waiters();
        self.readable.notify_one();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Counts a connection in, and out however its task ends.
pub(super) struct ConnectionGuard(Arc<Server>);

impl Deref for ConnectionGuard {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl ConnectionGuard {
    pub(super) fn new(server: Arc<Server>) -> Self {
        server.connection_begins();
        Self(server)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.connection_ends();
    }
}

/// Part of every buffer id, never the same twice.
fn epoch() -> u64 {
    getrandom::u64().unwrap_or_else(|_| SystemClock.unix(SystemClock.now()).as_nanos() as u64)
}
