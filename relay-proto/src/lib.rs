//! The Hermes relay protocol as a pure state machine: bytes and time in; events, bytes and a deadline out.
//!
//! An AI agent's **gateway** dials out over a WebSocket to a **connector**, which owns the chat platforms. Over that one
//! link messages come in and replies go out, sessions are stopped, gateways sleep and wake without losing a message, and
//! are switched off when their secret is revoked. This crate holds both halves, without I/O, clock or threads.
//!
//! # Which part do I need?
//!
//! | you have | you take |
//! |---|---|
//! | a tokio application | the crate `relay-tokio`: its `connect` gives a handle and a stream of events |
//! | another runtime | [`client`]: the same handle and events; bring sockets and a timer as a [`Net`](client::Net) |
//! | a loop of your own | [`wire::GatewayIo`]: a gateway that speaks in bytes, with a loop as its example |
//! | a simulator, a model checker, another transport | [`gateway::Machine`]: a gateway that speaks in WebSocket messages |
//! | a connector on tokio | the crate `relay-connector`: its `serve` gives a handle and a stream of events |
//! | another connector to write | [`connector`]: the other half, and [`wire::ServerLink`], the accepting end of a link |
//! | a gateway without credentials | [`enroll`]: what it asks for over HTTP, and what comes back |
//! | captured frames to look at | [`frame`]: what each line says |
//!
//! # How it is layered
//!
//! Bytes go up through these layers, and commands go down. Some imports still point up: the gateway machine uses the chat
//! layer.
//!
//! ```text
//!   client  the handle every runtime shares          std
//!    │
//!    ▼
//!   wire    TLS and WebSocket over memory             std
//!    │
//!    ▼
//!   gateway · connector    the two halves             no_std + alloc, no clock, no I/O
//!    │
//!    ▼
//!   chat · action · frame · ndjson · token · target   the vocabulary
//! ```
//!
//! The compiler proves that the pure half is pure: with default features off the crate is `no_std`, so a clock, a socket or
//! a thread in it does not build.
//!
//! # Rules
//!
//! What the two halves do on the wire is written down as a contract, `docs/contract.md` in the repository. Its rules have
//! ids, such as ACK-2 or LINK-1, which the documentation here and the tests name.
//!
//! # Features
//!
//! All are on by default.
//!
//! - `std`: the standard library. Off: the pure half alone.
//! - `wire`: [`wire`], WebSocket over memory.
//! - `tls`: `wss`, by rustls.
//! - `client`: [`client`].
//! - `tracing`: what the machine notices, and changes of state, as `tracing` events with the target `relay`.

#![cfg_attr(not(any(feature = "std", test)), no_std)]

extern crate alloc;

pub mod action;
pub mod chat;
#[cfg(feature = "client")]
pub mod client;
pub mod connector;
pub mod end;
pub mod enroll;
pub mod frame;
pub mod gateway;
mod json;
pub mod ndjson;
mod outbox;
#[cfg(feature = "client")]
pub mod prelude;
pub mod proxy;
mod queue;
mod redact;
pub mod target;
pub mod time;
pub mod token;
mod transmit;
#[cfg(feature = "wire")]
pub mod wire;
