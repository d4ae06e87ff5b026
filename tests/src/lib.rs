//! Shared pieces of the test suites: the runtimes that they run over, the scripted connectors, and the application's end.
//!
//! The suites in `tests/` are plain async functions over a [`host::Host`]; [`suite!`] turns them into tests, once for
//! every host. What a connector does in them is scripted with [`peer`], which shares no code with the wire under test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken expectation of a test helper has to fail the test, with a message"
)]

pub mod app;
pub mod faults;
pub mod frames;
pub mod held;
pub mod host;
pub mod peer;
pub mod raw;
pub mod readiness;

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

/// How long anything may take before a test gives up on it. Never a part of what is tested: only hung tests see it, also on
/// a machine that is a hundred times slower than yours.
pub const GUARD: Duration = Duration::from_secs(600);

/// Longer than any test takes: what waits for this ends when the test lets time pass, or not at all.
pub const HOUR: Duration = Duration::from_secs(3600);

/// Longer than the hours that a test lets pass.
pub const NEVER: Duration = Duration::from_secs(1000 * 3600);

/// Waits for what has to happen, and fails the test when it does not.
///
/// `RELAY_GUARD_SECONDS` is for checks that break something to see a test hang.
///
/// # Panics
/// After [`GUARD`].
pub async fn guard<T>(what: &str, future: impl Future<Output = T>) -> T {
    static SHORTER: LazyLock<Option<Duration>> = LazyLock::new(|| {
        let seconds = std::env::var("RELAY_GUARD_SECONDS").ok()?;
        Some(Duration::from_secs(seconds.parse().expect("a number of seconds")))
    });
    match tokio::time::timeout(SHORTER.unwrap_or(GUARD), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}
