//! What handle, events and driver share: the machine and its wire behind one lock.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::clock::Clock;
use super::log::{self, Named, Often};
use super::system::{AtomicUsize, Mutex, MutexGuard, Ordering, seed};
use crate::gateway::{
    DeliveryId, Event, IdleId, IdleOutcome, Machine, NotSent, Notice, Outcome, Output, RequestId, Settings, State,
    Stats,
};
use crate::time::Now;
use crate::wire::{ClientTls, GatewayIo, IoRequest};

pub(super) struct Shared {
    clock: Box<dyn Clock>,
    origin: Instant,
    /// Handles and `Events` that are left. When none is, the gateway shuts down.
    users: AtomicUsize,
    inner: Mutex<Inner>,
    /// How far a test has set the clocks ahead.
    #[cfg(feature = "test-util")]
    ahead: std::sync::Mutex<Duration>,
}

/// Results by what they are of. The keys are of our own making, so their hash need not be one that nobody can foresee.
type Slots<K, T> = HashMap<K, Slot<T>, FixedState>;

/// A result that somebody waits for.
enum Slot<T> {
    Waiting(Option<Waker>),
    Done(T),
}

pub(super) struct Inner {
    pub(super) gateway: GatewayIo,
    /// The time of the last input. Good enough where nothing depends on it.
    now: Now,
    /// What the driver has to do about sockets.
    io_requests: VecDeque<IoRequest>,
    requests: Slots<RequestId, Outcome>,
    idles: Slots<IdleId, IdleOutcome>,
    events_waker: Option<Waker>,
    driver_waker: Option<Waker>,
    /// The driver sleeps until its waker is called.
    driver_sleeps: bool,
    /// Something has changed, and what follows from it is left to the driver, which is awake.
    unsettled: bool,
    pub(super) deferred: Deferred,
    /// How often the log was told of what comes again and again.
    often: Often,
    state: State,
    watchers: BTreeMap<u64, Watcher>,
    next_watcher: u64,
    /// The deadline that the driver sleeps towards, and whether it waits for the socket to be readable.
    pub(super) armed: Option<Duration>,
    pub(super) reading: bool,
    /// The driver still holds bytes that the socket does not take: more of them are no news.
    pub(super) writing: bool,
    /// `Events` is gone: nobody will ever read what happens.
    unread: bool,
    /// The driver is gone, in order or not: nothing will move any more.
    abandoned: bool,
}

/// Somebody who waits for a state.
struct Watcher {
    waker: Waker,
    condition: StateCondition,
}

/// Which state somebody waits for.
#[derive(Clone, Copy)]
pub(super) enum StateCondition {
    /// Any but this.
    OtherThan(State),
    /// The terminal one.
    End,
}

impl StateCondition {
    fn is_met(self, state: State) -> bool {
        match self {
            Self::OtherThan(since) => state != since,
            Self::End => state.is_terminal(),
        }
    }
}

/// What is done once the lock is released, because it runs code of the user's: wakers that are called or dropped, which
/// may run or drop a task and with it a handle of this gateway, and log lines.
#[derive(Default)]
pub(super) struct Deferred {
    wakes: Wakers,
    drops: Wakers,
    notices: Vec<(Notice, u64)>,
    state: Option<State>,
    /// Whose log lines these are.
    of: Option<Named>,
}

/// Wakers; the usual one is kept without an allocation.
#[derive(Default)]
struct Wakers {
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Wakers {
    fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.rest.push(waker);
        }
    }

    fn extend(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.push(waker);
        }
    }

    fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.first.take().into_iter().chain(self.rest.drain(..))
    }
}

impl Deferred {
    /// Whether there is anything for the log.
    fn says_something(&self) -> bool {
        !self.notices.is_empty() || self.state.is_some()
    }

    /// What there is to do, if there is anything.
    fn take(&mut self) -> Option<Self> {
        let Self { wakes, drops, notices, state, .. } = self;
        // A list of wakers that is not empty has a first one.
        let nothing = wakes.first.is_none() && drops.first.is_none() && notices.is_empty() && state.is_none();
        (!nothing).then(|| std::mem::take(self))
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        // One that panics must take neither the link nor the others' wakes with it. The panic hook has told of it.
        for waker in self.wakes.drain() {
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        for waker in self.drops.drain() {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
        }
        let Some(of) = self.of.take() else { return };
        for (notice, untold) in &self.notices {
            let _ = catch_unwind(AssertUnwindSafe(|| log::notice(&of, notice, *untold)));
        }
        if let Some(state) = self.state {
            let ended = self.notices.iter().rev().find_map(|(notice, _)| match notice {
                Notice::Disconnected { ended, .. } => Some(ended),
                _ => None,
            });
            let _ = catch_unwind(AssertUnwindSafe(|| log::state(&of, state, ended)));
        }
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, tls: Option<ClientTls>, clock: Box<dyn Clock>) -> Self {
        let origin = clock.now();
        for warning in settings.warnings() {
            log::warning(&Named::new(&settings), warning);
        }
        let now = Now { monotonic: Duration::ZERO, unix: clock.unix(origin).as_secs() };
        let gateway = GatewayIo::new(settings, tls, seed(), now);
        let state = gateway.machine().state();
        let shared = Self {
            clock,
            origin,
            users: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                gateway,
                now,
                io_requests: VecDeque::new(),
                requests: Slots::default(),
                idles: Slots::default(),
                events_waker: None,
                driver_waker: None,
                driver_sleeps: false,
                unsettled: false,
                deferred: Deferred::default(),
                often: Often::default(),
                state,
                watchers: BTreeMap::new(),
                next_watcher: 0,
                armed: None,
                reading: false,
                writing: false,
                unread: false,
                abandoned: false,
            }),
            #[cfg(feature = "test-util")]
            ahead: std::sync::Mutex::default(),
        };
        // The first dial is due already.
        shared.with(|_, _| ());
        shared
    }

    pub(super) fn now(&self) -> Now {
        let (now, ahead) = (self.clock.now(), self.ahead());
        let passed = now.saturating_duration_since(self.origin);
        Now { monotonic: passed.saturating_add(ahead), unix: self.clock.unix(now).saturating_add(ahead).as_secs() }
    }

    /// The point in time of a deadline. `None`: so far away that nobody will see it.
    pub(super) fn instant(&self, at: Duration) -> Option<Instant> {
        self.origin.checked_add(at.saturating_sub(self.ahead()))
    }

    #[cfg(not(feature = "test-util"))]
    fn ahead(&self) -> Duration {
        Duration::ZERO
    }

    #[cfg(feature = "test-util")]
    fn ahead(&self) -> Duration {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the clocks ahead, and does what is due then.
    #[cfg(feature = "test-util")]
    pub(super) fn advance(&self, by: Duration) {
        {
            let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            *ahead = ahead.saturating_add(by);
        }
        // What the driver's timer is set to has moved as well: it is set again.
        self.time_out();
    }

    /// A deadline has come.
    pub(super) fn time_out(&self) {
        self.with(|inner, now| {
            inner.armed = None;
            inner.gateway.handle_timeout(now);
            inner.shrink();
        });
    }

    /// Changes the state, then passes on what follows from it.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Inner, Now) -> T) -> T {
        let now = self.now();
        self.locked(|inner| {
            inner.now = now;
            let result = change(inner, now);
            inner.settle(now);
            result
        })
    }

    /// For what changes nothing but who waits.
    pub(super) fn locked<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        if inner.deferred.says_something() {
            inner.deferred.of = Some(Named::new(inner.gateway.machine().settings()));
        }
        let deferred = inner.deferred.take();
        drop(inner);
        drop(deferred);
        result
    }

    /// For what changes nothing.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock, which would be a mistake of ours, must not take every handle with it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ── users ────────────────────────────────────────────────────────────

    pub(super) fn add_user(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// The reader of events is gone.
    pub(super) fn remove_reader(&self) {
        self.with(|inner, _| inner.unread = true);
        self.remove_user();
    }

    pub(super) fn remove_user(&self) {
        // Whoever is the last has seen what all others did; the lock sees to that.
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.with(|inner, now| inner.gateway.machine_mut().close(now));
        }
    }

    /// The driver is gone. If the gateway had not ended, it does now.
    pub(super) fn abandon(&self) {
        self.with(|inner, now| {
            inner.abandoned = true;
            inner.deferred.drops.extend(inner.driver_waker.take());
            inner.gateway.abandon(now);
        });
    }

    /// What drives the gateway panicked. It ends, and the application is told why.
    pub(super) fn crash(&self) {
        let of = {
            let inner = self.lock();
            let machine = inner.gateway.machine();
            (!machine.state().is_terminal()).then(|| Named::new(machine.settings()))
        };
        if let Some(of) = of {
            let _ = catch_unwind(AssertUnwindSafe(|| log::panicked(&of)));
        }
        self.with(|inner, now| {
            inner.abandoned = true;
            inner.deferred.drops.extend(inner.driver_waker.take());
            inner.gateway.crash("the gateway's driver panicked, so the gateway has ended", now);
        });
    }

    // ── requests ─────────────────────────────────────────────────────────

    /// Makes a request. `waker`: of who waits for it, if that is known.
    pub(super) fn request(
        &self,
        waker: Option<Waker>,
        make: impl FnOnce(&mut Machine, Now) -> Result<RequestId, NotSent>,
    ) -> Result<RequestId, NotSent> {
        self.with(|inner, now| {
            let made = make(inner.gateway.machine_mut(), now);
            match &made {
                Ok(id) => {
                    inner.requests.insert(*id, Slot::Waiting(waker));
                }
                Err(_) => inner.deferred.drops.extend(waker),
            }
            made
        })
    }

    pub(super) fn poll_request(&self, id: RequestId, waker: &Waker) -> Poll<Outcome> {
        self.locked(|inner| poll_slot(&mut inner.requests, id, waker, &mut inner.deferred))
    }

    pub(super) fn cancel(&self, id: RequestId) {
        self.with(|inner, now| {
            if let Some(slot) = inner.requests.remove(&id) {
                inner.deferred.drops.extend(slot.into_waker());
                inner.gateway.machine_mut().cancel(id, now);
            }
        });
    }

    // ── idling ───────────────────────────────────────────────────────────

    pub(super) fn idle(&self, dormant: bool) -> IdleId {
        self.with(|inner, now| {
            let machine = inner.gateway.machine_mut();
            let id = if dormant { machine.go_dormant(now) } else { machine.go_idle(now) };
            inner.idles.insert(id, Slot::Waiting(None));
            id
        })
    }

    pub(super) fn poll_idle(&self, id: IdleId, waker: &Waker) -> Poll<IdleOutcome> {
        self.locked(|inner| poll_slot(&mut inner.idles, id, waker, &mut inner.deferred))
    }

    pub(super) fn forget_idle(&self, id: IdleId) {
        self.locked(|inner| {
            let slot = inner.idles.remove(&id);
            inner.deferred.drops.extend(slot.and_then(Slot::into_waker));
        });
    }

    // ── events and state ─────────────────────────────────────────────────

    /// The next event; `None` when there will never be one again. Asks for no time: reading two clocks costs as much as the
    /// rest.
    pub(super) fn poll_event(&self, waker: &Waker) -> Poll<Option<Event>> {
        self.locked(|inner| {
            let event = inner.gateway.machine_mut().poll_event();
            if event.is_some() || inner.gateway.machine().state().is_terminal() {
                inner.deferred.drops.extend(inner.events_waker.take());
                // All that can follow from it is that there is room again, for a driver that did not read for want of it.
                if inner.driver_sleeps && !inner.reading {
                    inner.settle(inner.now);
                }
                return Poll::Ready(event);
            }
            register(&mut inner.events_waker, waker, &mut inner.deferred);
            inner.settle(inner.now);
            Poll::Pending
        })
    }

    /// The application has taken a delivery. Asks for no time either, and leaves what follows to the driver when that is
    /// awake: acknowledgements come in rows, and are written together.
    pub(super) fn take(&self, delivery: DeliveryId) {
        self.locked(|inner| {
            inner.gateway.machine_mut().take(delivery);
            inner.unsettled = true;
            if inner.driver_sleeps {
                inner.settle(inner.now);
            }
        });
    }

    pub(super) fn state(&self) -> State {
        self.lock().gateway.machine().state()
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().gateway.machine().stats()
    }

    /// A state that meets the wish. `watcher` names who waits, from the first time on that there is something to wait for:
    /// [`forget_watcher`](Self::forget_watcher) it.
    pub(super) fn poll_state(
        &self,
        condition: StateCondition,
        watcher: &mut Option<u64>,
        waker: &Waker,
    ) -> Poll<State> {
        self.locked(|inner| {
            let state = inner.gateway.machine().state();
            if condition.is_met(state) {
                return Poll::Ready(state);
            }
            let key = *watcher.get_or_insert_with(|| {
                inner.next_watcher += 1;
                inner.next_watcher
            });
            let known = inner.watchers.insert(key, Watcher { waker: waker.clone(), condition });
            inner.deferred.drops.extend(known.map(|known| known.waker));
            Poll::Pending
        })
    }

    pub(super) fn forget_watcher(&self, watcher: u64) {
        self.locked(|inner| {
            let known = inner.watchers.remove(&watcher);
            inner.deferred.drops.extend(known.map(|known| known.waker));
        });
    }

    /// How many wait for something.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let inner = self.lock();
        inner.requests.len() + inner.idles.len() + inner.watchers.len()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Inner {
    /// Passes the gateway's actions on, and finds out whom to wake.
    pub(super) fn settle(&mut self, now: Now) {
        self.unsettled = false;
        if self.unread {
            self.discard_events(now);
        }
        while let Some(output) = self.gateway.poll_output(now) {
            match output {
                Output::Link(request) => self.io_requests.push_back(request),
                Output::RequestEnded { request, outcome } => {
                    fill(&mut self.requests, request, outcome, &mut self.deferred)
                }
                Output::IdleEnded { idle, outcome } => fill(&mut self.idles, idle, outcome, &mut self.deferred),
                Output::Notice(notice) => {
                    if let Some(untold) = self.often.count(&notice, now.monotonic) {
                        self.deferred.notices.push((notice, untold));
                    }
                }
            }
        }
        let machine = self.gateway.machine();
        let state = machine.state();
        if !machine.is_drained() || state.is_terminal() {
            self.deferred.wakes.extend(self.events_waker.take());
        }
        if self.state != state {
            self.state = state;
            self.deferred.state = Some(state);
            let wakes = &mut self.deferred.wakes;
            self.watchers.retain(|_, watcher| {
                let waits = !watcher.condition.is_met(state);
                if !waits {
                    wakes.push(watcher.waker.clone());
                }
                waits
            });
        }
        if self.driver_sleeps && self.has_news_for_driver() {
            self.driver_sleeps = false;
            self.deferred.wakes.extend(self.driver_waker.clone());
        }
    }

    /// Nobody reads: what nobody takes may come again (ACK-6), and holds no link back.
    fn discard_events(&mut self, now: Now) {
        let machine = self.gateway.machine_mut();
        while let Some(event) = machine.poll_event() {
            if let Event::Delivery(delivered) = event {
                machine.drop_delivery(delivered.id, now);
            }
        }
    }

    /// The time of the last input.
    pub(super) fn now(&self) -> Now {
        self.now
    }

    /// Does what was left to the driver.
    pub(super) fn catch_up(&mut self) {
        if self.unsettled {
            self.settle(self.now);
        }
    }

    /// The driver sleeps from now on, unless it has something to do already. Whether it does.
    pub(super) fn park_driver(&mut self, waker: &Waker) -> bool {
        self.driver_sleeps = !self.has_news_for_driver();
        if self.driver_sleeps {
            register(&mut self.driver_waker, waker, &mut self.deferred);
        }
        self.driver_sleeps
    }

    /// The driver is awake.
    pub(super) fn unpark_driver(&mut self) {
        self.driver_sleeps = false;
    }

    /// The next piece of work for the driver. None that waits, no memory.
    pub(super) fn next_io(&mut self) -> Option<IoRequest> {
        let request = self.io_requests.pop_front();
        if self.io_requests.is_empty() {
            self.io_requests = VecDeque::new();
        }
        request
    }

    /// Gives back memory that holds nothing.
    pub(super) fn shrink(&mut self) {
        self.gateway.shrink();
        self.requests.shrink_to_fit();
    }

    /// Whether a driver that sleeps has something to do.
    pub(super) fn has_news_for_driver(&self) -> bool {
        let sooner = self.gateway.poll_timeout().is_some_and(|next| self.armed.is_none_or(|armed| next.at < armed));
        !self.io_requests.is_empty()
            || (!self.writing && !self.gateway.transmit().is_empty())
            || sooner
            || (!self.reading && self.gateway.wants_read())
            || self.is_finished()
    }

    /// Whether nothing is left for a driver to do, ever.
    pub(super) fn is_finished(&self) -> bool {
        self.abandoned || self.gateway.machine().state().is_terminal() && self.io_requests.is_empty()
    }
}

impl<T> Slot<T> {
    fn into_waker(self) -> Option<Waker> {
        match self {
            Self::Waiting(waker) => waker,
            Self::Done(_) => None,
        }
    }
}

fn fill<K: Eq + std::hash::Hash, T>(slots: &mut Slots<K, T>, key: K, value: T, deferred: &mut Deferred) {
    // Without a slot nobody waits any more.
    if let Some(slot) = slots.get_mut(&key) {
        deferred.wakes.extend(std::mem::replace(slot, Slot::Done(value)).into_waker());
    }
}

fn poll_slot<K: Eq + std::hash::Hash, T>(
    slots: &mut Slots<K, T>,
    key: K,
    waker: &Waker,
    deferred: &mut Deferred,
) -> Poll<T> {
    match slots.get_mut(&key) {
        Some(Slot::Waiting(known)) => {
            register(known, waker, deferred);
            Poll::Pending
        }
        Some(Slot::Done(_)) => match slots.remove(&key) {
            Some(Slot::Done(value)) => Poll::Ready(value),
            _ => Poll::Pending,
        },
        // Polled again after it was ready: never ready again, as the futures of the standard library do it.
        None => Poll::Pending,
    }
}

pub(super) fn register(known: &mut Option<Waker>, waker: &Waker, deferred: &mut Deferred) {
    if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
        deferred.drops.extend(known.replace(waker.clone()));
    }
}
