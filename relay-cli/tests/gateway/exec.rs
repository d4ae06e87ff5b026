//! A program at the other end of the pipes.

use std::process::Command as Process;

use serde_json::{Value, json};

use crate::connector::{Connector, Peer};
use crate::process::{Relay, command};

fn exec(connector: &Connector, script: &str, more: &[&str]) -> Relay {
    Relay::start(&connector.url, &[more, &["--exec", "sh", "-c", script]].concat())
}

/// Answers the next request; the text that it sends.
fn answer(peer: &mut Peer) -> String {
    let (request, frame) = peer.next_request();
    peer.answer(&request, &json!({"success": true}));
    frame["action"]["content"].as_str().unwrap().into()
}

// proves: ACK-1, CLOSE-1
#[test]
fn a_shell_is_an_agent() {
    let connector = Connector::start();
    let script = r#"
        while read -r line; do case $line in
            *'"event":"message"'*) echo '{"op":"send","content":"pong","chat_id":"7"}' ;;
            *'"event":"result"'*) exit 0 ;;
        esac; done"#;
    let relay = exec(&connector, script, &[]);
    let mut peer = connector.ready(&["discord"]);
    peer.deliver("ping", Some("b1"));
    // Which of the two comes first is up to the shell.
    let mut frames = [peer.next(), peer.next()];
    frames.sort_by_key(|frame| frame["type"].as_str().unwrap().to_string());
    assert_eq!(frames[0], json!({"type": "inbound_ack", "bufferId": "b1"}));
    assert_eq!(frames[1]["action"]["content"], "pong");
    peer.answer(frames[1]["requestId"].as_str().unwrap(), &json!({"success": true}));
    peer.see_it_close();
    let (rest, stderr, code) = relay.end();
    assert_eq!((rest, stderr.as_str(), code), (Vec::<Value>::new(), "", 0), "the program's pipes are not ours");
}

#[test]
fn a_program_that_fails_is_a_failure() {
    let connector = Connector::start();
    let relay = exec(&connector, "read -r line; echo gone >&2; exit 7", &[]);
    connector.ready(&["discord"]).see_it_close();
    let (_, stderr, code) = relay.end();
    assert_eq!((stderr.as_str(), code), ("gone\n", 1));
}

#[test]
fn what_a_program_said_before_it_exited_is_carried_out() {
    let connector = Connector::start();
    // It never reads, and leaves a line without its end.
    let script = r#"printf '%s\n%s' '{"op":"send","content":"one"}' '{"op":"send","content":"two"}'"#;
    let relay = exec(&connector, script, &["--wait-for-link"]);
    let mut peer = connector.ready(&["discord"]);
    assert_eq!((answer(&mut peer), answer(&mut peer)), ("one".into(), "two".into()));
    peer.see_it_close();
    assert_eq!(relay.end().2, 0);
}

// proves: AUTH-2
#[test]
fn a_revoked_gateway_ends_its_program() {
    let connector = Connector::start();
    let relay = exec(&connector, "cat >&2", &[]);
    let peer = connector.ready(&["discord"]);
    peer.close(4401, "unauthorized");
    let (_, stderr, code) = relay.end();
    let last: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], code), (&json!("revoked"), 3));
}

#[test]
fn a_program_that_outlives_its_pipes_is_not_waited_for_for_ever() {
    let connector = Connector::start();
    // It closes its output, which closes the gateway, and does not care that its input ends.
    let relay = exec(&connector, "exec >/dev/null; exec tail -f /dev/null", &[]);
    let (_, stderr, code) = relay.end();
    assert!(code == 1 && stderr.contains("killing"), "{stderr}");
}

#[test]
fn a_program_that_is_stuck_can_be_ended() {
    let connector = Connector::start();
    let relay = exec(&connector, "exec tail -f /dev/null", &[]);
    let mut peer = connector.ready(&["discord"]);
    // More than its input holds, and than is let in behind it.
    let text = "x".repeat(1000);
    for number in 0..500 {
        peer.deliver(&format!("{number} {text}"), Some(&format!("b{number}")));
    }
    assert!(Process::new("kill").args(["-TERM", &relay.id().to_string()]).status().unwrap().success());
    peer.see_it_close();
    let (_, stderr, code) = relay.end();
    assert!(code == 1 && stderr.contains("killing"), "{code}: {stderr}");
}

// proves: TOKEN-3
#[test]
fn a_program_does_not_get_the_secret() {
    let connector = Connector::start();
    let url = ["--url", &connector.url, "--platform", "discord", "--bot-id", "b1", "--id", "gw"];
    let script = ["--secret-env", "THE_KEY", "--exec", "sh", "-c", "env >&2"];
    let mut command = command(&[&url[..], &script].concat());
    command.env("THE_KEY", "hunter2").env("GATEWAY_RELAY_SECRET", "hunter2").env("OTHER", "visible");
    let (_, stderr, _) = Relay::start_command(command).end();
    assert!(stderr.contains("OTHER=visible") && !stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn a_later_signal_ends_a_program_that_does_not_care() {
    let connector = Connector::start();
    // With our pipe for its output, `tail` would end when that breaks.
    let script = r#"echo '{"op":"send"}'; exec tail -f /dev/null >/dev/null"#;
    let mut relay = exec(&connector, script, &["--wait-for-link"]);
    let mut peer = connector.ready(&["discord"]);
    // It is not answered, which the gateway waits for.
    peer.next_request();
    let id = relay.id().to_string();
    let term = || Process::new("kill").args(["-TERM", &id]).status().unwrap();
    // The first begins to close; those that come with it are passed over.
    while !relay.has_ended() {
        assert!(term().success());
    }
    // The program has our standard error: what it says ends when the program does, too.
    let (_, stderr, code) = relay.end();
    assert_eq!((stderr.as_str(), code), ("", 1));
}

// proves: ACK-1
#[test]
fn a_program_that_stops_reading_is_warned_about() {
    let connector = Connector::start();
    // It still has something to say, which shows when it has closed its input.
    let script = r#"exec <&-; echo '{"op":"send","content":"deaf"}'; exec tail -f /dev/null"#;
    let relay = exec(&connector, script, &["--wait-for-link"]);
    let mut peer = connector.ready(&["discord"]);
    assert_eq!(answer(&mut peer), "deaf");
    peer.deliver("unseen", Some("b1"));
    assert!(Process::new("kill").args(["-TERM", &relay.id().to_string()]).status().unwrap().success());
    assert_eq!(peer.see_it_close().0, Vec::<Value>::new(), "nothing is acknowledged");
    let (_, stderr, code) = relay.end();
    assert_eq!((stderr.matches("closed its standard input").count(), code), (1, 1), "{stderr}");
}
