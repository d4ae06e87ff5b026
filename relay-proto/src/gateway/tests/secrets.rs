//! Secrets and tokens are nowhere to be read.

use super::pair::*;
use crate::end::{LinkEnd, TlsProblem};
use crate::frame::Skipped;
use crate::gateway::{Config, LinkRequest, Notice, Outcome, Output};
use crate::time::Now;

const URL_PASSWORD: &str = "hunter2-in-the-url";

fn clean(text: &str, token: &str, what: &str) {
    assert!(!text.contains(SECRET), "{what}: the secret in {text}");
    assert!(!text.contains(token), "{what}: the token in {text}");
    assert!(!text.contains(URL_PASSWORD), "{what}: the password in {text}");
}

// proves: TOKEN-3
#[test]
fn no_debug_output_holds_a_secret_or_a_token() {
    let config = || {
        Config::new(format!("wss://user:{URL_PASSWORD}@connector.example"))
            .identity("discord", "b1")
            .credentials("gw-1", SECRET)
    };
    let now = Now { monotonic: secs(0), unix: UNIX };
    let mut machine = crate::gateway::Machine::new(config().build().unwrap(), 1, now);
    machine.handle_timeout(now);
    let output = machine.poll_output().unwrap();
    let Output::Link(LinkRequest::Dial(dial)) = &output else { panic!() };
    let token = dial.token.as_ref().unwrap();
    let text = token.as_str();
    assert!(text.len() > 50);
    for (what, shown) in [
        ("Config", format!("{0:?} {0:#?}", config())),
        ("Settings", format!("{:?}", machine.settings())),
        ("Machine", format!("{machine:?} {machine:#?}")),
        ("Output", format!("{output:?} {output:#?}")),
        ("Dial", format!("{dial:?}")),
        ("Token", format!("{token:?}")),
        ("State", format!("{:?} {:?}", machine.state(), machine.stats())),
        ("ConfigError", format!("{:?}", Config::new(format!("ws://u:{URL_PASSWORD}@c.example")).build())),
    ] {
        clean(&shown, text, what);
    }
    let plaintext =
        Config::new(format!("ws://u:{URL_PASSWORD}@c.example")).identity("irc", "b").credentials("g", SECRET);
    let error = plaintext.build().unwrap_err();
    clean(&format!("{error} {error:?}"), text, "a refused configuration");
}

// proves: TOKEN-3
#[test]
fn a_whole_life_leaves_no_trace_of_them() {
    let mut world = World::ready();
    world.request();
    world.line("nonsense");
    world.end(closed(4401, "expired"));
    world.await_dial();
    world.become_ready();
    world.end(closed(4401, "unauthorized"));
    let log = world.log.join("\n") + &format!("{:?}{:?}", world.events, world.machine);
    for (_, dial) in &world.dials {
        clean(&log, dial.token.as_ref().unwrap().as_str(), "the log");
    }
}

/// Whether eight bytes in a row of `secret` are in `text`.
fn has_a_piece(text: &str, secret: &str) -> bool {
    let lower = |text: &str| text.to_ascii_lowercase();
    lower(secret).as_bytes().windows(8).any(|piece| lower(text).as_bytes().windows(8).any(|shown| shown == piece))
}

// proves: TOKEN-3
#[test]
fn no_piece_of_a_credential_gets_into_an_event_whatever_the_peer_shows_of_it() {
    use base64::Engine as _;
    let proxy = crate::proxy::Proxy::parse("http://me:pass-of-the-proxy@proxy.example:3128").unwrap();
    let basic = base64::engine::general_purpose::STANDARD.encode("me:pass-of-the-proxy");
    let mut world = World::with(config().proxy(proxy));
    for step in 0..300 {
        world.await_dial();
        let token = world.dials.last().unwrap().1.token.as_ref().unwrap().as_str().to_owned();
        let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&token).unwrap();
        let decoded = String::from_utf8(decoded).unwrap();
        let signature = decoded.rsplit_once(':').unwrap().1.to_owned();
        let upper = signature.to_ascii_uppercase();
        let secrets = [&token, &signature, &upper, SECRET, &basic, "pass-of-the-proxy"];
        let secret = secrets[step % secrets.len()];
        let from = step % (secret.len() - 8);
        let text = format!("what is {}? {}…", &secret[from..], &secret[..secret.len() - from]);
        world.end(match step % 4 {
            0 => closed(4400, &text),
            1 => LinkEnd::Proxy { status: Some(407), detail: text.clone() },
            2 => LinkEnd::Tls { problem: TlsProblem::Handshake, detail: text.clone() },
            _ => LinkEnd::Protocol { detail: text.clone() },
        });
        let (ended, _) = world.disconnected();
        assert!(!has_a_piece(&ended.reason, secret), "{} of {text}", ended.reason);
        assert!(ended.reason.starts_with("what is ***?"), "{} of {text}", ended.reason);
    }
}

// proves: TOKEN-3
#[test]
fn the_error_of_a_result_shows_no_credential_and_its_json_is_the_applications() {
    let mut world = World::ready();
    let token = world.dials.last().unwrap().1.token.as_ref().unwrap().as_str().to_owned();
    for secret in [&token[1..], SECRET] {
        let id = world.request();
        let json = format!(r#"{{"success":false,"error":"bad: {secret}.","code":"{secret}"}}"#);
        world.line(&format!(r#"{{"type":"outbound_result","requestId":"{id}","result":{json}}}"#));
        let Some(Outcome::Result(result)) = world.outcome(id) else { panic!() };
        assert_eq!((result.error.as_deref(), result.code.as_deref()), (Some("bad: ***."), Some("***")));
        assert_eq!(result.raw.as_str(), json);
    }
    let id = world.request();
    let result = r#"{"success":false,"error":"no such chat","code":"unknown_chat"}"#;
    world.line(&format!(r#"{{"type":"outbound_result","requestId":"{id}","result":{result}}}"#));
    let Some(Outcome::Result(result)) = world.outcome(id) else { panic!() };
    assert_eq!((result.error.as_deref(), result.code.as_deref()), (Some("no such chat"), Some("unknown_chat")));
}

// proves: TOKEN-3
#[test]
fn a_frame_type_that_is_made_of_a_token_is_not_told() {
    let mut world = World::ready();
    let token = world.dials.last().unwrap().1.token.as_ref().unwrap().as_str().to_owned();
    world.line(&format!(r#"{{"type":"not_{token}"}}"#));
    assert_eq!(world.notices.pop(), Some(Notice::Skipped(Skipped::UnknownType("not_***".into()))));
}

// proves: TOKEN-3
#[test]
fn a_secret_of_eight_bytes_is_hidden_everywhere_and_one_of_seven_as_a_word() {
    for (secret, shown) in [("exactly8", "it is ***, my***s"), ("exactl7", "it is ***, myexactl7s")] {
        let mut world = World::ready_with(config().credentials("gw", secret));
        world.end(closed(4400, &format!("it is {secret}, my{secret}s")));
        assert_eq!(world.disconnected().0.reason, shown);
    }
}
