//! Where an interaction happened, and who acted.

use alloc::string::String;

use serde_json::value::RawValue;

use super::InteractionError;
use super::interaction::{identifier, object, sub_members};

/// All that is learned of a chat from an [`Interaction`](super::Interaction) (CHAT-3).
///
/// Every forward is learned from as it comes in. What a user put into the interaction, which may be most of it, is left
/// alone until the application asks for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) chat_id: String,
    pub(super) scope_id: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) user_name: Option<String>,
}

impl Origin {
    /// Reads it alone out of the body of a forwarded request.
    pub(super) fn parse(body: &[u8]) -> Result<Self, InteractionError> {
        object(body, &["channel_id", "guild_id", "member", "user"]).map(Self::read)
    }

    /// Reads it from the members `channel_id`, `guild_id`, `member` and `user`.
    pub(super) fn read([channel, guild, member, user]: [Option<&RawValue>; 4]) -> Self {
        let [member_user] = sub_members(member, &["user"]);
        let [user_id, user_name] = [member_user, user]
            .map(|user| sub_members(user, &["id", "username"]).map(identifier))
            .into_iter()
            .find(|fields| fields.iter().any(Option::is_some))
            .unwrap_or_default();
        Self { chat_id: identifier(channel).unwrap_or_default(), scope_id: identifier(guild), user_id, user_name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Interaction;
    use alloc::format;
    use proptest::prelude::*;

    // proves: CHAT-3, FRAME-3
    #[test]
    fn what_was_put_in_costs_nothing_where_only_the_chat_is_learned() {
        let name = "n".repeat(100_000);
        let body = format!(
            r#"{{"type":2,"channel_id":"c","guild_id":"g","user":{{"id":"u"}},"data":{{"options":[{}7],
                "resolved":{{"users":{{"1":{{"username":"{name}"}}}}}}}}}}"#,
            r#"{"type":6,"value":1},"#.repeat(10_000),
        );
        let Origin { chat_id, scope_id, user_id, user_name } = Origin::parse(body.as_bytes()).unwrap();
        assert_eq!((&*chat_id, scope_id.as_deref(), user_id.as_deref()), ("c", Some("g"), Some("u")));
        let ids = [Some(chat_id), scope_id, user_id, user_name];
        assert!(ids.iter().flatten().map(String::capacity).sum::<usize>() <= 3 * 8, "{ids:?}");
    }

    proptest! {
        // proves: CHAT-3, CHAT-7
        #[test]
        fn it_is_what_the_whole_interaction_says(
            values in proptest::array::uniform6(prop_oneof!["\"[a-c]?\"", "[0-2]", "null|true|\\[\\]|\\{\\}"]),
            shape in r#"\{|\[|"#,
        ) {
            let [channel, guild, member, member_name, user, name] = values;
            let body = format!(
                r#"{shape}"type":2,"channel_id":{channel},"guild_id":{guild},
                    "member":{{"user":{{"id":{member},"username":{member_name}}}}},"user":{{"id":{user},"username":{name}}}}}"#,
            );
            let whole = Interaction::parse(body.as_bytes());
            let whole = whole.map(|Interaction { chat_id, scope_id, user_id, user_name, .. }| {
                Origin { chat_id, scope_id, user_id, user_name }
            });
            prop_assert_eq!(Origin::parse(body.as_bytes()), whole);
        }
    }
}
