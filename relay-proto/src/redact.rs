//! Hides credentials in texts that others wrote (TOKEN-3).
//!
//! A peer that shows what it was sent cuts it as it likes: an answer may begin in the middle of a header, and a close frame
//! ends after 123 bytes. So every piece of a credential is hidden, wherever it stands, and not only the whole of it.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Pieces of a credential from this length on are hidden. A shorter piece tells little, and would hide common words.
pub(crate) const PIECE: usize = 8;

/// What stands in the place of what is hidden.
const MASK: &str = "***";

/// The text without any [`PIECE`] bytes in a row that one of the secrets has in a row too. A secret that is shorter than
/// that is hidden where it stands as a word.
///
/// Upper and lower case are the same here, and so are the two alphabets of base64. It takes time linear in the lengths, but
/// for a logarithm of the secrets'.
pub(crate) fn without<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut pieces = Vec::new();
    let mut words = Vec::new();
    for secret in secrets {
        let secret: Vec<u8> = secret.bytes().map(fold).collect();
        if secret.len() < PIECE {
            words.push(secret);
        } else {
            pieces.extend(secret.windows(PIECE).map(number));
        }
    }
    pieces.sort_unstable();
    pieces.dedup();
    let folded: Vec<u8> = text.bytes().map(fold).collect();
    let mut hidden = vec![false; folded.len()];
    let mut hide = |from: usize, length: usize| {
        if let Some(hidden) = hidden.get_mut(from..from + length) {
            hidden.fill(true);
        }
    };
    if !pieces.is_empty() {
        let mut done = 0;
        for (at, window) in folded.windows(PIECE).enumerate() {
            if pieces.binary_search(&number(window)).is_ok() {
                let from = done.max(at);
                done = at + PIECE;
                hide(from, done - from);
            }
        }
    }
    for word in words.iter().filter(|word| !word.is_empty()) {
        for (at, _) in folded.windows(word.len()).enumerate().filter(|(_, window)| window == word) {
            let before = text.get(..at).and_then(|text| text.chars().next_back());
            let behind = text.get(at + word.len()..).and_then(|text| text.chars().next());
            if ![before, behind].into_iter().flatten().any(char::is_alphanumeric) {
                hide(at, word.len());
            }
        }
    }
    let mut shown = String::with_capacity(text.len());
    let mut within = false;
    for (at, char) in text.char_indices() {
        // A character goes as a whole.
        let is_hidden = hidden.get(at..at + char.len_utf8()).is_some_and(|bytes| bytes.contains(&true));
        if !is_hidden {
            shown.push(char);
        } else if !within {
            shown.push_str(MASK);
        }
        within = is_hidden;
    }
    shown
}

fn fold(byte: u8) -> u8 {
    match byte {
        b'+' => b'-',
        b'/' => b'_',
        byte => byte.to_ascii_lowercase(),
    }
}

/// The bytes of a window, as a number.
fn number(window: &[u8]) -> u64 {
    window.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use proptest::prelude::*;

    // proves: TOKEN-3
    #[test]
    fn pieces_are_hidden_wherever_they_stand_and_what_is_around_stays() {
        let hide = |text: &str| without(text, ["Zm9vYmFy-_s3cr3t", "short", ""]);
        for (text, shown) in [
            ("bye", "bye"),
            ("bad: Zm9vYmFy-_s3cr3t!", "bad: ***!"),
            ("bad: m9vYmFy-_s3cr3t!", "bad: ***!"),
            ("bad: Zm9vYmFy, 9vYmFy-_s3cr", "bad: ***, ***"),
            ("Zm9vYmF", "Zm9vYmF"),
            ("ZM9VYMFY+/S3CR3T", "***"),
            ("éZm9vYmFyé", "é***é"),
            ("Zm9vYmFyZm9vYmFy", "***"),
            ("short, SHORT; shorter, (short)", "***, ***; shorter, (***)"),
        ] {
            assert_eq!(hide(text), shown, "{text}");
        }
        assert_eq!(without("exactly8 exactly7", ["exactly8"]), "*** exactly7");
        assert_eq!(
            without("myexactly8s", ["exactly8"]),
            "my***s",
            "eight bytes are hidden in the middle of a word, too"
        );
        assert_eq!(without("größerüber: ößerüb", ["größerüber"]), "***: ***");
        assert_eq!(without("a".repeat(100_000).as_str(), ["a".repeat(8192).as_str()]), "***");
    }

    proptest! {
        // proves: TOKEN-3
        #[test]
        fn no_eight_bytes_of_a_secret_remain(
            secret in "[a-zA-Z0-9_é-]{8,60}",
            cuts in proptest::collection::vec((0usize..60, 0usize..60, "[a-c \u{e9}]{0,9}"), 0..6),
            upper in any::<bool>(),
        ) {
            let mut text = String::new();
            for (from, to, between) in cuts {
                text.push_str(&between);
                text.extend(secret.chars().take(to).skip(from));
            }
            let text = if upper { text.to_ascii_uppercase() } else { text };
            let shown = without(&text, [secret.as_str()]).to_ascii_lowercase();
            let lower = secret.to_ascii_lowercase();
            for window in lower.as_bytes().windows(PIECE) {
                prop_assert!(!shown.as_bytes().windows(PIECE).any(|shown| shown == window), "{:?}", shown);
            }
        }

        // proves: TOKEN-3
        #[test]
        fn what_has_nothing_of_a_secret_stays(text in "[a-m\u{e9} ]{0,40}", secret in "[n-z0-9]{1,40}") {
            prop_assert_eq!(without(&text, [secret.as_str()]), text.to_string());
            let around = format!("{text} {secret} {text}");
            prop_assert_eq!(without(&around, [secret.as_str()]), format!("{text} *** {text}"));
        }
    }
}
