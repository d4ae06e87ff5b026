//! Waiting for futures, with wakers of every kind.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use simulated::thread_waker::ThreadWaker;

/// Runs a future to its end, with another waker each time that it is polled: only the latest one counts.
pub fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        match polled(future.as_mut()) {
            Ok(output) => return output,
            Err(pending) => pending.wait(),
        }
    }
}

/// A future that was not ready, and whose waker nobody else has.
pub struct Pending(Arc<ThreadWaker>);

impl Pending {
    /// Waits until the waker of that poll is called.
    pub fn wait(self) {
        self.0.wait();
    }

    /// Whether nobody has the waker any more.
    pub fn is_forgotten(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// Polls a future once, with a new waker.
///
/// # Errors
/// It is not ready.
pub fn polled<F: Future + ?Sized>(future: Pin<&mut F>) -> Result<F::Output, Pending> {
    let (thread, waker) = ThreadWaker::new();
    match future.poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(Pending(thread)),
    }
}
