//! Cutting a long text into messages.

use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use super::LenUnit;
use super::fence::{Fence, Line};
use super::span::{before, spans};

/// How long a message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimit {
    /// The longest length. 0 counts as 1.
    pub max: usize,
    /// What it counts (DESC-2).
    pub unit: LenUnit,
}

/// Cuts a text into messages that fit (CHAT-2). A text that fits is one part, as it is; an empty one has none.
///
/// * A cut is made at the end of a paragraph, else of a line, else of a sentence, if that leaves the part half full; else
///   at the last white space; else between two characters as a reader sees them (grapheme clusters).
/// * White space around a cut, and before a text that is too long, is left out. Nothing else is: the [ranges](Part::range)
///   of the parts follow each other, and only white space lies between them. A text that is nothing but white space, and
///   too long, is one part of it.
/// * With `code_blocks`, a block of code that is cut is closed at the end of its part and opened again, with its info
///   string, in the next; the next line keeps its indentation. Rather than that, the cut is made before the block, if that
///   leaves the part half full. A line of code is cut only if it is too long for a message. Fences that would take more than half of a message are plain text.
/// * With `code_blocks`, which says that the platform has Markdown, a cut within a span of code, emphasis or a link is made
///   before that span instead, if the span fits into a message and that leaves the part a quarter full.
/// * No part is empty, and each fits with its fences. A grapheme cluster that is too long for a message is cut between its
///   scalar values, and a scalar value that is, which takes a limit of one UTF-16 unit, is a part of its own.
///
/// The time is linear in the text.
///
/// ```
/// use relay_proto::chat::{LenUnit, MessageLimit, split};
///
/// let limit = MessageLimit { max: 24, unit: LenUnit::Chars };
/// let parts: Vec<String> = split("Look:\n```rust\nlet a = 1;\nlet b = 2;\n```", limit, true).map(|p| p.to_string()).collect();
/// assert_eq!(parts, ["Look:", "```rust\nlet a = 1;\n```", "```rust\nlet b = 2;\n```"]);
/// ```
pub fn split(text: &str, limit: MessageLimit, code_blocks: bool) -> Parts<'_> {
    let limit = MessageLimit { max: limit.max.max(1), ..limit };
    Parts { text, solid: text.trim_end().len(), limit, code_blocks, at: 0, line_start: true, open: None }
}

/// One message of a text. Displays as what to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    reopened: Option<Fence<'a>>,
    start: usize,
    body: &'a str,
    closed: Option<Fence<'a>>,
}

impl<'a> Part<'a> {
    /// What of the text it has, without the fences that were added.
    pub fn body(&self) -> &'a str {
        self.body
    }

    /// Where in the text that is, in bytes.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.body.len()
    }

    /// The length of the message.
    pub fn len(&self, unit: LenUnit) -> usize {
        let reopened = self.reopened.map_or(0, |fence| fence.opening(unit));
        reopened + unit.len(self.body) + self.closed.map_or(0, |fence| fence.closing(unit))
    }

    /// Never: no part is.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reopened.map_or(Ok(()), |fence| fence.write_opening(f))?;
        f.write_str(self.body)?;
        self.closed.map_or(Ok(()), |fence| fence.write_closing(f))
    }
}

/// The parts of a text, cut as they are asked for. See [`split`].
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    text: &'a str,
    /// Where its last white space begins.
    solid: usize,
    limit: MessageLimit,
    code_blocks: bool,
    /// Where the next part begins, and whether that is the beginning of a line.
    at: usize,
    line_start: bool,
    /// The block that is open there.
    open: Option<Fence<'a>>,
}

/// A place to cut at.
#[derive(Clone, Copy)]
struct Cut<'a> {
    /// Where the part ends, from its beginning, in bytes.
    end: usize,
    /// The part's length up to there, in the limit's unit.
    len: usize,
    /// The block that is open there.
    open: Option<Fence<'a>>,
}

/// The last places of each kind.
#[derive(Default)]
struct Cuts<'a> {
    /// Before the block that was opened last.
    block: Option<Cut<'a>>,
    paragraph: Option<Cut<'a>>,
    line: Option<Cut<'a>>,
    sentence: Option<Cut<'a>>,
    word: Option<Cut<'a>>,
    grapheme: Option<Cut<'a>>,
}

impl<'a> Cuts<'a> {
    fn best(&self, budget: usize) -> Option<Cut<'a>> {
        let natural = [self.paragraph, self.line, self.sentence];
        let half_full = |cut: &Cut<'_>| cut.len >= budget / 2;
        let in_code = |cut: &Cut<'_>| cut.open.is_some();
        if let Some(cut) = natural.into_iter().flatten().find(half_full) {
            return if in_code(&cut) { self.block.filter(half_full).or(Some(cut)) } else { Some(cut) };
        }
        let last = natural.into_iter().flatten().max_by_key(|cut| cut.end);
        match self.word {
            // A line of code is cut only when it begins the part, or the block does.
            Some(word) if in_code(&word) => last.filter(in_code).or(self.block).or(Some(word)),
            Some(word) if last.is_none_or(|last| last.end < word.end) => Some(word),
            _ => last.or(self.grapheme),
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let unit = self.limit.unit;
        let mut rest = tail(self.text, self.at);
        if rest.is_empty() || (self.at > 0 && self.at >= self.solid) {
            self.at = self.text.len();
            return None;
        }
        let budget = self.limit.max - self.open.map_or(0, |fence| fence.opening(unit));
        let mut window = first_chars(rest, budget.saturating_add(1));
        let fits = |window: &str, rest: &str| window.len() == rest.len() && unit.len(window) <= budget;
        if self.at == 0 && !fits(window, rest) {
            if self.solid == 0 {
                // Nothing but white space, of which as much as fits stands for the rest.
                self.at = self.text.len();
                let body = head(rest, chars_within(window, budget, unit));
                return Some(Part { reopened: None, start: 0, body, closed: None });
            }
            self.pass(white_len(rest));
            rest = tail(self.text, self.at);
            window = first_chars(rest, budget.saturating_add(1));
        }
        if fits(window, rest) {
            let part = Part { reopened: self.open, start: self.at, body: rest, closed: None };
            self.at = self.text.len();
            return Some(part);
        }
        let cut = self.walk(rest, window, budget);
        let cut = self.before_spans(rest, window, budget, cut);
        let part = Part { reopened: self.open, start: self.at, body: head(rest, cut.end), closed: cut.open };
        self.pass(cut.end);
        self.open = cut.open;
        let rest = tail(self.text, self.at);
        let white = head(rest, white_len(rest));
        // Code keeps its indentation.
        let gap = if cut.open.is_some() { white.rfind('\n').map_or(0, |newline| newline + 1) } else { white.len() };
        self.pass(gap);
        Some(part)
    }
}

impl FusedIterator for Parts<'_> {}

impl<'a> Parts<'a> {
    /// Goes on by so many bytes.
    fn pass(&mut self, bytes: usize) {
        let passed = head(tail(self.text, self.at), bytes);
        self.line_start = match passed.rsplit_once('\n') {
            Some((_, line)) => line.trim().is_empty(),
            None => self.line_start && passed.trim().is_empty(),
        };
        self.at += passed.len();
    }

    /// Finds where to cut. `window` is the beginning of `rest` that is just too long.
    fn walk(&self, rest: &'a str, window: &'a str, budget: usize) -> Cut<'a> {
        let unit = self.limit.unit;
        let mut cuts = Cuts::default();
        let mut open = self.open;
        let mut line = self.line_at(rest, self.line_start, open);
        // The last character that is no white space: where it ends, and the length up to there.
        let mut solid: Option<(usize, usize)> = None;
        let (mut at, mut len, mut blank, mut ender) = (0, 0, true, false);
        for (start, grapheme) in window.grapheme_indices(true) {
            let white = grapheme.trim().is_empty();
            let newline = matches!(grapheme, "\n" | "\r\n");
            if newline {
                match line {
                    Line::Opens(fence) => open = Some(fence),
                    Line::Closes => open = None,
                    Line::Plain => {}
                }
            }
            let next_line = match newline {
                true => self.line_at(tail(rest, start + grapheme.len()), true, open),
                false => line,
            };
            if white && let Some((end, solid_len)) = solid {
                let cut = Cut { end, len: solid_len, open: None };
                // Within a block the white space before the cut is part of the code.
                let code = open.map(|_| Cut { end: start, len, open });
                match (newline, line, code) {
                    // A block is not cut right after its first line, nor right before its last.
                    (true, Line::Opens(_), _) => {}
                    (true, _, Some(_)) if next_line == Line::Closes => {}
                    (true, _, Some(code)) if !blank => set(&mut cuts.line, code, budget, unit),
                    (true, _, Some(_)) => {}
                    (true, _, None) => {
                        set(if blank { &mut cuts.paragraph } else { &mut cuts.line }, cut, budget, unit);
                        if matches!(next_line, Line::Opens(_)) {
                            cuts.block = Some(cut);
                        }
                    }
                    (false, Line::Plain, Some(code)) => set(&mut cuts.word, code, budget, unit),
                    (false, Line::Plain, None) => set(&mut cuts.word, cut, budget, unit),
                    (false, _, _) => {}
                }
                if ender && open.is_none() && end == start {
                    set(&mut cuts.sentence, cut, budget, unit);
                }
            }
            let grapheme_len = unit.len(grapheme);
            if len + grapheme_len > budget {
                break;
            }
            (at, len) = (start + grapheme.len(), len + grapheme_len);
            if newline {
                (line, blank, ender) = (next_line, true, false);
            } else if !white {
                (solid, blank) = (Some((at, len)), false);
                ender = ends_sentence(grapheme) || (ender && closes_quotation(grapheme));
            }
            let cut = Cut { end: at, len, open };
            if line == Line::Plain {
                set(&mut cuts.grapheme, cut, budget, unit);
                // Scripts without spaces.
                if open.is_none() && matches!(grapheme, "。" | "\u{ff01}" | "\u{ff1f}") {
                    set(&mut cuts.sentence, cut, budget, unit);
                }
            }
        }
        cuts.best(budget).unwrap_or_else(|| {
            // The line of a fence is too long, or a grapheme cluster.
            let room = budget - self.open.map_or(0, |fence| fence.closing(unit));
            let whole = self.open.is_none() && at > 0;
            Cut { end: if whole { at } else { chars_within(window, room, unit) }, len: 0, open: self.open }
        })
    }

    /// Moves a cut that falls into a span of Markdown before that span, if the whole span fits into a message, and if that
    /// leaves the part a quarter full.
    fn before_spans(&self, rest: &'a str, window: &'a str, budget: usize, cut: Cut<'a>) -> Cut<'a> {
        if !self.code_blocks || cut.open.is_some() {
            return cut;
        }
        // Where a span ends that begins in this part, and fits into a message.
        let region = first_chars(rest, budget.saturating_add(self.limit.max));
        let spans = spans(region, self.line_start, self.open, self.limit);
        let too_long = |span: &Range<usize>| {
            region.get(span.clone()).is_none_or(|text| self.limit.unit.len(text) > self.limit.max)
        };
        let mut moved = cut;
        // The cut before one span may fall into another.
        for _ in 0..4 {
            let Some(at) = before(&spans, moved.end, too_long) else { return moved };
            // What is in front may hold on to the character that the span begins with.
            if GraphemeCursor::new(at, rest.len(), true).is_boundary(rest, 0) != Ok(true) {
                return cut;
            }
            moved = self.walk(rest, head(window, at), budget);
            if moved.open.is_some() || moved.len < budget / 4 || moved.end == 0 {
                return cut;
            }
        }
        cut
    }

    fn line_at(&self, text: &'a str, line_start: bool, open: Option<Fence<'a>>) -> Line<'a> {
        if self.code_blocks && line_start { Fence::line(text, open, self.limit) } else { Line::Plain }
    }
}

/// Notes a place to cut at, if the part fits with what has to follow it.
fn set<'a>(place: &mut Option<Cut<'a>>, cut: Cut<'a>, budget: usize, unit: LenUnit) {
    if cut.end > 0 && cut.len + cut.open.map_or(0, |fence| fence.closing(unit)) <= budget {
        *place = Some(cut);
    }
}

fn ends_sentence(grapheme: &str) -> bool {
    matches!(grapheme, "." | "!" | "?" | "…" | "。" | "\u{ff01}" | "\u{ff1f}" | "।" | "؟")
}

fn closes_quotation(grapheme: &str) -> bool {
    matches!(grapheme, ")" | "]" | "\"" | "'" | "”" | "’" | "»" | "*" | "_")
}

fn head(text: &str, end: usize) -> &str {
    text.get(..end).unwrap_or(text)
}

fn tail(text: &str, start: usize) -> &str {
    text.get(start..).unwrap_or_default()
}

/// Where the white space ends that the text begins with. A space that carries an accent is none.
fn white_len(text: &str) -> usize {
    let end = text.len() - text.trim_start().len();
    let white = head(text, end);
    match GraphemeCursor::new(end, text.len(), true).is_boundary(text, 0) {
        Ok(false) => white.char_indices().next_back().map_or(0, |(last, _)| last),
        _ => end,
    }
}

/// The first so many scalar values.
fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| head(text, end))
}

/// Where the scalar values end that fit; at least one.
fn chars_within(text: &str, budget: usize, unit: LenUnit) -> usize {
    let mut len = 0;
    let beyond = text.char_indices().find(|(start, char)| {
        len += unit.len(char.encode_utf8(&mut [0; 4]));
        *start > 0 && len > budget
    });
    beyond.map_or(text.len(), |(end, _)| end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const fn chars(max: usize) -> MessageLimit {
        MessageLimit { max, unit: LenUnit::Chars }
    }

    fn parts(text: &str, max: usize) -> Vec<String> {
        split(text, chars(max), true).map(|part| part.to_string()).collect()
    }

    /// What [`split`] promises for every text and every limit.
    fn check(text: &str, limit: MessageLimit, code_blocks: bool) {
        let mut at = 0;
        for part in split(text, limit, code_blocks) {
            let (range, body) = (part.range(), part.body());
            assert_eq!(&text[range.clone()], body);
            assert!(text[at..range.start].trim().is_empty(), "only white space is left out");
            assert!(!body.is_empty() && !part.is_empty());
            // A space may carry an accent that did not fit with it.
            let is_cut = !GraphemeCursor::new(range.end, text.len(), true).is_boundary(text, 0).unwrap();
            let may_be_white = part.reopened.is_some() || is_cut || text.trim().is_empty();
            assert!(!body.trim().is_empty() || may_be_white, "{body:?}");
            let sent = part.to_string();
            assert!(sent.contains(body));
            assert_eq!(limit.unit.len(&sent), part.len(limit.unit));
            assert!(part.len(limit.unit) <= limit.max || sent.chars().count() == 1, "{sent:?} is over {limit:?}");
            at = range.end;
        }
        assert!(text[at..].trim().is_empty(), "nothing else is left out at the end");
    }

    // proves: CHAT-2
    #[test]
    fn a_text_that_fits_is_left_as_it_is() {
        for text in [" hi ", "\n\n", "```rust\nunclosed", "👨‍👩‍👧‍👦"] {
            assert_eq!(parts(text, 20), [text]);
        }
        assert_eq!(parts("", 20), [""; 0]);
    }

    // proves: CHAT-2
    #[test]
    fn cuts_are_made_where_a_reader_would() {
        assert_eq!(parts("One two.\n\nThree four. Five\nsix seven", 28), ["One two.\n\nThree four. Five", "six seven"]);
        assert_eq!(parts("One two three.\n\nFour\nfive six seven", 26), ["One two three.", "Four\nfive six seven"]);
        assert_eq!(parts("One two three. Four five", 20), ["One two three.", "Four five"]);
        assert_eq!(parts("He said \"go now.\" Then went", 20), ["He said \"go now.\"", "Then went"]);
        assert_eq!(parts("One two three, four five", 20), ["One two three, four", "five"]);
        assert_eq!(parts("日本語。日本語日本語", 6), ["日本語。", "日本語日本語"]);
        assert_eq!(parts("aaaaaaaaaabbb   ccc", 10), ["aaaaaaaaaa", "bbb   ccc"]);
        // Early in a part, a paragraph's end is worth less than a full part.
        assert_eq!(parts("Hm.\n\nOne two three four five", 24), ["Hm.\n\nOne two three four", "five"]);
        assert_eq!(parts("   \n   lead and follow", 10), ["lead and", "follow"]);
        assert_eq!(parts("              ", 10), ["          "]);
        // An accent on a space is a character.
        assert_eq!(parts("one two  \u{301}three", 8), ["one two", " \u{301}three"]);
    }

    // proves: CHAT-2
    #[test]
    fn code_blocks_are_closed_and_opened_again() {
        let text = "Intro:\n```rust\nfn a() {}\n\n    b();\nfn c() {}\n```\nDone.";
        assert_eq!(parts(text, 32), ["Intro:\n```rust\nfn a() {}\n```", "```rust\n    b();\nfn c() {}\n```", "Done."]);
        // A line of code is whole if it can be.
        let text = "Intro, long enough:\n```\nlet a = \"b c d e\";\nlet a_long_name = 1;\n```";
        let expect = ["Intro, long enough:", "```\nlet a = \"b c d e\";\n```", "```\nlet a_long_name = 1;\n```"];
        assert_eq!(parts(text, 28), expect);
        // One that is too long loses nothing.
        let long = format!("~~~\n{}\n~~~", "ab ".repeat(20).trim_end());
        let found = parts(&long, 20);
        assert_eq!(found[0], "~~~\nab ab ab ab\n~~~");
        assert_eq!(found[1], "~~~\n ab ab ab ab\n~~~");
        // Without code blocks, fences are text.
        let plain: Vec<_> = split(text, chars(32), false).map(|part| part.to_string()).collect();
        assert!(plain.iter().all(|part| part.matches("```").count() < 2), "{plain:?}");
    }

    // proves: CHAT-2
    #[test]
    fn a_span_that_fits_into_the_next_part_is_not_cut() {
        for (text, expect) in [
            ("One two three `four five six` seven", ["One two three", "`four five six` seven"]),
            ("One two three **four five six** seven", ["One two three", "**four five six** seven"]),
            ("One two ok (**four five six seven**).", ["One two ok", "(**four five six seven**)."]),
            ("One two three [four five](http://h/) x", ["One two three", "[four five](http://h/) x"]),
            ("One two ok **three `four five` six** seven", ["One two ok", "**three `four five` six** seven"]),
            ("One two three. `Four. Five six` seven", ["One two three.", "`Four. Five six` seven"]),
        ] {
            let found = parts(text, if expect[1].len() > 24 { 32 } else { 24 });
            assert_eq!(found, expect, "{text}");
        }
        // One that fits nowhere is cut, and so is what would leave a part almost empty.
        assert_eq!(
            parts("One two `three four five six seven eight`", 24),
            ["One two `three four five", "six seven eight`"]
        );
        assert_eq!(parts("One `three four five six s` x", 24), ["One `three four five six", "s` x"]);
        // What is not closed is no span.
        assert_eq!(parts("One two three `four five six seven", 24), ["One two three `four five", "six seven"]);
        // Where there is no Markdown, there are no spans.
        let plain: Vec<_> =
            split("One two three `four five six` seven", chars(24), false).map(|p| p.to_string()).collect();
        assert_eq!(plain, ["One two three `four five", "six` seven"]);
    }

    // proves: CHAT-2
    #[test]
    fn a_block_that_fits_into_the_next_part_is_not_cut() {
        let found = parts("Some words before it.\n```\nlet a = 1;\nlet b = 2;\n```", 40);
        assert_eq!(found, ["Some words before it.", "```\nlet a = 1;\nlet b = 2;\n```"]);
    }

    // proves: CHAT-2
    #[test]
    fn tiny_limits_have_a_result() {
        assert_eq!(parts("ab c", 0), ["a", "b", "c"]);
        // A family of seven scalar values.
        assert_eq!(parts("👨‍👩‍👧‍👦", 3), ["👨\u{200d}👩", "\u{200d}", "👧\u{200d}👦"]);
        let utf16 = MessageLimit { max: 1, unit: LenUnit::Utf16 };
        let found: Vec<_> = split("a🔌b", utf16, true).map(|part| part.to_string()).collect();
        assert_eq!(found, ["a", "🔌", "b"], "one of them is too long, and cannot be shorter");
        assert_eq!(parts("```\nab\n```", 8), ["```\nab", "```"], "no room for fences: they are text");
    }

    // proves: CHAT-2
    #[test]
    fn a_mebibyte_of_anything_is_cut_in_passing() {
        let size = 1 << 20;
        let limit = MessageLimit { max: 2000, unit: LenUnit::Utf16 };
        for unit in ["word ", "\n", "\u{301}", "a\n```\n", "```x\n\n\n"] {
            check(&unit.repeat(size / unit.len()), limit, true);
        }
        // A part with spans is looked through several times.
        for unit in ["`a b", "**a ", "[a](", "`a b` ", "a **b `c` d** "] {
            check(&unit.repeat(size / 4 / unit.len()), limit, true);
        }
    }

    /// Markdown with words, blank lines, code, and what is more than one scalar value.
    fn markdown() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-z]{1,12}",
            "[ \\n]{1,3}",
            Just(". ".to_owned()),
            Just("\n\n".to_owned()),
            Just("\n```rust\nlet x = 1;\n\n  y\n```\n".to_owned()),
            Just("\n~~~\n```\n~~~\n".to_owned()),
            Just("```".to_owned()),
            Just(" `a b` ".to_owned()),
            Just(" **a _b_ c** ".to_owned()),
            Just("[a b](http://h/c)".to_owned()),
            Just("`".to_owned()),
            Just("**".to_owned()),
            Just("👨‍👩‍👧‍👦".to_owned()),
            Just("e\u{301}\u{302}".to_owned()),
            Just("🇩🇪🇫🇷".to_owned()),
            Just("\r\n".to_owned()),
            "\\PC{0,8}",
        ];
        proptest::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        // proves: CHAT-2
        #[test]
        fn parts_are_the_text_and_fit(text in markdown(), max in 0_usize..120, utf16: bool, code: bool) {
            let unit = if utf16 { LenUnit::Utf16 } else { LenUnit::Chars };
            check(&text, MessageLimit { max: max.max(1), unit }, code);
        }

        // proves: CHAT-2
        #[test]
        fn no_cut_is_within_a_grapheme(text in markdown(), max in 40_usize..200) {
            let bounds: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect();
            for part in split(&text, chars(max), true) {
                let range = part.range();
                prop_assert!(bounds.contains(&range.start) && bounds.contains(&range.end), "{range:?} of {text:?}");
            }
        }

        // proves: CHAT-2
        #[test]
        fn short_spans_are_never_cut(
            pieces in proptest::collection::vec(("[a-z]{1,8}( [a-z]{1,8}){0,6}", "[a-z]{1,6} [a-z]{1,6}", 0_usize..4), 1..20),
            max in 80_usize..160,
        ) {
            let span = |text: &str, kind| match kind {
                0 => format!("`{text}`"),
                1 => format!("**{text}**"),
                2 => format!("[{text}](http://h/x)"),
                _ => format!("_{text}_"),
            };
            let spans: Vec<String> = pieces.iter().map(|(_, text, kind)| span(text, *kind)).collect();
            let text: String = pieces.iter().zip(&spans).map(|((words, ..), span)| format!("{words} {span} ")).collect();
            let sent: Vec<String> = split(&text, chars(max), true).map(|part| part.to_string()).collect();
            for span in &spans {
                prop_assert!(sent.iter().any(|part| part.contains(span.as_str())), "{span} in {sent:?}");
            }
        }

        // proves: CHAT-2
        #[test]
        fn every_part_closes_what_it_opens(
            blocks in proptest::collection::vec(("[a-z \\n]{0,60}", "[a-z]{0,5}", "[a-z (){};\\n]{0,90}"), 0..8),
            max in 40_usize..160,
        ) {
            let text: String =
                blocks.iter().map(|(text, info, code)| format!("{text}\n```{info}\n{code}\n```\n")).collect();
            let mut code = String::new();
            for part in split(&text, chars(max), true) {
                let sent = part.to_string();
                let mut open = None;
                for line in sent.lines() {
                    match Fence::line(line, open, chars(max)) {
                        Line::Opens(fence) => open = Some(fence),
                        Line::Closes => open = None,
                        Line::Plain if open.is_some() => code.push_str(line),
                        Line::Plain => {}
                    }
                }
                prop_assert_eq!(open, None, "{}", sent);
            }
            // What was code is code, and nothing else is.
            let expect: String = blocks.iter().flat_map(|(_, _, code)| code.lines()).collect();
            let dense = |text: &str| text.chars().filter(|char| !char.is_whitespace()).collect::<String>();
            prop_assert_eq!(dense(&code), dense(&expect));
        }
    }
}
