//! Locks. `Arc` and `Weak` are the standard library's.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::sync as scheduled;

pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak};

use crate::asleep::sleep;
use crate::{own, switch, time};

/// Atomics, all of them sequentially consistent.
pub mod atomic {
    pub use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
}

/// A mutex.
#[derive(Debug, Default)]
pub struct Mutex<T>(scheduled::Mutex<T>);

/// A locked mutex.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    locked: scheduled::MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self(scheduled::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.0.lock() {
            Ok(locked) => Ok(MutexGuard { locked, mutex: self }),
            Err(poisoned) => Err(PoisonError::new(MutexGuard { locked: poisoned.into_inner(), mutex: self })),
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(locked) => Ok(MutexGuard { locked, mutex: self }),
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
            Err(TryLockError::Poisoned(poisoned)) => {
                let locked = poisoned.into_inner();
                Err(TryLockError::Poisoned(PoisonError::new(MutexGuard { locked, mutex: self })))
            }
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.locked
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.locked
    }
}

/// A condition variable. That of shuttle knows no time.
#[derive(Debug, Default)]
pub struct Condvar {
    waiters: std::sync::Mutex<VecDeque<Arc<Waiter>>>,
}

#[derive(Debug, Default)]
struct Waiter {
    notified: AtomicBool,
    thread: std::sync::Mutex<Option<Waker>>,
}

impl Waiter {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.notified.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        *own(&self.thread) = Some(context.waker().clone());
        Poll::Pending
    }

    fn notify(&self) {
        self.notified.store(true, Ordering::SeqCst);
        let thread = own(&self.thread).take();
        if let Some(thread) = thread {
            thread.wake();
        }
    }
}

impl Condvar {
    /// Gives the lock up and waits, in one.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let (mutex, waiter) = self.enqueue(guard);
        sleep(std::future::poll_fn(|context| waiter.poll(context)));
        mutex.lock()
    }

    /// As [`wait`](Self::wait), for some time at the longest.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let until = time::now() + timeout;
        let (mutex, waiter) = self.enqueue(guard);
        let late = sleep(std::future::poll_fn(|context| match waiter.poll(context) {
            Poll::Ready(()) => {
                time::forget(context.waker());
                Poll::Ready(false)
            }
            Poll::Pending => time::poll_until(until, context).map(|()| true),
        }));
        own(&self.waiters).retain(|other| !Arc::ptr_eq(other, &waiter));
        match mutex.lock() {
            Ok(guard) => Ok((guard, WaitTimeoutResult(late))),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), WaitTimeoutResult(late)))),
        }
    }

    /// Wakes the thread that has waited longest.
    pub fn notify_one(&self) {
        switch();
        let first = own(&self.waiters).pop_front();
        if let Some(first) = first {
            first.notify();
        }
    }

    /// Others run before a lock is given up, and not between that and the next operation: so this is one step.
    fn enqueue<'a, T>(&self, guard: MutexGuard<'a, T>) -> (&'a Mutex<T>, Arc<Waiter>) {
        let mutex = guard.mutex;
        drop(guard);
        let waiter = Arc::new(Waiter::default());
        own(&self.waiters).push_back(waiter.clone());
        (mutex, waiter)
    }
}

/// Whether a wait ended by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// A cell that is written once.
#[derive(Debug)]
pub struct OnceLock<T>(std::sync::OnceLock<T>);

impl<T> OnceLock<T> {
    /// An empty cell.
    #[allow(clippy::new_without_default)] // As in use.
    pub const fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    /// What it holds.
    pub fn get(&self) -> Option<&T> {
        switch();
        self.0.get()
    }

    /// Fills it, if it is empty.
    ///
    /// # Errors
    /// The value, when it is not.
    pub fn set(&self, value: T) -> Result<(), T> {
        switch();
        self.0.set(value)
    }
}
