//! Waiting: a flag that one thread waits for, and futures run to their end on top of it.
//!
//! It is not `std::thread::park`: the park token of a thread belongs to the program.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::system::sync::atomic::{AtomicUsize, Ordering};
use crate::system::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use crate::system::{now, thread_local};

/// A flag that many set and one thread waits for.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    set: bool,
    /// The thread sleeps. Waking one that does not is a system call for nothing.
    sleeps: bool,
    /// Counts the threads that wait and were not told yet; this one is among them.
    among: Option<Arc<AtomicUsize>>,
}

impl State {
    fn leave(&mut self) {
        if let Some(waiting) = self.among.take() {
            waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Signal {
    pub(crate) fn set(&self) {
        let mut state = lock(&self.state);
        state.set = true;
        state.leave();
        if state.sleeps {
            self.changed.notify_one();
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        lock(&self.state).set
    }

    /// Counts this thread among those that wait, until it is set or [`leave`](Self::leave) is called.
    pub(crate) fn join(&self, waiting: &Arc<AtomicUsize>) {
        let mut state = lock(&self.state);
        if !state.set && state.among.is_none() {
            waiting.fetch_add(1, Ordering::SeqCst);
            state.among = Some(waiting.clone());
        }
    }

    pub(crate) fn leave(&self) {
        lock(&self.state).leave();
    }

    /// Waits until it is set, and takes it back. False: the time has come before.
    pub(crate) fn wait(&self, until: Option<Instant>) -> bool {
        let mut state = lock(&self.state);
        state.sleeps = true;
        while !state.set {
            state = match until.map(|until| until.saturating_duration_since(now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        state.sleeps = false;
        state.leave();
        std::mem::take(&mut state.set)
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

/// Runs a future to its end on the calling thread. It is enough for the futures of a gateway; those of a runtime need
/// that runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    run(future, |signal| signal.wait(None)).unwrap_or_else(|| unreachable!("it ends before never"))
}

/// Runs a future to its end. `wait` is called when there is nothing to do before the signal is set; when it returns
/// false, the future is given up.
pub(crate) fn run<F: Future>(future: F, mut wait: impl FnMut(&Signal) -> bool) -> Option<F::Output> {
    let mut future = pin!(future);
    let own = Own::take();
    let mut context = Context::from_waker(&own.waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return Some(output),
            Poll::Pending if wait(&own.signal) => {}
            Poll::Pending => return None,
        }
    }
}

thread_local! {
    /// The signal of this thread, unless it is in use. Whoever kept a waker of an earlier call sets it in vain.
    static OWN: Cell<Option<(Arc<Signal>, Waker)>> = const { Cell::new(None) };
    /// How many calls this thread is in.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is within a call that waits.
pub(crate) fn is_in_call() -> bool {
    CALLS.with(Cell::get) > 0
}

/// A thread's signal, for as long as a call needs it.
struct Own {
    signal: Arc<Signal>,
    waker: Waker,
}

impl Own {
    fn take() -> Self {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        let known = OWN.try_with(Cell::take).ok().flatten();
        let (signal, waker) = known.unwrap_or_else(|| {
            let signal = Arc::new(Signal::default());
            (signal.clone(), signal.into())
        });
        Self { signal, waker }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() - 1));
        self.signal.leave();
        // A thread that ends has no use for it.
        let _ = OWN.try_with(|own| own.set(Some((self.signal.clone(), self.waker.clone()))));
    }
}

/// Locks. A panic under the lock, which would be a mistake of ours, must not take other threads with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
