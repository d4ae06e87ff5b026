//! Discord interactions: slash commands, buttons and forms that a connector forwards as they came (PASS-1).

use alloc::borrow::Cow;
use alloc::string::String;

use serde_json::value::RawValue;

use super::SessionSource;
use crate::json::{self, NotObject};

/// A forwarded Discord interaction, as much of it as a conversation needs.
///
/// Read leniently, as events are (EVENT-2): numbers are read as text, and a field of a wrong type is absent. An empty
/// text and the number 0 are no identifiers, and count as absent, too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interaction {
    /// The interaction's id.
    pub id: Option<String>,
    /// What the user did.
    pub kind: InteractionKind,
    /// The name of the command, or the custom id of the component; otherwise empty.
    pub text: String,
    /// The channel; empty if there is none.
    pub chat_id: String,
    /// The guild, when the interaction happened in one.
    pub scope_id: Option<String>,
    /// Who acted: the guild member, else the user of a direct message.
    pub user_id: Option<String>,
    /// Their user name.
    pub user_name: Option<String>,
}

/// What kind of interaction it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InteractionKind {
    /// A slash command or context menu entry (type 2).
    Command,
    /// A button or select menu (type 3).
    Component,
    /// A form that was sent in (type 5).
    Modal,
    /// Another type, by Discord's number; 0, which is none of Discord's, if there is no such number.
    Other(u64),
}

/// Why a body is no interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InteractionError {
    /// Not JSON in UTF-8.
    #[error("the interaction is not JSON")]
    NotJson,
    /// JSON, but not an object.
    #[error("the interaction is not a JSON object")]
    NotAnObject,
}

impl Interaction {
    /// Reads the body of a forwarded request.
    ///
    /// # Errors
    /// When the body is not a JSON object in UTF-8. Whatever else is wrong with it costs only the field it is wrong in.
    pub fn parse(body: &[u8]) -> Result<Self, InteractionError> {
        let body = core::str::from_utf8(body).map_err(|_| InteractionError::NotJson)?;
        let [id, kind, channel, guild, data, member, user] =
            json::members(body, &["id", "type", "channel_id", "guild_id", "data", "member", "user"]).map_err(
                |error| match error {
                    NotObject::Json => InteractionError::NotJson,
                    NotObject::Type => InteractionError::NotAnObject,
                },
            )?;
        let kind = InteractionKind::from_number(kind.and_then(|raw| raw.get().parse().ok()).unwrap_or(0));
        let [name, custom_id] = sub_members(data, &["name", "custom_id"]);
        let text = match kind {
            InteractionKind::Command => name,
            InteractionKind::Component => custom_id,
            InteractionKind::Modal | InteractionKind::Other(_) => None,
        };
        let [member_user] = sub_members(member, &["user"]);
        let [user_id, user_name] = [member_user, user]
            .map(|user| sub_members(user, &["id", "username"]).map(identifier))
            .into_iter()
            .find(|fields| fields.iter().any(Option::is_some))
            .unwrap_or_default();
        Ok(Self {
            id: identifier(id),
            kind,
            text: identifier(text).unwrap_or_default(),
            chat_id: identifier(channel).unwrap_or_default(),
            scope_id: identifier(guild),
            user_id,
            user_name,
        })
    }

    /// `channel` in a guild, else `dm`.
    pub fn chat_type(&self) -> &'static str {
        if self.scope_id.is_some() { "channel" } else { "dm" }
    }

    /// What the session key is made of. Connectors bind an interaction's follow-up to the key on the platform `relay`,
    /// not `discord`.
    pub fn session_source(&self) -> SessionSource<'_> {
        SessionSource {
            platform: "relay",
            chat_type: self.chat_type(),
            chat_id: &self.chat_id,
            user_id: self.user_id.as_deref(),
            ..SessionSource::default()
        }
    }
}

impl InteractionKind {
    fn from_number(number: u64) -> Self {
        match number {
            2 => Self::Command,
            3 => Self::Component,
            5 => Self::Modal,
            other => Self::Other(other),
        }
    }

    /// Discord's number of the type.
    pub fn number(self) -> u64 {
        match self {
            Self::Command => 2,
            Self::Component => 3,
            Self::Modal => 5,
            Self::Other(number) => number,
        }
    }
}

/// The members of a field that should be an object; none of them if it is not.
fn sub_members<'a, const N: usize>(object: Option<&'a RawValue>, names: &[&str; N]) -> [Option<&'a RawValue>; N] {
    object.and_then(|raw| json::members(raw.get(), names).ok()).unwrap_or([None; N])
}

fn identifier(field: Option<&RawValue>) -> Option<String> {
    let raw = field?;
    let text = json::text(raw).filter(|text| !text.is_empty())?;
    let is_number = !raw.get().starts_with('"');
    (!is_number || !json::is_zero(&text)).then(|| Cow::into_owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::SessionKeys;
    use alloc::format;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn parse(body: &str) -> Interaction {
        Interaction::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn kinds_keep_their_number() {
        let numbers = [(1, InteractionKind::Other(1)), (2, InteractionKind::Command), (3, InteractionKind::Component)];
        for (number, kind) in numbers.into_iter().chain([(4, InteractionKind::Other(4)), (5, InteractionKind::Modal)]) {
            assert_eq!(parse(&format!(r#"{{"type":{number}}}"#)).kind, kind);
            assert_eq!(kind.number(), number);
        }
        for none in [r#"{}"#, r#"{"type":"2"}"#, r#"{"type":-2}"#, r#"{"type":null}"#, r#"{"type":[2]}"#] {
            assert_eq!(parse(none).kind, InteractionKind::Other(0), "{none}");
        }
    }

    // proves: EVENT-2
    #[test]
    fn a_field_of_a_wrong_type_costs_only_itself() {
        let odd = parse(
            r#"{"id":[1],"type":2,"channel_id":123456789012345678901,"guild_id":0,"data":[],"member":7,
                "user":{"id":true,"username":"ann\ud800"},"extra":{"deep":[[[]]]}}"#,
        );
        let expect = Interaction {
            id: None,
            kind: InteractionKind::Command,
            text: String::new(),
            chat_id: "123456789012345678901".into(),
            scope_id: None,
            user_id: None,
            user_name: Some("ann\u{fffd}".into()),
        };
        assert_eq!(odd, expect);
    }

    #[test]
    fn the_member_acts_in_a_guild_and_the_user_elsewhere() {
        let user = r#""user":{"id":"u","username":"bob"}"#;
        let member = |user_of_member: &str| parse(&format!(r#"{{"member":{{"user":{user_of_member}}},{user}}}"#));
        assert_eq!(member(r#"{"id":"m"}"#).user_id.as_deref(), Some("m"));
        assert_eq!(member(r#"{"id":"m"}"#).user_name, None);
        for nobody in ["{}", "null", "\"m\"", "[]"] {
            assert_eq!(member(nobody).user_id.as_deref(), Some("u"), "{nobody}");
        }
    }

    #[test]
    fn session_keys_are_those_the_connector_bound() {
        let keys = SessionKeys::default();
        let guild = parse(r#"{"type":2,"channel_id":"c","guild_id":"g","member":{"user":{"id":"u"}}}"#);
        assert_eq!(keys.key(&guild.session_source()), "agent:main:relay:channel:c:u");
        let dm = parse(r#"{"type":2,"channel_id":"d","guild_id":"","user":{"id":"u"}}"#);
        assert_eq!(keys.key(&dm.session_source()), "agent:main:relay:dm:d");
    }

    #[test]
    fn what_is_no_object_is_an_error_that_says_which() {
        for body in [&b""[..], b"not json", b"{", b"{} {}", b"\xff", b"{\"id\":\"\xc3\"}", b"\xef\xbb\xbf{}"] {
            assert_eq!(Interaction::parse(body), Err(InteractionError::NotJson), "{body:?}");
        }
        for body in [&b"[1, 2]"[..], b"null", b" 7 ", b"\"{}\""] {
            assert_eq!(Interaction::parse(body), Err(InteractionError::NotAnObject), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in any::<Vec<u8>>(), text in r#"[\[\]{}":,a-z0-9\\ ]{0,60}"#) {
            let _ = Interaction::parse(&body);
            let _ = Interaction::parse(text.as_bytes());
            let _ = Interaction::parse(format!(r#"{{"type":2,"data":{text},"user":{{"id":{text}}}}}"#).as_bytes());
        }
    }
}
