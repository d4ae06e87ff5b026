//! The machine under a virtual clock.
//!
//! [`pair`] holds the harness: one machine, and a host that follows the rule of the [module](super) and checks, after
//! every step, what must hold at every moment. Every file beside it has one topic.

mod acks;
mod auth;
mod chat;
mod clock;
mod config;
mod dormant;
mod floods;
mod frames;
mod handshake;
mod idle;
mod keepalive;
mod links;
mod pair;
mod queue;
mod random;
mod requests;
mod secrets;
mod shutdown;
mod weights;
