//! Links: credentials, ends, revocation.

use relay_proto::token;
use serde_json::json;

use crate::connector::Connector;
use crate::process::{Relay, command};

const SECRET: &str = "hunter2-correct-horse";

/// A time far in the past: tokens that are good now are good then.
const LONG_AGO: u64 = 1_000_000_000;

fn credentials(connector: &Connector, more: &[&str]) -> Relay {
    let url = ["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"];
    let mut command = command(&[&url[..], &["--id", "gw", "--secret-env", "THE_KEY"], more].concat());
    command.env("THE_KEY", SECRET).env("RELAY_LOG", "trace");
    Relay::start_command(command)
}

// proves: DIAL-2, DIAL-3, TOKEN-3
#[test]
fn credentials_come_from_the_environment_and_go_nowhere_else() {
    let connector = Connector::start();
    let mut relay = credentials(&connector, &[]);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let mut peer = connector.ready(&["discord"]);
        let bearer = peer.request.as_ref().unwrap().bearer().unwrap().to_string();
        assert_eq!(token::verify(&bearer, &[SECRET.into()], LONG_AGO).as_deref(), Ok("gw"));
        relay.event("ready");
        relay.say(r#"{"do":"reconnect"}"#);
        peer.see_it_close();
        assert_eq!(relay.event("disconnected")["cause"], "requested");
        tokens.push(bearer);
    }
    relay.end_input();
    let (rest, stderr, code) = relay.end();
    assert_eq!(code, 0);
    let output = format!("{rest:?}{stderr}");
    assert!(stderr.contains("state"), "the log is on: {stderr}");
    assert!(!output.contains(SECRET) && tokens.iter().all(|token| !output.contains(token)));
}

// proves: DIAL-2
#[test]
fn a_blank_secret_counts_as_missing_and_says_so() {
    let connector = Connector::start();
    let url = ["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"];
    let mut command = command(&[&url[..], &["--id", "gw", "--secret-env", "THE_KEY"]].concat());
    command.env("THE_KEY", " ");
    let mut relay = Relay::start_command(command);
    let mut peer = connector.ready(&["discord"]);
    assert_eq!(peer.request.as_ref().unwrap().bearer(), None);
    relay.end_input();
    peer.see_it_close();
    assert!(relay.end().1.contains("blank"));
}

// proves: AUTH-2
#[test]
fn a_revoked_gateway_says_so_and_exits_with_3() {
    let connector = Connector::start();
    let mut relay = credentials(&connector, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    relay.say(r#"{"op":"send","id":1}"#);
    peer.next_request();
    peer.close(4401, "unauthorized");
    let (rest, _, code) = relay.end();
    assert_eq!(code, 3);
    let names: Vec<_> = rest.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["disconnected", "result", "revoked"]);
    assert_eq!((&rest[0]["code"], &rest[0]["retry_in_ms"]), (&json!(4401), &json!(null)));
    assert_eq!(rest[1]["outcome"], "ambiguous");
    assert_eq!(rest[2], json!({"event": "revoked", "cause": "unauthorized", "code": 4401, "reason": "unauthorized"}));
    assert!(connector.is_left_alone());
}

// proves: LINK-2, LINK-4
#[test]
fn the_end_of_a_link_is_told_with_its_cause_and_the_next_dial() {
    let connector = Connector::start();
    let relay = Relay::start(&connector.url, &[]);
    connector.ready(&["discord"]).close(1012, "restart");
    relay.event("ready");
    let end = relay.event("disconnected");
    assert_eq!((&end["cause"], &end["code"], &end["reason"]), (&json!("going_away"), &json!(1012), &json!("restart")));
    assert!((500..=1000).contains(&end["retry_in_ms"].as_u64().unwrap()), "{end}");

    let connector = Connector::start();
    let relay = Relay::start(&connector.url, &["--no-reconnect"]);
    connector.ready(&["discord"]).close(4000, "");
    let (rest, _, code) = relay.end();
    assert_eq!((rest[1]["cause"].as_str(), rest[1]["retry_in_ms"].is_null()), (Some("replaced"), true));
    assert_eq!((rest.last(), code), (Some(&json!({"event": "closed"})), 1), "nobody asked for this end");
}

#[test]
fn without_a_url_the_environment_says_where_to() {
    let connector = Connector::start();
    let mut command = command(&[]);
    command
        .env("GATEWAY_RELAY_URL", &connector.url)
        .env("GATEWAY_RELAY_PLATFORMS", "discord, telegram")
        .env("GATEWAY_RELAY_BOT_IDS", r#"{"discord":{"botId":"b1"}}"#)
        .env("GATEWAY_RELAY_ID", "gw")
        .env("GATEWAY_RELAY_SECRET", SECRET);
    let mut relay = Relay::start_command(command);
    let mut peer = connector.ready(&["discord", "telegram"]);
    let bearer = peer.request.as_ref().unwrap().bearer().unwrap();
    assert_eq!(token::verify(bearer, &[SECRET.into()], LONG_AGO).as_deref(), Ok("gw"));
    relay.end_input();
    peer.see_it_close();
    assert_eq!(relay.end().2, 0);
}

#[test]
fn plaintext_to_a_port_of_tls_is_hinted_at() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // As servers of TLS answer what is none: with an alert.
        std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
        std::io::Write::write_all(&mut stream, b"\x15\x03\x03\0\x02\x02\x28").unwrap();
    });
    let relay = Relay::start(&url, &["--no-reconnect"]);
    let event = relay.event("disconnected");
    assert_eq!(event["cause"], "protocol");
    assert!(event["reason"].as_str().unwrap().contains("use https"), "{event}");
}
