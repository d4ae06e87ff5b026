//! Frames out of a stream of messages (FRAME-2, FRAME-3).
//!
//! The payloads of consecutive WebSocket messages are one stream of newline-delimited JSON. [`LineBuffer`] cuts it into
//! lines, wherever the messages were cut. Peers exist that write no newlines, and others that write text that is no frame,
//! such as a plain `ping`. So the end of a message ends a line too, unless the line is the beginning of a JSON object:
//! only that can go on in the next message.

mod object;

use alloc::vec::Vec;

use memchr::memchr;

use self::object::{ObjectScan, Step};
use crate::frame::Skipped;

/// A line grew over the limit (FRAME-3). The link has to be closed: where the next line starts is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is over the limit of {limit} bytes")]
pub struct LineTooLong {
    /// The limit, in bytes, without what may stand around an object.
    pub limit: usize,
}

/// Cuts the payloads of messages into lines, and reads them. One per link.
///
/// Lines that lie whole in one message are read without copying. What is held over is at most `limit` bytes, and always
/// the beginning of an object or of a byte order mark. Time is linear in the bytes, however they are cut.
#[derive(Clone, Debug, Default)]
pub struct LineBuffer {
    /// The beginning of an object whose end has not come yet, from its brace on; or of a byte order mark.
    held: Vec<u8>,
    /// How far the held bytes are an object.
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
        self.held.capacity() + self.scan.capacity()
    }

    /// Takes one message. Reads every line that it completes with `read`, such as
    /// [`from_connector`](crate::frame::from_connector), and calls `each` with what was read, in order. `each` returns
    /// whether to go on; if not, the rest of the message is dropped.
    ///
    /// `read` is given text without white space, byte order marks and NUL around it. It may be asked twice about the same
    /// text, if that begins with a brace and is [`Skipped::NotJson`].
    ///
    /// # Errors
    /// [`LineTooLong`] when a line has more than `limit` bytes. The lines before it have been handed out.
    pub fn feed<F>(
        &mut self,
        message: &[u8],
        limit: usize,
        read: impl Fn(&[u8]) -> Result<F, Skipped>,
        mut each: impl FnMut(Result<F, Skipped>) -> bool,
    ) -> Result<(), LineTooLong> {
        let mut reader = Reader { limit, read, each: &mut each };
        let Some(mut rest) = self.end_mark(message, &mut reader) else { return Ok(()) };
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or(&[]);
            if !self.line(line, &mut reader)? {
                return Ok(());
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        // Peers that write no newlines mostly send one object in each message.
        let text = trim(rest);
        if self.held.is_empty() && text.ends_with(b"}") && reader.whole(text).is_some() {
            return Ok(());
        }
        self.pieces(rest, false, &mut reader).map(|_| ())
    }

    /// Goes on with a byte order mark that the last message ended in, and returns what comes behind it. A beginning of one
    /// that does not go on is a line that ended with its message; `None` when nothing more is to be read.
    fn end_mark<'m, F>(&mut self, message: &'m [u8], reader: &mut impl Read<F>) -> Option<&'m [u8]> {
        if self.held.first() != MARK.first() {
            return Some(message);
        }
        let missing = MARK.get(self.held.len()..).unwrap_or(&[]);
        if let Some(rest) = message.strip_prefix(missing) {
            self.held.clear();
            return Some(rest);
        }
        if missing.starts_with(message) {
            self.held.extend_from_slice(message);
            return None;
        }
        let go_on = reader.offer(&self.held);
        self.held.clear();
        go_on.then_some(message)
    }

    /// A line, up to its newline. Whether to go on.
    fn line<F>(&mut self, line: &[u8], reader: &mut impl Read<F>) -> Result<bool, LineTooLong> {
        if self.held.is_empty() {
            let text = trim(line);
            return match reader.whole(text) {
                Some(go_on) => Ok(go_on),
                None => self.pieces(text, true, reader),
            };
        }
        if self.held.len() + line.len() > reader.limit() {
            return self.pieces(line, true, reader);
        }
        let mut held = core::mem::take(&mut self.held);
        held.extend_from_slice(line);
        let text = trim(&held);
        let go_on = match reader.whole(text) {
            Some(go_on) => Ok(go_on),
            None => self.pieces(text, true, reader),
        };
        self.release(held);
        go_on
    }

    /// Bytes of a line that may be several objects, or none: each object is a line, and from the first byte on that belongs
    /// to no object, all the rest is one. `ended`: a newline follows, and not the end of the message. Whether to go on.
    fn pieces<F>(&mut self, mut rest: &[u8], ended: bool, reader: &mut impl Read<F>) -> Result<bool, LineTooLong> {
        loop {
            if self.held.is_empty() {
                rest = trim_start(rest);
                if rest.is_empty() {
                    return Ok(true);
                }
                if !ended && MARK.starts_with(rest) {
                    self.held.extend_from_slice(rest);
                    return Ok(true);
                }
                self.scan = ObjectScan::default();
            }
            let step = self.scan.read(rest);
            let is_held = step == Step::Partial && !ended;
            let (mut piece, after) = match step {
                Step::Complete(end) => rest.split_at_checked(end).unwrap_or((rest, &[])),
                Step::Partial | Step::Never => (rest, [].as_slice()),
            };
            if !is_held {
                piece = trim_end(piece);
            }
            if self.held.len() + piece.len() > reader.limit() {
                return Err(LineTooLong { limit: reader.limit() });
            }
            if is_held {
                self.held.extend_from_slice(piece);
                return Ok(true);
            }
            let go_on = if self.held.is_empty() {
                reader.offer(piece)
            } else {
                let mut held = core::mem::take(&mut self.held);
                held.extend_from_slice(piece);
                let go_on = reader.offer(&held);
                self.release(held);
                go_on
            };
            if !go_on || !matches!(step, Step::Complete(_)) {
                return Ok(go_on);
            }
            rest = after;
        }
    }

    /// Forgets a line that was held, and gives back the memory of a large one.
    fn release(&mut self, mut held: Vec<u8>) {
        const KEEP: usize = 1024;
        if held.capacity() <= KEEP {
            held.clear();
            self.held = held;
        }
        self.scan = ObjectScan::default();
    }
}

/// Reads one line that is known to be whole, as [`LineBuffer::feed`] reads a line that ends with a newline. Returns
/// whether to go on: what `each` returned last.
///
/// # Errors
/// As [`LineBuffer::feed`].
pub fn read_line<F>(
    line: &[u8],
    limit: usize,
    read: impl Fn(&[u8]) -> Result<F, Skipped>,
    each: impl FnMut(Result<F, Skipped>) -> bool,
) -> Result<bool, LineTooLong> {
    LineBuffer::new().line(line, &mut Reader { limit, read, each })
}

/// What lines are handed to. A trait only so that the two closures are named once.
trait Read<F> {
    fn limit(&self) -> usize;

    /// Reads a text and hands it on, unless it is blank. Whether to go on.
    fn offer(&mut self, text: &[u8]) -> bool;

    /// The same for a trimmed text. `None`, and nothing is handed on, when it may be more than one line: it is too long
    /// for one, or begins like an object and is none.
    fn whole(&mut self, text: &[u8]) -> Option<bool>;
}

struct Reader<R, E> {
    limit: usize,
    read: R,
    each: E,
}

impl<F, R: Fn(&[u8]) -> Result<F, Skipped>, E: FnMut(Result<F, Skipped>) -> bool> Read<F> for Reader<R, E> {
    fn limit(&self) -> usize {
        self.limit
    }

    fn offer(&mut self, text: &[u8]) -> bool {
        let text = trim(text);
        text.is_empty() || (self.each)((self.read)(text))
    }

    #[inline]
    fn whole(&mut self, text: &[u8]) -> Option<bool> {
        if text.is_empty() {
            return Some(true);
        }
        if text.len() > self.limit {
            return None;
        }
        match (self.read)(text) {
            Err(Skipped::NotJson) if text.starts_with(b"{") => None,
            read => Some((self.each)(read)),
        }
    }
}

/// A byte order mark, as UTF-8.
const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// White space, or a NUL, with which peers in C may end what they send.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [byte, rest @ ..] if is_blank(*byte) => rest,
            _ => match text.strip_prefix(&MARK) {
                Some(rest) => rest,
                None => return text,
            },
        };
    }
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [rest @ .., byte] if is_blank(*byte) => rest,
            _ => match text.strip_suffix(&MARK) {
                Some(rest) => rest,
                None => return text,
            },
        };
    }
}

fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

#[cfg(test)]
mod tests;
