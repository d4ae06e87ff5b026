//! Whether a chat platform could carry out an action (CHAT-4).

use relay_tokio::Descriptor;
use serde_json::value::RawValue;

use crate::members::{Members, excerpt};

/// What a button carries at most, in bytes: `hp1:{prompt_id}:{option_id}`.
const BUTTON: usize = 64;
/// The longest id in a button.
const MAX_ID: usize = 32;

/// What a member of an action is.
#[derive(Clone, Copy)]
enum Kind {
    /// A text that says something.
    Text,
    /// A text that may be empty.
    AnyText,
    /// A text that is shown, and has to fit.
    Shown,
    /// The same, and it may be empty or missing.
    Caption,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The id of a prompt.
    PromptId,
    /// The options of a prompt.
    Options,
    Flag,
    Number,
}

use Kind::{AnyText, Caption, Flag, Number, Options, PromptId, Shown, Text, Word};

/// A member: its name, what it is, and whether it has to be there.
type Field = (&'static str, Kind, bool);

const MEDIA: Kind = Word(&["image", "voice", "audio", "video", "document"]);
const PROMPTS: Kind = Word(&["choice", "approval", "clarify"]);
const STYLES: &[&str] = &["primary", "success", "danger", "secondary"];

/// The members of an operation's action; `None` for one that this version does not know.
fn fields(op: &str) -> Option<&'static [Field]> {
    Some(match op {
        "send" => &[("chat_id", Text, true), ("content", Shown, true), ("reply_to", AnyText, false)],
        "edit" => &[("chat_id", Text, true), ("message_id", Text, true), ("content", Shown, true)],
        "typing" => &[("chat_id", Text, true), ("content", AnyText, false)],
        "react" => {
            &[("chat_id", Text, true), ("message_id", Text, true), ("emoji", Text, true), ("remove", Flag, false)]
        }
        "send_media" => &[
            ("chat_id", Text, true),
            ("media_kind", MEDIA, true),
            ("source_url", Text, true),
            ("content", Caption, false),
            ("filename", AnyText, false),
            ("reply_to", AnyText, false),
        ],
        "prompt" => &[
            ("chat_id", Text, true),
            ("prompt_kind", PROMPTS, true),
            ("prompt_id", PromptId, true),
            ("content", Shown, true),
            ("options", Options, true),
            ("timeout_s", Number, false),
            ("reply_to", AnyText, false),
        ],
        "thread_create" => &[("chat_id", Text, true), ("thread_name", Text, true), ("message_id", AnyText, false)],
        "thread_rename" => &[
            ("chat_id", Text, true),
            ("message_id", Text, true),
            ("thread_name", Text, true),
            ("only_if_current_name", AnyText, false),
        ],
        "follow_up" => &[("session_key", Text, true), ("kind", Text, true), ("content", Shown, true)],
        "get_chat_info" => &[("chat_id", Text, true)],
        _ => return None,
    })
}

/// Checks an action against what the gateway was told of the platform. The operation.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(action: &Members<'_>, descriptor: &Descriptor) -> Result<String, String> {
    let op = action.text("op")?.ok_or("`op` is missing")?;
    // Connectors do not list this one (CHAT-1).
    if op != "get_chat_info" && !descriptor.supports_op(&op) {
        let platform = if descriptor.platform.is_empty() { "the platform" } else { &descriptor.platform };
        return Err(format!("{platform} does not support the operation {}", excerpt(&op)));
    }
    // What a descriptor of the user's lists beyond CHAT-4 is between the user and the gateway.
    let Some(fields) = fields(&op) else { return Ok(op) };
    for (name, kind, required) in fields {
        match action.get(name).filter(|value| value.get() != "null") {
            Some(value) => check_member(action, name, *kind, value, descriptor)?,
            None if *required => return Err(missing(action, name, fields)),
            None => {}
        }
    }
    if let Some(metadata) = action.get("metadata")
        && !metadata.get().starts_with(['{', 'n'])
    {
        return Err("`metadata` is not an object".into());
    }
    Ok(op)
}

/// A member is missing. What nobody asked for may be that one, misspelt.
fn missing(action: &Members<'_>, name: &str, fields: &[Field]) -> String {
    let known = |name: &str| name == "op" || name == "metadata" || fields.iter().any(|(field, ..)| *field == name);
    match action.iter().map(|(name, _)| name).find(|name| !known(name)) {
        Some(other) => format!("`{name}` is missing (and {} is no member of this operation)", excerpt(other)),
        None => format!("`{name}` is missing"),
    }
}

fn check_member(
    action: &Members<'_>,
    name: &str,
    kind: Kind,
    value: &RawValue,
    descriptor: &Descriptor,
) -> Result<(), String> {
    let text = || action.text(name).map(Option::unwrap_or_default);
    match kind {
        AnyText => text().map(drop),
        Text => match text()?.trim() {
            "" => Err(format!("`{name}` is empty")),
            _ => Ok(()),
        },
        Shown if text()?.trim().is_empty() => Err(format!("`{name}` is empty")),
        Shown | Caption => {
            let length = u64::try_from(descriptor.length_of(&text()?)).unwrap_or(u64::MAX);
            let most = descriptor.max_message_length;
            if length > most {
                return Err(format!(
                    "`{name}` has a length of {length}, and {most} is the most ({})",
                    descriptor.len_unit
                ));
            }
            Ok(())
        }
        Word(words) => {
            let word = text()?;
            if words.contains(&word.as_str()) { Ok(()) } else { Err(no_word(name, &word, words)) }
        }
        PromptId => check_id(name, &text()?),
        Options => check_options(&action.text("prompt_id")?.unwrap_or_default(), value),
        Flag if !matches!(value.get(), "true" | "false") => Err(format!("`{name}` is neither true nor false")),
        Number if serde_json::from_str::<f64>(value.get()).is_err() => Err(format!("`{name}` is not a number")),
        Flag | Number => Ok(()),
    }
}

fn no_word(name: &str, word: &str, words: &[&str]) -> String {
    format!("`{name}` is {}, and not one of {}", excerpt(word), words.join(", "))
}

fn check_id(name: &str, id: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(good) {
        return Ok(());
    }
    Err(format!("`{name}` is not 1 to {MAX_ID} letters, digits and `_.-`"))
}

fn check_options(prompt_id: &str, value: &RawValue) -> Result<(), String> {
    let options: Vec<Members<'_>> =
        serde_json::from_str(value.get()).map_err(|_| "`options` is not a list of objects")?;
    for option in options {
        let id = option.text("id")?.ok_or("an option has no `id`")?;
        check_id("id", &id).map_err(|problem| format!("an option's {problem}"))?;
        if "hp1::".len() + prompt_id.len() + id.len() > BUTTON {
            return Err(format!("`prompt_id` and the option {} do not fit into a button together", excerpt(&id)));
        }
        if option.text("label")?.is_none_or(|label| label.trim().is_empty()) {
            return Err(format!("the option {} has no `label`", excerpt(&id)));
        }
        if let Some(style) = option.text("style")?
            && !STYLES.contains(&style.as_str())
        {
            return Err(no_word("style", &style, STYLES));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::descriptors::built_in;
    use super::*;

    fn checked(action: &str) -> Result<String, String> {
        let [discord, ..] = built_in();
        check(&Members::read(action.as_bytes(), "").unwrap(), &discord)
    }

    // proves: CHAT-4
    #[test]
    fn what_could_be_carried_out_is_taken() {
        for action in [
            r#"{"op":"send","chat_id":"7","content":"hi"}"#,
            r#"{"op":"send","chat_id":"7","content":"hi","reply_to":null,"metadata":{"thread_id":"1"},"more":1e2}"#,
            r#"{"op":"edit","chat_id":"7","message_id":"m","content":"x"}"#,
            r#"{"op":"typing","chat_id":"7","content":""}"#,
            r#"{"op":"typing","chat_id":"7","metadata":null}"#,
            r#"{"op":"react","chat_id":"7","message_id":"m","emoji":"x","remove":true}"#,
            r#"{"op":"send_media","chat_id":"7","media_kind":"image","source_url":"https://x/y","content":""}"#,
            r#"{"op":"prompt","chat_id":"7","prompt_kind":"clarify","prompt_id":"a.1","content":"?","options":[]}"#,
            r#"{"op":"prompt","chat_id":"7","prompt_kind":"choice","prompt_id":"a.1","content":"?","timeout_s":1.5,
                "options":[{"id":"y","label":"Yes","style":"success"},{"id":"n","label":"No"}]}"#,
            r#"{"op":"thread_create","chat_id":"7","thread_name":"t"}"#,
            r#"{"op":"thread_rename","chat_id":"7","message_id":"t1","thread_name":"u","only_if_current_name":"t"}"#,
            r#"{"op":"follow_up","session_key":"s","kind":"discord.interaction_token","content":"hi"}"#,
            r#"{"op":"get_chat_info","chat_id":"7"}"#,
        ] {
            assert!(checked(action).is_ok(), "{action}: {:?}", checked(action));
        }
        let long = format!(r#"{{"op":"send","chat_id":"7","content":"{}"}}"#, "x".repeat(2000));
        assert_eq!(checked(&long).as_deref(), Ok("send"));
        let mut own = Descriptor::new("mine");
        own.supported_ops.push("pin".into());
        let pin = Members::read(br#"{"op":"pin"}"#, "").unwrap();
        assert!(check(&pin, &own).is_ok() && check(&pin, &Descriptor::new("mine")).is_err());
    }

    // proves: CHAT-1, CHAT-4, DESC-2
    #[test]
    fn what_could_not_be_carried_out_is_refused_by_what_is_wrong() {
        let prompt = |id: &str, kind: &str, options: &str| {
            format!(
                r#"{{"op":"prompt","chat_id":"7","prompt_kind":"{kind}","prompt_id":"{id}","content":"?","options":{options}}}"#
            )
        };
        let long = "x".repeat(32);
        for (action, says) in [
            ("{}".into(), "`op` is missing"),
            (r#"{"op":7}"#.into(), "`op` is not a text"),
            (r#"{"op":"draft","chat_id":"7"}"#.into(), "discord does not support the operation \"draft\""),
            (r#"{"op":"send","content":"hi"}"#.into(), "`chat_id` is missing"),
            (r#"{"op":"send","chat_id":null,"content":"hi"}"#.into(), "`chat_id` is missing"),
            (r#"{"op":"send","chat_id":7,"content":"hi"}"#.into(), "`chat_id` is not a text"),
            (r#"{"op":"send","chat_id":"","content":"hi"}"#.into(), "`chat_id` is empty"),
            (r#"{"op":"send","chat_id":"7","text":"hi"}"#.into(), "`content` is missing (and \"text\" is no member"),
            (r#"{"op":"send","chat_id":"7","content":" "}"#.into(), "`content` is empty"),
            (r#"{"op":"send","chat_id":"7","content":"hi","metadata":[]}"#.into(), "`metadata` is not an object"),
            (r#"{"op":"edit","chat_id":"7","content":"hi"}"#.into(), "`message_id` is missing"),
            (
                format!(r#"{{"op":"send","chat_id":"7","content":"{}"}}"#, "x".repeat(5000)),
                "`content` has a length of 5000, and 2000 is the most (chars)",
            ),
            (r#"{"op":"react","chat_id":"7","message_id":"m"}"#.into(), "`emoji` is missing"),
            (r#"{"op":"react","chat_id":"7","message_id":"m","emoji":"x","remove":1}"#.into(), "`remove` is neither"),
            (
                r#"{"op":"send_media","chat_id":"7","media_kind":"gif","source_url":"u"}"#.into(),
                "`media_kind` is \"gif\", and not one of image",
            ),
            (r#"{"op":"send_media","chat_id":"7","media_kind":"image"}"#.into(), "`source_url` is missing"),
            (
                r#"{"op":"prompt","chat_id":"7","prompt_kind":"choice","content":"?","options":[]}"#.into(),
                "`prompt_id` is missing",
            ),
            (prompt("a b", "choice", "[]"), "`prompt_id` is not 1 to 32"),
            (prompt("", "choice", "[]"), "`prompt_id` is not 1 to 32"),
            (prompt("a", "yes", "[]"), "`prompt_kind` is \"yes\""),
            (prompt("a", "choice", "{}"), "`options` is not a list"),
            (prompt("a", "choice", "[7]"), "`options` is not a list"),
            (prompt("a", "choice", r#"[{"label":"x"}]"#), "an option has no `id`"),
            (prompt("a", "choice", r#"[{"id":"ä","label":"x"}]"#), "an option's `id` is not"),
            (prompt("a", "choice", r#"[{"id":"b"}]"#), "the option \"b\" has no `label`"),
            (prompt("a", "choice", r#"[{"id":"b","label":"x","style":"red"}]"#), "`style` is \"red\""),
            (prompt(&long, "choice", &format!(r#"[{{"id":"{long}","label":"x"}}]"#)), "do not fit into a button"),
            (r#"{"op":"thread_create","chat_id":"7"}"#.into(), "`thread_name` is missing"),
            (r#"{"op":"thread_rename","chat_id":"7","thread_name":"u"}"#.into(), "`message_id` is missing"),
            (r#"{"op":"follow_up","kind":"k","content":"x"}"#.into(), "`session_key` is missing"),
            (r#"{"op":"get_chat_info"}"#.into(), "`chat_id` is missing"),
        ] {
            let action: String = action;
            let problem = checked(&action).unwrap_err();
            assert!(problem.contains(says), "{action}: {problem}");
        }
    }
}
