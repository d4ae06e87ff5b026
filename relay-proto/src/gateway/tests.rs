//! The machine under a virtual clock.
