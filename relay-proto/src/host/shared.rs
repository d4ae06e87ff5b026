//! What handle, events and driver share: the machine and its wire behind one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use super::driver::Work;
use crate::frame::RawJson;
use crate::gateway::{Event, IdleId, IdleOutcome, NotSent, Outcome, RequestId, RequestOptions, Settings, State, Stats};
use crate::time::Now;
use crate::wire::{Action, ClientTls, Dialer};

pub(super) struct Shared {
    origin: Instant,
    inner: Mutex<Inner>,
}

/// A result that somebody waits for.
enum Slot<T> {
    Waiting(Option<Waker>),
    Done(T),
}

pub(super) struct Inner {
    pub(super) dialer: Dialer,
    /// Work for the driver.
    pub(super) work: VecDeque<Work>,
    requests: HashMap<RequestId, Slot<Outcome>>,
    idles: HashMap<IdleId, Slot<IdleOutcome>>,
    events_waker: Option<Waker>,
    pub(super) driver_waker: Option<Waker>,
    state: State,
    state_wakers: Vec<Waker>,
    /// The deadline that the driver sleeps towards, and whether it waits for the socket to be readable.
    pub(super) armed: Option<Duration>,
    pub(super) reading: bool,
    /// The driver still holds bytes that the socket does not take: more of them are no news.
    pub(super) writing: bool,
    /// Handles and `Events` that are left. When none is, the gateway shuts down.
    users: usize,
    /// The driver is gone, in order or not: nothing will move any more.
    abandoned: bool,
}

/// Wakers to call once the lock is released.
#[derive(Default)]
pub(super) struct Wakes(Vec<Waker>);

impl Drop for Wakes {
    fn drop(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, tls: Option<ClientTls>) -> Self {
        let origin = clock();
        // Without the operating system's randomness nothing here is unsafe, only less spread out.
        let seed = getrandom::u64().unwrap_or_else(|_| unix().as_nanos() as u64);
        for warning in settings.warnings() {
            log_warning(warning);
        }
        let dialer = Dialer::new(settings, tls, seed, Now { monotonic: Duration::ZERO, unix: unix().as_secs() });
        let state = dialer.machine().state();
        let shared = Self {
            origin,
            inner: Mutex::new(Inner {
                dialer,
                work: VecDeque::new(),
                requests: HashMap::new(),
                idles: HashMap::new(),
                events_waker: None,
                driver_waker: None,
                state,
                state_wakers: Vec::new(),
                armed: None,
                reading: false,
                writing: false,
                users: 0,
                abandoned: false,
            }),
        };
        // The first dial is due already.
        shared.with(|_, _| ());
        shared
    }

    pub(super) fn now(&self) -> Now {
        Now { monotonic: clock().saturating_duration_since(self.origin), unix: unix().as_secs() }
    }

    /// The point in time of a deadline. `None`: so far away that nobody will see it.
    pub(super) fn instant(&self, at: Duration) -> Option<Instant> {
        self.origin.checked_add(at)
    }

    /// Changes the state, then passes on what follows from it. Wakes outside the lock.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Inner, Now) -> T) -> T {
        let now = self.now();
        // Declared before the guard, so that it is dropped after it.
        let mut wakes = Wakes::default();
        let mut inner = self.lock();
        let result = change(&mut inner, now);
        inner.settle(now, &mut wakes);
        drop(inner);
        drop(wakes);
        result
    }

    /// For what changes nothing that somebody else waits for.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of a user's waker or subscriber must not take the link with it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ── users ────────────────────────────────────────────────────────────

    pub(super) fn add_user(&self) {
        self.lock().users += 1;
    }

    pub(super) fn remove_user(&self) {
        self.with(|inner, now| {
            inner.users -= 1;
            if inner.users == 0 {
                inner.dialer.machine_mut().close(now);
            }
        });
    }

    /// The driver is gone. If the gateway had not ended, it does now.
    pub(super) fn abandon(&self) {
        self.with(|inner, now| {
            inner.abandoned = true;
            inner.dialer.abandon(now);
        });
    }

    // ── requests ─────────────────────────────────────────────────────────

    pub(super) fn request(&self, action: &RawJson, options: &RequestOptions) -> Result<RequestId, NotSent> {
        self.with(|inner, now| {
            let id = inner.dialer.machine_mut().request(action, options, now)?;
            inner.requests.insert(id, Slot::Waiting(None));
            Ok(id)
        })
    }

    pub(super) fn poll_request(&self, id: RequestId, waker: &Waker) -> Poll<Outcome> {
        poll_slot(&mut self.lock().requests, id, waker)
    }

    pub(super) fn cancel(&self, id: RequestId) {
        self.with(|inner, now| {
            if inner.requests.remove(&id).is_some() {
                inner.dialer.machine_mut().cancel(id, now);
            }
        });
    }

    // ── idling ───────────────────────────────────────────────────────────

    pub(super) fn idle(&self, dormant: bool) -> IdleId {
        self.with(|inner, now| {
            let machine = inner.dialer.machine_mut();
            let id = if dormant { machine.go_dormant(now) } else { machine.go_idle(now) };
            inner.idles.insert(id, Slot::Waiting(None));
            id
        })
    }

    pub(super) fn poll_idle(&self, id: IdleId, waker: &Waker) -> Poll<IdleOutcome> {
        poll_slot(&mut self.lock().idles, id, waker)
    }

    pub(super) fn forget_idle(&self, id: IdleId) {
        self.lock().idles.remove(&id);
    }

    // ── events and state ─────────────────────────────────────────────────

    /// The next event; `None` when there will never be one again.
    pub(super) fn poll_event(&self, waker: &Waker) -> Poll<Option<Event>> {
        self.with(|inner, _| match inner.dialer.machine_mut().next_event() {
            Some(event) => Poll::Ready(Some(event)),
            None if inner.dialer.machine().state().is_terminal() => Poll::Ready(None),
            None => {
                register(&mut inner.events_waker, waker);
                Poll::Pending
            }
        })
    }

    pub(super) fn state(&self) -> State {
        self.lock().dialer.machine().state()
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().dialer.machine().stats().clone()
    }

    /// A state other than `since`.
    pub(super) fn poll_state(&self, since: State, waker: &Waker) -> Poll<State> {
        self.poll_state_that(|state| state != since, waker)
    }

    /// The terminal state.
    pub(super) fn poll_end(&self, waker: &Waker) -> Poll<State> {
        self.poll_state_that(State::is_terminal, waker)
    }

    fn poll_state_that(&self, is: impl FnOnce(State) -> bool, waker: &Waker) -> Poll<State> {
        let mut inner = self.lock();
        let state = inner.dialer.machine().state();
        if is(state) {
            return Poll::Ready(state);
        }
        if !inner.state_wakers.iter().any(|known| known.will_wake(waker)) {
            inner.state_wakers.push(waker.clone());
        }
        Poll::Pending
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Inner {
    /// Passes the dialer's actions on, and finds out whom to wake.
    fn settle(&mut self, now: Now, wakes: &mut Wakes) {
        while let Some(action) = self.dialer.poll_action(now) {
            match action {
                Action::Connect { link, host, port } => self.work.push_back(Work::Connect { link, host, port }),
                Action::Disconnect { link, last_words } => self.work.push_back(Work::Disconnect { link, last_words }),
                Action::RequestEnded { request, outcome } => fill(&mut self.requests, request, outcome, wakes),
                Action::IdleEnded { idle, outcome } => fill(&mut self.idles, idle, outcome, wakes),
                Action::Notice(notice) => log_notice(&notice),
            }
        }
        let machine = self.dialer.machine();
        let state = machine.state();
        if !machine.is_drained() || state.is_terminal() {
            wakes.0.extend(self.events_waker.take());
        }
        if self.state != state {
            log_state(state);
            self.state = state;
            wakes.0.append(&mut self.state_wakers);
        }
        if self.driver_waker.is_some() && self.has_news_for_driver() {
            wakes.0.extend(self.driver_waker.take());
        }
    }

    /// Whether a driver that sleeps has something to do.
    pub(super) fn has_news_for_driver(&self) -> bool {
        let sooner = self.dialer.poll_timeout().is_some_and(|next| self.armed.is_none_or(|armed| next.at < armed));
        !self.work.is_empty()
            || (!self.writing && !self.dialer.transmit().is_empty())
            || sooner
            || (!self.reading && self.dialer.wants_read())
            || self.is_finished()
    }

    /// Whether nothing is left for a driver to do, ever.
    pub(super) fn is_finished(&self) -> bool {
        self.abandoned || self.dialer.machine().state().is_terminal() && self.work.is_empty()
    }
}

fn fill<K: Eq + std::hash::Hash, T>(slots: &mut HashMap<K, Slot<T>>, key: K, value: T, wakes: &mut Wakes) {
    // Without a slot nobody waits any more.
    if let Some(slot) = slots.get_mut(&key)
        && let Slot::Waiting(waker) = std::mem::replace(slot, Slot::Done(value))
    {
        wakes.0.extend(waker);
    }
}

fn poll_slot<K: Eq + std::hash::Hash + Copy, T>(slots: &mut HashMap<K, Slot<T>>, key: K, waker: &Waker) -> Poll<T> {
    match slots.remove(&key) {
        Some(Slot::Done(value)) => Poll::Ready(value),
        Some(Slot::Waiting(mut known)) => {
            register(&mut known, waker);
            slots.insert(key, Slot::Waiting(known));
            Poll::Pending
        }
        // Polled again after it was ready: never ready again, as the futures of the standard library do it.
        None => Poll::Pending,
    }
}

pub(super) fn register(known: &mut Option<Waker>, waker: &Waker) {
    match known {
        Some(known) => known.clone_from(waker),
        None => *known = Some(waker.clone()),
    }
}

/// The monotonic clock. This and [`unix`] are the only places that read one.
#[allow(clippy::disallowed_methods)] // The host is what hands time to the machine.
fn clock() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods)] // As above.
fn unix() -> Duration {
    // A wall clock before 1970 reads as 1970.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(feature = "tracing")]
fn log_notice(notice: &crate::gateway::Notice) {
    tracing::debug!(target: "relay", "{notice}");
}
#[cfg(feature = "tracing")]
fn log_state(state: State) {
    tracing::debug!(target: "relay", ?state, "state");
}
#[cfg(feature = "tracing")]
fn log_warning(warning: &crate::gateway::ConfigWarning) {
    tracing::warn!(target: "relay", "{warning}");
}

#[cfg(not(feature = "tracing"))]
fn log_notice(_: &crate::gateway::Notice) {}
#[cfg(not(feature = "tracing"))]
fn log_state(_: State) {}
#[cfg(not(feature = "tracing"))]
fn log_warning(_: &crate::gateway::ConfigWarning) {}
