//! Lenient reading of peers' JSON (EVENT-2, FRAME-4), and writing of our own.
//!
//! Reading goes over raw slices of the text: a field of the wrong type costs that field and nothing else, and no value
//! is built that nobody asked for. Nesting is skipped without recursion.

pub(crate) mod run;
pub(crate) mod scan;

pub(crate) use self::scan::Nesting;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserializer as _;
use serde::de::{Deserialize, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A piece of valid JSON text, kept byte for byte as it came.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawJson(Box<str>);

impl RawJson {
    pub(crate) fn from_raw(raw: &RawValue) -> Self {
        Self(raw.get().into())
    }

    /// Wraps text that is already known to be JSON.
    pub(crate) fn trusted(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Takes JSON text.
    ///
    /// # Errors
    /// What `serde_json` says when the text is not exactly one JSON value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self::from_raw)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the value as any deserialisable type.
    ///
    /// # Errors
    /// What `serde_json` says; among others when the value nests deeper than its recursion limit.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the object that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotObject {
    /// Not JSON at all.
    Json,
    /// JSON, of another type.
    Type,
}

/// The raw values of the named members of an object; of repeated ones the last. `None`: absent.
pub(crate) fn members<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], NotObject> {
    let mut found = [None; N];
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let ok = deserializer.deserialize_map(MembersVisitor { names, found: &mut found });
    match ok.and_then(|()| deserializer.end()) {
        Ok(()) => Ok(found),
        // A second, plain reading tells a broken text from a value of another type.
        Err(_) if !text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok() => {
            Err(NotObject::Type)
        }
        Err(_) => Err(NotObject::Json),
    }
}

struct MembersVisitor<'n, 'f, 'a> {
    names: &'n [&'n str],
    found: &'f mut [Option<&'a RawValue>],
}

impl<'a> Visitor<'a> for MembersVisitor<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(index) = map.next_key_seed(NameIndex(self.names))? {
            match index.and_then(|i| self.found.get_mut(i)) {
                Some(slot) => *slot = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Finds a member's name in the list. Names are read as bytes, because a peer may write ones that are not Unicode.
struct NameIndex<'n>(&'n [&'n str]);

impl NameIndex<'_> {
    fn find(&self, name: &[u8]) -> Option<usize> {
        self.0.iter().position(|n| n.as_bytes() == name)
    }
}

impl<'a> DeserializeSeed<'a> for NameIndex<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for NameIndex<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(self.find(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.find(name.as_bytes()))
    }
}

/// The raw elements of an array; `None` when the value is no array.
pub(crate) fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    struct Elements;
    impl<'a> Visitor<'a> for Elements {
        type Value = Vec<&'a RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(raw) = seq.next_element()? {
                all.push(raw);
            }
            Ok(all)
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_seq(Elements).ok()
}

/// Whether the value is an object.
pub(crate) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// A field read as text (EVENT-2): a string's content, a number's decimal text as it was written; `None` for null and
/// for any other type.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    match json.as_bytes().first()? {
        b'"' => string(json),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(json)),
        _ => None,
    }
}

/// The content of a JSON string. Lone surrogates, which JSON can write and Unicode text cannot hold, become U+FFFD.
pub(crate) fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    match serde_json::from_str::<String>(json) {
        Ok(text) => Some(Cow::Owned(text)),
        Err(_) => Some(Cow::Owned(lossy(json)?)),
    }
}

/// What a JSON string stands for, as bytes. A lone surrogate is its three-byte generalised UTF-8 form: ED A0..BF 80..BF.
fn bytes(json: &[u8]) -> Option<Vec<u8>> {
    struct Bytes;
    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.into())
        }
    }
    serde_json::Deserializer::from_slice(json).deserialize_bytes(Bytes).ok()
}

fn lossy(json: &str) -> Option<String> {
    let bytes = bytes(json.as_bytes())?;
    let mut out = String::with_capacity(bytes.len());
    let mut pending = 0;
    for chunk in bytes.utf8_chunks() {
        if !chunk.valid().is_empty() {
            pending = 0;
        }
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            if *byte == 0xED || pending == 0 {
                out.push('\u{FFFD}');
                pending = 3;
            }
            pending -= 1;
        }
    }
    Some(out)
}

/// `true`, `false`, or `None` for any other value.
pub(crate) fn boolean(raw: &RawValue) -> Option<bool> {
    match raw.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Whether the text of a JSON number is zero, however it is written (`0`, `-0.0`, `0e5`).
pub(crate) fn is_zero(number: &str) -> bool {
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
    mantissa.bytes().all(|b| matches!(b, b'0' | b'-' | b'.'))
}

/// JSON without the white space between its values, of which a newline would cut the frame in two (FRAME-1).
pub(crate) fn compact(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    // What comes before is copied, or white space.
    let mut copied = 0;
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b' ' | b'\t' | b'\r' | b'\n' if !in_string => {
                out.push_str(json.get(copied..at).unwrap_or_default());
                copied = at + 1;
            }
            _ => {}
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Appends `text` as a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    if run::long(text.as_bytes()) == text.len() {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        // Serialising a string cannot fail.
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// Appends `,"name":"text"`.
pub(crate) fn push_field(out: &mut String, name: &str, text: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    push_string(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    // proves: FRAME-4
    #[test]
    fn members_of_anything_else_are_an_error_that_tells_which() {
        assert_eq!(members("[1]", &["a"]).unwrap_err(), NotObject::Type);
        assert_eq!(members("null", &["a"]).unwrap_err(), NotObject::Type);
        assert_eq!(members("{\"a\":1", &["a"]).unwrap_err(), NotObject::Json);
        assert_eq!(members("{\"a\":1} x", &["a"]).unwrap_err(), NotObject::Json);
        assert_eq!(members("", &["a"]).unwrap_err(), NotObject::Json);
    }

    // proves: FRAME-4
    #[test]
    fn names_may_be_escaped_repeated_and_not_unicode() {
        let [a] = members(r#"{"\ud800":1,"a":1,"\u0061":2}"#, &["a"]).unwrap();
        assert_eq!(a.unwrap().get(), "2");
    }

    // proves: FRAME-4
    #[test]
    fn deep_nesting_is_skipped_without_recursion() {
        let deep = format!("{{\"x\":{}{},\"a\":1}}", "[".repeat(100_000), "]".repeat(100_000));
        let [x, a] = members(&deep, &["x", "a"]).unwrap();
        assert_eq!(x.unwrap().get().len(), 200_000);
        assert_eq!(a.unwrap().get(), "1");
    }

    // proves: EVENT-2
    #[test]
    fn text_is_read_from_strings_and_numbers_only() {
        assert_eq!(text(&raw("\"a\\n\\u00e9\"")).unwrap(), "a\né");
        assert_eq!(text(&raw("123456789012345678901234567890")).unwrap(), "123456789012345678901234567890");
        assert_eq!(text(&raw("1e400")).unwrap(), "1e400");
        for other in ["null", "true", "[]", "{}"] {
            assert_eq!(text(&raw(other)), None);
        }
    }

    // proves: FRAME-4
    #[test]
    fn lone_surrogates_become_one_replacement_character_each() {
        assert_eq!(string(r#""a\ud800b""#).unwrap(), "a\u{FFFD}b");
        assert_eq!(string(r#""\udc00\ud800""#).unwrap(), "\u{FFFD}\u{FFFD}");
        assert_eq!(string(r#""\ud800\ud800""#).unwrap(), "\u{FFFD}\u{FFFD}", "two that are adjacent");
        assert_eq!(string(&alloc::format!("\"{}a\"", r"\udfff".repeat(7))).unwrap(), "\u{FFFD}".repeat(7) + "a");
        assert_eq!(string(r#""\ud83d\ud83d\udd0c""#).unwrap(), "\u{FFFD}🔌", "the second belongs to the third");
        assert_eq!(string(r#""\ud83d\udd0c\ud83d""#).unwrap(), "🔌\u{FFFD}");
    }

    #[test]
    fn zero_is_zero_in_every_spelling() {
        assert!(["0", "-0", "0.0", "0e9", "-0.00E-1"].iter().all(|n| is_zero(n)));
        assert!(["1", "-1", "0.1", "1e0", "10"].iter().all(|n| !is_zero(n)));
    }

    #[test]
    fn written_strings_read_back() {
        for text in ["", "plain", "q\"b\\c\n\u{1}\u{7f}é🔌"] {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    // proves: FRAME-1
    #[test]
    fn white_space_goes_between_values_and_stays_within_texts() {
        for (json, compacted) in [
            ("{\"a\":1}", "{\"a\":1}"),
            (" {\r\n\t\"a b\" : [ 1 , \"\\\" \\\\\" ] }\n", "{\"a b\":[1,\"\\\" \\\\\"]}"),
            ("\"日 本\"", "\"日 本\""),
        ] {
            assert_eq!(compact(json), compacted);
        }
        assert!(matches!(compact("{\"a b\":1}"), Cow::Borrowed(_)), "nothing to do: no copy");
    }
}
