//! What the binaries of this package share: what is measured, as plain functions of bytes.

pub mod core;
pub mod frames;

use std::error::Error;

/// What can go wrong here ends the run.
pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;
