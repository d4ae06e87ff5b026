//! A simulated world around the real machines: gateways and a connector on a virtual clock, a network that chunks, delays
//! and breaks, hosts that crash, machines that sleep, clocks that are wrong, secrets that are revoked, and applications
//! that do as they please.
//!
//! One [`Plan`] is one life. Everything in it follows from the plan's seed, so that a life that breaks a rule can be lived
//! again, shorter and with a trace. See `docs/simulation.md`.
//!
//! Below the machines is either the real WebSocket of `relay_proto::wire`, fed in whatever pieces the network makes, or a
//! plain codec that costs nearly nothing ([`codec`]). Above them are the world's own notes of what happened, to which the
//! rules are put after every step: what became of each event ([`ledger`]), what a refusal means and when a dial may come
//! ([`judge`]), what is true of each request (`gateway`).
#![allow(missing_docs, reason = "a test harness: its modules and types say what they are for, its fields are its own")]

mod application;
mod checks;
pub mod clock;
pub mod codec;
mod connector;
pub mod coverage;
mod crowd;
mod dialer;
mod gateway;
mod happenings;
pub mod judge;
pub mod ledger;
pub mod network;
mod peers;
pub mod plan;
mod platform;
mod requests;
pub mod shrink;
mod store;
pub mod trace;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use coverage::{Coverage, Hard};
pub use crowd::{Crowd, crowd, explain};
pub use plan::{Keep, Plan, Script};
pub use shrink::shrink;

/// Nanoseconds of the world's own time.
pub type Nanos = u64;

/// One second.
pub const SECOND: Nanos = 1_000_000_000;

/// The same for a duration.
fn nanos(time: std::time::Duration) -> Nanos {
    u64::try_from(time.as_nanos()).expect("a time that fits")
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule of the contract, or a word for what the contract takes for granted.
    pub rule: &'static str,
    /// How it was broken.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// What a check says.
pub type Check = Result<(), Violation>;

fn violated(rule: &'static str, what: impl Into<String>) -> Check {
    Err(Violation { rule, what: what.into() })
}

/// What a life was like.
#[derive(Clone, PartialEq, Eq)]
pub struct Life {
    /// The hard states that it reached.
    pub coverage: Coverage,
    /// The hash of everything that happened.
    pub hash: u64,
    /// How many things happened.
    pub entries: u64,
    /// How long it lasted, in its own time.
    pub lasted: Nanos,
    /// What happened, if it was asked for.
    pub text: Option<String>,
    /// The first rule that was broken.
    pub end: Check,
}

/// Lives one life. `text`: whether to keep a trace that can be read.
pub fn live(plan: &Plan, text: bool) -> Life {
    let mut world = world::World::new(plan, text);
    // A panic in the code under test is a finding like any other.
    let end = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or(panic.downcast_ref::<&str>().map(ToString::to_string));
        violated("PANIC", text.unwrap_or_default())
    });
    world.into_life(end)
}
