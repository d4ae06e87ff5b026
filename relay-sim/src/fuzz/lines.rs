//! The line buffer: the same lines as an obvious implementation cuts, however the stream is cut, within its memory.

use std::cell::Cell;

use relay_proto::frame::Skipped;
use relay_proto::ndjson::{LineBuffer, read_line};
use serde_json::value::RawValue;

use super::input::{Input, pieces};

/// A byte for the limit, up to seven for the cuts behind one for their number, and then the stream.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = match input.byte() {
        255 => 1 << 20,
        small => usize::from(small),
    };
    let cuts = input.byte() % 8;
    let cuts = input.take(cuts.into());
    // What is expected costs the square of this, and more.
    let stream = input.take(512);

    let messages = pieces(stream, cuts);
    let ours = cut(&messages, limit);
    assert_eq!(ours, expected(&messages, limit), "cut into {messages:?}");
    // Where all is objects, or all is garbage up to a newline, the end of a message means nothing.
    let whole = cut(&[stream], limit);
    if whole.1 && whole.0.iter().all(Result::is_ok) {
        assert_eq!(ours.0, whole.0, "cutting changed something");
    }
    let mut one = Vec::new();
    let line = stream.split(|byte| *byte == b'\n').next().unwrap_or(stream);
    let read = read_line(line, limit, object, |line| {
        one.push(line);
        true
    });
    assert_eq!(
        (one, read.is_ok()),
        cut(&[line, b"\n"].map(<[u8]>::to_vec).concat().chunks(1024).collect::<Vec<_>>(), limit)
    );
}

/// An object, or an error for a line that is skipped.
type Line = Result<Vec<u8>, Skipped>;
/// The lines, and whether all of the stream was taken.
type Lines = (Vec<Line>, bool);

/// What a line is: the text of an object, or nothing.
fn object(text: &[u8]) -> Line {
    let begins = text.first() == Some(&b'{');
    // Bytes that are not UTF-8 are no concern of lines.
    match serde_json::from_str::<&RawValue>(&masked(text)) {
        Ok(_) if begins => Ok(text.to_vec()),
        Ok(_) => Err(Skipped::NotAnObject),
        Err(_) => Err(Skipped::NotJson),
    }
}

/// The same with a letter for each byte that is not ASCII: in a string it is as good, and outside as bad.
fn masked(text: &[u8]) -> String {
    text.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { 'x' }).collect()
}

fn cut(messages: &[&[u8]], limit: usize) -> Lines {
    let mut buffer = LineBuffer::new();
    let mut lines = Vec::new();
    let cost = Cell::new(0);
    for message in messages {
        let read = |text: &[u8]| {
            assert!(!text.is_empty() && trim(text) == text && !text.contains(&b'\n'));
            assert!(text.len() <= limit.max(2), "{} bytes, {limit} allowed", text.len());
            cost.set(cost.get() + text.len());
            object(text)
        };
        let fed = buffer.feed(message, limit, read, |line| {
            lines.push(line);
            true
        });
        // A byte order mark is held over without regard to the limit.
        assert!(buffer.held() <= limit.max(2), "{} bytes held, {limit} allowed", buffer.held());
        assert!(buffer.capacity() <= (3 * limit).max(1024), "{} bytes reserved for {limit}", buffer.capacity());
        if let Err(error) = fed {
            assert_eq!(error.limit, limit);
            return (lines, false);
        }
    }
    let bytes: usize = messages.iter().map(|message| message.len()).sum();
    assert!(cost.get() <= 3 * bytes, "{} bytes were read of {bytes}", cost.get());
    (lines, true)
}

/// The same with everything looked at again and again.
fn expected(messages: &[&[u8]], limit: usize) -> Lines {
    let (mut held, mut lines) = (Vec::new(), Vec::new());
    for message in messages {
        // A beginning of a byte order mark that does not go on was a line of the message before.
        if !held.is_empty() && MARK.starts_with(&held) {
            let joined = [&held, *message].concat();
            if !joined.starts_with(MARK) && !MARK.starts_with(&joined) {
                lines.push(object(&held));
                held.clear();
            }
        }
        let mut stream = message.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = stream.next() {
            held.extend_from_slice(piece);
            let ended = stream.peek().is_some();
            loop {
                held = trim_start(&held).to_vec();
                if held.is_empty() || !ended && held.len() < MARK.len() && MARK.starts_with(&held) {
                    break;
                }
                let end = (1..=held.len()).find(|end| object(&held[..*end]).is_ok());
                let line = match end {
                    Some(end) => held[..end].to_vec(),
                    None if !ended && is_beginning(&held) && held.len() <= limit => break,
                    None if !ended && is_beginning(&held) => return (lines, false),
                    None => trim(&held).to_vec(),
                };
                if line.len() > limit {
                    return (lines, false);
                }
                lines.push(object(&line));
                held.drain(..end.unwrap_or(held.len()));
            }
        }
    }
    (lines, true)
}

/// Whether an object may begin like this: serde_json says of a beginning that it ends too early. It says so as well of
/// an escape that is cut, whatever its digits.
fn is_beginning(text: &[u8]) -> bool {
    let is_eof = serde_json::from_str::<&RawValue>(&masked(text)).is_err_and(|error| error.is_eof());
    let digits = text.iter().rposition(|byte| *byte == b'\\').and_then(|at| {
        let is_escape = text[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
        text[at + 1..].strip_prefix(b"u").filter(|_| is_escape)
    });
    let in_escape = digits.is_none_or(|digits| digits.iter().take(4).all(u8::is_ascii_hexdigit));
    text.first() == Some(&b'{') && is_eof && in_escape
}

const MARK: &[u8] = "\u{feff}".as_bytes();

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0
}

fn trim_start(text: &[u8]) -> &[u8] {
    match text {
        [byte, rest @ ..] if is_blank(*byte) => trim_start(rest),
        _ => text.strip_prefix(MARK).map_or(text, trim_start),
    }
}

fn trim(text: &[u8]) -> &[u8] {
    match trim_start(text) {
        [rest @ .., byte] if is_blank(*byte) => trim(rest),
        text => text.strip_suffix(MARK).map_or(text, trim),
    }
}
