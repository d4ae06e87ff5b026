//! What a conversation asks of a message: its session, what it quotes, and how it reads with its context.

use alloc::borrow::Cow;
use alloc::string::String;

use crate::frame::MessageEvent;
use crate::json;

use super::{SessionKeys, SessionSource};

/// How many scalar values of a quoted text are rendered.
const QUOTED: usize = 500;

/// What a message answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyQuote<'a> {
    /// The message that is answered.
    pub message_id: Option<&'a str>,
    /// Its text, if the platform told.
    pub text: Option<Cow<'a, str>>,
    /// Who wrote it, if the platform told.
    pub author: Option<Cow<'a, str>>,
    /// Whether that was the agent itself.
    pub is_own: bool,
}

impl MessageEvent {
    /// What the session key is made of.
    pub fn session_source(&self) -> SessionSource<'_> {
        SessionSource {
            platform: self.platform(),
            chat_type: self.chat_type(),
            chat_id: self.chat_id(),
            thread_id: self.thread_id(),
            user_id: self.user_id(),
            user_id_alt: self.user_id_alt(),
            profile: self.profile(),
        }
    }

    /// The key of the conversation that the message belongs to (CHAT-5).
    pub fn session_key(&self, keys: &SessionKeys) -> String {
        keys.key(&self.session_source())
    }

    /// What the message answers; `None` when it answers none (CHAT-6).
    pub fn reply_quote(&self) -> Option<ReplyQuote<'_>> {
        let quote = json::members(self.raw(), &["reply_to"]).ok().and_then(|[quote]| quote);
        let quote = quote.and_then(|quote| json::members(quote.get(), &["text", "author", "is_own"]).ok());
        let message_id = self.reply_to_message_id();
        if quote.is_none() && message_id.is_none() {
            return None;
        }
        let [text, author, is_own] = quote.unwrap_or_default();
        let [text, author] = [text, author].map(|field| field.and_then(json::text).filter(|text| !text.is_empty()));
        Some(ReplyQuote { message_id, text, author, is_own: is_own.and_then(json::boolean).unwrap_or(false) })
    }

    /// Whether the connector wanted to send the messages around this one, and could not.
    pub fn is_context_missing(&self) -> bool {
        let marker = json::members(self.raw(), &["context_error"]).ok().and_then(|[marker]| marker);
        marker.and_then(json::boolean).unwrap_or(false)
    }

    /// The message as an agent should read it (CHAT-6): what it quotes, then the read-only context, then the text. Just
    /// the text, when there is neither.
    pub fn text_in_context(&self) -> String {
        let mut out = String::new();
        if let Some(ReplyQuote { message_id: Some(_), text: Some(text), is_own, .. }) = self.reply_quote() {
            out.push_str(if is_own { "[Replying to your previous message: \"" } else { "[Replying to: \"" });
            out.extend(text.chars().take(QUOTED));
            out.push_str("\"]\n\n");
        }
        if let Some(context) = self.channel_context() {
            out.push_str(&context);
            out.push_str("\n\n[New message]\n");
        }
        out.push_str(self.text());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> MessageEvent {
        MessageEvent::parse(json).unwrap()
    }

    // proves: CHAT-5
    #[test]
    fn a_message_carries_its_session_key() {
        let event = event(
            r#"{"source":{"platform":"slack","chat_type":"group","chat_id":"C","thread_id":"T","user_id":"U","profile":"ops"}}"#,
        );
        let keys = SessionKeys::default();
        assert_eq!(event.session_key(&keys), "agent:main:slack:group:C:T");
        let all = SessionKeys { per_user_threads: true, profiles: true, ..keys };
        assert_eq!(event.session_key(&all), "agent:ops:slack:group:C:T:U");
    }

    // proves: CHAT-6
    #[test]
    fn quotes_are_as_much_as_the_platform_told() {
        let full = event(r#"{"reply_to_message_id":"m","reply_to":{"text":"old \"t\"","author":"ann","is_own":true}}"#);
        let quote = full.reply_quote().unwrap();
        assert_eq!((quote.message_id, quote.text.as_deref()), (Some("m"), Some("old \"t\"")));
        assert_eq!((quote.author.as_deref(), quote.is_own), (Some("ann"), true));
        let bare = event(r#"{"reply_to_message_id":"m","reply_to":5}"#);
        assert_eq!(bare.reply_quote().unwrap().text, None);
        assert_eq!(event(r#"{"reply_to":null}"#).reply_quote(), None);
        assert_eq!(event("{}").reply_quote(), None);
    }

    // proves: CHAT-6
    #[test]
    fn an_agent_reads_the_quote_the_context_and_the_text() {
        let context = r#""context":[{"text":"nearby","source":{"user_name":"bob"}}]"#;
        let all = event(&alloc::format!(
            r#"{{"text":"and now?","reply_to_message_id":"m","reply_to":{{"text":"{}"}},{context}}}"#,
            "é".repeat(600)
        ));
        let quoted = "é".repeat(500);
        let expect = alloc::format!(
            "[Replying to: \"{quoted}\"]\n\n[Recent channel messages]\nbob: nearby\n\n[New message]\nand now?"
        );
        assert_eq!(all.text_in_context(), expect);
        let own = event(r#"{"text":"t","reply_to_message_id":"m","reply_to":{"text":"q","is_own":true}}"#);
        assert_eq!(own.text_in_context(), "[Replying to your previous message: \"q\"]\n\nt");
        // A quote that names no message points nowhere.
        assert_eq!(event(r#"{"text":"t","reply_to":{"text":"q"}}"#).text_in_context(), "t");
        assert!(event(r#"{"context_error":true}"#).is_context_missing() && !event("{}").is_context_missing());
    }
}
