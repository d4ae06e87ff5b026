//! Spans of Markdown within a line of text: code, emphasis and links, which a cut in their middle would break.

use alloc::vec::Vec;
use core::ops::Range;

use super::MessageLimit;
use super::fence::{Fence, Line};

/// Longer runs of backticks are text.
const LONGEST_RUN: usize = 32;

/// What emphasis is written with: a character, and how often it stands.
const MARKS: [(u8, usize); 8] =
    [(b'*', 1), (b'*', 2), (b'*', 3), (b'_', 1), (b'_', 2), (b'~', 1), (b'~', 2), (b'|', 2)];

/// The spans in a text, outside of its blocks of code. `line_start` and `open` say what the text begins in.
///
/// Dialects do not agree on what a span is, and this is no parser of any: what it takes for one by mistake is moved into the
/// next message as a whole, which does no harm. A span ends in the paragraph that it begins in. The time is linear in the
/// text.
pub(super) fn spans<'a>(
    text: &'a str,
    line_start: bool,
    mut open: Option<Fence<'a>>,
    limit: MessageLimit,
) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut at, mut paragraph, mut is_start) = (0, 0, line_start);
    for line in text.split_inclusive('\n') {
        let kind = if is_start { Fence::line(line, open, limit) } else { Line::Plain };
        let is_text = open.is_none() && kind == Line::Plain && !line.trim().is_empty();
        if !is_text {
            within(text, paragraph..at, &mut found);
            paragraph = at + line.len();
        }
        match kind {
            Line::Opens(fence) => open = Some(fence),
            Line::Closes => open = None,
            Line::Plain => {}
        }
        at += line.len();
        is_start = true;
    }
    within(text, paragraph..at, &mut found);
    found
}

/// Where a cut at `at` has to move to, so that it is in none of these spans: to the beginning of the one around it, and of
/// the one around that. What is longer than `longest` says cannot be kept whole. `None`: it is in none.
pub(super) fn before(spans: &[Range<usize>], at: usize, longest: impl Fn(&Range<usize>) -> bool) -> Option<usize> {
    let around = |at: usize| {
        let holding = spans.iter().filter(|span| span.start < at && at < span.end && !longest(span));
        holding.map(|span| span.start).min()
    };
    let mut found = around(at)?;
    // Spans may overlap, since they are no tree. Each step goes back to the beginning of another one.
    for _ in 0..4 {
        match around(found) {
            Some(further) => found = further,
            None => break,
        }
    }
    Some(found)
}

/// The spans of one paragraph.
fn within(text: &str, paragraph: Range<usize>, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes().get(..paragraph.end).unwrap_or_default();
    let byte = |at: usize| bytes.get(at).copied();
    let run = |at: usize| bytes.iter().skip(at).take_while(|next| Some(**next) == byte(at)).count();
    let is_space = |at: Option<u8>| at.is_none_or(|byte| byte.is_ascii_whitespace());
    // A run of backticks of such a length was looked for in vain: there is none further on.
    let mut unclosed = [false; LONGEST_RUN + 1];
    let mut brackets: Vec<usize> = Vec::new();
    let mut marks = [None; MARKS.len()];
    let mut at = paragraph.start;
    while let Some(here) = byte(at) {
        match here {
            b'\\' => at += 2,
            b'`' => {
                let length = run(at);
                let begin = at;
                at += length;
                if let Some(in_vain @ false) = unclosed.get_mut(length) {
                    match closing_backticks(bytes, at, length) {
                        Some(end) => {
                            found.push(begin..end);
                            at = end;
                        }
                        None => *in_vain = true,
                    }
                }
            }
            b'[' => {
                let is_image = at > paragraph.start && at.checked_sub(1).and_then(byte) == Some(b'!');
                brackets.push(if is_image { at - 1 } else { at });
                at += 1;
            }
            b']' => {
                let begin = brackets.pop();
                at += 1;
                if let Some(begin) = begin.filter(|_| byte(at) == Some(b'(')) {
                    let (end, closes) = end_of_target(bytes, at + 1);
                    if closes {
                        found.push(begin..end);
                    }
                    at = end;
                }
            }
            b'*' | b'_' | b'~' | b'|' => {
                let length = run(at);
                let (begin, end) = (at, at + length);
                at = end;
                let Some(kind) = MARKS.iter().position(|mark| *mark == (here, length)) else { continue };
                let Some(opened) = marks.get_mut(kind) else { continue };
                let before = begin.checked_sub(1).filter(|before| *before >= paragraph.start).and_then(byte);
                match *opened {
                    Some(from) if !is_space(before) => {
                        found.push(from..end);
                        *opened = None;
                    }
                    _ if !is_space(byte(end)) => *opened = Some(begin),
                    _ => {}
                }
            }
            _ => at += 1,
        }
    }
}

/// Where the next run of backticks of this length ends.
fn closing_backticks(bytes: &[u8], mut at: usize, length: usize) -> Option<usize> {
    while at < bytes.len() {
        at += memchr::memchr(b'`', bytes.get(at..)?)?;
        let run = bytes.iter().skip(at).take_while(|byte| **byte == b'`').count();
        at += run;
        if run == length {
            return Some(at);
        }
    }
    None
}

/// Where a link's target ends that begins here, and whether a parenthesis closes it. Those within it are part of it.
fn end_of_target(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let mut depth = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return (at + 1, true),
            b')' => depth -= 1,
            byte if byte.is_ascii_whitespace() => break,
            _ => {}
        }
        at += 1;
    }
    (at, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::LenUnit;
    use alloc::string::String;

    fn found(text: &str) -> Vec<&str> {
        let limit = MessageLimit { max: 100, unit: LenUnit::Chars };
        spans(text, true, None, limit).into_iter().map(|span| &text[span]).collect()
    }

    #[test]
    fn code_emphasis_and_links_are_spans() {
        for (text, expect) in [
            ("a `b c` d", &["`b c`"][..]),
            ("``b ` c`` d", &["``b ` c``"]),
            ("**a b** c", &["**a b**"]),
            ("*a* _b_ __c__ ~d~ ~~e~~ ||f g||", &["*a*", "_b_", "__c__", "~d~", "~~e~~", "||f g||"]),
            ("[a b](http://h/x_(y)) c", &["[a b](http://h/x_(y))"]),
            ("![a](http://h) c", &["![a](http://h)"]),
            ("**a `b` c**", &["`b`", "**a `b` c**"]),
            ("`**a` b**", &["`**a`"]),
            ("a **b\nc** d", &["**b\nc**"]),
        ] {
            assert_eq!(found(text), expect, "{text}");
        }
    }

    #[test]
    fn what_does_not_close_is_text() {
        for text in [
            "a ` b",
            "a `b\n\nc` d",
            "2 * 3 * 4",
            "\\`a b\\`",
            "\\*\\*a b\\*\\*",
            "[a b] (c)",
            "[a](b c)",
            "](](](",
            "* a\n* b",
            "```\n`a` **b**\n```",
            "|| ||",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn the_time_is_linear_whatever_the_text() {
        for piece in ["`", "` ``", "[", "](", "[](", "*a", "**a _b ", "\\", "a`\n", "`a``b```c````d"] {
            let text: String = piece.repeat((1 << 20) / piece.len());
            found(&text);
        }
    }
}
