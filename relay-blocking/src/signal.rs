//! Waiting: a flag that one thread waits for, and futures run to their end on top of it.
//!
//! It is not `std::thread::park`: the park token of a thread belongs to the program.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::system::now;
use crate::system::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A flag that many set and one thread waits for.
#[derive(Default)]
pub(crate) struct Signal {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn set(&self) {
        *lock(&self.set) = true;
        self.changed.notify_one();
    }

    /// Waits until it is set, and takes it back. False: the time has come before.
    pub(crate) fn wait(&self, until: Option<Instant>) -> bool {
        let mut set = lock(&self.set);
        while !*set {
            set = match until.map(|until| until.saturating_duration_since(now())) {
                None => self.changed.wait(set).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break,
                Some(left) => self.changed.wait_timeout(set, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        std::mem::take(&mut *set)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

/// Runs a future to its end on the calling thread. It is enough for the futures of a gateway; those of a runtime need
/// that runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    block_on_until(None, future).unwrap_or_else(|| unreachable!("it ends before never"))
}

/// Runs a future to its end. `None`: the time has come before.
pub(crate) fn block_on_until<F: Future>(until: Option<Instant>, future: F) -> Option<F::Output> {
    let (mut future, signal) = (pin!(future), Arc::new(Signal::default()));
    let waker = Waker::from(signal.clone());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return Some(output),
            Poll::Pending if signal.wait(until) => {}
            Poll::Pending => return None,
        }
    }
}

/// Locks. A panic under the lock, which would be a mistake of ours, must not take other threads with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
