//! The Hermes relay protocol as a pure state machine.
#![cfg_attr(not(any(feature = "std", test)), no_std)]

extern crate alloc;

pub mod action;
pub mod chat;
pub mod connector;
pub mod end;
pub mod frame;
pub mod gateway;
#[cfg(feature = "host")]
pub mod host;
mod json;
pub mod ndjson;
pub mod target;
pub mod time;
pub mod token;
#[cfg(feature = "wire")]
pub mod wire;
