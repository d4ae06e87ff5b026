//! The names that Discord sends along with the ids in an interaction.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use serde_json::value::RawValue;

use crate::json;

/// Names by id. Ids of Discord are unique over all kinds of things.
#[derive(Default)]
pub(super) struct Resolved<'a>(BTreeMap<Cow<'a, str>, Arc<str>>);

impl<'a> Resolved<'a> {
    /// Reads `data.resolved`. Of a user, the name in the guild wins over the display name, and that over the user name.
    pub(super) fn read(resolved: Option<&'a RawValue>) -> Self {
        let kinds = ["roles", "channels", "attachments", "users", "members"];
        let named_by: [&[&str]; 5] = [&["name"], &["name"], &["filename"], &["username", "global_name"], &["nick"]];
        let objects = resolved.and_then(|raw| json::members(raw.get(), &kinds).ok()).unwrap_or_default();
        let mut names = BTreeMap::new();
        for (object, fields) in objects.into_iter().zip(named_by) {
            let things: Option<BTreeMap<Cow<'a, str>, &RawValue>> =
                object.and_then(|object| serde_json::from_str(object.get()).ok());
            for (id, thing) in things.unwrap_or_default() {
                for field in fields {
                    let name = json::members(thing.get(), &[*field]).ok().and_then(|[name]| json::text(name?));
                    if let Some(name) = name.filter(|name| !name.is_empty()) {
                        names.insert(id.clone(), name.into());
                    }
                }
            }
        }
        Self(names)
    }

    /// The name of what has this id. All that ask for it share one text, since a body may name an id any number of times.
    pub(super) fn name(&self, id: &str) -> Option<Arc<str>> {
        self.0.get(id).cloned()
    }
}
