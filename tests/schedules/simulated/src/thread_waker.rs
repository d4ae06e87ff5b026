//! What a simulated thread sleeps on.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

use crate::asleep::sleep;
use crate::{own, switch};

/// Wakes one thread, once. A notification that comes before the thread waits is kept. It never wakes up without one.
#[derive(Debug, Default)]
pub struct ThreadWaker {
    notified: AtomicBool,
    sleeper: Mutex<Option<Waker>>,
}

impl ThreadWaker {
    /// It, and the waker that notifies it.
    pub fn new() -> (Arc<Self>, Waker) {
        let thread = Arc::new(Self::default());
        (thread.clone(), Waker::from(thread))
    }

    /// Waits until it is notified.
    pub fn wait(&self) {
        sleep(poll_fn(|context| {
            if self.take() {
                return Poll::Ready(());
            }
            *own(&self.sleeper) = Some(context.waker().clone());
            Poll::Pending
        }));
    }

    /// Whether it was notified since it was asked last.
    pub fn take(&self) -> bool {
        self.notified.swap(false, Ordering::SeqCst)
    }

    /// Notifies it, without letting others run before.
    pub fn notify(&self) {
        self.notified.store(true, Ordering::SeqCst);
        let sleeper = own(&self.sleeper).take();
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        switch();
        self.notify();
    }
}
