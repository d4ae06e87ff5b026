//! Waiting: a flag that one thread waits for, and futures run to their end on top of it.
//!
//! It is not `std::thread::park`: the park token of a thread belongs to the program.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A flag that is set by many and waited for by one at a time.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    condvar: Condvar,
}

#[derive(Default)]
struct State {
    set: bool,
    waiting: bool,
}

impl Signal {
    pub(crate) fn set(&self) {
        let mut state = lock(&self.state);
        state.set = true;
        let waiting = state.waiting;
        drop(state);
        // Otherwise nobody sleeps, and the system call is saved.
        if waiting {
            self.condvar.notify_one();
        }
    }

    /// Waits until it is set, and takes it back. False: the time has come before.
    pub(crate) fn wait(&self, until: Option<Instant>) -> bool {
        let mut state = lock(&self.state);
        state.waiting = true;
        while !state.set {
            state = match until.map(left) {
                None => self.condvar.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.condvar.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        std::mem::take(&mut *state).set
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.set();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
    }
}

thread_local! {
    /// The signal of the last wait of this thread, for the next one.
    static SIGNAL: Cell<Option<Arc<Signal>>> = const { Cell::new(None) };
}

/// Runs a future to its end on the calling thread. It is enough for the futures of a gateway; those of a runtime need
/// that runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        // Always, since there is no time that could come before.
        if let Some(output) = block_on_until(None, |context| future.as_mut().poll(context)) {
            return output;
        }
    }
}

/// Polls until it is ready. `None`: the time has come before.
pub(crate) fn block_on_until<T>(
    until: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    // Taken and put back, so that a wait within a poll has a signal of its own and does not take this one's.
    let signal = SIGNAL.try_with(Cell::take).ok().flatten().unwrap_or_default();
    let waker = Waker::from(signal.clone());
    let mut context = Context::from_waker(&waker);
    let output = loop {
        if let Poll::Ready(output) = poll(&mut context) {
            break Some(output);
        }
        if !signal.wait(until) {
            break None;
        }
    };
    let _ = SIGNAL.try_with(|idle| idle.set(Some(signal)));
    output
}

/// Locks. A panic under the lock, which would be a mistake of ours, must not take other threads with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This crate's only clock.
#[allow(clippy::disallowed_methods)] // Threads sleep towards points in time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(now())
}
