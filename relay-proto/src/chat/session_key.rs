//! Session keys: which conversation of the agent a message belongs to.

use alloc::borrow::Cow;
use alloc::string::String;

/// Where a message came from, as far as its session key depends on it. Borrowed; empty text counts as absent.
///
/// ```
/// use relay_proto::chat::{SessionKeys, SessionSource};
///
/// let source = SessionSource {
///     platform: "slack",
///     chat_type: "group",
///     chat_id: "C1",
///     user_id: Some("U1"),
///     ..SessionSource::default()
/// };
/// assert_eq!(SessionKeys::default().key(&source), "agent:main:slack:group:C1:U1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSource<'a> {
    /// The normalised platform: `relay` (the default) for those this protocol does not know (EVENT-1).
    pub platform: &'a str,
    /// `dm` (the default), `group`, `channel`, `thread`, `forum`, …
    pub chat_type: &'a str,
    /// The chat.
    pub chat_id: &'a str,
    /// The thread or topic within the chat.
    pub thread_id: Option<&'a str>,
    /// Who wrote.
    pub user_id: Option<&'a str>,
    /// A more stable identifier of who wrote, if the platform has one. Wins over `user_id`.
    pub user_id_alt: Option<&'a str>,
    /// The agent's profile that the message was routed to. `default` is the same as none; `main` is a profile like others.
    pub profile: Option<&'a str>,
}

impl Default for SessionSource<'_> {
    fn default() -> Self {
        Self {
            platform: "relay",
            chat_type: "dm",
            chat_id: "",
            thread_id: None,
            user_id: None,
            user_id_alt: None,
            profile: None,
        }
    }
}

/// How an agent's host cuts conversations into sessions. Both sides of an `interrupt` must cut alike (STOP-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionKeys {
    /// In chats of several people, each person has a session of their own. Default: true.
    pub per_user_groups: bool,
    /// The same within threads, which are otherwise one session for all who write there. Only with `per_user_groups`.
    /// Default: false.
    pub per_user_threads: bool,
    /// Keys of a profile's messages start with `agent:{profile}` instead of `agent:main`. Default: false.
    pub profiles: bool,
}

impl Default for SessionKeys {
    fn default() -> Self {
        Self { per_user_groups: true, per_user_threads: false, profiles: false }
    }
}

impl SessionKeys {
    /// The session key: `agent:{namespace}:{platform}:{chat_type}` and what tells the conversation apart, after colons.
    ///
    /// * In a `dm`: the chat, else who wrote; then the thread.
    /// * Elsewhere: the chat, the thread, and who wrote when people have sessions of their own.
    ///
    /// Absent parts are left out. Messages that name neither chat, thread nor writer share one session for each
    /// platform and chat type; nothing is there to tell them apart by. Identifiers are not escaped, so a key cannot be
    /// split back into its parts, and is no proof of who wrote.
    ///
    /// WhatsApp writes one person as `+123`, `123@s.whatsapp.net` or `123:4@s.whatsapp.net`; writers, and chats in a `dm`,
    /// are reduced to the `123` of these. A `123@lid` is another number than the phone's, and only the bridge's mapping
    /// knows which belong together: map them before, where that matters. An identifier that reduces to nothing (`@lid`) is
    /// used as it is when there is nothing else, so that its owner does not share a session with everybody alike.
    pub fn key(&self, source: &SessionSource<'_>) -> String {
        let whatsapp = source.platform == "whatsapp";
        let reduce = |id| if whatsapp { reduce_whatsapp(id) } else { Cow::Borrowed(id) };
        let thread = source.thread_id.unwrap_or_default();
        let writer = [source.user_id_alt, source.user_id].into_iter().flatten().find(|id| !id.is_empty());
        let writer = writer.map(|id| first_present([reduce(id), Cow::Borrowed(id)])).unwrap_or_default();

        let mut key = String::from("agent:");
        key.push_str(self.namespace(source));
        key.extend([":", source.platform, ":", source.chat_type]);
        if source.chat_type == "dm" {
            push(&mut key, &first_present([reduce(source.chat_id), writer, Cow::Borrowed(source.chat_id)]));
            push(&mut key, thread);
        } else {
            push(&mut key, source.chat_id);
            push(&mut key, thread);
            if self.per_user_groups && (thread.is_empty() || self.per_user_threads) {
                push(&mut key, &writer);
            }
        }
        key
    }

    fn namespace<'a>(&self, source: &SessionSource<'a>) -> &'a str {
        match source.profile {
            // Its own name is that of the sessions without a profile. No profile's name has a `~` in it.
            Some("main") if self.profiles => "main~",
            Some(profile) if self.profiles && !profile.is_empty() && profile != "default" => profile,
            _ => "main",
        }
    }
}

fn push(key: &mut String, part: &str) {
    if !part.is_empty() {
        key.push(':');
        key.push_str(part);
    }
}

fn first_present<'a, const N: usize>(ids: [Cow<'a, str>; N]) -> Cow<'a, str> {
    ids.into_iter().find(|id| !id.is_empty()).unwrap_or_default()
}

/// Drops the device (`:4`), the server (`@s.whatsapp.net`) and a plus sign.
fn reduce_whatsapp(id: &str) -> Cow<'_, str> {
    let id = id.trim();
    let number = id.split([':', '@']).next().unwrap_or_default();
    match number.split_once('+') {
        Some(("", bare)) => bare.into(),
        Some((before, after)) => [before, after].concat().into(),
        None => number.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn dm<'a>(platform: &'a str, chat_id: &'a str) -> SessionSource<'a> {
        SessionSource { platform, chat_id, ..SessionSource::default() }
    }

    fn key(source: &SessionSource<'_>) -> String {
        SessionKeys::default().key(source)
    }

    #[test]
    fn a_dm_without_a_chat_is_told_apart_by_who_wrote() {
        let source = SessionSource { user_id: Some("u"), ..dm("signal", "") };
        assert_eq!(key(&source), "agent:main:signal:dm:u");
        assert_eq!(key(&SessionSource { user_id_alt: Some("alt"), ..source }), "agent:main:signal:dm:alt");
        assert_eq!(key(&SessionSource { user_id_alt: Some(""), ..source }), "agent:main:signal:dm:u");
        assert_eq!(key(&SessionSource { thread_id: Some("t"), ..source }), "agent:main:signal:dm:u:t");
        assert_eq!(key(&SessionSource { thread_id: Some("t"), ..dm("signal", "") }), "agent:main:signal:dm:t");
        assert_eq!(key(&dm("signal", "")), "agent:main:signal:dm");
    }

    // proves: CHAT-5
    #[test]
    fn a_profile_has_a_namespace_of_its_own_when_asked_for() {
        let keys = SessionKeys { profiles: true, ..SessionKeys::default() };
        for (profile, expect) in [
            (Some("coder"), "coder"),
            (Some("default"), "main"),
            (Some("main"), "main~"),
            (Some("Main"), "Main"),
            (Some(""), "main"),
            (None, "main"),
        ] {
            let source = SessionSource { profile, ..dm("slack", "D") };
            assert_eq!(keys.key(&source), ["agent:", expect, ":slack:dm:D"].concat());
            assert_eq!(key(&source), "agent:main:slack:dm:D");
        }
    }

    #[test]
    fn one_whatsapp_user_is_one_however_written() {
        let forms = [
            "601",
            "+601",
            " 601 ",
            "6+01",
            "60+1@s.whatsapp.net",
            "601@s.whatsapp.net",
            "601:47@s.whatsapp.net",
            "601@lid",
            "+601:1@x@y:z",
        ];
        let dms: BTreeSet<_> = forms.iter().map(|form| key(&dm("whatsapp", form))).collect();
        assert_eq!(Vec::from_iter(dms), ["agent:main:whatsapp:dm:601"]);
        let group = SessionSource { chat_type: "group", ..dm("whatsapp", "9@g.us") };
        let groups: BTreeSet<_> =
            forms.iter().map(|form| key(&SessionSource { user_id: Some(form), ..group })).collect();
        // The group itself is no person and keeps its name.
        assert_eq!(Vec::from_iter(groups), ["agent:main:whatsapp:group:9@g.us:601"]);
        // Other platforms' identifiers are opaque.
        assert_eq!(key(&dm("whatsapp_cloud", "+601")), "agent:main:whatsapp_cloud:dm:+601");
    }

    #[test]
    fn whatsapp_identifiers_that_reduce_to_nothing_stay_apart() {
        for id in ["+", "@lid", ":1@lid", "@s.whatsapp.net"] {
            let expect = ["agent:main:whatsapp:dm:", id].concat();
            assert_eq!(key(&dm("whatsapp", id)), expect);
            assert_eq!(key(&SessionSource { user_id: Some(id), ..dm("whatsapp", "") }), expect);
            // Who wrote is better than that.
            assert_eq!(key(&SessionSource { user_id: Some("+7"), ..dm("whatsapp", id) }), "agent:main:whatsapp:dm:7");
        }
    }

    proptest! {
        // proves: CHAT-5
        #[test]
        fn conversations_are_cut_as_the_settings_say(
            chats in ("[a-z0-9]{1,6}", "[a-z0-9]{1,6}"), writers in ("[A-Z]{1,6}", "[A-Z]{1,6}"),
            thread in proptest::option::of("[0-9]{1,4}"), profile in proptest::option::of("[a-z]{1,5}"),
            dm: bool, per_user_groups: bool, per_user_threads: bool, profiles: bool,
        ) {
            let keys = SessionKeys { per_user_groups, per_user_threads, profiles };
            let chat_type = if dm { "dm" } else { "group" };
            let key = |chat_id, user_id| {
                let thread_id = thread.as_deref();
                let profile = profile.as_deref();
                let user_id = Some(user_id);
                keys.key(&SessionSource { platform: "slack", chat_type, chat_id, thread_id, user_id, user_id_alt: None, profile })
            };
            let own = key(&chats.0, &writers.0);
            let namespace = match profile.as_deref() {
                Some("main") if profiles => "main~",
                Some(name) if profiles && name != "default" => name,
                _ => "main",
            };
            let prefix = ["agent:", namespace, ":slack:", chat_type, ":", &chats.0].concat();
            prop_assert!(own.starts_with(&prefix), "{own}");
            prop_assert_eq!(own == key(&chats.1, &writers.0), chats.0 == chats.1, "a chat is a conversation of its own");
            let by_writer = !dm && per_user_groups && (thread.is_none() || per_user_threads);
            prop_assert_eq!(own == key(&chats.0, &writers.1), writers.0 == writers.1 || !by_writer, "{}", own);
        }
    }
}
