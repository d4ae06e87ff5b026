//! The end: of the input, by command, by signal.

use std::process::Command;

use relay_proto::end::LinkEnd;
use serde_json::{Value, json};

use crate::connector::Connector;
use crate::process::{Relay, command, signals};

fn normal() -> Option<LinkEnd> {
    Some(LinkEnd::Closed { code: Some(1000), reason: String::new() })
}

// proves: CLOSE-1
#[test]
fn the_end_of_input_closes_in_order_after_what_was_asked() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    // The last line has no newline.
    relay.say(r#"{"op":"send","id":1}"#);
    relay.say("{\"op\":\"send\",\"id\":2}\n{\"do\":\"interrupt\",\"session_key\":\"s\"}");
    relay.end_input();
    let (first, _) = peer.next_request();
    let (second, _) = peer.next_request();
    assert_eq!(peer.next()["type"], "interrupt");
    assert_eq!(peer.next()["type"], "going_idle");
    peer.send(&json!({"type": "going_idle_ack"}));
    peer.answer(&second, &json!({"success": true}));
    peer.answer(&first, &json!({"success": true}));
    let (said, end) = peer.see_it_close();
    assert_eq!((said, end), (Vec::<Value>::new(), normal()));
    let (rest, stderr, code) = relay.end();
    let results: Vec<_> = rest.iter().filter(|event| event["event"] == "result").collect();
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|result| result["outcome"] == "delivered"), "{rest:?}");
    assert_eq!(rest.last(), Some(&json!({"event": "closed"})));
    assert_eq!((stderr.as_str(), code), ("", 0));
    assert!(connector.is_left_alone());
}

// proves: CLOSE-1
#[test]
fn the_command_closes_as_the_end_of_input_does() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    relay.say(r#"{"do":"close"}"#);
    relay.say(r#"{"do":"close"}"#);
    relay.say(r#"{"op":"send","id":"late"}"#);
    // Going idle is not acknowledged before that is read.
    let late = relay.event("result");
    assert_eq!((&late["outcome"], &late["cause"]), (&json!("not_sent"), &json!("shut_down")));
    assert_eq!(peer.see_it_close().1, normal());
    let (rest, _, code) = relay.end();
    assert_eq!((rest.last(), code), (Some(&json!({"event": "closed"})), 0));
}

// proves: CLOSE-1
#[test]
fn a_signal_closes_in_order() {
    for signal in signals() {
        let connector = Connector::start();
        let relay = Relay::start(&connector.url, &[]);
        let mut peer = connector.ready(&["discord"]);
        relay.event("ready");
        assert!(Command::new("kill").args([signal, &relay.id().to_string()]).status().unwrap().success());
        assert_eq!(peer.see_it_close().1, normal());
        let (rest, stderr, code) = relay.end();
        assert_eq!((rest.last(), stderr.as_str(), code), (Some(&json!({"event": "closed"})), "", 0));
    }
}

#[test]
fn a_signal_ends_it_also_when_nobody_reads_its_output() {
    let connector = Connector::start();
    let relay = Relay::start_unread(command(&["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"]));
    let mut peer = connector.ready(&["discord"]);
    // More than a pipe holds, and than is let in behind it.
    let text = "x".repeat(1000);
    for number in 0..500 {
        peer.deliver(&format!("{number} {text}"), Some(&format!("b{number}")));
    }
    // The link is up: everything above is read before the answer to going idle.
    assert_eq!(peer.next()["type"], "inbound_ack");
    assert!(Command::new("kill").args(["-TERM", &relay.id().to_string()]).status().unwrap().success());
    let (acknowledged, end) = peer.see_it_close();
    assert!(acknowledged.len() < 500);
    assert_eq!(end, normal());
    let (_, stderr, code) = relay.end();
    assert!(code == 1 && stderr.contains("nobody reads"), "{code}: {stderr}");
}

#[test]
fn answers_that_nobody_reads_do_not_hold_up_the_end() {
    let connector = Connector::start();
    let mut relay = Relay::start_unread(command(&["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"]));
    let mut peer = connector.ready(&["discord"]);
    // Before it knows of its link it would send nothing, and its output, which would tell, is not read.
    peer.deliver("first", Some("b0"));
    assert_eq!(peer.next()["type"], "inbound_ack");
    // Their answers are more than a pipe holds.
    relay.say("nonsense\n".repeat(2000));
    relay.say(r#"{"op":"send"}"#);
    let (request, _) = peer.next_request();
    peer.answer(&request, &json!({"success": true}));
    assert!(Command::new("kill").args(["-TERM", &relay.id().to_string()]).status().unwrap().success());
    assert_eq!(peer.see_it_close().1, normal());
    let (_, stderr, code) = relay.end();
    assert_eq!((stderr.matches("nobody reads the last events").count(), code), (1, 1), "{stderr}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_that_was_ignored_from_the_start_stays_so() {
    let connector = Connector::start();
    let url = ["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"];
    let gateway = command(&url);
    // As nohup does it.
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(gateway.get_program()).args(gateway.get_args());
    for (name, value) in gateway.get_envs() {
        match value {
            Some(value) => nohup.env(name, value),
            None => nohup.env_remove(name),
        };
    }
    let mut relay = Relay::start_command(nohup);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    assert!(Command::new("kill").args(["-HUP", &relay.id().to_string()]).status().unwrap().success());
    for id in 0..2 {
        relay.say(r#"{"op":"send"}"#);
        let (request, _) = peer.next_request();
        peer.answer(&request, &json!({"success": true}));
        assert_eq!(relay.event("result")["outcome"], "delivered", "{id}");
    }
    relay.end_input();
    peer.see_it_close();
    assert_eq!(relay.end().2, 0);
}

// proves: CLOSE-1
#[test]
fn signals_that_come_together_are_one() {
    let connector = Connector::start();
    let relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    // As `timeout` does it, but with two kinds: the system would make one of two alike. They come together although the
    // shell may be slow: a process that is stopped gets its signals when it goes on.
    let both = "kill -STOP \"$0\" && kill -TERM \"$0\" && kill -INT \"$0\" && kill -CONT \"$0\"";
    assert!(Command::new("sh").args(["-c", both, &relay.id().to_string()]).status().unwrap().success());
    assert_eq!(peer.see_it_close().1, normal());
    let (rest, stderr, code) = relay.end();
    assert_eq!((rest.last(), stderr.as_str(), code), (Some(&json!({"event": "closed"})), "", 0));
}

#[test]
fn a_later_signal_ends_at_once() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    relay.say(r#"{"op":"send","id":1}"#);
    peer.next_request();
    let id = relay.id().to_string();
    let term = || Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(term().success());
    // It has begun to close, and waits for answers that do not come.
    assert_eq!(peer.next()["type"], "going_idle");
    // The first of these are passed over.
    while !relay.has_ended() {
        assert!(term().success());
    }
    let (rest, _, code) = relay.end();
    assert_eq!((rest, code), (Vec::new(), 1));
}

#[test]
fn input_that_has_ended_before_there_is_a_link_ends_it() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    relay.end_input();
    let (rest, _, code) = relay.end();
    assert_eq!((rest, code), (vec![json!({"event": "closed"})], 0));
}
