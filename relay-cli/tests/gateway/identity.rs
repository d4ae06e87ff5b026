//! What a gateway fronts, and how its environment says so.

use std::process::Command;

use serde_json::{Value, json};

use crate::connector::Connector;
use crate::process::{Relay, command};

/// The variables that a connector hands out with an id, and no more.
fn handed_out(connector: &Connector, mut command: Command) -> Command {
    command.env("GATEWAY_RELAY_URL", &connector.url);
    command.env("GATEWAY_RELAY_ID", "gw-1").env("GATEWAY_RELAY_SECRET", "s3cret");
    command
}

/// What the gateway says it fronts, on its next link.
fn hellos(connector: &Connector, many: usize) -> Vec<Value> {
    let mut peer = connector.accept();
    let hello = |frame: Value| json!([frame["type"], frame["platform"], frame["botId"]]);
    (0..many).map(|_| hello(peer.next())).collect()
}

// proves: HELLO-4
#[test]
fn an_environment_with_url_id_and_secret_alone_is_enough() {
    let connector = Connector::start();
    let mut relay = Relay::start_command(handed_out(&connector, command(&[])));
    let mut peer = connector.accept();
    let token = peer.request.as_ref().unwrap().bearer().map(str::to_owned);
    assert!(token.is_some_and(|token| !token.is_empty()), "it authenticates");
    let hello = peer.next();
    assert_eq!((&hello["platform"], &hello["botId"]), (&json!("relay"), &json!("")), "{hello}");
    // The connector says what it is, and messages come from there.
    peer.send(&json!({"type": "descriptor", "descriptor": {"platform": "agentsync"}}));
    relay.event("ready");
    for platform in [json!("agentsync"), json!("relay"), Value::Null] {
        let source = json!({"platform": platform, "chat_id": "7"});
        peer.send(&json!({"type": "inbound", "event": {"text": "hi", "source": source}}));
        relay.event("message");
        relay.say(r#"{"op":"send","chat_id":"7","content":"a"}"#);
        let (request, frame) = peer.next_request();
        assert_eq!((frame.get("platform"), frame.get("botId")), (None, None), "{frame}");
        peer.answer(&request, &json!({"success": true}));
        assert_eq!(relay.event("result")["outcome"], "delivered");
    }
}

// proves: HELLO-4
#[test]
fn a_platform_needs_no_bot_id_and_a_url_no_platform() {
    let connector = Connector::start();
    let url = ["--url", &connector.url];
    for (flags, fronted) in [
        (&[][..], vec![json!(["hello", "relay", ""])]),
        (&["--platform", "discord"], vec![json!(["hello", "discord", ""])]),
        (
            &["--platform", "discord", "--platform", "slack"],
            vec![json!(["hello", "discord", ""]), json!(["hello", "slack", ""])],
        ),
        (
            &["--platform", "discord", "--bot-id", "", "--platform", "slack", "--bot-id", "b2"],
            vec![json!(["hello", "discord", ""]), json!(["hello", "slack", "b2"])],
        ),
    ] {
        let _relay = Relay::start_command(command(&[&url[..], flags].concat()));
        assert_eq!(hellos(&connector, fronted.len()), fronted, "{flags:?}");
    }
}

#[test]
fn a_list_of_platforms_may_end_in_a_comma_and_holds_no_comment() {
    let connector = Connector::start();
    let with = |platforms: &str| {
        let mut command = handed_out(&connector, command(&[]));
        command.env("GATEWAY_RELAY_PLATFORMS", platforms);
        command
    };
    let _relay = Relay::start_command(with("discord, telegram,"));
    assert_eq!(hellos(&connector, 2), [json!(["hello", "discord", ""]), json!(["hello", "telegram", ""])]);
    // As docker hands it over.
    for left_over in ["discord # my bot", "\"discord\""] {
        let (events, stderr, code) = Relay::start_command(with(left_over)).end();
        assert!(events.is_empty() && code == 2 && stderr.contains("GATEWAY_RELAY_PLATFORMS"), "{stderr}");
    }
}
