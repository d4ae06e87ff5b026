//! What a WebSocket message carried.

use core::{fmt, ops::Deref};
use std::vec::Vec;

use tungstenite::Bytes;

/// The payload of one WebSocket message, text and binary alike, as it came in: never empty, not copied.
///
/// It may share its memory with the link's receive buffer, so drop it, or copy it, before keeping it for long.
/// `Debug` shows its length only: payloads hold what people wrote to each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
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
