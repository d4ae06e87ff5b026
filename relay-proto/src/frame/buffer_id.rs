//! The ids of buffered deliveries.

use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::json;
use crate::json::scan::{Kind, Place};

/// An id of up to this many bytes, such as a UUID or the number of a stream's entry, is kept without memory of its own.
const SHORT: usize = 38;

/// A delivery's id in the connector's buffer, as it is echoed in the acknowledgement (ACK-1).
///
/// A clone costs no allocation.
#[derive(Clone)]
pub struct BufferId(Repr);

#[derive(Clone)]
enum Repr {
    /// The bytes of a text.
    Short {
        len: u8,
        bytes: [u8; SHORT],
    },
    Long(Arc<str>),
}

impl BufferId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // They are those of a text.
            Repr::Short { .. } => core::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Repr::Long(id) => id,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Long(id) => id.as_bytes(),
        }
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Reads `bufferId`: a non-empty string, or a number other than zero as its decimal text. Everything else is none.
    pub(super) fn read(text: &str, place: Place) -> Option<Self> {
        let id = place.text(text)?;
        let none = if place.kind() == Kind::Number { json::is_zero(&id) } else { id.is_empty() };
        if none { None } else { Some(Self::from(&*id)) }
    }
}

impl From<&str> for BufferId {
    fn from(id: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..id.len()), u8::try_from(id.len())) {
            (Some(short), Ok(len)) => {
                short.copy_from_slice(id.as_bytes());
                Self(Repr::Short { len, bytes })
            }
            _ => Self(Repr::Long(id.into())),
        }
    }
}

impl PartialEq for BufferId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for BufferId {}

impl PartialOrd for BufferId {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BufferId {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for BufferId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan::Scan;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn id(json: &str) -> Option<String> {
        let place = Scan::new(json).and_then(|mut scan| scan.value()).unwrap_or_default();
        BufferId::read(json, place).map(|id| id.as_str().into())
    }

    // proves: ACK-1
    #[test]
    fn a_buffer_id_is_a_string_or_a_number_that_is_not_zero() {
        assert_eq!(id("\"b-1\"").as_deref(), Some("b-1"));
        assert_eq!(id("\"b\\u002d1\"").as_deref(), Some("b-1"));
        assert_eq!(id("17").as_deref(), Some("17"));
        assert_eq!(id("12345678901234567890123").as_deref(), Some("12345678901234567890123"));
        assert_eq!(id("\"0\"").as_deref(), Some("0"), "the text 0 is an id like any other");
        for none in ["\"\"", "0", "-0", "0.0", "null", "true", "[]", "{}"] {
            assert_eq!(id(none), None, "{none}");
        }
        assert_eq!(BufferId::read("", Place::default()), None);
    }

    // proves: ACK-1
    #[test]
    fn ids_of_any_length_are_kept_whole_and_compare_as_texts() {
        let texts: Vec<String> = (0..90).map(|length| "日a9".chars().cycle().take(length).collect()).collect();
        let ids: Vec<BufferId> = texts.iter().map(|text| BufferId::from(text.as_str())).collect();
        for (text, id) in texts.iter().zip(&ids) {
            assert_eq!((id.as_str(), id.len()), (text.as_str(), text.len()));
            for (other, other_id) in texts.iter().zip(&ids) {
                assert_eq!(id.cmp(other_id), text.cmp(other));
                assert_eq!(id == other_id, text == other);
            }
        }
    }

    #[test]
    fn an_id_is_in_every_way_its_text() {
        use core::hash::BuildHasher as _;
        let state = foldhash::fast::FixedState::default();
        for text in ["short", &"long".repeat(20)] {
            let id = BufferId::from(text);
            assert_eq!(matches!(id.0, Repr::Short { .. }), text.len() <= SHORT);
            assert_eq!((alloc::format!("{id}"), alloc::format!("{id:?}")), (text.into(), alloc::format!("{text:?}")));
            assert!(id < BufferId::from("z") && id.partial_cmp(&id) == Some(core::cmp::Ordering::Equal));
            assert_eq!(state.hash_one(&id), state.hash_one(text.as_bytes()));
        }
    }
}
