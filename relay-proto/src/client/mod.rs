//! The handle that every runtime shares: [`Gateway`], [`Events`], [`Delivery`], and the [`Driver`] underneath.
//!
//! Whatever the runtime, this is the same code: the machine and its wire behind one lock, futures on plain wakers, and a
//! driver that a runtime feeds with a socket and a timer. The lock is never held over a system call.
//!
//! Users get these types from a runtime crate's `connect`. Authors of runtime crates call [`gateway`], hand the first two
//! of its results to the user, and run [`drive`] with their [`Net`]. If the
//! runtime's timers go by another clock than the system's, they call [`gateway_with_clock`].

mod chat;
mod clock;
mod delivery;
mod drive;
mod driver;
mod error;
mod events;
mod handle;
mod log;
mod lookup;
mod read_buffer;
mod shared;
mod socket;
mod system;
#[cfg(test)]
mod tests;

pub use chat::{Asked, Sent, Thread};
pub use clock::{Clock, SystemClock};
pub use delivery::Delivery;
pub use drive::{Net, drive};
pub use driver::{Driver, DriverPoll};
pub use error::RequestError;
pub use events::{Event, Events};
pub use handle::Gateway;
pub use lookup::{LookUp, look_up};
pub use read_buffer::ReadBuffer;
pub use socket::same_socket;

use std::sync::Arc;

use crate::gateway::Settings;
use crate::wire::ClientTls;

/// A gateway: the handle, its events, and the driver that has to run for either to get anywhere.
///
/// `tls` is for `wss`; `None` takes the platform's trust store, which the first such call reads.
pub fn gateway(settings: Settings, tls: Option<ClientTls>) -> (Gateway, Events, Driver) {
    gateway_with_clock(settings, tls, SystemClock)
}

/// The same on a runtime whose timers do not go by the system's clock, or need not.
pub fn gateway_with_clock(settings: Settings, tls: Option<ClientTls>, clock: impl Clock) -> (Gateway, Events, Driver) {
    // Read here, and not at the first dial, which happens under the lock. Should it fail, the dial will, and say why.
    #[cfg(feature = "tls")]
    let tls = match tls {
        None if settings.target().is_tls() => crate::wire::default_tls_config().ok(),
        tls => tls,
    };
    let shared = Arc::new(shared::Shared::new(settings, tls, Box::new(clock)));
    (Gateway::new(shared.clone()), Events::new(shared.clone()), Driver::new(shared))
}
