//! Bytes that wait to be written to the socket.

use std::{
    io::{self, Write},
    mem,
    vec::Vec,
};

use zeroize::Zeroizing;

use super::{codec::apply_mask, shrink_policy::ShrinkPolicy};

/// Consumed bytes at the front that are not worth moving the rest for.
const SLACK: usize = 4 << 10;

/// A queue of bytes: appended at the end, taken from the front in pieces of any size.
///
/// Writing never fails and never waits. A *muted* buffer drops what it is given: its socket takes nothing any more.
#[derive(Default)]
pub(super) struct SendBuffer {
    /// Wiped in the end: they may hold a token, or a secret that was granted.
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    /// The most bytes that waited since the buffer was last empty.
    most: usize,
    shrink_policy: ShrinkPolicy,
    muted: bool,
}

impl SendBuffer {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.start)
    }

    #[cfg(any(test, feature = "tls"))]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.muted {
            self.bytes.extend_from_slice(bytes);
            self.most = self.most.max(self.bytes.len());
        }
    }

    /// Appends bytes as a WebSocket's client writes them (RFC 6455, 5.3).
    pub(super) fn push_masked(&mut self, bytes: &[u8], mask: [u8; 4]) {
        let start = self.bytes.len();
        self.push(bytes);
        apply_mask(self.bytes.get_mut(start..).unwrap_or_default(), mask);
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
            if self.most > 0 {
                self.shrink_policy.note(mem::take(&mut self.most));
            }
            if self.shrink_policy.should_shrink() {
                self.shrink();
            }
        } else if self.start > SLACK && self.start > self.bytes.len() / 2 {
            // Moves fewer bytes than were consumed since the last move, so a buffer that is never empty stays linear.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    pub(super) fn mute(&mut self) {
        *self = Self { muted: true, ..Self::default() };
    }

    pub(super) fn shrink(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.shrink_to_fit();
        self.shrink_policy = ShrinkPolicy::default();
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Write for SendBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_writes_keep_the_order() {
        let mut out = SendBuffer::default();
        let (mut pushed, mut taken) = (Vec::new(), Vec::new());
        for i in 0..3000_u32 {
            pushed.extend_from_slice(&i.to_be_bytes());
            out.push(&i.to_be_bytes());
            let n = out.len().min(3);
            taken.extend_from_slice(&out.bytes()[..n]);
            out.consume(n);
        }
        taken.extend_from_slice(out.bytes());
        out.consume(usize::MAX);
        assert!(out.is_empty());
        assert_eq!(taken, pushed);
    }

    #[test]
    fn a_buffer_that_is_never_empty_does_not_grow() {
        let mut out = SendBuffer::default();
        out.push(&[0; 100]);
        for _ in 0..10_000 {
            out.push(&[0; 100]);
            out.consume(100);
        }
        assert_eq!(out.len(), 100);
        assert!(out.capacity() < 4 * SLACK, "{}", out.capacity());
    }

    #[test]
    fn a_burst_is_given_back() {
        let mut out = SendBuffer::default();
        out.push(&vec![0; 1 << 20]);
        out.consume(1 << 20);
        for _ in 0..20 {
            out.push(&[0; 100]);
            out.consume(100);
        }
        assert!(out.capacity() < SLACK, "{}", out.capacity());
        out.push(&[0; 1000]);
        out.consume(10);
        out.shrink();
        assert_eq!((out.len(), out.capacity()), (990, 990));
    }

    #[test]
    fn what_is_masked_is_masked_as_the_standard_says_at_every_length() {
        let (mask, text) = ([0x12, 0x34, 0x56, 0x78], b"The quick brown fox jumps");
        for length in 0..=text.len() {
            let mut out = SendBuffer::default();
            out.push(b"before");
            out.push_masked(&text[..length], mask);
            // RFC 6455, 5.3: octet i is the original one, and octet i modulo 4 of the key.
            let expected: Vec<u8> = text[..length].iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            assert_eq!(out.bytes(), [b"before", &*expected].concat());
        }
    }

    #[test]
    fn a_muted_buffer_stays_empty() {
        let mut out = SendBuffer::default();
        out.mute();
        out.push_masked(b"abc", [1; 4]);
        assert!(out.is_empty());
        let mut out = SendBuffer::default();
        out.push(b"abc");
        out.mute();
        out.push(b"def");
        assert!(out.is_empty());
    }
}
