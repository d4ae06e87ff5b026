//! What tells a POST beside the upgrade from everything else, at the end that accepts.

use crate::enroll::server::RequestReader;

/// What such a request begins with.
const START: &[u8] = b"POST /relay/";

/// The first bytes of a connection, until it is known what it is for: so many of [`START`] have come.
#[derive(Default)]
pub(super) struct Start(usize);

impl Start {
    /// Takes what belongs to the start off the input. Whether it is one, once that is known.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Option<bool> {
        while let Some(expected) = START.get(self.0) {
            let (byte, rest) = input.split_first()?;
            if byte != expected {
                return Some(false);
            }
            *input = rest;
            self.0 += 1;
        }
        Some(true)
    }

    /// What was taken.
    pub(super) fn taken(&self) -> &'static [u8] {
        START.get(..self.0).unwrap_or(START)
    }
}

/// Reads a request that began like that.
pub(super) fn reader() -> RequestReader {
    let mut reader = RequestReader::default();
    // Nothing can be wrong with it yet, and nothing complete.
    let _ = reader.read(START);
    reader
}
