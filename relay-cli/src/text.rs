//! Text: what files begin with, and what must not reach a terminal as it came.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text without the byte order mark that some editors begin it with, which is none of its content.
pub(crate) fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Whether a character is not seen and changes what is: C1 controls drive terminals as ESC does, bidirectional controls
/// reorder what stands around them, and line separators end lines for some readers.
fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// Whether there may be one: the bytes that those characters begin with.
fn may_hide(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, 0x7f | 0xc2 | 0xd8 | 0xe2))
}

/// Text for a terminal. Control characters, other than the newline and the tab, become visible escapes.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let is_shown = |c: char| matches!(c, '\n' | '\t') || !c.is_control() && !is_hidden(c);
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_shown(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    Cow::Owned(shown)
}

/// JSON in which those characters are escapes: they occur in its strings alone.
pub(crate) fn visible_json(json: &str) -> Cow<'_, str> {
    if !may_hide(json.as_bytes()) || !json.chars().any(is_hidden) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_hidden(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hidden_is_written() {
        let hidden = "\u{7f}\u{80}\u{9b}\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}\u{202e}\u{2066}\u{2069}";
        assert_eq!(hidden.chars().filter(|c| is_hidden(*c)).count(), hidden.chars().count());
        for c in hidden.chars() {
            assert!(may_hide(c.to_string().as_bytes()), "{c:?}");
        }
        let shown = "\ta\n\u{a0}ä—\u{200d}…\u{2065}\u{206a}מ";
        assert!(matches!(visible(shown), Cow::Borrowed(_)) && matches!(visible_json(shown), Cow::Borrowed(_)));
        assert_eq!(visible("a\u{1b}[31m\u{9b}\r\u{202e}b"), "a\\u{1b}[31m\\u{9b}\\u{d}\\u{202e}b");
        let value = serde_json::json!({hidden: [shown, hidden]});
        let line = value.to_string();
        let escaped = visible_json(&line);
        assert!(!escaped.chars().any(is_hidden));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }
}
