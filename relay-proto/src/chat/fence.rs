//! Code fences of Markdown: the lines that begin and end a block of code.

use core::fmt;

use super::{LenUnit, MessageLimit};

/// An open code block: how its fence is written, and what its first line says of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence<'a> {
    /// Three or more backticks or tildes.
    marker: &'a str,
    /// The info string: `rust`, `diff`, …
    info: &'a str,
}

/// What a line means for code blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// It begins a block.
    Opens(Fence<'a>),
    /// It ends the block that is open.
    Closes,
    /// Neither.
    Plain,
}

impl<'a> Fence<'a> {
    /// What the line at the start of `text` means while `open` is open.
    ///
    /// Indented fences count however deep they are, because those of lists are.
    pub(super) fn line(text: &'a str, open: Option<Fence<'a>>, limit: MessageLimit) -> Line<'a> {
        let indented = text.trim_start_matches([' ', '\t']);
        let Some(sign @ ('`' | '~')) = indented.chars().next() else { return Line::Plain };
        let after = indented.trim_start_matches(sign);
        let marker = indented.get(..indented.len() - after.len()).unwrap_or_default();
        if marker.len() < 3 {
            return Line::Plain;
        }
        let info = after.split('\n').next().unwrap_or_default().trim();
        match open {
            Some(open) if info.is_empty() && marker.starts_with(open.marker) => Line::Closes,
            Some(_) => Line::Plain,
            // Backticks with backticks after them on the line are a span within the text.
            None if sign == '`' && info.contains('`') => Line::Plain,
            None => Self { marker, info }.within(limit).map_or(Line::Plain, Line::Opens),
        }
    }

    /// The fence as it can be repeated in messages of this length: without its info string where that takes too much of
    /// them, and not at all where even that does.
    fn within(self, limit: MessageLimit) -> Option<Self> {
        let bare = Self { info: "", ..self };
        let fits = |fence: &Self| fence.opening(limit.unit) + fence.closing(limit.unit) <= limit.max / 2;
        [self, bare].into_iter().find(fits)
    }

    /// The length of the line that opens the block again.
    pub(super) fn opening(&self, unit: LenUnit) -> usize {
        unit.len(self.marker) + unit.len(self.info) + 1
    }

    /// The length of what closes the block.
    pub(super) fn closing(&self, unit: LenUnit) -> usize {
        1 + unit.len(self.marker)
    }

    pub(super) fn write_opening(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{}", self.marker, self.info)
    }

    pub(super) fn write_closing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.marker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: MessageLimit = MessageLimit { max: 100, unit: LenUnit::Chars };

    fn line<'a>(text: &'a str, open: Option<Fence<'a>>) -> Line<'a> {
        Fence::line(text, open, LIMIT)
    }

    #[test]
    fn a_line_opens_a_block_or_does_not() {
        for (text, marker, info) in [
            ("```", "```", ""),
            ("```rust\nfn", "```", "rust"),
            ("      ~~~~ sh -x \r\n", "~~~~", "sh -x"),
            ("~~~ a`b\n", "~~~", "a`b"),
        ] {
            assert_eq!(line(text, None), Line::Opens(Fence { marker, info }), "{text:?}");
        }
        for plain in ["", "``", "a ```", "```a`b``` c", "\n```", "``~~~"] {
            assert_eq!(line(plain, None), Line::Plain, "{plain:?}");
        }
    }

    #[test]
    fn a_block_ends_with_a_fence_that_is_as_long_and_bare() {
        let open = Fence { marker: "````", info: "md" };
        for closes in ["````", "  ````` \n", "````\r\n"] {
            assert_eq!(line(closes, Some(open)), Line::Closes, "{closes:?}");
        }
        for plain in ["```", "~~~~", "```` x", "````md"] {
            assert_eq!(line(plain, Some(open)), Line::Plain, "{plain:?}");
        }
    }

    #[test]
    fn a_fence_that_takes_too_much_is_repeated_bare_or_not_at_all() {
        let within = |max| Fence::line("```rust", None, MessageLimit { max, unit: LenUnit::Chars });
        assert_eq!(within(24), Line::Opens(Fence { marker: "```", info: "rust" }));
        assert_eq!(within(23), Line::Opens(Fence { marker: "```", info: "" }));
        assert_eq!(within(16), Line::Opens(Fence { marker: "```", info: "" }));
        assert_eq!(within(15), Line::Plain);
    }
}
