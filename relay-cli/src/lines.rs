//! Lines out of a byte stream whose sender is trusted to mean well, and not to get everything right.
//!
//! Not [`LineBuffer`](relay_proto::ndjson::LineBuffer): that one takes the end of a *message* for the end of an object,
//! which is right for WebSocket messages, and would make the cut of a pipe's reads visible here; and it gives up on a line
//! that is too long, where this one goes on with the next.

/// The longest line by default, in bytes without its newline: as long as the longest line of a link (FRAME-3).
pub(crate) const LIMIT: usize = 1 << 20;

/// What some editors and shells begin a text with, and none of it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A larger buffer is given back after use.
const KEEP: usize = 64 << 10;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Without newline and surrounding white space; never empty.
    Bytes(&'a [u8]),
    /// It has more bytes than the limit, and was dropped. Said as soon as that is clear.
    TooLong,
}

/// Cuts a stream into lines, at newlines only. Blank lines are left out, and counted, and so is a byte order mark at the start
/// of the stream.
#[derive(Debug)]
pub(crate) struct Lines {
    limit: usize,
    held: Vec<u8>,
    /// Within a line that is too long.
    skipping: bool,
    /// The number of the line that is being read, less one.
    number: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self::new(LIMIT)
    }
}

impl Lines {
    /// Lines of this many bytes at most.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new(), skipping: false, number: 0 }
    }

    /// Takes a piece of the stream, and calls `each` with the number (from 1) of every line that it completes.
    pub(crate) fn feed<E>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(u64, Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, after) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            bytes = after.get(1..).unwrap_or(&[]);
            self.end_line(line, &mut each)?;
        }
        if self.skipping {
            return Ok(());
        }
        if self.held.len() + bytes.len() > self.limit {
            self.held = Vec::new();
            self.skipping = true;
            return each(self.number + 1, Line::TooLong);
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// The stream has ended: so has its last line, with or without a newline.
    pub(crate) fn finish<E>(&mut self, mut each: impl FnMut(u64, Line<'_>) -> Result<(), E>) -> Result<(), E> {
        self.end_line(&[], &mut each)
    }

    fn end_line<E>(&mut self, rest: &[u8], each: &mut impl FnMut(u64, Line<'_>) -> Result<(), E>) -> Result<(), E> {
        self.number += 1;
        if std::mem::take(&mut self.skipping) {
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        let line = if held.is_empty() {
            rest
        } else if held.len() + rest.len() > self.limit {
            return each(self.number, Line::TooLong);
        } else {
            held.extend_from_slice(rest);
            &held
        };
        let content = if self.number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        let result = match content.trim_ascii() {
            _ if line.len() > self.limit => each(self.number, Line::TooLong),
            [] => Ok(()),
            line => each(self.number, Line::Bytes(line)),
        };
        held.clear();
        if held.capacity() <= KEEP {
            self.held = held;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `text`, fed in pieces of `size`, with their numbers.
    fn cut(text: &[u8], size: usize) -> Vec<(u64, Option<String>)> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        let mut each = |number, line: Line<'_>| {
            out.push((
                number,
                match line {
                    Line::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                    Line::TooLong => None,
                },
            ));
            Ok::<(), ()>(())
        };
        for piece in text.chunks(size) {
            lines.feed(piece, &mut each).unwrap();
        }
        lines.finish(&mut each).unwrap();
        out
    }

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut() {
        let text = b"{}\r\n\n \t\r\n{\"a\":1} {}\n\xff\n last";
        let expected = [(1, "{}"), (4, "{\"a\":1} {}"), (5, "\u{fffd}"), (6, "last")];
        let expected: Vec<_> = expected.into_iter().map(|(n, line)| (n, Some(line.to_string()))).collect();
        for size in 1..=text.len() {
            assert_eq!(cut(text, size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_byte_order_mark_at_the_start_is_no_part_of_the_first_line() {
        let text = "\u{feff}{}\n\u{feff}[]\n".as_bytes();
        for size in 1..=text.len() {
            assert_eq!(
                cut(text, size),
                [(1, Some("{}".into())), (2, Some("\u{feff}[]".into()))],
                "in pieces of {size}"
            );
        }
        assert_eq!(cut("\u{feff}".as_bytes(), 1), []);
        assert_eq!(cut("\u{feff}\r\n{}".as_bytes(), 2), [(2, Some("{}".into()))]);
    }

    #[test]
    fn a_line_that_is_too_long_costs_itself_alone() {
        for size in [1000, 1 << 16, LIMIT, LIMIT + 1, 8 << 20] {
            for (length, fits) in [(LIMIT, true), (LIMIT + 1, false), (3 * LIMIT, false)] {
                let text = [b"before\n".as_slice(), "x".repeat(length).as_bytes(), b"\nafter"].concat();
                let got = cut(&text, size);
                let numbers: Vec<_> = got.iter().map(|(number, line)| (*number, line.is_some())).collect();
                assert_eq!(numbers, [(1, true), (2, fits), (3, true)], "{length} in pieces of {size}");
                assert_eq!(got[2].1.as_deref(), Some("after"));
            }
        }
    }
}
