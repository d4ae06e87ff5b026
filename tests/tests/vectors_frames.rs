//! The golden vectors of the frames: message events, descriptors, passthrough forwards.
#![cfg(test)]

use relay_proto::frame::{Descriptor, MessageEvent, PassthroughForward};
use serde_json::{Value, json};

/// Runs `read` over every vector of a file, and reports all the failures at once, by name.
fn each(file: &str, member: &str, read: impl Fn(&str) -> Value) {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/{}.json"), file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty(), "{file}: no vectors");
    let mut failures = Vec::new();
    for vector in &vectors {
        let name = vector["name"].as_str().unwrap();
        let input = vector["input"].get(member).unwrap_or_else(|| panic!("{file} / {name}: no {member}"));
        let got = read(&input.to_string());
        let expect = vector["expect"].get(member).unwrap_or(&vector["expect"]);
        if !same(&got, expect) {
            failures.push(format!("{file} / {name}\n  expected {expect}\n  got      {got}"));
        }
    }
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), vectors.len(), failures.join("\n"));
}

/// Whether `got` is what is expected: every member that is expected has its value, and null is the same as absent.
fn same(got: &Value, expect: &Value) -> bool {
    match (got, expect) {
        (Value::Object(got), Value::Object(expect)) => {
            let keys = got.keys().chain(expect.keys());
            keys.into_iter()
                .all(|key| same(got.get(key).unwrap_or(&Value::Null), expect.get(key).unwrap_or(&Value::Null)))
        }
        _ => got == expect,
    }
}

// proves: EVENT-1, EVENT-2
#[test]
fn inbound_event() {
    each("inbound_event", "event", |input| {
        let Some(event) = MessageEvent::parse(input) else { return Value::Null };
        json!({
            "text": event.text(),
            "message_type": event.message_type().as_str(),
            "message_id": event.message_id(),
            "reply_to_message_id": event.reply_to_message_id(),
            "media_urls": event.media_urls().collect::<Vec<_>>(),
            "channel_context": event.channel_context(),
            "source": {
                "platform": event.platform(),
                "chat_id": event.chat_id(),
                "chat_type": event.chat_type(),
                "chat_name": event.chat_name(),
                "user_id": event.user_id(),
                "user_name": event.user_name(),
                "thread_id": event.thread_id(),
                "chat_topic": event.chat_topic(),
                "user_id_alt": event.user_id_alt(),
                "chat_id_alt": event.chat_id_alt(),
                "scope_id": event.scope_id(),
                "parent_chat_id": event.parent_chat_id(),
                "message_id": event.source_message_id(),
                "profile": event.profile(),
            },
        })
    });
}

// proves: DESC-1
#[test]
fn descriptor() {
    each("descriptor", "descriptor", |input| {
        let Some(descriptor) = Descriptor::parse(input) else { return Value::Null };
        // Written out and read again, a descriptor says the same.
        let again = Descriptor::parse(descriptor.to_json().as_str()).unwrap();
        let mut plain = descriptor.clone();
        plain.raw = again.raw.clone();
        assert_eq!(again, plain);
        json!({
            "contract_version": descriptor.contract_version,
            "platform": descriptor.platform,
            "label": descriptor.label,
            "max_message_length": descriptor.max_message_length,
            "supports_draft_streaming": descriptor.supports_draft_streaming,
            "supports_edit": descriptor.supports_edit,
            "supports_threads": descriptor.supports_threads,
            "markdown_dialect": descriptor.markdown_dialect,
            "len_unit": descriptor.len_unit,
            "emoji": descriptor.emoji,
            "platform_hint": descriptor.platform_hint,
            "pii_safe": descriptor.pii_safe,
            "supports_context": descriptor.supports_context,
        })
    });
}

// proves: PASS-1
#[test]
fn passthrough() {
    each("passthrough", "forward", |input| {
        let Some(forward) = PassthroughForward::parse(input) else { return Value::Null };
        let hex: String = forward.body.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "platform": forward.platform,
            "bot_id": forward.bot_id,
            "method": forward.method,
            "path": forward.path,
            "headers": forward.headers,
            "body_hex": hex,
        })
    });
}
