//! What a socket is read into.

/// Bytes that a read takes at most, as long as reads do not fill that.
const LEAST: usize = 16 << 10;
/// Bytes that a read takes at most, ever: what is received is read under the lock, and others wait for that meanwhile.
const MOST: usize = 64 << 10;
/// How many reads in a row have to fit into the least before the rest is given back.
const PATIENCE: u8 = 4;

/// A buffer for reading from sockets, which grows when reads fill it, and gives that back when they do not. None that was
/// not used yet has memory.
///
/// Large events are what gains: the fewer pieces a message comes in, the less of it has to be gathered.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: Vec<u8>,
    small: u8,
}

impl ReadBuffer {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), small: 0 }
    }

    /// All of the buffer, to read into.
    pub fn space(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = vec![0; LEAST];
        }
        &mut self.bytes
    }

    /// A read brought the first `n` bytes of [`space`](Self::space), which these are.
    pub fn filled(&self, n: usize) -> &[u8] {
        self.bytes.get(..n).unwrap_or(&self.bytes)
    }

    /// The next read is likely to bring about as much as the last one, `n` bytes, which are forgotten.
    pub fn adapt(&mut self, n: usize) {
        self.small = if n > LEAST { 0 } else { self.small.saturating_add(1) };
        let len = self.bytes.len();
        if n == len && len < MOST {
            self.bytes = vec![0; MOST];
            self.small = 0;
        } else if self.small >= PATIENCE && len > LEAST {
            self.bytes = vec![0; LEAST];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_reads_that_fill_it_and_shrinks_when_they_are_small() {
        let mut buffer = ReadBuffer::new();
        assert_eq!(buffer.bytes.capacity(), 0, "nothing before the first read");
        assert_eq!(buffer.space().len(), LEAST);
        buffer.adapt(LEAST - 1);
        assert_eq!(buffer.space().len(), LEAST);
        buffer.adapt(LEAST);
        assert_eq!(buffer.space().len(), MOST);
        buffer.adapt(MOST);
        assert_eq!(buffer.space().len(), MOST, "and no further");
        for _ in 1..PATIENCE {
            buffer.adapt(1);
        }
        buffer.adapt(LEAST + 1);
        for _ in 1..PATIENCE {
            buffer.adapt(LEAST);
            assert_eq!(buffer.space().len(), MOST);
        }
        buffer.adapt(1);
        assert_eq!((buffer.space().len(), buffer.bytes.capacity()), (LEAST, LEAST));
    }

    #[test]
    fn it_shows_what_was_read() {
        let mut buffer = ReadBuffer::new();
        if let Some(front) = buffer.space().get_mut(..3) {
            front.copy_from_slice(b"abc");
        }
        assert_eq!((buffer.filled(2), buffer.filled(0)), (&b"ab"[..], &b""[..]));
    }
}
