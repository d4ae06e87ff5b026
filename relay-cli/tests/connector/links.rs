//! Who is let in, and how links end.

use serde_json::{Value, json};

use crate::pair::{Connector, SECRET, gateway, gateway_with, next_text};

// proves: HELLO-1, CONN-2
#[test]
fn a_gateway_is_known_by_its_token_and_told_about_its_platforms() {
    let connector = Connector::registered();
    let gateway = gateway(&connector.url, &["--platform", "telegram", "--bot-id", "b2"]);
    assert_eq!(gateway.event("ready")["descriptor"]["markdown_dialect"], "discord");
    for (platform, bot_id) in [("discord", "b1"), ("telegram", "b2")] {
        assert_eq!(
            connector.event("hello"),
            json!({"event": "hello", "gateway": "gw", "platform": platform, "bot_id": bot_id,
                "command_manifest": null})
        );
    }
}

#[test]
fn without_authentication_everybody_is_one_gateway() {
    let mut connector = Connector::start(&[]);
    connector.say(&json!({"deliver": {"text": "hi"}, "gateway": "default"}));
    assert_eq!(connector.event("accepted")["gateway"], "default");
    let gateway = gateway(&connector.url, &[]);
    gateway.event("ready");
    assert_eq!(next_text(&gateway), "hi");
    assert_eq!(connector.event("hello")["gateway"], "default");
    assert_eq!(connector.event("ack")["gateway"], "default");
}

// proves: CONN-1
#[test]
fn who_has_not_the_secret_is_turned_away() {
    let connector = Connector::registered();
    for (id, secret) in [("gw", "wrong"), ("stranger", SECRET), ("gw", " ")] {
        let stranger = gateway_with(id, secret, &connector.url, &["--no-reconnect"]);
        let refused = stranger.event("disconnected");
        assert_eq!(
            (&refused["code"], &refused["reason"], &refused["cause"]),
            (&json!(4401), &json!("unauthorized"), &json!("unauthorized"))
        );
        assert_eq!(stranger.end().2, 1);
    }
    gateway(&connector.url, &[]).event("ready");
    assert_eq!(connector.event("hello")["gateway"], "gw", "nothing was heard of the others");
}

// proves: CONN-1, TOKEN-2
#[test]
fn any_secret_of_a_rotation_will_do() {
    let connector = Connector::start(&["--gateway", "gw=old=er", "--gateway-env", "gw=SECRET"]);
    for secret in ["old=er", SECRET] {
        let mut gateway = gateway_with("gw", secret, &connector.url, &[]);
        gateway.event("ready");
        connector.event("hello");
        gateway.end_input();
        connector.event("idle");
        let closed = connector.event("link_closed");
        assert_eq!((&closed["cause"], &closed["code"]), (&json!("gateway"), &json!(1000)));
    }
}

// proves: CONN-5
#[test]
fn a_second_link_replaces_the_first() {
    let connector = Connector::registered();
    let first = connector.linked(&["--no-reconnect"]);
    let second = gateway(&connector.url, &[]);
    second.event("ready");
    assert_eq!(
        connector.event("link_closed"),
        json!({"event": "link_closed", "gateway": "gw", "cause": "connector", "code": 1000, "reason": "replaced"})
    );
    assert_eq!(first.event("disconnected")["cause"], "replaced");
}

// proves: CONN-6, AUTH-2
#[test]
fn a_revoked_gateway_is_closed_and_not_let_in_again() {
    let mut connector = Connector::registered();
    let linked = connector.linked(&[]);
    connector.say(&json!({"revoke": "gw", "id": 1}));
    assert_eq!(connector.event("done")["id"], 1);
    assert_eq!(
        connector.event("link_closed"),
        json!({"event": "link_closed", "gateway": "gw", "cause": "connector", "code": 4401, "reason": "unauthorized"})
    );
    linked.event("disconnected");
    assert_eq!(linked.event("revoked")["code"], 4401);
    assert_eq!(linked.end().2, 3);
    let next = gateway(&connector.url, &["--no-reconnect"]);
    assert_eq!(next.event("disconnected")["code"], 4401);
}

#[test]
fn a_cut_is_a_lost_link_for_both() {
    let mut connector = Connector::registered();
    let mut gateway = connector.linked(&[]);
    connector.say(&json!({"drop": "gw"}));
    assert_eq!(
        connector.event("link_closed"),
        json!({"event": "link_closed", "gateway": "gw", "cause": "dropped", "code": null,
            "reason": "dropped on request"})
    );
    let lost = gateway.event("disconnected");
    assert_eq!((&lost["cause"], &lost["code"]), (&json!("lost"), &Value::Null));
    gateway.say(r#"{"do":"reconnect"}"#);
    gateway.event("ready");
    connector.event("hello");
}

// proves: FRAME-3, CONN-11
#[test]
fn a_delivery_over_the_gateways_limit_is_told_of_at_both_ends_and_comes_once_that_is_raised() {
    let mut connector = Connector::start(&["--gateway-env", "gw=SECRET", "--max-frame", "4194304"]);
    let gateway = connector.linked(&[]);
    let text = "x".repeat(1_500_000);
    connector.say(&json!({"deliver": {"text": text, "source": {"platform": "discord", "chat_id": "7"}}, "id": 1}));
    let id = connector.event("accepted")["buffer_id"].as_str().unwrap().to_owned();
    for again in [true, false] {
        let ended = gateway.event("disconnected");
        assert_eq!((&ended["cause"], &ended["code"]), (&json!("too_large"), &json!(1009)));
        if again {
            gateway.event("ready");
        }
    }
    let mut gateway = gateway;
    gateway.end_input();
    let (_, stderr, _) = gateway.end();
    let warnings = stderr.lines().filter(|line| line.contains("1048576 bytes twice in a row")).count();
    assert!(warnings == 1 && stderr.contains("--max-line"), "{stderr}");

    let gateway = gateway_with("gw", SECRET, &connector.url, &["--max-line", "2097152"]);
    gateway.event("ready");
    let message = gateway.event("message");
    assert_eq!(message["buffer_id"], json!(id));
    assert_eq!(message["message"]["text"].as_str().map(str::len), Some(1_500_000));
    connector.relay.end_input();
    let (_, stderr, _) = connector.relay.end();
    let warnings: Vec<_> = stderr.lines().filter(|line| line.contains("1009 (too large)")).collect();
    let [warning] = warnings[..] else { panic!("{stderr}") };
    assert!(warning.contains("gateway=gw") && warning.contains(&id) && warning.contains(" bytes"), "{warning}");
    assert!(warning.contains("WARN") && warning.contains("relay gateway --max-line"), "{warning}");
}
