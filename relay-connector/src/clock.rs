//! Tokio's clock.

use std::time::Instant;

use relay_proto::client;
use tokio::runtime::Handle;

/// The clock of one runtime, which its timers go by. A test may have paused it (`tokio::time::pause`), and it then stands
/// still for every thread.
#[derive(Debug)]
pub(crate) struct Clock(Handle);

impl Clock {
    pub(crate) fn new(runtime: &Handle) -> Self {
        Self(runtime.clone())
    }
}

impl client::Clock for Clock {
    #[allow(clippy::disallowed_methods)] // A runtime is what hands time to the machines: this is the one place.
    fn now(&self) -> Instant {
        // Elsewhere tokio's clock is the system's, or another runtime's.
        let _within = match Handle::try_current() {
            // A thread that is ending has dropped what it would take to enter. A handle may be dropped there.
            Err(error) if error.is_thread_local_destroyed() => return Instant::now(),
            _ => self.0.enter(),
        };
        tokio::time::Instant::now().into_std()
    }
}
