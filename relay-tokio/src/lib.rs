//! The Hermes relay protocol on tokio.
