//! A command's line: a JSON object.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{compact, quoted};

/// The members of an object, in order, each name once.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads a line. `like`: what a command looks like, for the error.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(line: &'a [u8], like: &str) -> Result<Self, String> {
        let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
        serde_json::from_str(text).map_err(|error| match serde_json::from_str::<&RawValue>(text) {
            Ok(_) if !text.starts_with('{') => format!("not a JSON object: a command looks like {like}"),
            _ => format!("not JSON: {error}"),
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A text. Null counts as absent.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| format!("`{name}` is not a text")),
        }
    }

    /// The `id` that the answer carries: JSON, as it came. `None`: there is none.
    pub(crate) fn id(&self) -> Option<String> {
        self.get("id").map(|id| compact(id.get()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut members, mut names) = (Vec::new(), BTreeSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    let value: &RawValue = map.next_value()?;
                    // Which of the two is meant? Readers do not agree, so that no answer would be right.
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("the name {} is there twice", excerpt(&name))));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A text of somebody's, quoted, for an error: not all of it, if it is long.
pub(crate) fn excerpt(text: &str) -> String {
    quoted(&text.chars().take(64).collect::<String>())
}
