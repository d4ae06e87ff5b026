//! Message lengths (DESC-2).

/// What a descriptor's `max_message_length` counts (DESC-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LenUnit {
    /// Unicode scalar values. The default.
    #[default]
    Chars,
    /// UTF-16 code units, in which a character outside the Basic Multilingual Plane counts twice.
    Utf16,
}

impl LenUnit {
    /// Reads a descriptor's `len_unit`: `utf16` is [`LenUnit::Utf16`]; `chars`, and whatever is unknown, is
    /// [`LenUnit::Chars`].
    pub fn parse(name: &str) -> Self {
        if name == "utf16" { Self::Utf16 } else { Self::Chars }
    }

    /// The length of `text` in this unit. Time is linear in the text.
    pub fn len(self, text: &str) -> usize {
        let chars = text.chars().count();
        match self {
            Self::Chars => chars,
            // What UTF-8 starts with a byte from F0, UTF-16 writes as a surrogate pair.
            Self::Utf16 => chars + text.bytes().filter(|b| *b >= 0xF0).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // proves: DESC-2
    #[test]
    fn an_unknown_unit_counts_chars() {
        assert_eq!(LenUnit::parse("utf16"), LenUnit::Utf16);
        for name in ["chars", "", "UTF16", "utf-16", "bytes", "utf16 "] {
            assert_eq!(LenUnit::parse(name), LenUnit::Chars, "{name:?}");
        }
        assert_eq!(LenUnit::default(), LenUnit::Chars);
    }

    proptest! {
        // proves: DESC-2
        #[test]
        fn utf16_counts_code_units(text in any::<String>()) {
            prop_assert_eq!(LenUnit::Utf16.len(&text), text.encode_utf16().count());
        }
    }
}
