//! What is delivered, and what becomes of it.

use std::io::{Read, Write};
use std::net::TcpStream;

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

/// What becomes of this many entries, whatever else is told.
fn ends(connector: &Connector, ids: &[String], name: &str) {
    let events = std::iter::repeat_with(|| connector.relay.next()).filter(|event| event["event"] != "accepted");
    // In this order: an event that is not asked for is not waited for.
    for (id, event) in ids.iter().zip(events) {
        assert_eq!(event, json!({"event": name, "gateway": "gw", "buffer_id": id}));
    }
}

// proves: CONN-3
#[test]
fn presumed_acknowledgements_let_a_silent_gateway_have_more_than_the_window() {
    let files = crate::setup::Files::new("presumed");
    let store = files.path("relay.store");
    for with_store in [false, true] {
        let presume = if with_store { "--presume-acks" } else { "--presume-acks=gw" };
        let base = ["--gateway-env", "gw=SECRET", "--window", "2", presume, "--store", &store];
        let mut connector = Connector::start(if with_store { &base } else { &base[..5] });
        let ids: Vec<String> = (0..20).map(|n| connector.deliver(&n.to_string())).collect();
        // It acknowledges nothing.
        let gateway = connector.linked(&["--ack", "manual"]);
        ends(&connector, &ids, "presumed");
        for n in 0..20 {
            assert_eq!(next_text(&gateway), n.to_string());
        }
        drop(gateway);
        connector.event("link_closed");
        // Nothing comes again, not even to a gateway that forgets.
        let live = connector.deliver("live");
        let gateway = connector.linked(&["--ack", "manual"]);
        ends(&connector, &[live], "presumed");
        assert_eq!(next_text(&gateway), "live");
    }
}

// proves: CONN-3
#[test]
fn a_gateway_that_acknowledges_is_held_to_it_also_with_presumed_acknowledgements() {
    let mut connector = Connector::start(&["--gateway-env", "gw=SECRET", "--window", "1", "--presume-acks"]);
    let mut gateway = connector.linked(&["--ack", "manual"]);
    let first = connector.deliver("a");
    ends(&connector, &[first], "presumed");
    assert_eq!(next_text(&gateway), "a");
    // Its ack is ahead of the message that makes the connector look.
    gateway.say("{\"do\":\"ack\",\"delivery\":1}\n{\"do\":\"interrupt\",\"session_key\":\"s\"}");
    connector.event("interrupt");
    let ids = [connector.deliver("b"), connector.deliver("c")];
    assert_eq!(next_text(&gateway), "b");
    gateway.say(r#"{"do":"ack","delivery":2}"#);
    ends(&connector, &ids[..1], "ack");
    assert_eq!(next_text(&gateway), "c");
    connector.say(&json!({"drop": null}));
    connector.event("link_closed");
    drop(gateway);
    let gateway = connector.linked(&[]);
    assert_eq!(next_text(&gateway), "c", "what it did not acknowledge comes again");
    ends(&connector, &ids[1..], "ack");
}

/// A link that says hello and reads nothing.
fn deaf(connector: &Connector) -> TcpStream {
    let address = connector.url.trim_start_matches("ws://").trim_end_matches("/relay");
    let mut stream = TcpStream::connect(address).unwrap();
    let upgrade = "GET /relay HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    say(&mut stream, r#"{"type":"hello","platform":"discord","botId":"b1"}"#);
    connector.event("hello");
    stream
}

/// Sends a frame: one short text message, under a mask of zeros.
fn say(stream: &mut TcpStream, frame: &str) {
    let frame = format!("{frame}\n");
    let (short, long) = (u8::try_from(frame.len()).ok().filter(|len| *len < 126), u16::try_from(frame.len()).unwrap());
    let length = short.map_or_else(|| [&[0x80 | 126], &long.to_be_bytes()[..]].concat(), |short| vec![0x80 | short]);
    stream.write_all(&[&[0x81], length.as_slice(), &[0; 4], frame.as_bytes()].concat()).unwrap();
}

// proves: CONN-6
#[test]
fn a_late_answer_does_not_reach_the_next_link() {
    let mut connector = Connector::start(&["--answer", "manual"]);
    let ask = |connector: &Connector, text: &str| {
        let mut stream = deaf(connector);
        // As gateways do that count from 1 in each process.
        let action = json!({"op": "send", "chat_id": "1", "content": text});
        say(&mut stream, &json!({"type": "outbound", "requestId": "req-1", "action": action}).to_string());
        let outbound = connector.event("outbound");
        assert_eq!((&outbound["request_id"], &outbound["action"]), (&json!("req-1"), &action));
        (stream, outbound["link"].clone())
    };
    let (first, late) = ask(&connector, "one");
    drop(first);
    connector.event("link_closed");
    let (mut second, own) = ask(&connector, "two");
    assert!(late.is_u64() && late != own, "{late} {own}");
    let answer =
        |text: &str| json!({"result": {"success": true, "message_id": text}, "request_id": "req-1", "id": text});
    let with = |mut answer: serde_json::Value, link: &serde_json::Value| {
        answer["link"] = link.clone();
        answer
    };
    connector.say(&with(answer("late"), &late));
    let error = connector.event("error");
    assert_eq!((&error["id"], &error["cause"]), (&json!("late"), &json!("not_waiting")));
    connector.say(&answer("unclear"));
    let error = connector.event("error");
    assert!(error["id"] == "unclear" && error["error"].as_str().unwrap().contains("give the `link`"), "{error}");
    connector.say(&with(answer("right"), &own));
    assert_eq!(connector.event("done")["id"], "right");
    second.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("outbound_result") || !said.ends_with(b"\n") {
        let mut byte = [0];
        second.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("right") && !said.contains("late") && !said.contains("unclear"), "{said}");
}

// proves: CONN-3
#[test]
fn what_a_silent_gateway_does_not_read_is_not_handed_out() {
    const MANY: usize = 500;
    let files = crate::setup::Files::new("deaf");
    let store = files.path("relay.store");
    let mut connector = Connector::start(&["--presume-acks", "--write-timeout", "3600", "--store", &store]);
    let stream = deaf(&connector);
    // Far more bytes than the sockets of both ends can hold.
    let padding = "x".repeat(64 << 10);
    for number in 0..MANY {
        connector.say(&json!({"deliver": {"text": number.to_string(), "padding": padding}}));
    }
    let (mut accepted, mut presumed) = (0, 0);
    while accepted < MANY {
        let event = connector.relay.next();
        match event["event"].as_str() {
            Some("accepted") => accepted += 1,
            Some("presumed") => presumed += 1,
            _ => panic!("{event}"),
        }
    }
    connector.say(&json!({"drop": null}));
    while connector.relay.next()["event"] == "presumed" {
        presumed += 1;
    }
    drop(stream);
    assert!((1..MANY / 2).contains(&presumed), "{presumed} were handed to a gateway that reads nothing");
    let gateway = connector.linked(&["--ack", "manual"]);
    for number in presumed..MANY {
        assert_eq!(next_text(&gateway), number.to_string());
    }
}

#[test]
fn who_takes_nothing_loses_the_link_after_the_time_that_was_asked_for() {
    let mut connector = Connector::start(&["--write-timeout", "1", "--window", "500"]);
    let stream = deaf(&connector);
    let padding = "x".repeat(64 << 10);
    for number in 0..300 {
        connector.say(&json!({"deliver": {"text": number.to_string(), "padding": padding}}));
    }
    let closed = loop {
        let event = connector.relay.next();
        if event["event"] != "accepted" {
            break event;
        }
    };
    assert_eq!((&closed["event"], &closed["cause"]), (&json!("link_closed"), &json!("lost")), "{closed}");
    assert!(closed["reason"].as_str().unwrap().contains("does not read"), "{closed}");
    drop(stream);
}

// proves: CONN-6
#[test]
fn an_outbound_for_a_platform_of_no_hello_fails() {
    let connector = Connector::start(&[]);
    let mut stream = deaf(&connector);
    stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    for (platform, succeeds) in [("slack", false), ("discord", true)] {
        let outbound = format!(
            r#"{{"type":"outbound","requestId":"r","platform":"{platform}","action":{{"op":"typing","chat_id":"7"}}}}"#
        );
        say(&mut stream, &outbound);
        assert_eq!(connector.event("outbound")["platform"], platform);
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains("outbound_result") || !said.ends_with(b"\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        let said = String::from_utf8_lossy(&said);
        assert_eq!(said.contains(r#""success":true"#), succeeds, "{said}");
        assert_eq!(said.contains("no hello"), !succeeds, "{said}");
    }
}
