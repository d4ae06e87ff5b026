//! The end: of the input, by signal, of the output.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::pair::{Connector, command, gateway, message, next_text};
use crate::process::{Relay, signals};
use crate::setup::Files;

fn signal(signal: &str, relay: &Relay) {
    assert!(Command::new("kill").args([signal, &relay.id().to_string()]).status().unwrap().success());
}

fn closed() -> Option<Value> {
    Some(json!({"event": "closed"}))
}

#[test]
fn a_signal_closes_every_link_with_1001() {
    for name in signals() {
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
fn signals_that_come_together_are_one() {
    let connector = Connector::registered();
    let gateway = connector.linked(&["--no-reconnect"]);
    // As `timeout` does it, but with two kinds: the system would make one of two alike. They come together although the
    // shell may be slow: a process that is stopped gets its signals when it goes on.
    let both = "kill -STOP \"$0\" && kill -TERM \"$0\" && kill -INT \"$0\" && kill -CONT \"$0\"";
    assert!(Command::new("sh").args(["-c", both, &connector.relay.id().to_string()]).status().unwrap().success());
    assert_eq!(gateway.event("disconnected")["code"], 1001);
    let (rest, stderr, code) = connector.relay.end();
    assert_eq!((rest.last().cloned(), stderr.as_str(), code), (closed(), "", 0));
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
    let said = ["not acknowledged", "nobody reads standard output"];
    assert!(stderr.is_empty() || said.iter().any(|what| stderr.contains(what)), "it does not complain: {stderr}");
}

#[test]
fn what_ends_with_the_process_is_worth_a_word() {
    let mut connector = Connector::registered();
    connector.deliver("to nobody");
    connector.relay.end_input();
    let (_, stderr, code) = connector.relay.end();
    assert_eq!((stderr.contains("1 deliveries were not acknowledged"), code), (true, 0), "{stderr}");
}

/// A connector over this store, whose output is read up to the first event and no further.
fn unread(arguments: &[&str]) -> (Child, BufReader<ChildStdout>, String) {
    let mut command = command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::with_capacity(1, child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    (child, stdout, listening["url"].as_str().unwrap().to_owned())
}

/// How many are delivered to it.
const MANY: usize = 150;

/// Takes up so much that the answers fill more than a pipe.
fn fill(connector: &mut Child, gateway: &Relay) {
    let mut stdin = connector.stdin.as_ref().unwrap();
    for number in 0..MANY {
        let line = json!({"deliver": message(&number.to_string()), "id": "x".repeat(4000)});
        writeln!(stdin, "{line}").unwrap();
    }
    // What is shown was accepted.
    for number in 0..MANY {
        assert_eq!(next_text(gateway), number.to_string());
    }
}

fn end(connector: Child) -> (String, i32) {
    let output = connector.wait_with_output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

// proves: CONN-7
#[test]
fn a_later_signal_ends_at_once_and_loses_nothing_that_was_accepted() {
    let files = Files::new("signals");
    let store = files.path("relay.store");
    let arguments = ["--gateway-env", "gw=SECRET", "--store", &store, "--window", "1000"];
    let (mut connector, stdout, url) = unread(&arguments);
    let first = gateway(&url, &["--ack", "manual", "--no-reconnect"]);
    first.event("ready");
    fill(&mut connector, &first);
    // The first closes in order, which waits for the reader; others come while it does, and are passed over for a while.
    while connector.try_wait().unwrap().is_none() {
        assert!(Command::new("kill").arg(connector.id().to_string()).status().unwrap().success());
    }
    assert_eq!(end(connector), (String::new(), 1), "it does not wait");
    drop(stdout);
    let connector = Connector::start(&arguments);
    let second = connector.linked(&[]);
    for number in 0..MANY {
        assert_eq!(next_text(&second), number.to_string());
        connector.event("ack");
    }
}

#[test]
fn a_signal_ends_it_also_when_nobody_reads_its_output() {
    let (mut connector, stdout, url) = unread(&["--gateway-env", "gw=SECRET"]);
    let linked = gateway(&url, &["--no-reconnect"]);
    linked.event("ready");
    fill(&mut connector, &linked);
    assert!(Command::new("kill").args(["-TERM", &connector.id().to_string()]).status().unwrap().success());
    assert_eq!(linked.event("disconnected")["code"], 1001);
    let (stderr, code) = end(connector);
    assert!(code == 1 && stderr.contains("nobody reads"), "{code}: {stderr}");
    drop(stdout);
}
