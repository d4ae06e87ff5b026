//! What the connector says about platforms.

use std::fs;
use std::path::Path;

use relay_tokio::Descriptor;
use serde_json::value::RawValue;

use crate::members::Members;
use crate::text;

/// What can be done on each of them (CHAT-4).
const EVERYWHERE: [&str; 7] = ["send", "edit", "typing", "follow_up", "react", "send_media", "prompt"];

fn ops(more: &[&str]) -> Vec<String> {
    EVERYWHERE.iter().chain(more).map(|op| (*op).to_owned()).collect()
}

/// The platforms that a connector knows without being told.
pub(super) fn built_in() -> [Descriptor; 3] {
    let mut discord = Descriptor::new("discord");
    discord.label = "Discord".into();
    discord.max_message_length = 2000;
    discord.markdown_dialect = "discord".into();
    discord.supports_edit = true;
    discord.supports_threads = true;
    discord.supported_ops = ops(&["thread_create", "thread_rename"]);
    let mut telegram = Descriptor::new("telegram");
    telegram.label = "Telegram".into();
    telegram.max_message_length = 4096;
    telegram.len_unit = "utf16".into();
    telegram.markdown_dialect = "markdown_v2".into();
    telegram.supports_edit = true;
    telegram.supported_ops = ops(&[]);
    let mut slack = Descriptor::new("slack");
    slack.label = "Slack".into();
    // The platform takes 40,000, and cuts off what is longer.
    slack.max_message_length = 39_000;
    slack.markdown_dialect = "mrkdwn".into();
    slack.supports_edit = true;
    slack.supports_threads = true;
    // A thread has no name there.
    slack.supported_ops = ops(&["thread_create"]);
    [discord, telegram, slack]
}

/// The descriptors in a file: one JSON object, or a list of them.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn read(path: &Path) -> Result<Vec<Descriptor>, String> {
    let wrong = |why: String| format!("--descriptor `{}`: {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let value: &RawValue =
        serde_json::from_str(text::without_bom(&text)).map_err(|error| wrong(format!("not JSON: {error}")))?;
    let items: Vec<&RawValue> =
        if value.get().starts_with('[') { serde_json::from_str(value.get()).unwrap_or_default() } else { vec![value] };
    items
        .into_iter()
        .map(|item| match (Descriptor::parse(item.get()), names_platform(item)) {
            (Some(descriptor), true) => Ok(descriptor),
            _ => Err(wrong("a descriptor is an object with a `platform`".into())),
        })
        .collect()
}

fn names_platform(item: &RawValue) -> bool {
    Members::read(item.get().as_bytes(), "")
        .and_then(|members| members.text("platform"))
        .is_ok_and(|platform| platform.is_some_and(|platform| !platform.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> Result<Vec<Descriptor>, String> {
        let path = std::env::temp_dir().join(format!("relay-descriptors-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        let read = read(&path);
        fs::remove_file(&path).unwrap();
        read
    }

    // proves: CHAT-4, DESC-1
    #[test]
    fn the_platforms_that_are_known_list_what_can_be_done_there() {
        for descriptor in built_in() {
            // As a gateway reads it.
            let read = Descriptor::parse(descriptor.to_json().as_str()).unwrap();
            for op in ["send", "edit", "typing", "react", "send_media", "prompt", "follow_up"] {
                assert!(read.supports_op(op), "{} {op}", read.platform);
            }
            assert_eq!(read.supports_op("thread_create"), read.supports_threads, "{}", read.platform);
            assert_eq!(read.supports_op("thread_rename"), read.platform == "discord");
            assert!(!read.supports_op("draft"), "nobody shows drafts");
        }
    }

    #[test]
    fn a_file_holds_one_or_several() {
        let one = file("one", r#"{"platform":"matrix","max_message_length":9}"#).unwrap();
        assert_eq!((one[0].platform.as_str(), one[0].max_message_length, one.len()), ("matrix", 9, 1));
        let two = file("two", r#" [{"platform":"a"},{"platform":"b"}] "#).unwrap();
        assert_eq!(two.iter().map(|d| d.platform.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(file("none", "[]"), Ok(Vec::new()));
        assert_eq!(file("marked", "\u{feff}[]"), Ok(Vec::new()));
        for (index, wrong) in ["", "{", "7", "{}", r#"{"platform":7}"#, r#"{"platform":""}"#, "[{}]"].iter().enumerate()
        {
            assert!(file(&format!("wrong{index}"), wrong).is_err(), "{wrong}");
        }
        assert!(read(Path::new("/nowhere/at/all")).unwrap_err().contains("/nowhere/at/all"));
    }
}
