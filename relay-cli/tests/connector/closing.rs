//! The end: of the input, by signal, of the output.

use std::process::Command;

use serde_json::{Value, json};

use crate::pair::{Connector, command, gateway};
use crate::process::Relay;

fn signal(signal: &str, relay: &Relay) {
    assert!(Command::new("kill").args([signal, &relay.id().to_string()]).status().unwrap().success());
}

fn closed() -> Option<Value> {
    Some(json!({"event": "closed"}))
}

#[test]
fn a_signal_closes_every_link_with_1001() {
    for name in ["-TERM", "-INT"] {
        let connector = Connector::registered();
        let gateway = connector.linked(&["--no-reconnect"]);
        signal(name, &connector.relay);
        assert_eq!(gateway.event("disconnected")["code"], 1001);
        let (rest, stderr, code) = connector.relay.end();
        assert_eq!((rest[0]["event"].as_str(), &rest[0]["code"]), (Some("link_closed"), &json!(1001)));
        assert_eq!((rest.last().cloned(), stderr.as_str(), code), (closed(), "", 0));
    }
}

#[test]
fn the_end_of_the_commands_closes_in_order_after_what_was_asked() {
    let mut connector = Connector::registered();
    let gateway = connector.linked(&["--no-reconnect"]);
    // The last line has no newline.
    connector.say(&json!({"deliver": {"text": "a"}, "id": 1}));
    connector.say(&json!({"deliver": {"text": "b"}, "id": 2}));
    connector.relay.end_input();
    let (rest, _, code) = connector.relay.end();
    let accepted: Vec<_> = rest.iter().filter(|event| event["event"] == "accepted").map(|event| &event["id"]).collect();
    assert_eq!((accepted, rest.last().cloned(), code), (vec![&json!(1), &json!(2)], closed(), 0));
    let disconnected = std::iter::repeat_with(|| gateway.next()).find(|event| event["event"] == "disconnected");
    assert_eq!(disconnected.unwrap()["code"], 1001);
}

#[test]
fn input_without_a_command_is_none() {
    let mut connector = Connector::registered();
    connector.relay.say("");
    connector.relay.end_input();
    // It goes on as if nothing had happened.
    let gateway = gateway(&connector.url, &[]);
    gateway.event("ready");
    connector.event("hello");
    signal("-TERM", &connector.relay);
    assert_eq!(connector.relay.end().2, 0);
}

#[test]
fn it_ends_when_nobody_listens_any_more() {
    let mut connector = Relay::start_unread(command(&[]));
    connector.stop_listening();
    // Whether its first event or its second finds nobody.
    connector.say(r#"{"deliver":{"text":"hi"}}"#);
    let (_, stderr, code) = connector.end();
    assert_eq!(code, 1);
    assert!(stderr.is_empty() || stderr.contains("not acknowledged"), "it does not complain: {stderr}");
}

#[test]
fn what_ends_with_the_process_is_worth_a_word() {
    let mut connector = Connector::registered();
    connector.deliver("to nobody");
    connector.relay.end_input();
    let (_, stderr, code) = connector.relay.end();
    assert_eq!((stderr.contains("1 deliveries were not acknowledged"), code), (true, 0), "{stderr}");
}
