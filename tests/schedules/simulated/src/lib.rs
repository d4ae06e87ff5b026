//! What the crates under test have from the standard library, on threads that [shuttle] schedules.
//!
//! The modules are named after those of `std` whose place they take. One operating system's thread runs all the threads of
//! an execution, one at a time; a scheduler decides at every operation here which goes on. So what this crate keeps for
//! itself is never contended, and is never held over such an operation.
//!
//! Time does not pass. [`time::advance`] moves it, and a scenario that calls it says so: whatever sleeps for ever without
//! it is a deadlock, which shuttle reports.

mod asleep;
pub mod net;
pub mod sync;
pub mod thread_waker;
pub mod time;

pub use shuttle::{thread, thread_local};

pub use asleep::{asleep, watch};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Begins an execution: no connections, and time starts over.
pub fn reset() {
    asleep::reset();
    time::reset();
    net::reset();
}

/// Lets other threads run. This stands before everything that others can notice.
pub fn switch() {
    shuttle::thread::sleep(std::time::Duration::ZERO);
}

/// Locks what this crate keeps for itself.
fn own<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
