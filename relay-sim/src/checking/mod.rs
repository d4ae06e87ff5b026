//! Small worlds around the real machines, and a search through every state that they can reach.
//!
//! See `docs/model.md` for what is checked and how far.

pub mod checker;
pub mod delivery;
pub mod fingerprint;
pub mod ledger;
pub mod revocation;
