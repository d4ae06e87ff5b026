//! Message events (EVENT-1, EVENT-2, EVENT-3).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::places::{EventPlaces, FIELDS, Field, SOURCE, Source};
use super::span::{Reader, Span, Texts};
use crate::json::scan::{NotJson, Place, Scan};

/// The platforms that the reference gateway knows by name. Any other name is normalised to `relay`.
const PLATFORMS: [&str; 32] = [
    "api_server",
    "bluebubbles",
    "dingtalk",
    "discord",
    "email",
    "feishu",
    "google_chat",
    "homeassistant",
    "irc",
    "line",
    "local",
    "matrix",
    "mattermost",
    "msgraph_webhook",
    "ntfy",
    "photon",
    "qqbot",
    "raft",
    "relay",
    "signal",
    "simplex",
    "slack",
    "sms",
    "teams",
    "telegram",
    "webhook",
    "wecom",
    "wecom_callback",
    "weixin",
    "whatsapp",
    "whatsapp_cloud",
    "yuanbao",
];

/// The normalised name of a platform: a known name in lower case, or `relay` (EVENT-1).
pub fn platform(name: &str) -> &'static str {
    let name = name.trim();
    PLATFORMS.iter().find(|known| known.eq_ignore_ascii_case(name)).copied().unwrap_or("relay")
}

/// What kind of message it is. Unknown kinds are [`MessageType::Text`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // The names say it.
pub enum MessageType {
    #[default]
    Text,
    Location,
    Photo,
    Video,
    Audio,
    Voice,
    Document,
    Sticker,
    Command,
}

impl MessageType {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Text, "text"),
        (Self::Location, "location"),
        (Self::Photo, "photo"),
        (Self::Video, "video"),
        (Self::Audio, "audio"),
        (Self::Voice, "voice"),
        (Self::Document, "document"),
        (Self::Sticker, "sticker"),
        (Self::Command, "command"),
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("text", |(_, name)| name)
    }

    fn from_name(name: &str) -> Self {
        Self::ALL.iter().find(|(_, known)| *known == name).map_or(Self::Text, |(kind, _)| *kind)
    }
}

/// A message on a chat platform, normalised (EVENT-1).
///
/// Accessors return borrowed text; the raw JSON of the event, with fields this version does not know, is
/// [`raw`](Self::raw). An absent field is `None`, or its default where the contract has one.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageEvent(
    /// Events are moved a lot: through queues, to the application, and within it.
    Box<Parts>,
);

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    texts: Texts,
    fields: [Span; FIELDS],
    source: [Span; SOURCE],
    lists: Lists,
    upstream: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lists {
    media_urls: Vec<Span>,
    context: Vec<ContextSpans>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContextSpans {
    text: Span,
    user_name: Span,
    user_id: Span,
}

/// One message of the read-only context that came with an event: something said nearby, not addressed to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextMessage<'a> {
    /// The text, never empty.
    pub text: &'a str,
    /// The author's name.
    pub user_name: Option<&'a str>,
    /// The author's id.
    pub user_id: Option<&'a str>,
}

impl MessageEvent {
    /// Reads an event from its JSON text. `None` when it is not an object.
    pub fn parse(json: &str) -> Option<Self> {
        let mut scan = Scan::new(json).ok().filter(Scan::is_at_object)?;
        let mut places = EventPlaces::default();
        places.scan(&mut scan).ok()?;
        scan.end().ok()?;
        Some(Self::read(json, &places))
    }

    /// Reads an event that stands at these places of a text.
    pub(super) fn read(text: &str, places: &EventPlaces) -> Self {
        let mut reader = Reader::new(text, places.whole);
        let fields = places.fields.map(|place| reader.text(place));
        let source = places.source.map(|place| reader.text(place));
        let lists = Lists {
            media_urls: reader.media_urls(places.media_urls).unwrap_or_default(),
            context: reader.context(places.context).unwrap_or_default(),
        };
        Self(Box::new(Parts { texts: reader.finish(), fields, source, lists, upstream: false }))
    }

    /// Marks that the event came over an authenticated link (EVENT-3).
    pub(crate) fn stamp_upstream(&mut self) {
        self.0.upstream = true;
    }

    fn field(&self, field: Field) -> Option<&str> {
        self.0.fields.get(field as usize).and_then(|span| self.0.texts.get(*span))
    }

    fn source_field(&self, field: Source) -> Option<&str> {
        self.0.source.get(field as usize).and_then(|span| self.0.texts.get(*span))
    }

    /// The text; empty when there is none.
    pub fn text(&self) -> &str {
        self.field(Field::Text).unwrap_or("")
    }

    /// The message's id on its platform.
    pub fn message_id(&self) -> Option<&str> {
        self.field(Field::MessageId)
    }

    /// The id of the message that this one answers.
    pub fn reply_to_message_id(&self) -> Option<&str> {
        self.field(Field::ReplyToMessageId)
    }

    /// What kind of message it is.
    pub fn message_type(&self) -> MessageType {
        self.field(Field::MessageType).map_or(MessageType::Text, MessageType::from_name)
    }

    /// The platform, normalised: a known name, or `relay`.
    pub fn platform(&self) -> &'static str {
        self.platform_name().map_or("relay", platform)
    }

    /// The platform's name as the connector wrote it.
    pub fn platform_name(&self) -> Option<&str> {
        self.source_field(Source::Platform)
    }

    /// The chat to answer into; empty when the event names none.
    pub fn chat_id(&self) -> &str {
        self.source_field(Source::ChatId).unwrap_or("")
    }

    /// `dm`, `group`, `channel`, `thread`, …; `dm` when absent.
    pub fn chat_type(&self) -> &str {
        self.source_field(Source::ChatType).unwrap_or("dm")
    }

    /// The chat's display name.
    pub fn chat_name(&self) -> Option<&str> {
        self.source_field(Source::ChatName)
    }

    /// The author's id.
    pub fn user_id(&self) -> Option<&str> {
        self.source_field(Source::UserId)
    }

    /// The author's display name.
    pub fn user_name(&self) -> Option<&str> {
        self.source_field(Source::UserName)
    }

    /// The thread within the chat.
    pub fn thread_id(&self) -> Option<&str> {
        self.source_field(Source::ThreadId)
    }

    /// The chat's topic.
    pub fn chat_topic(&self) -> Option<&str> {
        self.source_field(Source::ChatTopic)
    }

    /// A second, more stable id of the author, on platforms that have one.
    pub fn user_id_alt(&self) -> Option<&str> {
        self.source_field(Source::UserIdAlt)
    }

    /// A second id of the chat, on platforms that have one.
    pub fn chat_id_alt(&self) -> Option<&str> {
        self.source_field(Source::ChatIdAlt)
    }

    /// The server, guild or workspace. `guild_id` is its older name; `scope_id` wins.
    pub fn scope_id(&self) -> Option<&str> {
        self.source_field(Source::ScopeId).or_else(|| self.source_field(Source::GuildId))
    }

    /// The chat that a thread belongs to.
    pub fn parent_chat_id(&self) -> Option<&str> {
        self.source_field(Source::ParentChatId)
    }

    /// The message id that the source carries, next to the event's own.
    pub fn source_message_id(&self) -> Option<&str> {
        self.source_field(Source::MessageId)
    }

    /// The agent's profile that the event is routed to.
    pub fn profile(&self) -> Option<&str> {
        self.source_field(Source::Profile)
    }

    /// Where attached media can be fetched, in order.
    pub fn media_urls(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.lists.media_urls.iter().map(|span| self.0.texts.get(*span).unwrap_or(""))
    }

    /// The read-only context around the message, oldest first.
    pub fn context(&self) -> impl ExactSizeIterator<Item = ContextMessage<'_>> {
        self.0.lists.context.iter().map(|item| ContextMessage {
            text: self.0.texts.get(item.text).unwrap_or(""),
            user_name: self.0.texts.get(item.user_name),
            user_id: self.0.texts.get(item.user_id),
        })
    }

    /// The context as one text: a heading, then a line a message. `None` without context.
    pub fn channel_context(&self) -> Option<String> {
        if self.context().len() == 0 {
            return None;
        }
        let mut out = String::from("[Recent channel messages]");
        for item in self.context() {
            out.push('\n');
            let author = item.user_name.filter(|name| !name.is_empty()).or(item.user_id).unwrap_or("");
            if !author.is_empty() {
                out.push_str(author);
                out.push_str(": ");
            }
            out.push_str(item.text);
        }
        Some(out)
    }

    /// Whether the event came over a gateway's own link, so that its author is who the connector says. Stamped by the
    /// gateway, never read from the wire; false for one that was merely parsed (EVENT-3).
    pub fn is_upstream_trusted(&self) -> bool {
        self.0.upstream
    }

    /// What names the message on its platform, if it has all three: the platform's name, the chat and the message (ACK-4).
    pub(crate) fn message_key(&self) -> Option<[&str; 3]> {
        let id = self.message_id().or(self.source_message_id())?;
        let chat = self.chat_id();
        if id.is_empty() || chat.is_empty() {
            return None;
        }
        Some([self.platform_name().unwrap_or(""), chat, id])
    }

    /// The event's JSON, byte for byte as the connector sent it (FRAME-6).
    pub fn raw(&self) -> &str {
        self.0.texts.raw()
    }
}

/// The lists of an event. Both were validated, so that reading them can only fail for not being lists.
impl Reader<'_> {
    fn media_urls(&mut self, list: Place) -> Option<Vec<Span>> {
        let mut spans = Vec::new();
        self.list(list)?
            .array(|scan| {
                let span = self.text(scan.value()?);
                if !span.is_none() {
                    spans.push(span);
                }
                Ok(())
            })
            .ok()?;
        Some(spans)
    }

    fn context(&mut self, list: Place) -> Option<Vec<ContextSpans>> {
        let mut items = Vec::new();
        self.list(list)?
            .array(|scan| {
                items.extend(self.context_message(scan)?);
                Ok(())
            })
            .ok()?;
        Some(items)
    }

    /// An item of the context, unless it is no object or has no text.
    fn context_message(&mut self, scan: &mut Scan<'_>) -> Result<Option<ContextSpans>, NotJson> {
        if !scan.is_at_object() {
            scan.value()?;
            return Ok(None);
        }
        let (mut text, mut author) = (Place::default(), [Place::default(); 2]);
        scan.object(|scan, name| {
            match &*name.bytes() {
                b"text" => text = scan.value()?,
                b"source" => {
                    scan.members(&mut author, |name| match name {
                        b"user_name" => Some(0),
                        b"user_id" => Some(1),
                        _ => None,
                    })?;
                }
                _ => {
                    scan.value()?;
                }
            }
            Ok(())
        })?;
        let [user_name, user_id] = author;
        if text.text(self.source()).is_none_or(|text| text.is_empty()) {
            return Ok(None);
        }
        let [text, user_name, user_id] = [text, user_name, user_id].map(|place| self.text(place));
        Ok(Some(ContextSpans { text, user_name, user_id }))
    }
}

impl fmt::Debug for MessageEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageEvent")
            .field("platform", &self.platform())
            .field("chat_id", &self.chat_id())
            .field("text", &self.text())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> MessageEvent {
        MessageEvent::parse(json).unwrap()
    }

    // proves: EVENT-1
    #[test]
    fn an_empty_object_is_an_event_with_defaults() {
        let event = event("{}");
        assert_eq!((event.text(), event.chat_id(), event.chat_type(), event.platform()), ("", "", "dm", "relay"));
        assert_eq!(event.message_type(), MessageType::Text);
        assert_eq!((event.platform_name(), event.scope_id(), event.channel_context()), (None, None, None));
    }

    // proves: EVENT-1
    #[test]
    fn an_unknown_platform_is_relay_and_keeps_its_name() {
        let event = event(r#"{"source":{"platform":"Pager"},"message_type":"hologram"}"#);
        assert_eq!((event.platform(), event.platform_name()), ("relay", Some("Pager")));
        assert_eq!(event.message_type(), MessageType::Text);
        assert_eq!(platform(" Discord "), "discord");
    }

    // proves: EVENT-1
    #[test]
    fn scope_id_wins_over_its_older_name() {
        assert_eq!(event(r#"{"source":{"guild_id":"old"}}"#).scope_id(), Some("old"));
        assert_eq!(event(r#"{"source":{"guild_id":"old","scope_id":"new"}}"#).scope_id(), Some("new"));
        assert_eq!(event(r#"{"source":{"guild_id":7,"scope_id":null}}"#).scope_id(), Some("7"));
    }

    // proves: EVENT-2
    #[test]
    fn wrong_types_cost_the_field_and_nothing_else() {
        let event = event(
            r#"{"text":5,"message_id":[1],"reply_to_message_id":{},"source":{"chat_id":-12,"chat_type":null,"user_id":true,
                "user_name":1.50},"media_urls":["a",3,null,{}],"context":{"text":"no list"}}"#,
        );
        assert_eq!((event.text(), event.chat_id(), event.chat_type()), ("5", "-12", "dm"));
        assert_eq!((event.message_id(), event.reply_to_message_id(), event.user_id()), (None, None, None));
        assert_eq!(event.user_name(), Some("1.50"));
        assert_eq!(event.media_urls().collect::<Vec<_>>(), ["a", "3"]);
        assert_eq!(event.channel_context(), None);
        assert_eq!(super::super::MessageEvent::parse(r#"{"source":[1],"text":"x"}"#).unwrap().text(), "x");
        assert!(MessageEvent::parse("[1]").is_none());
    }

    // proves: EVENT-3
    #[test]
    fn trust_is_never_read_from_the_wire() {
        let json =
            r#"{"delivered_via_upstream_relay":true,"upstream":true,"source":{"delivered_via_upstream_relay":true}}"#;
        assert!(!event(json).is_upstream_trusted());
    }

    // proves: FRAME-6
    #[test]
    fn unknown_fields_stay_readable() {
        let json = r#"{"future":{"x":[1]},  "text":"a\u00e9\ud800"}"#;
        assert_eq!(event(json).raw(), json);
        assert_eq!(event(json).text(), "aé\u{FFFD}");
    }

    // proves: EVENT-1
    #[test]
    fn each_escaped_field_has_its_own_text() {
        let json = r#"{"message_id":"m\t1","source":{"chat_name":"caf\u00e9","user_name":"Ann"},"text":"a\nb",
            "media_urls":["\/x","y","\/z"]}"#;
        let event = event(json);
        assert_eq!((event.text(), event.message_id()), ("a\nb", Some("m\t1")));
        assert_eq!((event.chat_name(), event.user_name()), (Some("café"), Some("Ann")));
        assert_eq!(event.media_urls().collect::<Vec<_>>(), ["/x", "y", "/z"]);
    }

    // proves: EVENT-1
    #[test]
    fn each_field_is_read_by_its_own_name() {
        let read = |event: &MessageEvent| {
            [
                Some(event.text()).filter(|text| !text.is_empty()),
                event.message_id(),
                event.reply_to_message_id(),
                event.platform_name(),
                Some(event.chat_id()).filter(|id| !id.is_empty()),
                Some(event.chat_type()).filter(|kind| *kind != "dm"),
                event.chat_name(),
                event.user_id(),
                event.user_name(),
                event.thread_id(),
                event.chat_topic(),
                event.user_id_alt(),
                event.chat_id_alt(),
                event.scope_id(),
                event.parent_chat_id(),
                event.source_message_id(),
                event.profile(),
            ]
            .map(|field| field.map(String::from))
        };
        let own = ["text", "message_id", "reply_to_message_id"];
        let names = [
            "platform",
            "chat_id",
            "chat_type",
            "chat_name",
            "user_id",
            "user_name",
            "thread_id",
            "chat_topic",
            "user_id_alt",
            "chat_id_alt",
            "scope_id",
            "parent_chat_id",
            "message_id",
            "profile",
        ];
        for (at, name) in own.into_iter().chain(names).enumerate() {
            let field = alloc::format!("\"{name}\":\"the {name}\"");
            let json = if at < own.len() {
                alloc::format!("{{{field}}}")
            } else {
                alloc::format!("{{\"source\":{{{field}}}}}")
            };
            let mut expected = [const { None }; 17];
            expected[at] = Some(alloc::format!("the {name}"));
            assert_eq!(read(&event(&json)), expected, "{name}");
        }
    }

    // proves: EVENT-1
    #[test]
    fn each_kind_of_message_has_its_name() {
        for (kind, name) in MessageType::ALL {
            assert_eq!(event(&alloc::format!("{{\"message_type\":\"{name}\"}}")).message_type(), kind);
            assert_eq!(kind.as_str(), name);
        }
    }

    // proves: EVENT-1
    #[test]
    fn the_context_is_a_line_for_each_text_that_there_is() {
        let json = r#"{"context":[
            {"text":"hello","source":{"user_name":"Ann","user_id":"7"}},
            {"source":{"user_name":"","user_id":"8"},"text":"hi"},
            {"text":"nobody's","other":[1]}, {"text":"","source":{"user_name":"Bob"}}, {"source":{}}, "text", ["text"]]}"#;
        let context = event(json).channel_context().unwrap();
        assert_eq!(context, "[Recent channel messages]\nAnn: hello\n8: hi\nnobody's");
        let items: Vec<_> = event(json)
            .context()
            .map(|item| (item.user_name.map(String::from), item.user_id.map(String::from)))
            .collect();
        let pair = |name: Option<&str>, id: Option<&str>| (name.map(String::from), id.map(String::from));
        assert_eq!(items, [pair(Some("Ann"), Some("7")), pair(Some(""), Some("8")), pair(None, None)]);
    }

    // proves: ACK-4
    #[test]
    fn a_message_has_a_key_when_it_names_itself_and_its_chat() {
        let key = |json: &str| event(json).message_key().map(|key| key.map(String::from));
        let whole = Some(["p", "c", "m"].map(String::from));
        assert_eq!(key(r#"{"message_id":"m","source":{"platform":"p","chat_id":"c"}}"#), whole);
        assert_eq!(key(r#"{"source":{"platform":"p","chat_id":"c","message_id":"m"}}"#), whole);
        assert_eq!(key(r#"{"message_id":"m","source":{"chat_id":"c"}}"#), Some(["", "c", "m"].map(String::from)));
        for partly in [
            r#"{"message_id":"","source":{"platform":"p","chat_id":"c"}}"#,
            r#"{"message_id":"m","source":{"platform":"p","chat_id":""}}"#,
            r#"{"source":{"platform":"p","chat_id":"c"}}"#,
        ] {
            assert_eq!(key(partly), None, "{partly}");
        }
    }

    #[test]
    fn debug_output_says_where_it_is_from_and_what_it_says() {
        let shown = alloc::format!("{:?}", event(r#"{"text":"hi","source":{"chat_id":"c"}}"#));
        assert_eq!(shown, r#"MessageEvent { platform: "relay", chat_id: "c", text: "hi", .. }"#);
    }
}
