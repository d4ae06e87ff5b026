//! What a WebSocket message carried.

use core::{fmt, ops::Deref};
use std::{boxed::Box, vec::Vec};

/// The payload of one WebSocket message, text and binary alike, as it came in: never empty.
///
/// `Debug` shows its length only: payloads hold what people wrote to each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Box<[u8]>);

impl Payload {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}
