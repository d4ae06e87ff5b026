//! What the chat layer adds: to requests, and to what is told of deliveries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::connector::{Connector, Peer};
use crate::process::Relay;

/// A gateway, linked to a connector that supports these operations.
fn linked(ops: &[&str]) -> (Connector, Peer, Relay) {
    let connector = Connector::start();
    let relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.accept();
    peer.next();
    peer.send(&json!({"type": "descriptor", "descriptor": {"platform": "discord", "supported_ops": ops}}));
    relay.event("ready");
    (connector, peer, relay)
}

fn inbound(peer: &mut Peer, event: &Value) {
    peer.send(&json!({"type": "inbound", "event": event}));
}

// proves: CHAT-1
#[test]
fn what_the_connector_does_not_support_is_not_sent() {
    let (_connector, mut peer, mut relay) = linked(&["send", "react"]);
    relay.say(r#"{"op":"edit","chat_id":"7","message_id":"m1","content":"x","id":1}"#);
    let refused = relay.event("result");
    let told = ["id", "outcome", "cause", "result"].map(|name| refused[name].clone());
    assert_eq!(told, [json!(1), json!("not_sent"), json!("unsupported"), Value::Null], "{refused}");
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains("edit") && error.contains("discord"), "{error}");
    relay.say(r#"{"op":"react","chat_id":"7","message_id":"m1","emoji":"x"}"#);
    let (request, frame) = peer.next_request();
    assert_eq!(frame["action"]["op"], "react", "the first that is sent");
    peer.answer(&request, &json!({"success": true}));
    assert_eq!(relay.event("result")["outcome"], "delivered");
}

// proves: CHAT-3
#[test]
fn what_a_chats_messages_said_is_added_to_requests_in_it() {
    let (_connector, mut peer, mut relay) = linked(&["send"]);
    let source = json!({"platform": "discord", "chat_id": "7", "chat_type": "group", "scope_id": "g1", "user_id": "u"});
    inbound(&mut peer, &json!({"text": "hi", "source": source}));
    relay.event("message");
    relay.say(r#"{"op":"send","chat_id":7,"content":"a"}"#);
    relay.say(r#"{"op":"send","chat_id":"7","content":"b","metadata":{"scope_id":"own","x":1}}"#);
    relay.say(r#"{"op":"send","chat_id":"8","content":"c"}"#);
    for (content, metadata) in
        [("a", json!({"scope_id": "g1"})), ("b", json!({"scope_id": "own", "x": 1})), ("c", Value::Null)]
    {
        let (_, frame) = peer.next_request();
        assert_eq!(
            (&frame["action"]["content"], &frame["action"]["metadata"]),
            (&json!(content), &metadata),
            "{frame}"
        );
    }
}

// proves: CHAT-4, CHAT-6
#[test]
fn a_message_says_what_was_pressed_what_came_with_it_and_what_it_answers() {
    let (_connector, mut peer, relay) = linked(&["send"]);
    inbound(&mut peer, &json!({"text": "plain"}));
    let plain = relay.event("message");
    for name in ["prompt_response", "media", "reply_to"] {
        assert_eq!(plain.get(name), None, "{plain}");
    }
    inbound(
        &mut peer,
        &json!({
            "text": "/yes",
            "reply_to_message_id": "m1",
            "reply_to": {"text": "Go on?", "author": "bot", "is_own": true},
            "prompt_response": {"prompt_id": "00002a.0", "option_id": "yes", "label": "Yes"},
            "media_urls": ["https://h/a.png", "https://h/b"],
            "media": [{"url": "https://h/a.png", "mime": "image/png", "size": 7, "filename": "a.png"}],
        }),
    );
    let message = relay.event("message");
    let pressed = json!({"prompt_id": "00002a.0", "option_id": "yes", "label": "Yes", "prompt_message_id": null});
    assert_eq!(message["prompt_response"], pressed);
    let unknown = json!({"url": "https://h/b", "kind": null, "mime": null, "size": null, "filename": null,
        "caption": null});
    let known = json!({"url": "https://h/a.png", "kind": "image", "mime": "image/png", "size": 7, "filename": "a.png",
        "caption": null});
    assert_eq!(message["media"], json!([known, unknown]));
    let quote = json!({"message_id": "m1", "text": "Go on?", "author": "bot", "is_own": true});
    assert_eq!(message["reply_to"], quote);
    assert_eq!(message["message"]["text"], "/yes", "and the rest is as it was");
}

// proves: CHAT-4
#[test]
fn a_prompt_without_an_id_gets_one_that_the_result_tells() {
    let (_connector, mut peer, mut relay) = linked(&["send", "prompt"]);
    let mut asked = |line: &str, answer: Value| {
        relay.say(line);
        let (request, frame) = peer.next_request();
        let sent = frame["action"]["prompt_id"].clone();
        peer.answer(&request, &answer);
        (sent, relay.event("result"))
    };
    let options = r#""options":[{"id":"yes","label":"Yes"}]"#;
    let line = format!(r#"{{"op":"prompt","chat_id":"7","prompt_kind":"choice","content":"Go?",{options},"id":1}}"#);
    let (first, result) = asked(&line, json!({"success": true, "message_id": "m1"}));
    assert_eq!((&result["prompt_id"], &result["outcome"]), (&first, &json!("delivered")), "{result}");
    let id = first.as_str().unwrap();
    // It fits into a button, with the option.
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    assert!(id.contains('.') && id.len() <= 32 && id.chars().all(good), "{id}");
    // However it ends, an answer may come.
    let (second, result) = asked(&line, json!({"success": false, "ambiguous": true}));
    assert_eq!(result["prompt_id"], second);
    assert_ne!(first, second);
    // One that has an id keeps it.
    let named = line.replacen("\"op\"", "\"prompt_id\":\"p.1\",\"op\"", 1);
    let (third, result) = asked(&named, json!({"success": true}));
    assert_eq!((third, result.get("prompt_id")), (json!("p.1"), None));
}

// proves: CHAT-4, CHAT-7
#[test]
fn a_forward_says_which_button_of_a_prompt_was_pressed() {
    let (_connector, mut peer, relay) = linked(&["send"]);
    let mut forwarded = |custom_id: &str| {
        let body = json!({"type": 3, "id": "i", "channel_id": "7", "data": {"custom_id": custom_id, "component_type": 2},
            "message": {"id": "m9"}});
        let forward = json!({"platform": "discord", "method": "POST", "path": "/", "headers": [],
            "bodyB64": STANDARD.encode(body.to_string())});
        peer.send(&json!({"type": "passthrough_forward", "forward": forward}));
        relay.event("passthrough")
    };
    let pressed = forwarded("hp1:00002a.0:yes");
    let expected = json!({"prompt_id": "00002a.0", "option_id": "yes", "label": null, "prompt_message_id": "m9"});
    assert_eq!(pressed["prompt_response"], expected, "{pressed}");
    assert_eq!(forwarded("something else").get("prompt_response"), None);
}
