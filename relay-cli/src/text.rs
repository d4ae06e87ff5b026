//! Text files.

/// A text without the byte order mark that some editors begin it with, which is none of its content.
pub(crate) fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
