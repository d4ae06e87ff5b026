//! Actions: what a request asks the connector to do.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use serde_json::value::RawValue;

use crate::chat::MediaKind;
use crate::frame::{ActionResult, MessageEvent, RawJson};
use crate::json::{self, push_string};

/// An action object in the making: an `op` and its fields.
///
/// ```
/// use relay_proto::action::Action;
///
/// let action = Action::send("c1", "hello").reply_to("m7").metadata("scope_id", "g1");
/// assert_eq!(
///     action.to_json().as_str(),
///     r#"{"op":"send","chat_id":"c1","content":"hello","reply_to":"m7","metadata":{"scope_id":"g1"}}"#
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The object, without its metadata and its closing brace.
    fields: String,
    op: Word,
    chat_id: Option<Word>,
    /// The members of `metadata`: names, and values as JSON.
    metadata: Vec<(String, String)>,
}

/// A text that is a value among an action's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// It stands there as it is.
    There(Range<usize>),
    /// It was written with escapes.
    Own(String),
}

impl Word {
    /// Writes the text as a JSON string.
    fn push(fields: &mut String, text: &str) -> Self {
        let start = fields.len() + 1;
        push_string(fields, text);
        let there = start..fields.len() - 1;
        if there.len() == text.len() { Self::There(there) } else { Self::Own(text.to_owned()) }
    }

    fn read<'a>(&'a self, fields: &'a str) -> &'a str {
        match self {
            Self::There(there) => fields.get(there.clone()).unwrap_or_default(),
            Self::Own(text) => text,
        }
    }
}

/// Room for the fields of most actions, in bytes.
const ROOM: usize = 128;

impl Action {
    /// Any operation.
    pub fn new(op: &str) -> Self {
        let mut fields = String::with_capacity(ROOM);
        fields.push_str("{\"op\":");
        let op = Word::push(&mut fields, op);
        Self { fields, op, chat_id: None, metadata: Vec::new() }
    }

    /// Sends a message into a chat.
    pub fn send(chat_id: &str, content: &str) -> Self {
        Self::new("send").field("chat_id", chat_id).field("content", content)
    }

    /// Answers a message: sends into its chat and thread, quotes it, and carries the scope, or for direct messages the
    /// user, by which a connector finds out whose chat it is.
    pub fn answer(event: &MessageEvent, content: &str) -> Self {
        let action = Self::go_on(event, content);
        match event.message_id().or(event.source_message_id()) {
            Some(id) => action.reply_to(id),
            None => action,
        }
    }

    /// The same without quoting it.
    pub fn go_on(event: &MessageEvent, content: &str) -> Self {
        let action = Self::send(event.chat_id(), content);
        let action = match (event.scope_id(), event.user_id()) {
            (Some(scope), _) => action.metadata("scope_id", scope),
            (None, Some(user)) => action.metadata("user_id", user),
            (None, None) => action,
        };
        let action = match event.thread_id() {
            Some(thread) => action.metadata("thread_id", thread),
            None => action,
        };
        // Its own, and not that of the chat's last message.
        match event.profile() {
            Some(profile) => action.metadata("profile", profile),
            None => action,
        }
    }

    /// Changes a message that was sent.
    pub fn edit(chat_id: &str, message_id: &str, content: &str) -> Self {
        Self::new("edit").field("chat_id", chat_id).field("message_id", message_id).field("content", content)
    }

    /// Shows that an answer is being written.
    pub fn typing(chat_id: &str) -> Self {
        Self::new("typing").field("chat_id", chat_id)
    }

    /// Takes back that an answer is being written, on platforms where that does not end by itself.
    pub fn clear_typing(chat_id: &str) -> Self {
        Self::typing(chat_id).field("content", "")
    }

    /// Adds a reaction of the agent's to a message.
    pub fn react(chat_id: &str, message_id: &str, emoji: &str) -> Self {
        Self::new("react").field("chat_id", chat_id).field("message_id", message_id).field("emoji", emoji)
    }

    /// Takes a reaction of the agent's back.
    pub fn unreact(chat_id: &str, message_id: &str, emoji: &str) -> Self {
        Self::react(chat_id, message_id, emoji).json_field("remove", &RawJson::trusted("true"))
    }

    /// Sends media by reference: a public address, or one where the connector holds what was uploaded to it. The caption
    /// may be empty. The field `filename` names the file.
    pub fn send_media(chat_id: &str, kind: MediaKind, source_url: &str, caption: &str) -> Self {
        Self::new("send_media")
            .field("chat_id", chat_id)
            .field("media_kind", kind.as_str())
            .field("source_url", source_url)
            .field("content", caption)
    }

    /// Makes a thread in a chat. The field `message_id` anchors it at a message.
    pub fn thread_create(chat_id: &str, name: &str) -> Self {
        Self::new("thread_create").field("chat_id", chat_id).field("thread_name", name)
    }

    /// Renames a thread of a chat. The field `only_if_current_name` leaves alone what somebody else has renamed.
    pub fn thread_rename(chat_id: &str, thread_id: &str, name: &str) -> Self {
        Self::new("thread_rename").field("chat_id", chat_id).field("message_id", thread_id).field("thread_name", name)
    }

    /// Uses a capability that the connector holds for a session, such as answering a Discord interaction. It names the
    /// session and the kind of capability; what it is stays with the connector.
    pub fn follow_up(session_key: &str, kind: &str, content: &str) -> Self {
        Self::new("follow_up").field("session_key", session_key).field("kind", kind).field("content", content)
    }

    /// Asks what the connector knows about a chat (REQ-5).
    pub fn chat_info(chat_id: &str) -> Self {
        Self::new("get_chat_info").field("chat_id", chat_id)
    }

    /// Quotes a message.
    #[must_use]
    pub fn reply_to(self, message_id: &str) -> Self {
        self.field("reply_to", message_id)
    }

    /// Adds a text field. Adding one twice leaves both in the JSON, of which readers take the last.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.push_name(name);
        if name == "chat_id" {
            self.chat_id = Some(Word::push(&mut self.fields, value));
        } else {
            push_string(&mut self.fields, value);
        }
        self
    }

    /// Adds a field of any type. The members of an object that is added as `metadata` join those that are there.
    #[must_use]
    pub fn json_field(mut self, name: &str, value: &RawJson) -> Self {
        if name == "metadata" {
            let members: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(value.as_str()).ok();
            for (name, value) in members.unwrap_or_default() {
                self.set_metadata(&name, json::compact(value.get()).into_owned());
            }
            return self;
        }
        self.push_name(name);
        self.fields.push_str(&json::compact(value.as_str()));
        self
    }

    fn push_name(&mut self, name: &str) {
        self.fields.push(',');
        push_string(&mut self.fields, name);
        self.fields.push(':');
    }

    /// Sets a text in `metadata`.
    #[must_use]
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        let mut quoted = String::new();
        push_string(&mut quoted, value);
        self.set_metadata(name, quoted);
        self
    }

    fn set_metadata(&mut self, name: &str, json: String) {
        match self.metadata.iter_mut().find(|(known, _)| known == name) {
            Some((_, value)) => *value = json,
            None => self.metadata.push((name.to_owned(), json)),
        }
    }

    /// Whether `metadata` says something by this name; null and an empty text are nothing.
    pub fn has_metadata(&self, name: &str) -> bool {
        self.metadata.iter().any(|(known, value)| known == name && !matches!(value.as_str(), "null" | "\"\""))
    }

    /// The operation.
    pub fn op(&self) -> &str {
        self.op.read(&self.fields)
    }

    /// The chat that it is for, if it is for one.
    pub fn chat_id(&self) -> Option<&str> {
        self.chat_id.as_ref().map(|chat| chat.read(&self.fields))
    }

    /// The action as JSON on one line.
    pub fn to_json(&self) -> RawJson {
        let mut out = String::with_capacity(self.size());
        self.write(&mut out);
        RawJson::trusted(out)
    }

    /// How many bytes it has as JSON; a few more when a name in `metadata` needs an escape.
    pub(crate) fn size(&self) -> usize {
        const METADATA: usize = ",\"metadata\":{}".len();
        let members: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let metadata = if members == 0 { 0 } else { METADATA + members - 1 };
        self.fields.len() + metadata + 1
    }

    /// Appends the action as JSON on one line.
    pub(crate) fn write(&self, out: &mut String) {
        out.push_str(&self.fields);
        for (at, (name, value)) in self.metadata.iter().enumerate() {
            out.push_str(if at == 0 { ",\"metadata\":{" } else { "," });
            push_string(out, name);
            out.push(':');
            out.push_str(value);
        }
        out.push_str(if self.metadata.is_empty() { "}" } else { "}}" });
    }
}

impl ActionResult {
    /// The thread that was made by `thread_create`, or that the connector put a message into by itself.
    pub fn thread_id(&self) -> Option<String> {
        let [thread] = json::members(self.raw.as_str(), &["thread_id"]).ok()?;
        thread.and_then(json::text).filter(|id| !id.is_empty()).map(|id| id.into_owned())
    }
}

/// An action from elsewhere, say from a program in another language.
///
/// # Errors
/// What is wrong with the text: it has to be a JSON object with a text `op`. It comes back compact, on one line.
pub fn from_json(text: &str) -> Result<RawJson, BadAction> {
    let [op] = json::members(text, &["op"]).map_err(|_| BadAction::NotAnObject)?;
    if op.and_then(|op| json::string(op.get())).is_none_or(|op| op.is_empty()) {
        return Err(BadAction::NoOp);
    }
    Ok(RawJson::trusted(json::compact(text).into_owned()))
}

/// Why a text is no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAction {
    /// It is not a JSON object.
    #[error("an action is a JSON object, for example {{\"op\":\"send\",\"chat_id\":\"…\",\"content\":\"…\"}}")]
    NotAnObject,
    /// It has no `op`, or one that is not a text.
    #[error("an action needs an `op`, a text: send, edit, typing, follow_up, get_chat_info, …")]
    NoOp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_to_where_the_message_came_from() {
        let event = |json: &str| MessageEvent::parse(json).unwrap();
        let scoped = event(r#"{"message_id":"m","source":{"chat_id":"c","scope_id":"g","user_id":"u"}}"#);
        assert_eq!(
            Action::answer(&scoped, "hi \"you\"").to_json().as_str(),
            r#"{"op":"send","chat_id":"c","content":"hi \"you\"","reply_to":"m","metadata":{"scope_id":"g"}}"#
        );
        let direct = event(r#"{"source":{"chat_id":"c","user_id":"u"}}"#);
        assert_eq!(
            Action::answer(&direct, "hi").to_json().as_str(),
            r#"{"op":"send","chat_id":"c","content":"hi","metadata":{"user_id":"u"}}"#
        );
    }

    // proves: CHAT-4
    #[test]
    fn an_answer_stays_in_its_thread() {
        let event = MessageEvent::parse(r#"{"message_id":"m","source":{"chat_id":"c","thread_id":"t"}}"#).unwrap();
        assert_eq!(
            Action::answer(&event, "hi").to_json().as_str(),
            r#"{"op":"send","chat_id":"c","content":"hi","reply_to":"m","metadata":{"thread_id":"t"}}"#
        );
        assert_eq!(
            Action::go_on(&event, "hi").to_json().as_str(),
            r#"{"op":"send","chat_id":"c","content":"hi","metadata":{"thread_id":"t"}}"#
        );
    }

    // proves: CHAT-4
    #[test]
    fn every_operation_has_the_fields_of_the_wire() {
        for (action, json) in [
            (Action::clear_typing("c"), r#"{"op":"typing","chat_id":"c","content":""}"#),
            (Action::react("c", "m", "👀"), r#"{"op":"react","chat_id":"c","message_id":"m","emoji":"👀"}"#),
            (
                Action::unreact("c", "m", "👀"),
                r#"{"op":"react","chat_id":"c","message_id":"m","emoji":"👀","remove":true}"#,
            ),
            (
                Action::send_media("c", MediaKind::Image, "https://x/y", "see").field("filename", "y.png"),
                concat!(
                    r#"{"op":"send_media","chat_id":"c","media_kind":"image","source_url":"https://x/y","#,
                    r#""content":"see","filename":"y.png"}"#
                ),
            ),
            (Action::thread_create("c", "n"), r#"{"op":"thread_create","chat_id":"c","thread_name":"n"}"#),
            (
                Action::thread_rename("c", "t", "n"),
                r#"{"op":"thread_rename","chat_id":"c","message_id":"t","thread_name":"n"}"#,
            ),
        ] {
            assert_eq!(action.to_json().as_str(), json);
            assert_eq!((action.chat_id(), json.contains(action.op())), (Some("c"), true));
        }
        let thread = |json| ActionResult::parse(json).thread_id();
        assert_eq!(thread(r#"{"success":true,"thread_id":7}"#).as_deref(), Some("7"));
        assert_eq!((thread("{}"), thread(r#"{"thread_id":""}"#), thread("[]")), (None, None, None));
    }

    // proves: CHAT-3
    #[test]
    fn metadata_is_one_object_however_it_was_set() {
        let raw = RawJson::parse(r#"{"a":[1],"b":null,"c":""}"#).unwrap();
        let action =
            Action::new("x").metadata("a", "1").metadata("d", "1").json_field("metadata", &raw).metadata("d", "2");
        assert_eq!(action.to_json().as_str(), r#"{"op":"x","metadata":{"a":[1],"d":"2","b":null,"c":""}}"#);
        assert!(action.has_metadata("a") && action.has_metadata("d"));
        assert!(["b", "c", "e"].iter().all(|name| !action.has_metadata(name)));
    }

    #[test]
    fn names_are_escaped_too() {
        let action =
            Action::new("x").field("a\"b", "1").metadata("c\"d", "2").json_field("n", &RawJson::trusted("[1]"));
        let json = action.to_json();
        assert_eq!(json.as_str(), r#"{"op":"x","a\"b":"1","n":[1],"metadata":{"c\"d":"2"}}"#);
        assert!(RawJson::parse(json.as_str()).is_ok());
        let escaped = Action::new("o\"p").field("chat_id", "c\nd");
        assert_eq!((escaped.op(), escaped.chat_id()), ("o\"p", Some("c\nd")));
    }

    // proves: FRAME-1
    #[test]
    fn what_comes_as_json_goes_out_on_one_line_and_its_size_is_known() {
        let spread = RawJson::parse("{ \"a b\" :\n[1 , 2]\n}").unwrap();
        let action = Action::send("c", "hi").json_field("x", &spread).metadata("m", "1");
        let action = action.json_field("metadata", &RawJson::parse("{\"n\": [ 3,\n4 ]}").unwrap());
        let expected = r#"{"op":"send","chat_id":"c","content":"hi","x":{"a b":[1,2]},"metadata":{"m":"1","n":[3,4]}}"#;
        assert_eq!((action.to_json().as_str(), action.size()), (expected, expected.len()));
        let plain = Action::typing("c");
        assert_eq!(plain.size(), plain.to_json().as_str().len());
    }

    // proves: FRAME-1
    #[test]
    fn an_action_from_elsewhere_becomes_one_line() {
        assert_eq!(
            from_json("{ \"op\" : \"send\",\n \"content\": \"a \\n b\" }").unwrap().as_str(),
            r#"{"op":"send","content":"a \n b"}"#
        );
        assert_eq!(from_json("[1]"), Err(BadAction::NotAnObject));
        assert_eq!(from_json("{\"op\":5}"), Err(BadAction::NoOp));
        assert_eq!(from_json("{}"), Err(BadAction::NoOp));
    }
}
