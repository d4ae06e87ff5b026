//! What is delivered, and what becomes of it.

use serde_json::json;

use crate::pair::{Connector, gateway, gateway_with, message, next_text};

// proves: CONN-3, ACK-1
#[test]
fn what_waits_is_delivered_in_order_and_leaves_on_its_ack() {
    let mut connector = Connector::registered();
    let ids: Vec<String> = (0..100).map(|n| connector.deliver(&n.to_string())).collect();
    let gateway = gateway(&connector.url, &[]);
    gateway.event("ready");
    connector.event("hello");
    for (n, id) in ids.iter().enumerate() {
        let message = gateway.event("message");
        assert_eq!((&message["message"]["text"], &message["buffer_id"]), (&json!(n.to_string()), &json!(id)));
        assert_eq!(connector.event("ack"), json!({"event": "ack", "gateway": "gw", "buffer_id": id}));
    }
    // Nothing comes again.
    drop(gateway);
    connector.event("link_closed");
    let next = connector.linked(&[]);
    connector.deliver("live");
    assert_eq!(next_text(&next), "live");
}

// proves: CONN-3
#[test]
fn no_more_than_the_window_is_unacknowledged() {
    let mut connector = Connector::start(&["--gateway-env", "gw=SECRET", "--window", "2"]);
    let mut gateway = connector.linked(&["--ack", "manual"]);
    for text in ["a", "b", "c"] {
        connector.deliver(text);
    }
    assert_eq!((next_text(&gateway), next_text(&gateway)), ("a".into(), "b".into()));
    // What is sent later comes first: there was no room for the third.
    connector.say(&json!({"interrupt": {"session_key": "s", "chat_id": "7"}}));
    gateway.event("interrupt");
    gateway.say(r#"{"do":"ack","delivery":1}"#);
    assert_eq!(next_text(&gateway), "c");
}

// proves: CONN-3, ACK-4
#[test]
fn the_unacknowledged_tail_comes_again_after_a_cut() {
    let mut connector = Connector::registered();
    let mut ours = connector.linked(&["--ack", "manual"]);
    for text in ["a", "b", "c"] {
        connector.deliver(text);
        assert_eq!(next_text(&ours), text);
    }
    ours.say(r#"{"do":"ack","delivery":1}"#);
    connector.event("ack");
    connector.say(&json!({"drop": null}));
    connector.event("link_closed");
    ours.event("disconnected");
    connector.deliver("d");
    // Ours recognises what it still holds. The ack of the newest shows that it was not shown twice.
    ours.say(r#"{"do":"reconnect"}"#);
    ours.event("ready");
    connector.event("hello");
    assert_eq!(next_text(&ours), "d");
    // A gateway that forgets gets the rest.
    drop(ours);
    connector.event("link_closed");
    let other = connector.linked(&[]);
    for text in ["b", "c", "d"] {
        assert_eq!(next_text(&other), text);
        connector.event("ack");
    }
}

#[test]
fn every_gateway_gets_its_own() {
    let both = ["--gateway-env", "one=SECRET", "--gateway", "two=other"];
    let mut connector = Connector::start(&both);
    let one = gateway_with("one", crate::pair::SECRET, &connector.url, &[]);
    one.event("ready");
    assert_eq!(connector.event("hello")["gateway"], "one");
    for (to, text) in [("two", "a"), ("one", "b"), ("two", "c")] {
        connector.say(&json!({"deliver": message(text), "gateway": to}));
        assert_eq!(connector.event("accepted")["gateway"], to);
        if to == "one" {
            assert_eq!(next_text(&one), "b");
            assert_eq!(connector.event("ack")["gateway"], "one");
        }
    }
    let two = gateway_with("two", "other", &connector.url, &[]);
    two.event("ready");
    assert_eq!((next_text(&two), next_text(&two)), ("a".into(), "c".into()));
}

// proves: PASS-1
#[test]
fn a_forward_arrives_byte_for_byte() {
    let mut connector = Connector::registered();
    let gateway = connector.linked(&[]);
    let forward = json!({"platform": "discord", "botId": "b1", "method": "POST", "path": "/x?y=1",
        "headers": [["B", "2"], ["A", "1"], ["B", "3"]], "bodyB64": "AP8K"});
    connector.say(&json!({"forward": forward, "id": null}));
    let accepted = connector.event("accepted");
    assert_eq!(accepted["id"], json!(null));
    let passthrough = gateway.event("passthrough");
    assert_eq!(passthrough["buffer_id"], accepted["buffer_id"]);
    assert_eq!(passthrough["forward"]["headers"], forward["headers"]);
    assert_eq!(passthrough["forward"]["body_b64"], forward["bodyB64"]);
    assert_eq!(connector.event("ack")["buffer_id"], accepted["buffer_id"]);
}

// proves: CONN-4, IDLE-2
#[test]
fn a_sleeping_gateway_misses_nothing() {
    let mut connector = Connector::registered();
    let mut gateway = connector.linked(&[]);
    gateway.say("{\"do\":\"hold_redial\"}\n{\"do\":\"go_dormant\",\"id\":1}");
    assert_eq!(connector.event("idle")["gateway"], "gw");
    assert_eq!(connector.event("link_closed")["cause"], "gateway");
    connector.deliver("while asleep");
    gateway.say(r#"{"do":"wake"}"#);
    connector.event("hello");
    let message = std::iter::repeat_with(|| gateway.next()).find(|event| event["event"] == "message").unwrap();
    assert_eq!(message["message"]["text"], "while asleep");
    connector.event("ack");
}
