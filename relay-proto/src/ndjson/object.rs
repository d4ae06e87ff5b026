//! How much of a JSON object has come.

use crate::json::{Nesting, run};

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The object ends after so many of the bytes.
    Complete(usize),
    /// They are the beginning of an object.
    Partial,
    /// No object begins like this.
    Never,
}

/// Follows one JSON object over any number of pieces, each byte once.
///
/// It is exact: a text that no JSON object begins with is known at its first wrong byte. If it only counted brackets, a
/// broken object would be held over for ever, and a quote that a peer forgot to escape would move the end of the object
/// into the text of a user. UTF-8 is not its business: a delivery with bytes that are not UTF-8 still has a `bufferId`
/// (ACK-5).
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectScan {
    state: State,
    nesting: Nesting,
}

/// What may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The brace of the object itself.
    #[default]
    Start,
    Value,
    /// A value, or the end of the array that has just begun.
    ValueOrEnd,
    Name,
    /// A name, or the end of the object that has just begun.
    NameOrEnd,
    Colon,
    /// A comma, or the end of what the value is in.
    CommaOrEnd,
    String(Text),
    /// The byte after a backslash.
    Escape(Text),
    /// So many hex digits.
    Hex(Text, u8),
    /// The rest of `true`, `false` or `null`.
    Literal(&'static [u8]),
    Number(Number),
}

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Name,
    Value,
}

/// The last part of a number that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// The part that the byte is; `None` when it is no part of this number.
    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Digits, b'0'..=b'9') => Self::Digits,
            (Self::Zero | Self::Digits, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::ExponentSign,
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => Self::ExponentDigits,
            _ => return None,
        })
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Digits | Self::Fraction | Self::ExponentDigits)
    }
}

impl ObjectScan {
    /// Memory on the heap, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.nesting.capacity()
    }

    /// Goes on with the next bytes. After [`Step::Complete`] and [`Step::Never`] the scan is used up.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Step {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if let State::Number(number) = self.state {
                match number.next(byte) {
                    Some(number) => {
                        self.state = State::Number(number);
                        rest = after;
                        continue;
                    }
                    // Only what comes behind a number ends it.
                    None if number.may_end() => self.state = State::CommaOrEnd,
                    None => return Step::Never,
                }
            }
            rest = after;
            if let State::String(text) = self.state {
                // Most bytes of a frame are in strings.
                if byte >= b' ' && byte != b'"' && byte != b'\\' {
                    rest = rest.get(run::long(rest)..).unwrap_or_default();
                    continue;
                }
                self.state = match (byte, text) {
                    (b'"', Text::Name) => State::Colon,
                    (b'"', Text::Value) => State::CommaOrEnd,
                    (b'\\', text) => State::Escape(text),
                    _ => return Step::Never,
                };
                continue;
            }
            match self.next(byte) {
                Some(State::Start) => return Step::Complete(bytes.len() - rest.len()),
                Some(state) => self.state = state,
                None => return Step::Never,
            }
        }
        Step::Partial
    }

    /// The state behind a byte outside of strings and numbers: [`State::Start`] behind the end of the object, and `None`
    /// when JSON has no such byte there.
    fn next(&mut self, byte: u8) -> Option<State> {
        Some(match (self.state, byte) {
            (State::Literal([expected, rest @ ..]), byte) if byte == *expected => match rest {
                [] => State::CommaOrEnd,
                rest => State::Literal(rest),
            },
            (State::Escape(text), b'u') => State::Hex(text, 4),
            (State::Escape(text), b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => State::String(text),
            (State::Hex(text, left), byte) if byte.is_ascii_hexdigit() => match left {
                0 | 1 => State::String(text),
                left => State::Hex(text, left - 1),
            },
            (State::Literal(_) | State::Escape(_) | State::Hex(..) | State::String(_) | State::Number(_), _) => {
                return None;
            }
            (State::Start, b'{') => self.enter(true),
            (State::Start, _) => return None,
            (state, b' ' | b'\t' | b'\r' | b'\n') => state,
            (State::Name | State::NameOrEnd, b'"') => State::String(Text::Name),
            (State::Colon, b':') => State::Value,
            (State::CommaOrEnd, b',') => match self.nesting.innermost()? {
                true => State::Name,
                false => State::Value,
            },
            (State::NameOrEnd | State::CommaOrEnd, b'}') => self.leave(true)?,
            (State::ValueOrEnd | State::CommaOrEnd, b']') => self.leave(false)?,
            (State::Value | State::ValueOrEnd, byte) => match byte {
                b'"' => State::String(Text::Value),
                b'{' => self.enter(true),
                b'[' => self.enter(false),
                b't' => State::Literal(b"rue"),
                b'f' => State::Literal(b"alse"),
                b'n' => State::Literal(b"ull"),
                b'-' => State::Number(Number::Minus),
                b'0' => State::Number(Number::Zero),
                b'1'..=b'9' => State::Number(Number::Digits),
                _ => return None,
            },
            (State::Name | State::NameOrEnd | State::Colon | State::CommaOrEnd, _) => return None,
        })
    }

    fn enter(&mut self, is_object: bool) -> State {
        self.nesting.enter(is_object);
        if is_object { State::NameOrEnd } else { State::ValueOrEnd }
    }

    fn leave(&mut self, is_object: bool) -> Option<State> {
        if self.nesting.innermost() != Some(is_object) {
            return None;
        }
        self.nesting.leave();
        Some(if self.nesting.innermost().is_some() { State::CommaOrEnd } else { State::Start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn read(pieces: &[&[u8]]) -> Step {
        let mut scan = ObjectScan::default();
        let mut before = 0;
        for piece in pieces {
            match scan.read(piece) {
                Step::Partial => before += piece.len(),
                Step::Complete(end) => return Step::Complete(before + end),
                Step::Never => return Step::Never,
            }
        }
        Step::Partial
    }

    // proves: FRAME-2
    #[test]
    fn what_begins_an_object_and_what_never_will() {
        for text in [
            r#"{}"#,
            r#"{ "a" : [ ] , "b":{}, "c": [1, -0.5e+10, 20E5, 0 , true,false,null, [[]], {"d":"}"}] }"#,
            r#"{"\u00e9\"\\":"\/\b\f\n\r\t\ud800"}"#,
        ] {
            assert_eq!(read(&[text.as_bytes()]), Step::Complete(text.len()), "{text}");
            for cut in 0..text.len() {
                assert_eq!(read(&[&text.as_bytes()[..cut]]), Step::Partial, "{text} cut at {cut}");
            }
        }
        for text in [
            "x",
            "[",
            "\"",
            "1",
            " {",
            "{]",
            "{,",
            "{a",
            "{1",
            "{}x}",
            "{\"a\",",
            "{\"a\":}",
            "{\"a\":,",
            "{\"a\":1 2",
            "{\"a\":[1,]",
            "{\"a\":1,}",
            "{\"a\":[}",
            "{\"a\":01",
            "{\"a\":-}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":+",
            "{\"a\":trux",
            "{\"a\":nul}",
            "{\"a\":\"\t",
            "{\"a\":\"\\x",
            "{\"a\":\"\\u00g",
            "{\"a\":\"b\"c",
            "{\"a\":\u{feff}1",
        ] {
            let expected = if text == "{}x}" { Step::Complete(2) } else { Step::Never };
            assert_eq!(read(&[text.as_bytes()]), expected, "{text}");
        }
        let deep = ["{\"a\":".repeat(1000), "[".repeat(1000)].concat();
        assert_eq!(read(&[deep.as_bytes()]), Step::Partial);
        let closed = [&deep, "]".repeat(1000).as_str(), &"}".repeat(1000)].concat();
        assert_eq!(read(&[closed.as_bytes()]), Step::Complete(closed.len()));
        assert_eq!(read(&[deep.as_bytes(), &[b']'; 1000], b"]"]), Step::Never);
    }

    proptest! {
        // proves: FRAME-2
        #[test]
        fn it_agrees_with_serde_json(
            text in proptest::collection::vec(proptest::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\":", "\\", "u00", "0", "1", "-", ".", "e", "true", "nul", "l",
                " ", "\t", "é", "\u{1}",
            ]), 0..12),
            cut in 0usize..40,
        ) {
            let text = [&["{"], &text[..]].concat().concat();
            let mut cut = cut.min(text.len());
            while !text.is_char_boundary(cut) { cut -= 1; }
            let (front, back) = text.as_bytes().split_at(cut);
            let step = read(&[text.as_bytes()]);
            prop_assert_eq!(read(&[front, back]), step);
            let valid = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok();
            match step {
                Step::Complete(end) => prop_assert!(valid(&text[..end])),
                Step::Never => {
                    let begins: Vec<_> = (0..=text.len()).filter(|end| text.is_char_boundary(*end)).collect();
                    prop_assert!(begins.into_iter().all(|end| !valid(&text[..end])));
                }
                Step::Partial => {
                    prop_assert!(!valid(&text));
                    // serde_json says of a beginning that it ends too early, and of anything else where it is wrong.
                    let error = serde_json::from_str::<&RawValue>(&text).unwrap_err();
                    prop_assert!(error.is_eof(), "{}", error.to_string());
                }
            }
        }
    }
}
