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
    let (request, frame) = peer.next_request();
    assert_eq!(frame["action"]["content"], "pong");
    peer.answer(&request, &json!({"success": true}));
    // It has answered, and that is when.
    assert_eq!(peer.next(), json!({"type": "inbound_ack", "bufferId": "b1"}));
    peer.see_it_close();
    let (rest, stderr, code) = relay.end();
    assert_eq!((rest, code), (Vec::<Value>::new(), 0), "the program's pipes are not ours");
    assert_eq!(stderr, "relay: warning: the program has ended (exit code 0)\n");
}

#[test]
fn a_program_that_fails_is_a_failure() {
    let connector = Connector::start();
    let relay = exec(&connector, "read -r line; echo gone >&2; exit 7", &[]);
    connector.ready(&["discord"]).see_it_close();
    let (_, stderr, code) = relay.end();
    assert_eq!((stderr.as_str(), code), ("gone\nrelay: warning: the program has ended (exit code 7)\n", 1));
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
    // The log says it, too.
    let last: Value = serde_json::from_str(stderr.lines().rfind(|line| line.starts_with('{')).unwrap()).unwrap();
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

/// A program that answers each message whose text is not "ignore me", which it acknowledges, and crashes on "crash".
const AGENT: &str = r#"
    while read -r line; do
        number=${line#*'"delivery":'}; number=${number%%,*}
        case $line in
            *'"event":"message"'*'"text":"crash"'*) exit 7 ;;
            *'"event":"message"'*'"text":"ignore me"'*) echo '{"do":"ack","delivery":'$number'}' ;;
            *'"event":"message"'*) echo '{"op":"typing","chat_id":"7"}'
                echo '{"op":"send","content":"'$number'","chat_id":"7"}' ;;
        esac
    done"#;

/// Answers the next request that is not about typing; what it sends. Acknowledgements, which come when they may, are added
/// to `acked`.
fn answer_sent(peer: &mut Peer, acked: &mut Vec<Value>) -> String {
    loop {
        let frame = peer.next();
        if frame["type"] == "inbound_ack" {
            acked.push(frame);
            continue;
        }
        peer.answer(frame["requestId"].as_str().unwrap(), &json!({"success": true}));
        if frame["action"]["op"] != "typing" {
            return frame["action"]["content"].as_str().unwrap().into();
        }
    }
}

// proves: ACK-1, ACK-2, ACK-6
#[test]
fn the_message_on_which_a_program_crashes_is_not_acknowledged() {
    let connector = Connector::start();
    let relay = exec(&connector, AGENT, &[]);
    let mut peer = connector.ready(&["discord"]);
    // They lie in the program's input, one behind the other; the first two belong to the same chat.
    for (text, id) in [("one", "b1"), ("two", "b2"), ("ignore me", "b3"), ("crash", "b4"), ("after", "b5")] {
        peer.deliver(text, Some(id));
    }
    let mut said = Vec::new();
    for number in ["1", "2"] {
        assert_eq!(answer_sent(&mut peer, &mut said), number);
    }
    // What it has dealt with is acknowledged, and neither the one that it was at nor those that it has not begun.
    said.extend(peer.see_it_close().0);
    let acks: Vec<&Value> = said.iter().filter(|frame| frame["type"] == "inbound_ack").collect();
    let acked: Vec<&str> = acks.iter().map(|frame| frame["bufferId"].as_str().unwrap()).collect();
    assert_eq!(acked, ["b1", "b2", "b3"], "{said:?}");
    let (_, stderr, code) = relay.end();
    let lines: Vec<&str> = stderr.lines().collect();
    // The end of its output may be seen before its exit.
    for told in ["the program has ended (exit code 7)", "2 messages were neither answered nor acknowledged"] {
        assert!(lines.iter().any(|line| line.contains(told)), "{stderr}");
    }
    assert_eq!((lines.len(), code), (2, 1), "{stderr}");
}

// proves: ACK-1, ACK-2
#[test]
fn what_a_program_cannot_answer_holds_up_no_acknowledgement() {
    let connector = Connector::start();
    let _relay = exec(&connector, AGENT, &[]);
    let mut peer = connector.ready(&["discord"]);
    let forward = json!({"platform": "discord", "botId": "b1", "method": "POST", "path": "/x", "headers": []});
    peer.send(&json!({"type": "passthrough_forward", "bufferId": "p", "forward": forward}));
    peer.send(&json!({"type": "inbound", "bufferId": "poison", "event": ["no", "object"]}));
    peer.send(&json!({"type": "inbound", "bufferId": "chatless", "event": {"text": "from no chat"}}));
    for id in ["p", "poison", "chatless"] {
        loop {
            let frame = peer.next();
            if frame["type"] == "inbound_ack" {
                assert_eq!(frame["bufferId"], id);
                break;
            }
        }
    }
    peer.deliver("one", Some("b1"));
    loop {
        let frame = peer.next();
        match frame["requestId"].as_str() {
            Some(request) => peer.answer(request, &json!({"success": true})),
            None => {
                assert_eq!(frame, json!({"type": "inbound_ack", "bufferId": "b1"}));
                break;
            }
        }
    }
}

// proves: ACK-1
#[test]
fn by_name_a_program_is_believed_to_handle_what_is_written_to_it() {
    let connector = Connector::start();
    // It answers nothing, and says of nothing that it has dealt with it.
    let script = r#"while read -r line; do case $line in *'"text":"crash"'*) exit 7 ;; esac; done"#;
    let relay = exec(&connector, script, &["--ack", "auto"]);
    let mut peer = connector.ready(&["discord"]);
    peer.deliver("one", Some("b1"));
    assert_eq!(peer.next(), json!({"type": "inbound_ack", "bufferId": "b1"}));
    // Whether this one is acknowledged depends on what is noticed first: that it is written, or that the program is gone.
    peer.deliver("crash", Some("b2"));
    peer.see_it_close();
    let (_, stderr, code) = relay.end();
    assert_eq!(code, 1);
    assert!(stderr.contains("(exit code 7)") && !stderr.contains("answered"), "{stderr}");
}

#[test]
fn a_program_that_a_signal_ends_is_told_of_by_its_name() {
    let connector = Connector::start();
    let relay = exec(&connector, "read -r line; kill -KILL $$", &[]);
    connector.ready(&["discord"]).see_it_close();
    let (_, stderr, code) = relay.end();
    assert!(code == 1 && stderr.contains("SIGKILL"), "{stderr}");
}

#[test]
fn a_program_that_answers_nothing_is_warned_about_before_deliveries_stop() {
    let connector = Connector::start();
    // It says when it has seen the last of them.
    let script = r#"while read -r line; do case $line in *'"text":"live"'*) echo '{"op":"typing"}' ;; esac; done"#;
    let relay = exec(&connector, script, &[]);
    let mut peer = connector.ready(&["discord"]);
    for number in 1..=17 {
        peer.deliver(&number.to_string(), Some(&format!("b{number}")));
    }
    peer.deliver("live", None);
    let (request, _) = peer.next_request();
    peer.answer(&request, &json!({"success": true}));
    assert!(Process::new("kill").args(["-TERM", &relay.id().to_string()]).status().unwrap().success());
    peer.see_it_close();
    let (_, stderr, _) = relay.end();
    assert_eq!(stderr.matches("16 messages are neither answered nor acknowledged").count(), 1, "{stderr}");
}

/// A message of this chat.
fn message(chat: &str, buffer_id: &str) -> Value {
    let source = json!({"platform": "discord", "chat_id": chat, "chat_type": "dm", "user_id": "u"});
    json!({"type": "inbound", "bufferId": buffer_id, "event": {"text": buffer_id, "message_id": buffer_id, "source": source}})
}

// proves: ACK-2
#[test]
fn one_message_that_is_not_answered_is_warned_about_before_deliveries_stop() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &["--ack", "answered"]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    peer.send(&message("group", "ignored"));
    relay.event("message");
    for number in 1..=15 {
        let chat = number.to_string();
        peer.send(&message(&chat, &format!("b{number}")));
        relay.event("message");
        relay.say(json!({"op": "send", "chat_id": chat, "content": "x"}).to_string() + "\n");
        answer(&mut peer);
        relay.event("result");
    }
    relay.end_input();
    peer.see_it_close();
    let (_, stderr, _) = relay.end();
    let says =
        "2 messages are neither answered nor acknowledged; the oldest, delivery 1, holds up the acknowledgements of 16";
    assert_eq!(stderr.matches(says).count(), 1, "{stderr}");
}

// proves: ACK-1
#[test]
fn a_further_part_of_an_answer_does_not_acknowledge_the_next_message() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &["--ack", "answered"]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    peer.send(&message("7", "b1"));
    peer.send(&message("7", "b2"));
    let key = relay.event("message")["key"].clone();
    relay.event("message");
    for _ in 0..2 {
        relay.say(json!({"op": "send", "chat_id": "7", "content": "x", "id": key}).to_string() + "\n");
        let request = loop {
            let frame = peer.next();
            if let Some(request) = frame["requestId"].as_str() {
                break request.to_owned();
            }
            assert_eq!(frame, json!({"type": "inbound_ack", "bufferId": "b1"}));
        };
        peer.answer(&request, &json!({"success": true}));
        relay.event("result");
    }
    relay.end_input();
    let (said, _) = peer.see_it_close();
    let acks: Vec<&Value> = said.iter().filter(|frame| frame["type"] == "inbound_ack").collect();
    assert!(acks.iter().all(|ack| ack["bufferId"] == "b1"), "{acks:?}");
    let (_, stderr, _) = relay.end();
    assert!(stderr.contains("1 messages were neither answered nor acknowledged"), "{stderr}");
}

/// The program gets no password, neither from its own environment nor from that of the gateway.
// proves: TOKEN-3
#[cfg(target_os = "linux")]
#[test]
fn a_program_cannot_read_the_secret_out_of_the_gateways_environment() {
    use std::os::unix::process::CommandExt;

    let connector = Connector::start();
    let url = ["--url", &connector.url, "--platform", "discord", "--bot-id", "b1", "--id", "gw"];
    let script = "env >&2; cat /proc/$PPID/environ >&2 && echo ENVIRON WAS READ >&2; cat /proc/$PPID/cmdline >/dev/null && echo DONE >&2";
    let mut command = command(&[&url[..], &["--secret-env", "THE_KEY", "--exec", "sh", "-c", script]].concat());
    command.env("THE_KEY", "hunter2").env("HTTPS_PROXY", "http://user:correct-horse@proxy.example:3128/");
    command.env("all_proxy", "http://user:correct-horse@proxy.example:3128");
    // An administrator may trace every process, which nothing can prevent.
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        command.uid(65534).gid(65534);
    }
    let (_, stderr, _) = Relay::start_command(command).end();
    assert!(stderr.contains("HTTPS_PROXY=http://proxy.example:3128/\n"), "{stderr}");
    assert!(stderr.contains("DONE") && !stderr.contains("WAS READ"), "{stderr}");
    assert!(!stderr.contains("hunter2") && !stderr.contains("correct-horse"), "{stderr}");
}

/// Runs as a process of its own: the gateway that it becomes gets what its program leaves behind, as the first process of a
/// container does.
#[cfg(target_os = "linux")]
#[test]
fn becomes_a_gateway_that_inherits_orphans() {
    use std::os::unix::process::CommandExt;

    let Some(url) = std::env::var_os("RELAY_TEST_INHERITS") else { return };
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let script = r#"
        orphan=$( (true >/dev/null & echo $!) )
        while kill -0 "$orphan" 2>/dev/null; do :; done
        echo '{"op":"send","content":"gone"}'; cat >/dev/null"#;
    let mut gateway = command(&["--url", url.to_str().unwrap(), "--platform", "discord", "--bot-id", "b1"]);
    let error = gateway.args(["--wait-for-link", "--exec", "sh", "-c", script]).exec();
    panic!("{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_program_leaves_behind_does_not_stay_as_a_zombie() {
    let connector = Connector::start();
    let mut inherits = Process::new(std::env::current_exe().unwrap());
    inherits.args(["--exact", "exec::becomes_a_gateway_that_inherits_orphans", "--nocapture"]);
    inherits.env("RELAY_TEST_INHERITS", &connector.url).stdout(std::process::Stdio::null());
    let mut child = inherits.spawn().unwrap();
    let mut peer = connector.ready(&["discord"]);
    assert_eq!(answer(&mut peer), "gone");
    assert!(Process::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    peer.see_it_close();
    assert_eq!(child.wait().unwrap().code(), Some(0), "its own end is still its own");
}
