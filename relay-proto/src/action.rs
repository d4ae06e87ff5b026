//! Actions: what a request asks the connector to do.

use alloc::string::String;

use crate::frame::{MessageEvent, RawJson};
use crate::json::{push_field, push_string};

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
    /// The members of `metadata`, each with a comma before it.
    metadata: String,
}

impl Action {
    /// Any operation.
    pub fn new(op: &str) -> Self {
        let mut fields = String::from("{\"op\":");
        push_string(&mut fields, op);
        Self { fields, metadata: String::new() }
    }

    /// Sends a message into a chat.
    pub fn send(chat_id: &str, content: &str) -> Self {
        Self::new("send").field("chat_id", chat_id).field("content", content)
    }

    /// Answers a message: sends into its chat, quotes it, and carries the scope, or for direct messages the user, by which
    /// a connector finds out whose chat it is.
    pub fn answer(event: &MessageEvent, content: &str) -> Self {
        let mut action = Self::send(event.chat_id(), content);
        if let Some(id) = event.message_id().or(event.source_message_id()) {
            action = action.reply_to(id);
        }
        match (event.scope_id(), event.user_id()) {
            (Some(scope), _) => action.metadata("scope_id", scope),
            (None, Some(user)) => action.metadata("user_id", user),
            (None, None) => action,
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

    /// Uses a capability that the connector holds for a session, such as answering a Discord interaction.
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
        push_string(&mut self.fields, value);
        self
    }

    /// Adds a field of any type.
    #[must_use]
    pub fn json_field(mut self, name: &str, value: &RawJson) -> Self {
        self.push_name(name);
        self.fields.push_str(value.as_str());
        self
    }

    fn push_name(&mut self, name: &str) {
        self.fields.push(',');
        push_string(&mut self.fields, name);
        self.fields.push(':');
    }

    /// Adds a text to `metadata`.
    #[must_use]
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        let mut quoted = String::new();
        push_string(&mut quoted, name);
        // `push_field` writes the name as it is, so it gets the inside of the quoted one.
        let name = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or("");
        push_field(&mut self.metadata, name, value);
        self
    }

    /// The action as JSON on one line.
    pub fn to_json(&self) -> RawJson {
        let mut out = self.fields.clone();
        if let Some(metadata) = self.metadata.strip_prefix(',') {
            out.push_str(",\"metadata\":{");
            out.push_str(metadata);
            out.push('}');
        }
        out.push('}');
        RawJson::trusted(out)
    }
}

/// An action from elsewhere, say from a program in another language.
///
/// # Errors
/// What is wrong with the text: it has to be a JSON object with a text `op`. It comes back compact, on one line.
pub fn from_json(text: &str) -> Result<RawJson, BadAction> {
    let [op] = crate::json::members(text, &["op"]).map_err(|_| BadAction::NotAnObject)?;
    if op.and_then(|op| crate::json::string(op.get())).is_none_or(|op| op.is_empty()) {
        return Err(BadAction::NoOp);
    }
    Ok(RawJson::trusted(crate::json::compact(text).into_owned()))
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

    #[test]
    fn names_are_escaped_too() {
        let action =
            Action::new("x").field("a\"b", "1").metadata("c\"d", "2").json_field("n", &RawJson::trusted("[1]"));
        let json = action.to_json();
        assert_eq!(json.as_str(), r#"{"op":"x","a\"b":"1","n":[1],"metadata":{"c\"d":"2"}}"#);
        assert!(RawJson::parse(json.as_str()).is_ok());
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
