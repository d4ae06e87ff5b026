//! What happened in a life: as a hash, and on request as text.

use std::fmt::Write as _;

use super::{Nanos, SECOND};

/// The trace of one life.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    entries: u64,
    text: Option<String>,
}

impl Trace {
    /// A trace that keeps its text, or only its hash.
    pub fn new(text: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, entries: 0, text: text.then(String::new) }
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    /// Something happened. `detail` is for people alone, and not called without them.
    pub fn note(&mut self, at: Nanos, what: &str, whom: u64, which: u64, detail: impl FnOnce() -> String) {
        self.entries += 1;
        self.mix(at);
        self.mix(whom);
        self.mix(which);
        self.bytes(what.as_bytes());
        if let Some(text) = &mut self.text {
            let (seconds, micros) = (at / SECOND, at % SECOND / 1000);
            let _ = writeln!(text, "{seconds:>6}.{micros:06}  {what} {whom} {which}  {}", detail());
        }
    }

    /// Bytes that were written.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How much happened.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The text, if it was kept.
    pub fn into_text(self) -> Option<String> {
        self.text
    }
}
