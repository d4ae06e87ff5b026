//! The golden vectors of the vocabulary: tokens, dial URLs, lengths, session keys, interactions.
#![cfg(test)]

use relay_proto::chat::{Interaction, LenUnit, SessionKeys, SessionSource};
use relay_proto::target::Target;
use relay_proto::token::{self, Secret, TokenRefused};
use serde_json::{Value, json};

/// Runs `check` over every vector of a file, and reports all the failures at once, by name.
fn each(file: &str, check: impl Fn(&str, &Value) -> Value) {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/{}.json"), file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty(), "{file}: no vectors");
    let failures: Vec<String> = vectors
        .iter()
        .filter_map(|vector| {
            let name = vector["name"].as_str().unwrap();
            let (got, expect) = (check(name, &vector["input"]), &vector["expect"]);
            (got != *expect).then(|| format!("{file} / {name}\n  expected {expect}\n  got      {got}"))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), vectors.len(), failures.join("\n"));
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

fn seconds(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number of seconds: {value}"))
}

// proves: TOKEN-1
#[test]
fn token_mint() {
    each("token_mint", |_, input| {
        let secret = Secret::new(text(&input["secret"]));
        let (ttl, now) = (seconds(&input["ttl_seconds"]), seconds(&input["now_unix"]));
        let token = token::mint(text(&input["gateway_id"]), &secret, ttl, now);
        assert_eq!(token.expires_at(), (ttl > 0).then_some(now + ttl));
        json!({ "token": token.as_str() })
    });
}

// proves: TOKEN-2
#[test]
fn token_verify() {
    each("token_verify", |name, input| {
        let secrets: Vec<Secret> = input["secrets"].as_array().unwrap().iter().map(|s| text(s).into()).collect();
        let token = text(&input["token"]);
        let verdict = token::verify(token, &secrets, seconds(&input["now_unix"]));
        if let Ok(id) = &verdict {
            assert_eq!(token::peek_id(token).as_ref(), Some(id), "{name}");
        }
        // The reference refuses without a reason; the vectors' names say which it is.
        let kind = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        let reason = match kind {
            "past-expiry" => Some(TokenRefused::Expired),
            "wrong-secret" | "empty-list" => Some(TokenRefused::BadSignature),
            "empty-token" | "two-parts" | "exp-not-a-number" | "not-utf" => Some(TokenRefused::Malformed),
            _ => None,
        };
        if let Some(reason) = reason {
            assert_eq!(verdict, Err(reason), "{name}");
        }
        json!({ "payload": verdict.ok() })
    });
}

// proves: DIAL-1
#[test]
fn dial_url() {
    each("dial_url", |name, input| {
        let target = Target::parse(text(&input["url"])).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Target::parse(target.url()).as_ref(), Ok(&target), "{name}: not idempotent");
        json!({ "dial_url": target.url() })
    });
}

// proves: DESC-2
#[test]
fn message_length() {
    each("message_length", |_, input| {
        let len = |unit| LenUnit::parse(unit).len(text(&input["text"]));
        json!({ "chars": len("chars"), "utf16": len("utf16") })
    });
}

// proves: CHAT-5
#[test]
fn session_key() {
    each("session_key", |_, input| {
        let field = |name: &str| input["source"][name].as_str();
        let source = SessionSource {
            platform: text(&input["source"]["platform"]),
            chat_type: text(&input["source"]["chat_type"]),
            chat_id: field("chat_id").unwrap_or_default(),
            thread_id: field("thread_id"),
            user_id: field("user_id"),
            user_id_alt: field("user_id_alt"),
            profile: field("profile"),
        };
        let keys = SessionKeys {
            per_user_groups: input["group_sessions_per_user"].as_bool().unwrap(),
            per_user_threads: input["thread_sessions_per_user"].as_bool().unwrap(),
            profiles: false,
        };
        json!({ "session_key": keys.key(&source) })
    });
}

// proves: PASS-1, CHAT-7
#[test]
fn discord_interaction() {
    each("discord_interaction", |_, input| {
        let Ok(interaction) = Interaction::parse(text(&input["body"]).as_bytes()) else {
            return json!({ "event": null });
        };
        json!({ "event": {
            "text": interaction.text,
            "message_id": null,
            "message_type": "text",
            "reply_to_message_id": null,
            "media_urls": [],
            "channel_context": null,
            "source": {
                "platform": interaction.session_source().platform,
                "message_id": interaction.id,
                "chat_id": interaction.chat_id,
                "chat_type": interaction.chat_type(),
                "scope_id": interaction.scope_id,
                "user_id": interaction.user_id,
                "user_name": interaction.user_name,
                "chat_id_alt": null, "chat_name": null, "chat_topic": null, "parent_chat_id": null,
                "profile": null, "thread_id": null, "user_id_alt": null,
            },
        } })
    });
}
