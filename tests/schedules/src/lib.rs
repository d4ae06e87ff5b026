//! What the scenarios share: a gateway, its driver and its connector on simulated threads, and the schedulers that decide
//! in which order these run.
//!
//! The crates under test are the real ones, built a second time: only locks, clocks, threads and sockets are those of the
//! crate `simulated`. A scenario fails when one of its threads panics, and when no thread can go on although some have not
//! ended: that is what a lost wake-up looks like.

pub mod calls;
mod connector;
mod explore;
mod network;
mod wait;
mod world;

pub use connector::Connector;
pub use explore::{exhaust, explore, repeat};
pub use network::Network;
pub use wait::{Pending, polled, wait};
pub use world::{Threads, World, config, quick, read, sleep};
