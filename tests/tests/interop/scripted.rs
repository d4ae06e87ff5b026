//! `relay gateway` dials a connector that is scripted with Python's `websockets`, and that verifies tokens with the
//! reference's own code.

use serde_json::{Value, json};

use crate::process::Process;
use crate::python;
use crate::relay::{SECRET, gateway};

/// The version whose code verifies tokens.
const REFERENCE: &str = "0.19.0";
const CREDENTIALS: [&str; 4] = ["--id", "gw:1", "--secret-env", "SECRET"];

struct Connector {
    process: Process,
    url: String,
}

impl Connector {
    /// `None`: there is no Python for it.
    fn start() -> Option<Self> {
        let python = python::with_reference(REFERENCE)?;
        let mut command = python::script(&python, "scripted_connector.py");
        let process = Process::start("scripted connector", command.env("SECRET", SECRET));
        let url = process.event("listening")["url"].as_str().unwrap().to_owned();
        Some(Self { process, url })
    }

    /// The next link. Hellos are read, and answered.
    fn link(&mut self) -> Value {
        let linked = self.process.until("linked");
        for (platform, bot_id) in [("discord", "b1"), ("telegram", "b2")] {
            assert_eq!(self.frame(), json!({"type": "hello", "platform": platform, "botId": bot_id}));
            self.send(&relay_tests::frames::descriptor(platform));
        }
        linked
    }

    /// A link of this gateway, ready.
    fn ready(&mut self, gateway: &Process) {
        self.link();
        gateway.event("ready");
    }

    fn frame(&self) -> Value {
        self.process.event("frame")["frame"].clone()
    }

    fn send(&mut self, frame: &Value) {
        self.text(&format!("{frame}\n"));
    }

    fn text(&mut self, text: &str) {
        self.process.say(&json!({"do": "text", "text": text}));
    }

    fn close(&mut self, code: u16, reason: &str) {
        self.process.say(&json!({"do": "close", "code": code, "reason": reason}));
    }
}

fn message(text: &str, buffer_id: Option<&str>) -> Value {
    match buffer_id {
        Some(id) => relay_tests::frames::buffered(id, text),
        None => relay_tests::frames::message(text),
    }
}

fn shown(gateway: &Process) -> Value {
    gateway.event("message")["message"]["text"].clone()
}

// proves: DIAL-1, DIAL-2, TOKEN-1, HELLO-1
#[test]
fn its_token_is_genuine_and_without_a_secret_there_is_none() {
    for (credentials, owner) in [(&CREDENTIALS[..], json!("gw:1")), (&[], Value::Null)] {
        let Some(mut connector) = Connector::start() else { return };
        let gateway = gateway(&connector.url, credentials);
        let linked = connector.link();
        assert_eq!((&linked["path"], &linked["owner"]), (&json!("/relay"), &owner));
        assert_eq!(linked["auth"], json!(!owner.is_null()));
        assert_eq!(gateway.event("ready")["descriptor"]["platform"], "discord");
    }
}

// proves: AUTH-1
#[test]
fn a_wrong_secret_is_no_revocation() {
    let Some(mut connector) = Connector::start() else { return };
    let gateway = gateway(&connector.url, &["--id", "gw", "--secret-env", "PATH", "--no-reconnect"]);
    let linked = connector.process.event("linked");
    assert_eq!((&linked["owner"], &linked["auth"]), (&Value::Null, &json!(true)));
    connector.close(4401, "unauthorized");
    let refused = gateway.event("disconnected");
    assert_eq!((&refused["cause"], &refused["code"]), (&json!("unauthorized"), &json!(4401)));
    assert_eq!(gateway.end(), 1);
}

// proves: ACK-1, FRAME-2, EVENT-1
#[test]
fn live_and_buffered_deliveries_however_they_are_cut() {
    let Some(mut connector) = Connector::start() else { return };
    let gateway = gateway(&connector.url, &CREDENTIALS);
    connector.ready(&gateway);
    connector.send(&message("live", None));
    assert_eq!(shown(&gateway), "live");
    // Two in one message, without a newline at the end; then one in pieces, the last of which is binary.
    connector.text(&format!("{}\n{}", message("one", Some("b1")), message("two", Some("b2"))));
    let third = format!("{}\n", message("three €", Some("b3")));
    let (head, tail) = third.as_bytes().split_at(third.find('€').unwrap());
    connector.text(std::str::from_utf8(head).unwrap());
    let hex: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    // Within a character.
    for piece in [&hex[..2], &hex[2..]] {
        connector.process.say(&json!({"do": "binary", "hex": piece}));
    }
    for (text, id) in [("one", "b1"), ("two", "b2"), ("three €", "b3")] {
        assert_eq!(shown(&gateway), text);
        assert_eq!(connector.frame(), json!({"type": "inbound_ack", "bufferId": id}));
    }
}

// proves: ACK-3, ACK-4, LINK-1
#[test]
fn the_tail_after_a_cut_is_acknowledged_and_shown_once() {
    let Some(mut connector) = Connector::start() else { return };
    let mut gateway = gateway(&connector.url, &[&CREDENTIALS[..], &["--ack", "manual"]].concat());
    connector.ready(&gateway);
    connector.send(&message("one", Some("b1")));
    connector.send(&message("two", Some("b2")));
    assert_eq!((shown(&gateway), shown(&gateway)), (json!("one"), json!("two")));
    connector.process.say(&json!({"do": "cut"}));
    assert_eq!(gateway.event("disconnected")["cause"], "lost");
    gateway.say(&json!({"do": "ack", "delivery": 1}));
    gateway.say(&json!({"do": "reconnect"}));
    connector.ready(&gateway);
    for (text, id) in [("one", "b1"), ("two", "b2"), ("three", "b3")] {
        connector.send(&message(text, Some(id)));
    }
    assert_eq!(connector.frame(), json!({"type": "inbound_ack", "bufferId": "b1"}));
    assert_eq!(shown(&gateway), "three");
    gateway.say(&json!({"do": "ack", "delivery": 2}));
    assert_eq!(connector.frame(), json!({"type": "inbound_ack", "bufferId": "b2"}));
}

// proves: IDLE-1, IDLE-2
#[test]
fn it_goes_idle_and_sleeps() {
    let Some(mut connector) = Connector::start() else { return };
    let mut gateway = gateway(&connector.url, &CREDENTIALS);
    connector.ready(&gateway);
    gateway.say(&json!({"do": "go_idle", "id": 1}));
    assert_eq!(connector.frame(), json!({"type": "going_idle"}));
    connector.send(&json!({"type": "going_idle_ack"}));
    gateway.event("idle");
    assert_eq!(gateway.event("result")["outcome"], "acknowledged");
    gateway.say(&json!({"do": "go_dormant", "id": 2}));
    assert_eq!(connector.frame(), json!({"type": "going_idle"}));
    connector.send(&json!({"type": "going_idle_ack"}));
    assert_eq!(connector.process.event("closed")["code"], 1000);
    // It wakes by itself.
    connector.link();
    connector.send(&message("while asleep", Some("b1")));
    assert_eq!(gateway.until("message")["message"]["text"], "while asleep");
}

// proves: STOP-1, PASS-1
#[test]
fn interrupts_and_forwards() {
    let Some(mut connector) = Connector::start() else { return };
    let mut gateway = gateway(&connector.url, &CREDENTIALS);
    connector.ready(&gateway);
    connector.send(&json!({"type": "interrupt_inbound", "session_key": "s1", "chat_id": "c1"}));
    assert_eq!(gateway.event("interrupt"), json!({"event": "interrupt", "session_key": "s1", "chat_id": "c1"}));
    gateway.say(&json!({"do": "interrupt", "session_key": "s2"}));
    assert_eq!(connector.frame(), json!({"type": "interrupt", "session_key": "s2", "reason": null}));
    let forward = json!({"platform": "discord", "botId": "b1", "method": "POST", "path": "/x",
        "headers": [["B", "2"], ["A", "1"]], "bodyB64": "AP8K4oKs"});
    connector.send(&json!({"type": "passthrough_forward", "forward": forward, "bufferId": "p1"}));
    let passthrough = gateway.event("passthrough");
    assert_eq!(passthrough["forward"]["body_b64"], "AP8K4oKs");
    assert_eq!(passthrough["forward"]["headers"], json!([["B", "2"], ["A", "1"]]));
    assert_eq!(connector.frame(), json!({"type": "inbound_ack", "bufferId": "p1"}));
}

// proves: REQ-1, REQ-4, REQ-5, REQ-6
#[test]
fn requests_and_their_results() {
    let Some(mut connector) = Connector::start() else { return };
    let mut gateway = gateway(&connector.url, &CREDENTIALS);
    connector.ready(&gateway);
    for (action, result, outcome) in [
        (json!({"op": "send", "chat_id": "c1", "content": "hi"}), json!({"success": true}), "delivered"),
        (json!({"op": "follow_up", "session_key": "s", "kind": "k"}), json!({"success": false}), "rejected"),
        (json!({"op": "send", "chat_id": "c1"}), json!({"success": false, "error": "egress declined"}), "declined"),
    ] {
        gateway.say(&action);
        let frame = connector.frame();
        assert_eq!((&frame["type"], &frame["action"]), (&json!("outbound"), &action));
        connector.send(&relay_tests::frames::result(&frame, result));
        assert_eq!(gateway.event("result")["outcome"], outcome);
    }
    gateway.say(&json!({"op": "edit", "platform": "telegram"}));
    let frame = connector.frame();
    assert_eq!((&frame["platform"], &frame["botId"]), (&json!("telegram"), &json!("b2")));
    connector.send(&relay_tests::frames::result(&frame, json!({"success": true})));
    gateway.event("result");
    gateway.say(&json!({"op": "get_chat_info", "chat_id": "c1"}));
    let frame = connector.frame();
    connector.send(&relay_tests::frames::result(&frame, json!({"chat_info": {"name": "Ann"}})));
    assert_eq!(gateway.event("result")["chat_info"], json!({"name": "Ann", "type": "dm"}));
}

// proves: AUTH-2
#[test]
fn a_revoked_secret_is_the_end() {
    let Some(mut connector) = Connector::start() else { return };
    let gateway = gateway(&connector.url, &CREDENTIALS);
    connector.ready(&gateway);
    connector.close(4401, "unauthorized");
    gateway.event("disconnected");
    gateway.event("revoked");
    assert_eq!(gateway.end(), 3);
}
