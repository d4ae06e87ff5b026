//! A frame that the input ended in, until the rest of it is there.

use std::vec::Vec;

/// The frame so far. It sets memory aside for what came, and not for what the header announced.
#[derive(Default)]
pub(super) struct Partial {
    bytes: Vec<u8>,
    /// The length of the whole frame, with its header; 0 when there is none.
    whole: usize,
}

impl Partial {
    /// Whether no frame has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.whole == 0
    }

    /// A frame of `whole` bytes begins with all that is left of the input.
    pub(super) fn begin(&mut self, input: &[u8], whole: usize) {
        self.bytes.extend_from_slice(input);
        self.whole = whole;
    }

    /// Takes what belongs to the frame off the input. The frame, when it is whole: [`release`](Self::release) it.
    pub(super) fn complete(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        let missing = self.whole.saturating_sub(self.bytes.len());
        let (own, rest) = input.split_at(missing.min(input.len()));
        let needed = self.bytes.len().saturating_add(own.len());
        if needed > self.bytes.capacity() {
            // Twice as much as came, but no more than the frame.
            let enough = needed.saturating_mul(2).min(self.whole);
            self.bytes.reserve_exact(enough.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(own);
        *input = rest;
        (own.len() == missing).then(|| {
            self.whole = 0;
            core::mem::take(&mut self.bytes)
        })
    }

    /// The frame has been read: its memory is for the next one.
    pub(super) fn release(&mut self, mut frame: Vec<u8>) {
        frame.clear();
        self.bytes = frame;
    }

    /// Memory held on the heap, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
