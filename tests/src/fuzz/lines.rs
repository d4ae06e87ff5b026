//! The line buffer: the same lines as an obvious implementation cuts, however the stream is cut, within its memory.

use relay_proto::ndjson::LineBuffer;
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
    // What is expected costs the square of this.
    let stream = input.take(1024);

    let messages = pieces(stream, cuts);
    let ours = cut(&messages, limit);
    assert_eq!(ours, expected(&messages, limit), "cut into {messages:?}");
    // Where no message ends with a complete object, its end means nothing.
    if messages.len() > 1 && !ours.2 {
        assert_eq!(ours, cut(&[stream], limit), "cutting changed something");
    }
}

/// The lines, whether all of the stream was taken, and whether any line but the last was ended by a message's end.
type Lines = (Vec<Vec<u8>>, bool, bool);

fn cut(messages: &[&[u8]], limit: usize) -> Lines {
    let mut buffer = LineBuffer::new();
    let (mut lines, mut ended_early) = (Vec::new(), false);
    for (number, message) in messages.iter().enumerate() {
        let held = buffer.held();
        let fed = buffer.feed(message, limit, |line| {
            assert!(!line.is_empty() && line.trim_ascii() == line && !line.contains(&b'\n'));
            lines.push(line.to_vec());
            true
        });
        assert!(buffer.held() <= limit, "{} bytes held, {limit} allowed", buffer.held());
        assert!(buffer.capacity() <= (2 * limit).max(1024), "{} bytes reserved for {limit}", buffer.capacity());
        if let Err(error) = fed {
            assert_eq!(error.limit, limit);
            return (lines, false, ended_early);
        }
        let open = message.last().is_some_and(|byte| *byte != b'\n') && held + message.len() > 0;
        ended_early |= open && buffer.held() == 0 && number + 1 < messages.len();
    }
    (lines, true, ended_early)
}

/// The same with everything looked at again and again.
fn expected(messages: &[&[u8]], limit: usize) -> Lines {
    let (mut held, mut lines, mut ended_early) = (Vec::new(), Vec::new(), false);
    let mut push = |line: &[u8]| match line.trim_ascii() {
        [] => {}
        line => lines.push(line.to_vec()),
    };
    for (number, message) in messages.iter().enumerate() {
        for byte in *message {
            if *byte == b'\n' {
                push(&held);
                held.clear();
                continue;
            }
            held.push(*byte);
            if held.len() > limit {
                return (lines, false, ended_early);
            }
        }
        if is_complete(&held) {
            push(&held);
            held.clear();
            ended_early |= number + 1 < messages.len();
        } else if serde_json::from_slice::<&RawValue>(&held).is_ok() {
            assert!(!held.trim_ascii().starts_with(b"{"), "a complete object waits for its newline");
        }
    }
    (lines, true, ended_early)
}

/// Whether a text, without JSON's white space around it, begins with a brace and ends with what closes it.
fn is_complete(text: &[u8]) -> bool {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    let begin = text.iter().position(|byte| !space(byte)).unwrap_or(0);
    let end = text.iter().rposition(|byte| !space(byte)).map_or(0, |last| last + 1);
    let text = text.get(begin..end).unwrap_or(&[]);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match (in_string, *byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (true, _) => {}
            (false, b'"') => in_string = true,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
        if at == 0 && *byte != b'{' {
            return false;
        }
        if depth == 0 {
            return at + 1 == text.len();
        }
    }
    false
}
