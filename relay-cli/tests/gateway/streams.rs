//! Standard streams that others left full or non-blocking.

use std::io::{BufReader, Read, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::connector::Connector;
use crate::pipes::{bound, full_pipe, make_nonblocking, next_event};
use crate::process::command;

fn gateway(connector: &Connector) -> Command {
    command(&["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"])
}

#[test]
fn a_full_standard_error_stops_nothing_and_what_was_dropped_is_counted() {
    let connector = Connector::start();
    let (mut reader, full) = full_pipe();
    let mut relay = gateway(&connector);
    relay.env("RELAY_LOG", "debug").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(full);
    let mut child = relay.spawn().unwrap();
    let _bound = bound(&child);
    drop(relay);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut peer = connector.ready(&["discord"]);
    assert_eq!(next_event(&mut stdout)["event"], "ready");
    // Each of these lines is one of the log, up to sixteen at once, and all together are more than may wait.
    for number in 0..500 {
        peer.send_text("nonsense\n".repeat(16));
        let id = format!("b{number}");
        peer.deliver(&id, Some(&id));
        assert_eq!(next_event(&mut stdout)["message"]["text"], id.as_str());
        assert_eq!(peer.next(), json!({"type": "inbound_ack", "bufferId": id}));
    }
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}", json!({"op": "send", "id": 1})).unwrap();
    let (request, _) = peer.next_request();
    peer.answer(&request, &json!({"success": true}));
    assert_eq!(next_event(&mut stdout)["outcome"], "delivered");
    // Once it is read, the log goes on, and says what is missing.
    let mut log = Vec::new();
    while !String::from_utf8_lossy(&log).contains("lines of the log are missing here") {
        let mut piece = [0; 65536];
        let n = reader.read(&mut piece).unwrap();
        assert_ne!(n, 0, "the log ended");
        log.extend_from_slice(&piece[..n]);
    }
    drop(stdin);
    peer.see_it_close();
    reader.read_to_end(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let log = String::from_utf8(log).unwrap();
    assert_eq!(log.matches("missing here").count(), 1, "and what follows is not");
}

#[test]
fn a_standard_error_that_is_never_read_does_not_hold_up_the_end() {
    let connector = Connector::start();
    let (_reader, full) = full_pipe();
    let mut relay = gateway(&connector);
    relay.env("RELAY_LOG", "debug").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(full);
    let mut child = relay.spawn().unwrap();
    let _bound = bound(&child);
    let mut peer = connector.ready(&["discord"]);
    drop(child.stdin.take());
    peer.see_it_close();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

// proves: ACK-1
#[test]
fn streams_that_are_non_blocking_are_waited_for() {
    let connector = Connector::start();
    let (stdin, mut commands) = std::io::pipe().unwrap();
    let (events, stdout) = std::io::pipe().unwrap();
    let (mut errors, stderr) = std::io::pipe().unwrap();
    make_nonblocking(&stdin);
    make_nonblocking(&stdout);
    make_nonblocking(&stderr);
    let mut relay = gateway(&connector);
    let mut child = relay.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
    let _bound = bound(&child);
    drop(relay);
    let mut peer = connector.ready(&["discord"]);
    // More than a pipe holds.
    const MESSAGES: usize = 300;
    let text = "x".repeat(1000);
    for number in 0..MESSAGES {
        peer.deliver(&format!("{number} {text}"), Some(&format!("b{number}")));
    }
    // An input that was empty until now has not ended.
    writeln!(commands, "{}", json!({"op": "send", "id": 1})).unwrap();
    let mut acknowledged = 0;
    let request = loop {
        let frame = peer.next();
        match frame["type"].as_str().unwrap() {
            "inbound_ack" => acknowledged += 1,
            _ => break frame["requestId"].as_str().unwrap().to_owned(),
        }
    };
    assert!(acknowledged < MESSAGES);
    peer.answer(&request, &json!({"success": true}));
    let mut events = BufReader::new(events);
    let seen: Vec<Value> = (0..MESSAGES + 2).map(|_| next_event(&mut events)).collect();
    let messages: Vec<_> = seen.iter().filter(|event| event["event"] == "message").collect();
    assert!(messages.iter().enumerate().all(|(index, event)| event["delivery"] == json!(index + 1)));
    assert_eq!(messages.len(), MESSAGES);
    while acknowledged < MESSAGES {
        assert_eq!(peer.next()["type"], "inbound_ack");
        acknowledged += 1;
    }
    drop(commands);
    peer.see_it_close();
    let mut said = String::new();
    errors.read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), child.wait().unwrap().code()), ("", Some(0)));
}

// proves: TOKEN-3
#[test]
fn what_a_terminal_would_obey_is_escaped_in_events_and_logs() {
    let connector = Connector::start();
    let hidden = "\u{7f}\u{9b}31m\u{202e}\u{2066}\u{2028}";
    let mut relay = gateway(&connector);
    relay.args(["--raw", "--no-reconnect"]).env("RELAY_LOG", "debug");
    relay.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = relay.spawn().unwrap();
    let _bound = bound(&child);
    let mut peer = connector.ready(&["discord"]);
    peer.deliver(hidden, Some(hidden));
    peer.send(&json!({"type": hidden}));
    peer.send(&json!({"type": "interrupt_inbound", "session_key": hidden, "chat_id": hidden}));
    peer.next();
    peer.close(1000, hidden);
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let events: Vec<Value> = stdout.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect();
    let event = |name: &str| events.iter().find(|event| event["event"] == name).unwrap();
    assert_eq!(event("message")["message"]["text"], hidden, "a reader of JSON has all of it");
    assert_eq!(event("message")["raw"]["text"], hidden);
    assert_eq!(event("interrupt")["session_key"], hidden);
    for text in [&stdout, &stderr] {
        assert!(!text.chars().any(|c| hidden.contains(c) && !c.is_ascii_alphanumeric()), "{text:?}");
    }
}
