//! What the last messages of each chat said about how to answer there.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;

use super::origin::Origin;
use crate::action::Action;
use crate::frame::{MessageEvent, PassthroughForward};

/// What has to go with what is sent into a chat. A connector finds out by it whose chat it is, and declines what says
/// nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scope {
    /// The platform that the chat is on. `None`: the connector never said.
    pub platform: Option<String>,
    /// The server, guild or workspace.
    pub scope_id: Option<String>,
    /// Who wrote last. It stands for the chat where that has no scope: in direct messages.
    pub user_id: Option<String>,
    /// The agent's profile that the chat is routed to.
    pub profile: Option<String>,
    /// The bot that was addressed last: the profile of a message, or the bot of a forward. It counts only where it is one of
    /// several bots that the gateway fronts on the platform (CHAT-8).
    pub bot_id: Option<String>,
}

impl Scope {
    /// What a message says.
    pub fn of(event: &MessageEvent) -> Self {
        Self {
            platform: platform(event.platform(), event.platform_name()),
            scope_id: present(event.scope_id()),
            user_id: present(event.user_id()),
            profile: present(event.profile()),
            bot_id: present(event.profile()),
        }
    }

    /// Adds to an action's `metadata` what is missing there (CHAT-3): the scope or, without one, who wrote last; and the
    /// profile. What the action has already stays as it is, its scope also under the older name `guild_id`.
    #[must_use]
    pub fn attach(&self, mut action: Action) -> Action {
        let scoped = action.has_metadata("scope_id") || action.has_metadata("guild_id");
        match (&self.scope_id, &self.user_id) {
            (Some(scope), _) if !scoped => action = action.metadata("scope_id", scope),
            (None, Some(user)) if !scoped && !action.has_metadata("user_id") => {
                action = action.metadata("user_id", user);
            }
            _ => {}
        }
        match &self.profile {
            Some(profile) if !action.has_metadata("profile") => action.metadata("profile", profile),
            _ => action,
        }
    }

    /// Takes over what a later message says.
    fn update(&mut self, later: Self) {
        let Self { platform, scope_id, user_id, profile, bot_id } = later;
        for (known, later) in [
            (&mut self.platform, platform),
            (&mut self.scope_id, scope_id),
            (&mut self.user_id, user_id),
            (&mut self.profile, profile),
            (&mut self.bot_id, bot_id),
        ] {
            if later.is_some() {
                *known = later;
            }
        }
    }

    fn bytes(&self) -> usize {
        [&self.platform, &self.scope_id, &self.user_id, &self.profile, &self.bot_id]
            .into_iter()
            .flatten()
            .map(String::len)
            .sum()
    }
}

/// The platform's name as requests carry it: the known one, else what the connector wrote, unless that is `relay`, which
/// names none (EVENT-1).
fn platform(normalised: &str, written: Option<&str>) -> Option<String> {
    let name = if normalised == "relay" { written? } else { normalised };
    (!name.is_empty() && name != "relay").then(|| name.to_owned())
}

fn present(id: Option<&str>) -> Option<String> {
    id.filter(|id| !id.is_empty()).map(ToOwned::to_owned)
}

/// A chat on its platform. The chat comes first, so that those of one id on several platforms are next to each other.
type Key = (String, String);

/// Remembers the [`Scope`] of each chat (CHAT-3).
///
/// It knows the [`CAPACITY`](Self::CAPACITY) chats that were heard from, or asked for, last. Chats of the same id on
/// different platforms are different chats. It belongs to a gateway, not to a link: reconnecting forgets nothing.
#[derive(Clone, Debug, Default)]
pub struct ScopeMemory {
    chats: BTreeMap<Key, (Scope, u64)>,
    /// The chats by when they were last used.
    used: BTreeMap<u64, Key>,
    /// When the last one was.
    clock: u64,
}

impl ScopeMemory {
    /// How many chats are remembered.
    pub const CAPACITY: usize = 4096;
    /// How many bytes the identifiers of one chat may have together. A chat with longer ones is not remembered, so that
    /// the memory is bounded in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Learns from a message.
    pub fn learn(&mut self, event: &MessageEvent) {
        self.note(event.chat_id(), Scope::of(event));
    }

    /// Learns from a forward, if it is a Discord interaction.
    pub fn learn_forward(&mut self, forward: &PassthroughForward) {
        if let Some(Origin { chat_id, scope_id, user_id, .. }) = forward.origin() {
            let platform = Some("discord".to_owned());
            let profile = forward.profile();
            let bot_id = present(Some(&forward.bot_id)).or_else(|| profile.clone());
            self.note(&chat_id, Scope { platform, scope_id, user_id, profile, bot_id });
        }
    }

    fn note(&mut self, chat_id: &str, scope: Scope) {
        if chat_id.is_empty() || chat_id.len() + scope.bytes() > Self::MAX_BYTES {
            return;
        }
        let key = (chat_id.to_owned(), scope.platform.clone().unwrap_or_default());
        self.chats.entry(key.clone()).or_default().0.update(scope);
        self.touch(&key);
        if self.chats.len() > Self::CAPACITY
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.chats.remove(&oldest);
        }
    }

    /// What is known of a chat: on this platform or, without one, on that where the chat was used last.
    pub fn recall(&mut self, chat_id: &str, platform: Option<&str>) -> Option<&Scope> {
        let of_chat =
            || self.chats.range((chat_id.to_owned(), String::new())..).take_while(|(key, _)| key.0 == chat_id);
        let key = match platform {
            // A connector of one platform need not name it.
            Some(platform) => {
                of_chat().find(|(key, _)| key.1 == platform).or_else(|| of_chat().find(|(key, _)| key.1.is_empty()))
            }
            None => of_chat().max_by_key(|(_, (_, used))| *used),
        };
        let key = key?.0.clone();
        self.touch(&key);
        self.chats.get(&key).map(|(scope, _)| scope)
    }

    fn touch(&mut self, key: &Key) {
        if let Some((_, used)) = self.chats.get_mut(key)
            // One that is the last already stays it, as most are that are talked in.
            && (*used == 0 || *used != self.clock)
        {
            self.used.remove(used);
            self.clock += 1;
            *used = self.clock;
            self.used.insert(self.clock, key.clone());
        }
    }

    /// How many chats are remembered now.
    pub fn len(&self) -> usize {
        self.chats.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.chats.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    fn heard(memory: &mut ScopeMemory, source: &str) {
        memory.learn(&MessageEvent::parse(&format!("{{\"source\":{source}}}")).unwrap());
    }

    fn sent(memory: &mut ScopeMemory, action: Action, platform: Option<&str>) -> String {
        let chat = action.chat_id().unwrap().to_owned();
        let action = match memory.recall(&chat, platform) {
            Some(scope) => scope.attach(action),
            None => action,
        };
        action.to_json().as_str().to_owned()
    }

    fn typing(memory: &mut ScopeMemory, platform: Option<&str>) -> String {
        sent(memory, Action::typing("c"), platform).replace(r#"{"op":"typing","chat_id":"c""#, "")
    }

    // proves: CHAT-3
    #[test]
    fn what_was_heard_goes_with_what_is_sent() {
        let mut memory = ScopeMemory::default();
        assert_eq!(typing(&mut memory, None), "}");
        heard(&mut memory, r#"{"platform":"discord","chat_id":"c","guild_id":7,"user_id":"u","profile":"ops"}"#);
        assert_eq!(typing(&mut memory, None), r#","metadata":{"scope_id":"7","profile":"ops"}}"#);
        // A later message that says less takes nothing away.
        heard(&mut memory, r#"{"platform":"discord","chat_id":"c","user_id":"v"}"#);
        assert_eq!(typing(&mut memory, None), r#","metadata":{"scope_id":"7","profile":"ops"}}"#);
        let mut memory = ScopeMemory::default();
        heard(&mut memory, r#"{"platform":"discord","chat_id":"c","scope_id":"","user_id":"u"}"#);
        assert_eq!(typing(&mut memory, None), r#","metadata":{"user_id":"u"}}"#);
        heard(&mut memory, r#"{"platform":"discord","chat_id":"c","user_id":"v"}"#);
        assert_eq!(typing(&mut memory, None), r#","metadata":{"user_id":"v"}}"#);
    }

    // proves: CHAT-3
    #[test]
    fn explicit_values_win() {
        let mut memory = ScopeMemory::default();
        heard(&mut memory, r#"{"chat_id":"c","scope_id":"g","profile":"ops"}"#);
        for (name, rest) in [("scope_id", r#","profile":"ops""#), ("guild_id", r#","profile":"ops""#)] {
            let json = sent(&mut memory, Action::typing("c").metadata(name, "own"), None);
            assert!(json.ends_with(&format!(r#""metadata":{{"{name}":"own"{rest}}}}}"#)), "{json}");
        }
        let json = sent(&mut memory, Action::typing("c").metadata("profile", "own").metadata("scope_id", ""), None);
        assert!(json.ends_with(r#""metadata":{"profile":"own","scope_id":"g"}}"#), "an empty text is none: {json}");
        let mut memory = ScopeMemory::default();
        heard(&mut memory, r#"{"chat_id":"c","user_id":"u"}"#);
        let json = sent(&mut memory, Action::typing("c").metadata("user_id", "own"), None);
        assert!(json.ends_with(r#""metadata":{"user_id":"own"}}"#), "{json}");
        let json = sent(&mut memory, Action::typing("c").metadata("scope_id", "own"), None);
        assert!(json.ends_with(r#""metadata":{"scope_id":"own"}}"#), "the user is for chats without a scope: {json}");
    }

    // proves: CHAT-3
    #[test]
    fn the_same_id_on_two_platforms_is_two_chats() {
        let mut memory = ScopeMemory::default();
        heard(&mut memory, r#"{"platform":"discord","chat_id":"c","scope_id":"g"}"#);
        heard(&mut memory, r#"{"platform":"telegram","chat_id":"c","user_id":"u"}"#);
        assert_eq!(typing(&mut memory, Some("discord")), r#","metadata":{"scope_id":"g"}}"#);
        assert_eq!(typing(&mut memory, Some("telegram")), r#","metadata":{"user_id":"u"}}"#);
        assert_eq!(typing(&mut memory, Some("slack")), "}");
        assert_eq!(memory.recall("c", None).unwrap().platform.as_deref(), Some("telegram"), "used last");
        assert!(memory.recall("", None).is_none() && memory.recall("cc", None).is_none());
    }

    // proves: CHAT-3
    #[test]
    fn a_platform_that_is_not_known_keeps_its_name() {
        for (source, platform) in [
            (r#"{"platform":"Discord","chat_id":"c"}"#, Some("discord")),
            (r#"{"platform":"Pager","chat_id":"c"}"#, Some("Pager")),
            (r#"{"platform":"relay","chat_id":"c"}"#, None),
            (r#"{"chat_id":"c"}"#, None),
        ] {
            let mut memory = ScopeMemory::default();
            heard(&mut memory, source);
            assert_eq!(memory.recall("c", None).unwrap().platform.as_deref(), platform);
        }
    }

    // proves: CHAT-3
    #[test]
    fn interactions_teach_it_too() {
        let mut memory = ScopeMemory::default();
        // {"channel_id":"c","guild_id":"g","user":{"id":"u"}}
        let body = "eyJjaGFubmVsX2lkIjoiYyIsImd1aWxkX2lkIjoiZyIsInVzZXIiOnsiaWQiOiJ1In19";
        for (platform, known) in [("twilio", 0), ("discord", 1)] {
            let forward = format!(r#"{{"platform":"{platform}","bodyB64":"{body}","profile":"ops"}}"#);
            memory.learn_forward(&PassthroughForward::parse(&forward).unwrap());
            assert_eq!(memory.len(), known);
        }
        let scope = memory.recall("c", Some("discord")).unwrap();
        assert_eq!((scope.scope_id.as_deref(), scope.user_id.as_deref()), (Some("g"), Some("u")));
        assert_eq!((scope.platform.as_deref(), scope.profile.as_deref()), (Some("discord"), Some("ops")));
    }

    // proves: CHAT-3
    #[test]
    fn the_chat_that_was_used_longest_ago_is_forgotten() {
        let mut memory = ScopeMemory::default();
        for chat in 0..ScopeMemory::CAPACITY {
            heard(&mut memory, &format!(r#"{{"chat_id":"{chat}","scope_id":"g"}}"#));
        }
        assert!(memory.recall("0", None).is_some(), "which is a use");
        heard(&mut memory, r#"{"chat_id":"new","scope_id":"g"}"#);
        assert!(memory.recall("0", None).is_some() && memory.recall("new", None).is_some());
        assert!(memory.recall("1", None).is_none());
        assert_eq!((memory.len(), memory.used.len()), (ScopeMemory::CAPACITY, ScopeMemory::CAPACITY));
        let long = "x".repeat(ScopeMemory::MAX_BYTES);
        heard(&mut memory, &format!(r#"{{"chat_id":"{long}","scope_id":"g"}}"#));
        assert!(memory.recall(&long, None).is_none(), "too long to be remembered");
    }

    proptest! {
        // proves: CHAT-3
        #[test]
        fn what_is_recalled_was_said_in_that_chat(
            said in proptest::collection::vec((0..4_u8, 0..3_u8, 0..3_u8, 0..3_u8), 0..60),
        ) {
            let mut memory = ScopeMemory::default();
            let mut model: BTreeMap<(u8, u8), (Option<u8>, Option<u8>)> = BTreeMap::new();
            for (chat, platform, scope, user) in said {
                let name = ["discord", "telegram", "slack"][usize::from(platform)];
                // 0 stands for none.
                let texts = [("scope_id", scope), ("user_id", user)]
                    .map(|(field, id)| if id == 0 { String::new() } else { format!(r#","{field}":"{name}-{chat}-{id}""#) });
                heard(&mut memory, &format!(r#"{{"platform":"{name}","chat_id":"{chat}"{}}}"#, texts.concat()));
                let known = model.entry((chat, platform)).or_default();
                known.0 = Some(scope).filter(|id| *id > 0).or(known.0);
                known.1 = Some(user).filter(|id| *id > 0).or(known.1);
                for ((chat, platform), (scope, user)) in &model {
                    let name = ["discord", "telegram", "slack"][usize::from(*platform)];
                    let id = |id: &Option<u8>| id.map(|id| format!("{name}-{chat}-{id}"));
                    // Looked at in a copy, so that looking is no use.
                    let mut copy = memory.clone();
                    let found = copy.recall(&format!("{chat}"), Some(name)).unwrap();
                    prop_assert_eq!((&found.scope_id, &found.user_id), (&id(scope), &id(user)));
                }
                let last = memory.recall(&format!("{chat}"), None).unwrap();
                prop_assert_eq!(last.platform.as_deref(), Some(name));
            }
        }
    }
}
