//! What links and handles share: the peers, behind one lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use relay_proto::connector::{
    Event, GatewayId, HelloId, Identity, LinkId, Output, Peer, Refusal, Transmit, authenticate,
};
use relay_proto::time::Now;
use tokio::sync::Notify;

use super::config::Config;

pub(super) struct Hub {
    pub(super) config: Config,
    origin: Instant,
    state: Mutex<State>,
    /// There may be an event to read, or the end.
    readable: Notify,
    /// The connector shuts down.
    closing: Notify,
    /// A link is gone.
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
}

struct Member {
    peer: Peer,
    links: BTreeMap<LinkId, Arc<Notify>>,
    readable: bool,
}

impl Member {
    /// Does what the peer asks for and tells its links. The hellos that wait for the host's policy.
    #[must_use]
    fn settle(&mut self) -> Vec<(HelloId, Identity)> {
        let mut hellos = Vec::new();
        while let Some(output) = self.peer.poll_output() {
            match output {
                Output::Hello { hello, identity } => hellos.push((hello, identity)),
                Output::Drop(link) => {
                    if let Some(notify) = self.links.remove(&link) {
                        notify.notify_one();
                    }
                }
                // A buffer in memory accepts at once and stores nothing; notices are counted.
                _ => {}
            }
        }
        for notify in self.links.values() {
            notify.notify_one();
        }
        hellos
    }
}

/// The one gateway of a connector that authenticates nobody: without a verified id there is nothing to tell links apart
/// by (CONN-2).
pub(super) fn anyone() -> GatewayId {
    GatewayId::unverified("default")
}

impl Hub {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            origin: clock(),
            state: Mutex::default(),
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

    /// Changes a peer, then does what it asks for and tells its links.
    pub(super) fn with<T>(&self, id: &GatewayId, change: impl FnOnce(&mut Peer, Now) -> T) -> T {
        self.with_member(id, |member, now| change(&mut member.peer, now))
    }

    fn with_member<T>(&self, id: &GatewayId, change: impl FnOnce(&mut Member, Now) -> T) -> T {
        let now = self.now();
        let mut state = self.lock();
        let closing = state.closing;
        let member = state.peers.entry(id.clone()).or_insert_with(|| {
            let mut peer = Peer::in_memory(self.config.settings.clone(), epoch(), now);
            if closing {
                peer.shutdown(now);
            }
            Member { peer, links: BTreeMap::new(), readable: false }
        });
        let result = change(member, now);
        let hellos = member.settle();
        if !std::mem::replace(&mut member.readable, true) {
            state.readable.push_back(id.clone());
        }
        drop(state);
        self.readable.notify_one();
        for (hello, identity) in hellos {
            self.answer_hello(id, hello, &identity);
        }
        result
    }

    /// Looks at a peer, if there ever was one.
    pub(super) fn view<T: Default>(&self, id: &GatewayId, view: impl FnOnce(&Peer) -> T) -> T {
        self.lock().peers.get(id).map_or_else(T::default, |member| view(&member.peer))
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

    // ── links ────────────────────────────────────────────────────────────

    /// A link of this gateway is open. It is told through the notifier when there is something to write, and when it
    /// [is dropped](Self::is_dropped).
    pub(super) fn open(&self, id: &GatewayId) -> (LinkId, Arc<Notify>) {
        let notify = Arc::new(Notify::new());
        let link = self.with_member(id, |member, now| {
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
                    if let Some(event) = member.peer.next_event() {
                        // What it held back may move now. Reading makes no hello.
                        let _ = member.settle();
                        state.readable.push_back(id.clone());
                        return Some((id, event));
                    }
                    member.readable = false;
                }
                if state.closing && state.connections == 0 && state.deaf {
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
        for member in state.peers.values_mut() {
            member.peer.shutdown(now);
            // Nobody is let in any more.
            let _ = member.settle();
        }
        drop(state);
        self.closing.notify_waiters();
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
            {
                let state = self.lock();
                if state.connections == 0 && state.deaf {
                    return;
                }
            }
            gone.await;
        }
    }

    pub(super) fn connection_begins(&self) {
        self.lock().connections += 1;
    }

    pub(super) fn connection_ends(&self) {
        self.lock().connections -= 1;
        self.gone.notify_waiters();
        self.readable.notify_one();
    }

    pub(super) fn stops_listening(&self) {
        self.lock().deaf = true;
        self.gone.notify_waiters();
        self.readable.notify_one();
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
