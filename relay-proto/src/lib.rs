//! The Hermes relay protocol as a pure state machine.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod chat;
pub mod end;
pub mod target;
pub mod time;
pub mod token;
#[cfg(feature = "wire")]
pub mod wire;
