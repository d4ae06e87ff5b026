//! What a simulated thread sleeps on.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

use crate::asleep::sleep;
use crate::{own, switch};

/// A bell that is heard once, by one thread. It rings on if nobody waits yet. There is no waking up without it.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    sleeper: Mutex<Option<Waker>>,
}

impl Bell {
    /// A bell, and the waker that rings it.
    pub fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        (bell.clone(), Waker::from(bell))
    }

    /// Waits until it rings.
    pub fn wait(&self) {
        sleep(poll_fn(|context| {
            if self.take() {
                return Poll::Ready(());
            }
            *own(&self.sleeper) = Some(context.waker().clone());
            Poll::Pending
        }));
    }

    /// Whether it has rung since it was asked last.
    pub fn take(&self) -> bool {
        self.rung.swap(false, Ordering::SeqCst)
    }

    /// Rings, without letting others run before.
    pub fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        let sleeper = own(&self.sleeper).take();
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        switch();
        self.ring();
    }
}
