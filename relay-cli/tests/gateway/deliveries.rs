//! Deliveries, and who acknowledges them.

use serde_json::{Value, json};

use crate::connector::Connector;
use crate::process::{Relay, command};

// proves: HELLO-1, HELLO-2, EVENT-1
#[test]
fn a_link_becomes_ready_and_messages_come_normalised() {
    let connector = Connector::start();
    let relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.accept();
    assert_eq!(peer.next(), json!({"type": "hello", "platform": "discord", "botId": "b1"}));
    peer.send(&json!({"type": "descriptor", "descriptor": {"platform": "discord", "supports_edit": true}}));
    let ready = relay.event("ready");
    assert_eq!(
        (&ready["descriptor"]["supports_edit"], &ready["descriptor"]["len_unit"]),
        (&json!(true), &json!("chars"))
    );
    peer.deliver("hi", Some("9"));
    let message = relay.event("message");
    assert_eq!((&message["delivery"], &message["buffer_id"]), (&json!(1), &json!("9")));
    assert_eq!(message["session_key"], "agent:main:discord:dm:7");
    assert_eq!((&message["message"]["text"], &message["message"]["source"]["user_id"]), (&json!("hi"), &json!("u")));
    assert_eq!(message["key"].as_str().unwrap().len(), 32);
    assert_eq!(message.get("raw"), None);
}

// proves: ACK-1, ACK-2
#[test]
fn a_message_is_acknowledged_by_itself_once_its_line_is_out() {
    let connector = Connector::start();
    let relay = Relay::start(&connector.url, &["--ack", "auto"]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    peer.deliver("live", None);
    peer.deliver("one", Some("b1"));
    peer.deliver("two", Some("b2"));
    for (number, text) in [(1, "live"), (2, "one"), (3, "two")] {
        let message = relay.event("message");
        assert_eq!((&message["delivery"], &message["message"]["text"]), (&json!(number), &json!(text)));
    }
    for id in ["b1", "b2"] {
        assert_eq!(peer.next(), json!({"type": "inbound_ack", "bufferId": id}));
    }
}

// proves: ACK-1
#[test]
fn what_nobody_saw_is_not_acknowledged() {
    let connector = Connector::start();
    let mut relay = Relay::start_unread(command(&["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"]));
    relay.stop_listening();
    let mut peer = connector.ready(&["discord"]);
    peer.deliver("unseen", Some("b1"));
    let (said, _) = peer.see_it_close();
    assert_eq!(said, Vec::<Value>::new());
    let (_, stderr, code) = relay.end();
    assert_eq!((stderr.lines().count(), code), (1, 1), "{stderr}");
    assert!(stderr.contains("nobody reads standard output"), "{stderr}");
}

// proves: ACK-1, ACK-2, ACK-6
#[test]
fn by_hand_a_message_is_acknowledged_when_the_program_says_so() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &["--ack", "manual"]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    for (text, id) in [("one", Some("b1")), ("two", Some("b2")), ("three", Some("b3")), ("live", None)] {
        peer.deliver(text, id);
        relay.event("message");
    }
    // The second first: it waits for the first (ACK-2). A request shows that nothing went out before it.
    relay.say(r#"{"do":"ack","delivery":2}"#);
    relay.say(r#"{"op":"typing","chat_id":"7"}"#);
    let (request, _) = peer.next_request();
    peer.answer(&request, &json!({"success": true}));
    relay.event("result");
    relay.say(r#"{"do":"ack","delivery":1}"#);
    for id in ["b1", "b2"] {
        assert_eq!(peer.next(), json!({"type": "inbound_ack", "bufferId": id}));
    }
    relay.say(r#"{"do":"ack","delivery":4}"#);
    relay.say(r#"{"do":"give_back","delivery":3}"#);
    // Deliveries that are not there, or not there any more, and ones that never were.
    for (line, word) in [
        (r#"{"do":"ack","delivery":1}"#, "ended"),
        (r#"{"do":"give_back","delivery":2}"#, "ended"),
        (r#"{"do":"ack","delivery":3,"id":"x"}"#, "ended"),
        (r#"{"do":"ack","delivery":4}"#, "ended"),
        (r#"{"do":"ack","delivery":5}"#, "no delivery 5"),
        (r#"{"do":"ack","delivery":0}"#, "no delivery 0"),
    ] {
        relay.say(line);
        let error = relay.event("error");
        assert!(error["error"].as_str().unwrap().contains(word), "{line}: {error}");
        assert_eq!(error.get("id").is_some(), line.contains("\"id\""));
    }
    // What was given back comes again on the next link, with the same key and another number.
    relay.say(r#"{"do":"reconnect"}"#);
    peer.see_it_close();
    relay.event("disconnected");
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    peer.deliver("three", Some("b3"));
    let again = relay.event("message");
    assert_eq!((&again["delivery"], &again["message"]["text"]), (&json!(5), &json!("three")));
}

#[test]
fn acknowledging_by_hand_what_acknowledges_itself_is_an_error() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    relay.say(r#"{"do":"ack","delivery":1}"#);
    assert!(relay.event("error")["error"].as_str().unwrap().contains("--ack manual"));
}

// proves: ACK-5, PASS-1, STOP-1, FRAME-6
#[test]
fn everything_else_a_connector_sends_is_an_event_of_its_own() {
    let connector = Connector::start();
    let relay = Relay::start(&connector.url, &["--raw"]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    let forward = json!({"platform": "discord", "botId": "b1", "method": "POST", "path": "/x",
        "headers": [["A", "1"]], "bodyB64": "aGk=", "new": true});
    peer.send(&json!({"type": "passthrough_forward", "bufferId": "p", "forward": forward}));
    let passthrough = relay.event("passthrough");
    assert_eq!((&passthrough["delivery"], &passthrough["buffer_id"]), (&json!(1), &json!("p")));
    assert_eq!(
        passthrough["forward"],
        json!({"platform": "discord", "bot_id": "b1", "method": "POST", "path": "/x", "headers": [["A", "1"]],
            "body_b64": "aGk="})
    );
    assert_eq!(passthrough["raw"], forward);
    assert_eq!(peer.next(), json!({"type": "inbound_ack", "bufferId": "p"}));

    peer.send(&json!({"type": "inbound", "bufferId": "poison", "event": ["no", "object"]}));
    let undecodable = relay.event("undecodable");
    assert_eq!((&undecodable["delivery"], &undecodable["frame_type"]), (&json!(2), &json!("inbound")));
    assert_eq!(undecodable["raw"], json!(["no", "object"]));
    assert_eq!(peer.next(), json!({"type": "inbound_ack", "bufferId": "poison"}));

    peer.send(&json!({"type": "interrupt_inbound", "session_key": "s", "chat_id": "7"}));
    assert_eq!(relay.next(), json!({"event": "interrupt", "session_key": "s", "chat_id": "7"}));
}

// proves: REQ-7, ACK-1
#[test]
fn a_reader_that_does_not_read_holds_back_events_and_nothing_else() {
    let connector = Connector::start();
    let mut relay = Relay::start_unread(command(&["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"]));
    let mut peer = connector.ready(&["discord"]);
    // More than a pipe and the gateway's queue hold, and the rest fits into the sockets.
    const MESSAGES: usize = 1000;
    let text = "x".repeat(1000);
    for number in 0..MESSAGES {
        peer.deliver(&format!("{number} {text}"), Some(&format!("b{number}")));
    }
    // Some are written, and acknowledged. A request goes out all the same, and its result comes in past all the rest.
    assert_eq!(peer.next()["type"], "inbound_ack");
    relay.say(r#"{"op":"send","id":"now"}"#);
    let mut acknowledged = 1;
    let request = loop {
        let frame = peer.next();
        match frame["type"].as_str().unwrap() {
            "inbound_ack" => acknowledged += 1,
            _ => break frame["requestId"].as_str().unwrap().to_string(),
        }
    };
    assert!(acknowledged < MESSAGES / 2, "{acknowledged} messages were acknowledged, and nobody read them");
    peer.answer(&request, &json!({"success": true}));
    relay.read();
    let mut seen = Vec::new();
    while seen.len() < MESSAGES + 2 {
        seen.push(relay.next());
    }
    let messages: Vec<&Value> = seen.iter().filter(|event| event["event"] == "message").collect();
    assert_eq!(messages.len(), MESSAGES);
    assert!(messages.iter().enumerate().all(|(index, event)| event["delivery"] == json!(index + 1)));
    let result = seen.iter().position(|event| event["event"] == "result").unwrap();
    assert_eq!(seen[result]["outcome"], "delivered");
    for _ in acknowledged..MESSAGES {
        assert_eq!(peer.next()["type"], "inbound_ack");
    }
}
