//! Lines out of a stream of messages (FRAME-2, FRAME-3).
//!
//! The payloads of consecutive WebSocket messages are one stream of newline-delimited JSON. [`LineBuffer`] cuts it into
//! lines, wherever the messages were cut, and takes an unterminated complete object at the end of a message as a line,
//! because peers exist that send one object a message and no newline.

use alloc::vec::Vec;

use memchr::{memchr, memchr2};

/// A line grew over the limit (FRAME-3). The link has to be closed: where the next line starts is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is over the limit of {limit} bytes")]
pub struct LineTooLong {
    /// The limit, in bytes, without the line's newline, but with a carriage return before it.
    pub limit: usize,
}

/// Cuts the payloads of messages into lines. One per link.
///
/// Lines that lie whole in one message are handed out without copying. What is held over is at most `limit` bytes.
/// Time is linear in the bytes, however they are cut.
#[derive(Clone, Debug, Default)]
pub struct LineBuffer {
    /// The start of a line whose end has not come yet.
    held: Vec<u8>,
    /// Where the held bytes stand as a JSON object.
    scan: ObjectScan,
}

impl LineBuffer {
    /// An empty buffer. It allocates nothing until a line is cut.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held over for the next message.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Memory reserved for held bytes.
    pub fn capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Takes one message and calls `each` with every line that it completes, in order, without newline, carriage
    /// return or surrounding white space. Blank lines are left out. `each` returns whether to go on; if not, the rest
    /// of the message is dropped.
    ///
    /// # Errors
    /// [`LineTooLong`] when a line has more than `limit` bytes. The lines before it have been handed out.
    pub fn feed(
        &mut self,
        message: &[u8],
        limit: usize,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), LineTooLong> {
        let mut rest = message;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or(&[]);
            if self.held.len() + line.len() > limit {
                return Err(LineTooLong { limit });
            }
            let go_on = if self.held.is_empty() {
                offer(line, &mut each)
            } else {
                self.held.extend_from_slice(line);
                let go_on = offer(&self.held, &mut each);
                self.release();
                go_on
            };
            if !go_on {
                return Ok(());
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        if self.held.len() + rest.len() > limit {
            return Err(LineTooLong { limit });
        }
        self.scan.read(rest);
        if self.scan.is_complete() {
            if self.held.is_empty() {
                offer(rest, &mut each);
                self.scan = ObjectScan::default();
            } else {
                self.held.extend_from_slice(rest);
                offer(&self.held, &mut each);
                self.release();
            }
        } else {
            self.held.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Forgets the held line, and gives back the memory of a large one.
    fn release(&mut self) {
        const KEEP: usize = 1024;
        if self.held.capacity() > KEEP {
            self.held = Vec::new();
        } else {
            self.held.clear();
        }
        self.scan = ObjectScan::default();
    }
}

fn offer(line: &[u8], each: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || each(line)
}

/// Follows the braces of one object over any number of pieces, each byte once.
///
/// It answers a single question: do the bytes so far end exactly where a JSON object that they started ends? For valid
/// JSON the answer is exact. For anything else it does not matter, because the line will be skipped either way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct ObjectScan {
    state: ScanState,
    depth: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ScanState {
    #[default]
    Before,
    Inside,
    InString,
    Escaped,
    After,
    /// Not an object, or one with something behind it: only a newline ends this line.
    Never,
}

impl ObjectScan {
    fn is_complete(&self) -> bool {
        self.state == ScanState::After
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, after)) = bytes.split_first() {
            bytes = after;
            self.state = match (self.state, byte) {
                (ScanState::Never, _) => return,
                (state @ (ScanState::Before | ScanState::After), b' ' | b'\t' | b'\r' | b'\n') => state,
                (ScanState::Before, b'{') => {
                    self.depth = 1;
                    ScanState::Inside
                }
                (ScanState::Before | ScanState::After, _) => ScanState::Never,
                (ScanState::Inside, b'"') => ScanState::InString,
                (ScanState::Inside, b'{' | b'[') => {
                    self.depth += 1;
                    ScanState::Inside
                }
                (ScanState::Inside, b'}' | b']') => {
                    self.depth -= 1;
                    if self.depth == 0 { ScanState::After } else { ScanState::Inside }
                }
                (ScanState::Inside, _) => ScanState::Inside,
                (ScanState::InString, b'"') => ScanState::Inside,
                (ScanState::InString, b'\\') => ScanState::Escaped,
                (ScanState::InString, _) => {
                    let skip = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
                    bytes = bytes.get(skip..).unwrap_or(&[]);
                    ScanState::InString
                }
                (ScanState::Escaped, _) => ScanState::InString,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn lines(messages: &[&[u8]], limit: usize) -> Result<Vec<String>, LineTooLong> {
        let mut buffer = LineBuffer::new();
        let mut out = Vec::new();
        for message in messages {
            buffer.feed(message, limit, |line| {
                out.push(String::from_utf8_lossy(line).into_owned());
                true
            })?;
        }
        Ok(out)
    }

    // proves: FRAME-2
    #[test]
    fn a_line_may_be_cut_at_any_byte_also_inside_a_character() {
        let stream = "{\"a\":\"日本🔌\"}\r\n\n  \n{\"b\":\"\\\"}{\"}\n".as_bytes();
        let whole = lines(&[stream], 100).unwrap();
        assert_eq!(whole, ["{\"a\":\"日本🔌\"}", "{\"b\":\"\\\"}{\"}"]);
        for cut in 0..stream.len() {
            let (a, b) = stream.split_at(cut);
            assert_eq!(lines(&[a, b], 100).unwrap(), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(lines(&single, 100).unwrap(), whole);
    }

    // proves: FRAME-2
    #[test]
    fn an_object_without_a_newline_is_a_line_when_its_message_ends() {
        assert_eq!(lines(&[b"{\"a\":{}}", b"{\"b\":[]}"], 100).unwrap(), ["{\"a\":{}}", "{\"b\":[]}"]);
        assert_eq!(lines(&[b"{\"a\"", b":1}", b"\n{}"], 100).unwrap(), ["{\"a\":1}", "{}"]);
        assert_eq!(lines(&[b" {\"a\":\"}", b"\"} ", b"\n"], 100).unwrap(), ["{\"a\":\"}\"}"]);
        assert_eq!(lines(&[b"[1]", b"\n"], 100).unwrap(), ["[1]"], "not an object: waits for its newline");
        assert_eq!(lines(&[b"{} x", b"{}", b"\n{}"], 100).unwrap(), ["{} x{}", "{}"]);
    }

    // proves: FRAME-3
    #[test]
    fn a_line_over_the_limit_is_an_error_and_is_not_kept() {
        assert_eq!(lines(&[b"1234\n", b"{\"a\"\n"], 4).unwrap(), ["1234", "{\"a\""]);
        assert_eq!(lines(&[b"12", b"34", b"\n"], 4).unwrap(), ["1234"], "held, as much as there may be");
        assert_eq!(lines(&[b"12345\n"], 4), Err(LineTooLong { limit: 4 }));
        let mut buffer = LineBuffer::new();
        buffer.feed(b"123", 4, |_| true).unwrap();
        assert_eq!(buffer.feed(b"45", 4, |_| true), Err(LineTooLong { limit: 4 }));
        assert_eq!(buffer.held(), 3, "never more than the limit");
    }

    // proves: FRAME-3
    #[test]
    fn a_large_line_gives_its_memory_back() {
        let mut buffer = LineBuffer::new();
        buffer.feed(&[b' '; 100_000], 1 << 20, |_| true).unwrap();
        assert!(buffer.capacity() >= 100_000);
        buffer.feed(b"\n", 1 << 20, |_| true).unwrap();
        assert_eq!((buffer.held(), buffer.capacity()), (0, 0));
    }

    // proves: FRAME-2
    #[test]
    fn each_byte_is_looked_at_once() {
        // A scan that started over with every message would look at 20,000² bytes here.
        let mut buffer = LineBuffer::new();
        let mut seen = 0;
        for _ in 0..20_000 {
            buffer.feed(b"{", 1 << 20, |_| true).unwrap();
        }
        for _ in 0..20_000 {
            buffer
                .feed(b"}", 1 << 20, |line| {
                    seen += line.len();
                    true
                })
                .unwrap();
        }
        assert_eq!(seen, 40_000);
    }

    proptest! {
        // proves: FRAME-2
        #[test]
        fn cutting_changes_nothing(
            lines_in in proptest::collection::vec("[a-z\\[\\]\"日🔌,: ]{0,12}", 0..8),
            cuts in proptest::collection::vec(0usize..200, 0..12),
        ) {
            // Lines that no end of message can complete (they do not start with a brace): any cut is the same stream.
            let mut stream = Vec::new();
            for line in &lines_in {
                stream.extend_from_slice(line.as_bytes());
                stream.push(b'\n');
            }
            let mut at: Vec<usize> = cuts.into_iter().filter(|c| *c < stream.len()).collect();
            at.sort_unstable();
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut from = 0;
            for cut in at { pieces.push(&stream[from..cut]); from = cut; }
            pieces.push(&stream[from..]);
            prop_assert_eq!(lines(&pieces, 1000), lines(&[&stream], 1000));
        }
    }
}
