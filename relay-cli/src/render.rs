//! What frames and deliveries look like as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_proto::chat::{Media, PromptResponse};
use relay_proto::frame::{ActionResult, BufferId, MessageEvent, PassthroughForward, Undecodable, Verdict};

use crate::json::{Object, quoted};

/// A normalised message event (EVENT-1), its fields named as in `inbound_event.json`.
pub(crate) fn message(event: &MessageEvent) -> String {
    let source = Object::new()
        .text("chat_id", event.chat_id())
        .optional("chat_id_alt", event.chat_id_alt())
        .optional("chat_name", event.chat_name())
        .optional("chat_topic", event.chat_topic())
        .text("chat_type", event.chat_type())
        .optional("message_id", event.source_message_id())
        .optional("parent_chat_id", event.parent_chat_id())
        .text("platform", event.platform())
        .optional("profile", event.profile())
        .optional("scope_id", event.scope_id())
        .optional("thread_id", event.thread_id())
        .optional("user_id", event.user_id())
        .optional("user_id_alt", event.user_id_alt())
        .optional("user_name", event.user_name())
        .end();
    Object::new()
        .optional("channel_context", event.channel_context().as_deref())
        .list("media_urls", event.media_urls().map(quoted))
        .optional("message_id", event.message_id())
        .text("message_type", event.message_type().as_str())
        .optional("reply_to_message_id", event.reply_to_message_id())
        .json("source", &source)
        .text("text", event.text())
        .end()
}

/// Adds what a message says beyond its text, as far as it does: `prompt_response`, `media` and `reply_to` (CHAT-4, CHAT-6).
pub(crate) fn conversation(object: Object, event: &MessageEvent) -> Object {
    let object = prompt_response(object, event.prompt_response().as_ref());
    let media = event.media();
    let object = if media.is_empty() { object } else { object.list("media", media.iter().map(one_of_the_media)) };
    let Some(quote) = event.reply_quote() else { return object };
    let quote = Object::new()
        .optional("message_id", quote.message_id)
        .optional("text", quote.text.as_deref())
        .optional("author", quote.author.as_deref())
        .json("is_own", if quote.is_own { "true" } else { "false" });
    object.json("reply_to", &quote.end())
}

/// Adds which option of which prompt was pressed, if one was.
pub(crate) fn prompt_response(object: Object, pressed: Option<&PromptResponse>) -> Object {
    let Some(pressed) = pressed else { return object };
    let pressed = Object::new()
        .text("prompt_id", &pressed.prompt_id)
        .text("option_id", &pressed.option_id)
        .optional("label", pressed.label.as_deref())
        .optional("prompt_message_id", pressed.prompt_message_id.as_deref());
    object.json("prompt_response", &pressed.end())
}

fn one_of_the_media(media: &Media<'_>) -> String {
    Object::new()
        .text("url", media.url)
        .optional("kind", media.kind.map(|kind| kind.as_str()))
        .optional("mime", media.mime.as_deref())
        .number("size", media.size)
        .optional("filename", media.filename.as_deref())
        .optional("caption", media.caption.as_deref())
        .end()
}

/// A forwarded HTTP request (PASS-1). `body_undecodable` is there only when it is true.
pub(crate) fn forward(forward: &PassthroughForward) -> String {
    let pair = |(name, value): &(String, String)| format!("[{},{}]", quoted(name), quoted(value));
    let object = Object::new()
        .text("platform", &forward.platform)
        .text("bot_id", &forward.bot_id)
        .text("method", &forward.method)
        .text("path", &forward.path)
        .list("headers", forward.headers.iter().map(pair))
        .text("body_b64", &STANDARD.encode(&forward.body));
    if forward.body_undecodable { object.json("body_undecodable", "true").end() } else { object.end() }
}

/// Adds what a frame says beyond its normalised message: `platform_name` when that is not the platform's name (EVENT-1).
pub(crate) fn platform_name(object: Object, event: &MessageEvent) -> Object {
    match event.platform_name() {
        Some(name) if name != event.platform() => object.text("platform_name", name),
        _ => object,
    }
}

/// Adds the content of a delivery that cannot be decoded (ACK-5).
pub(crate) fn undecodable(object: Object, content: &Undecodable) -> Object {
    let raw = content.raw.as_ref().map_or("null", |raw| raw.as_str());
    object.text("frame_type", content.frame_type).text("reason", content.reason).peer_json("raw", raw)
}

/// A buffer id, for [`Object::optional`].
pub(crate) fn buffer_id(id: Option<&BufferId>) -> Option<&str> {
    id.map(BufferId::as_str)
}

/// The class of a result (REQ-6).
pub(crate) fn verdict(result: &ActionResult) -> &'static str {
    match result.verdict {
        Verdict::Delivered => "delivered",
        Verdict::Declined => "declined",
        Verdict::Ambiguous => "ambiguous",
        // A verdict that this version does not know is at least no success.
        _ => "rejected",
    }
}
