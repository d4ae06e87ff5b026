//! Checks of the relay protocol that need no socket: a simulator, a reference model, a model checker, and the bodies of
//! the fuzz targets.
//!
//! The state machines of `relay-proto` read no clock and do no I/O. A test can therefore own everything around them: the
//! time, the network, the disk, and the randomness. This crate does that in four ways. All of them run the real machines,
//! and none of them looks inside: they compare what a machine does with what `docs/contract.md` says. The crate is not
//! published.
//!
//! | module | what it is | guide |
//! |---|---|---|
//! | [`sim`] | A simulator: gateways and a connector on a virtual clock, with random faults. | `docs/simulation.md` |
//! | [`model`] | A reference model: a second gateway, written for the reader, that the real one is compared with. | `docs/model.md` |
//! | [`checking`] | A model checker: it visits every state that a small world can reach. | `docs/model.md` |
//! | [`fuzz`] | The bodies of the fuzz targets: each takes any bytes, and panics when a property does not hold. | `docs/fuzzing.md` |
//!
//! # What is simulated
//!
//! A *life* is one run of the simulator: up to three gateways and their connector, from the first dial to an orderly
//! shutdown. Everything that surrounds the machines is simulated:
//!
//! - *The network* is TCP. It cuts the bytes into chunks anywhere, delays them, stalls, closes one direction, and breaks
//!   with or without telling both ends. It does not reorder bytes.
//! - *Processes and machines* crash and start again, and a suspended machine wakes up while the wall clock has run on.
//! - *Clocks* jump, and are wrong.
//! - *The store* of the connector is slow, runs full, fails, and may lose what it had accepted.
//! - *Credentials* are rotated, retired and revoked.
//! - *Applications* acknowledge deliveries late, out of order, twice or never.
//!
//! After every step the simulator checks the rules of the contract. In the last part of a life the faults stop, and the
//! gateways have to recover without help.
//!
//! # What the model is
//!
//! [`model::Model`] is the gateway half once more. It is slow and plain: it works on lists that it searches from end to
//! end, and it knows no bytes, so that a reader can hold it next to the contract. [`model::run`] makes the same
//! [steps](model::Step) on the model and on the real machine, and panics when a user could see a difference between them.
//!
//! The checker needs no random input. It starts with a small world, for example two events and one crash, and tries every
//! order in which its steps can happen. What it reports is true of all of them, and not of a sample.
//!
//! # How to run it
//!
//! The tests live in the crate `relay-tests`. The program `lives` is here:
//!
//! ```sh
//! cargo test -p relay-tests --test simulation --test model --test model_checking --test corpora
//! cargo run --release -p relay-sim --bin lives -- --count 1000000     # simulates a million lives
//! ```
//!
//! # How to replay a seed
//!
//! A life follows from one number, its *seed*. The same seed gives the same life on every machine, for as long as the code
//! stays the same. When a life breaks a rule, `lives` stops, leaves out every operation and fault that the violation does
//! not need, and prints the command that replays the rest:
//!
//! ```text
//! LINK-1: a dial 145 ms too early
//!
//!     cargo run --release -p relay-sim --bin lives -- --seed 23 --ops none --faults 4-5 --plain --calm
//! ```
//!
//! That command prints everything that happened, with times. It works for a life without a violation as well:
//! `lives -- --seed 7`. A test does the same with a [`Plan`](sim::Plan):
//!
//! ```
//! use relay_sim::sim::{Plan, live};
//!
//! let life = live(&Plan::new(7), true); // `true`: keep a trace that a person can read
//! assert_eq!(life.end, Ok(()), "{}", life.text.unwrap_or_default());
//!
//! let again = live(&Plan::new(7), false);
//! assert_eq!((life.hash, life.entries), (again.hash, again.entries));
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken expectation of a check has to fail it, with a message"
)]

pub mod checking;
pub mod fuzz;
pub mod model;
pub mod sim;
