//! A second reading of a line, by `serde_json` alone, a level at a time: what the one and only pass over it has to find.

use std::collections::BTreeMap;

use relay_proto::frame::{MessageEvent, Skipped};
use serde_json::value::RawValue;

/// Whether a line is JSON, however deep and whatever its strings hold.
pub(super) fn is_json(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok())
}

/// A line is skipped for not being JSON exactly when it is not.
pub(super) fn judges<T>(line: &[u8], read: &Result<T, Skipped>) {
    let is_json = is_json(line);
    match read {
        Err(Skipped::NotJson) => assert!(!is_json, "{} is JSON", line.escape_ascii()),
        // What was not UTF-8 may still be shown (ACK-5).
        _ => assert!(is_json || std::str::from_utf8(line).is_err(), "{} is not JSON", line.escape_ascii()),
    }
}

/// The members of an object, of repeated ones the last. `None`: it is none, or has a name that is not Unicode.
fn members(json: &str) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(json).ok()
}

/// Every text of an event is what its member says.
pub(super) fn agrees(line: &[u8], event: &MessageEvent) {
    let Some(frame) = std::str::from_utf8(line).ok().and_then(members) else { return };
    assert_eq!(frame.get("event").map(|raw| raw.get()), Some(event.raw()));
    let Some(fields) = members(event.raw()) else { return };
    for (name, read) in [
        ("text", Some(event.text()).filter(|text| !text.is_empty())),
        ("message_id", event.message_id()),
        ("reply_to_message_id", event.reply_to_message_id()),
    ] {
        is_text(fields.get(name), read, name);
    }
    let source = match fields.get("source").map(|source| source.get()) {
        Some(source) if source.starts_with('{') => match members(source) {
            Some(source) => source,
            None => return,
        },
        _ => BTreeMap::new(),
    };
    let scope = ["scope_id", "guild_id"].into_iter().find(|name| source.get(*name).is_some_and(|raw| is_readable(raw)));
    is_text(scope.and_then(|name| source.get(name)), event.scope_id(), "scope_id");
    for (name, read) in [
        ("platform", event.platform_name()),
        ("chat_id", Some(event.chat_id()).filter(|text| !text.is_empty())),
        ("chat_type", Some(event.chat_type()).filter(|text| *text != "dm")),
        ("chat_name", event.chat_name()),
        ("user_id", event.user_id()),
        ("user_name", event.user_name()),
        ("thread_id", event.thread_id()),
        ("chat_topic", event.chat_topic()),
        ("user_id_alt", event.user_id_alt()),
        ("chat_id_alt", event.chat_id_alt()),
        ("parent_chat_id", event.parent_chat_id()),
        ("message_id", event.source_message_id()),
        ("profile", event.profile()),
    ] {
        is_text(source.get(name), read, name);
    }
    let urls = fields.get("media_urls").and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
    let urls = urls.unwrap_or_default();
    assert_eq!(event.media_urls().len(), urls.iter().filter(|url| is_readable(url)).count());
}

/// Whether a value is read as text: a string or a number (EVENT-2).
fn is_readable(raw: &RawValue) -> bool {
    raw.get().starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}

/// `None` stands for the default as well, whatever that is.
fn is_text(raw: Option<&&RawValue>, read: Option<&str>, name: &str) {
    match raw.filter(|raw| is_readable(raw)).map(|raw| raw.get()) {
        None => assert_eq!(read, None, "{name}"),
        Some(json) if json.starts_with('"') => match serde_json::from_str::<String>(json) {
            Ok(text) => assert!(
                read == Some(text.as_str()) || read.is_none_or(str::is_empty) && is_default(&text),
                "{name}: {json} is not {read:?}"
            ),
            // A lone surrogate.
            Err(_) => assert!(read.is_some_and(|text| text.contains('\u{FFFD}')), "{name}: {json} is not {read:?}"),
        },
        Some(number) => assert_eq!(read, Some(number), "{name}"),
    }
}

fn is_default(text: &str) -> bool {
    text.is_empty() || text == "dm"
}
