//! Dials, hellos and descriptors.

use super::pair::*;
use crate::end::LinkEnd;
use crate::frame::RawJson;
use crate::gateway::{Cause, Config, Event, Identity, LinkId, Reason, State};

fn no_token(config: Config) -> bool {
    let mut world = World::with(config);
    world.tick();
    world.dials[0].1.token.is_none()
}

// proves: DIAL-2
#[test]
fn a_dial_carries_a_token_only_with_an_id_and_a_secret() {
    let plain = || Config::new("wss://c.example").identity("discord", "b1");
    assert!(no_token(plain()));
    assert!(no_token(plain().gateway_id("gw")));
    assert!(no_token(plain().credentials("gw", "")));
    assert!(no_token(plain().credentials("gw", " \t\n")));
    assert!(no_token(plain().credentials("", "secret")));
    assert!(!no_token(plain().credentials("gw", "secret")));
    assert_eq!(plain().credentials("gw", " ").build().unwrap().warnings().len(), 1, "and it says so");
}

// proves: DIAL-2, DIAL-3
#[test]
fn every_dial_mints_a_token_of_its_own() {
    let mut world = World::new();
    world.tick();
    for _ in 0..3 {
        world.jump(secs(5));
        world.end(lost());
        world.await_dial();
    }
    let tokens: Vec<_> = world.dials.iter().map(|(_, dial)| dial.token.clone().unwrap()).collect();
    for (at, token) in tokens.iter().enumerate() {
        let minted = world.dials[at].0.as_secs() - 1000;
        let expires = token.expires_at().unwrap() - UNIX;
        assert!(expires.abs_diff(minted + 300) <= 4, "valid for 300 s from its own dial: {expires}, {minted}");
        let verified = crate::token::verify(token.as_str(), &[SECRET.into()], UNIX + minted);
        assert_eq!(verified.as_deref(), Ok("gw-1"));
        assert!(tokens.iter().skip(at + 1).all(|other| other.as_str() != token.as_str()));
    }
}

// proves: DIAL-3, TOKEN-1
#[test]
fn a_token_life_below_a_second_is_no_eternal_token() {
    let mut world = World::with(config().timing(timing(|t| t.token_ttl = millis(300))));
    world.tick();
    assert_eq!(world.dials[0].1.token.as_ref().unwrap().expires_at(), Some(UNIX + 1));
    let mut world = World::with(config().timing(timing(|t| t.token_ttl = secs(0))));
    world.tick();
    assert_eq!(world.dials[0].1.token.as_ref().unwrap().expires_at(), None, "zero is asked for by name");
}

// proves: DIAL-5
#[test]
fn a_dial_that_takes_too_long_is_dropped_and_counts_as_failed() {
    let mut world = World::new();
    world.tick();
    let first = world.id();
    assert_eq!(world.machine.poll_timeout().map(|d| (d.at, d.reason)), Some((secs(1010), Reason::Dial)));
    world.advance(secs(10) - millis(1));
    assert_eq!(world.state(), State::Dialing);
    world.advance(millis(1));
    assert_eq!((world.state(), world.link), (State::Disconnected, None), "dropped");
    let (ended, retry) = world.disconnected();
    assert_eq!(ended.cause, Cause::TimedOut);
    assert!(retry.is_some());
    world.await_dial();
    assert_ne!(world.id(), first);
    world.machine.handle_opened(first, world.now);
    world.drain();
    assert_eq!(world.state(), State::Dialing, "the late answer to the first dial opens nothing");
}

// proves: DIAL-5
#[test]
fn a_handshake_that_takes_too_long_closes_the_link() {
    let mut world = World::new();
    world.tick();
    world.advance(secs(9));
    world.open();
    world.advance(secs(29));
    world.machine.handle_traffic(world.id(), world.now);
    assert_eq!(world.state(), State::Handshaking);
    world.advance(secs(1));
    assert_eq!(world.state(), State::Disconnected, "traffic without a descriptor does not count");
    assert_eq!(world.link, None, "dropped at once: it has waited long enough");
    assert_eq!(world.disconnected().0.cause, Cause::TimedOut);
}

// proves: HELLO-1, FRAME-1
#[test]
fn one_hello_for_each_identity_in_order() {
    let manifest = RawJson::parse(r#"[{"name":"stop"}]"#).unwrap();
    let slack = Identity { platform: "slack".into(), bot_id: "b2".into(), command_manifest: Some(manifest) };
    let mut world = World::with(config().full_identity(slack).identity("irc", ""));
    world.tick();
    assert!(world.sent().is_empty(), "nothing before the upgrade is accepted");
    world.open();
    assert_eq!(
        world.sent(),
        [
            r#"{"type":"hello","platform":"discord","botId":"b1"}"#,
            r#"{"type":"hello","platform":"slack","botId":"b2","command_manifest":[{"name":"stop"}]}"#,
            r#"{"type":"hello","platform":"irc","botId":""}"#,
        ]
    );
    world.open();
    assert!(world.sent().is_empty(), "once");
}

// proves: HELLO-1, FRAME-1
#[test]
fn a_manifest_written_over_several_lines_goes_out_on_one() {
    let manifest = RawJson::parse("[\n  {\"name\": \"a \\\" b\"}\r\n]").unwrap();
    let identity = Identity { platform: "slack".into(), bot_id: "b".into(), command_manifest: Some(manifest) };
    let mut world = World::with(Config::new("wss://c.example").full_identity(identity));
    world.tick();
    world.open();
    let expected = r#"{"type":"hello","platform":"slack","botId":"b","command_manifest":[{"name":"a \" b"}]}"#;
    assert_eq!(world.sent(), [expected]);
}

// proves: HELLO-2
#[test]
fn the_first_descriptor_makes_ready_and_stays_the_default() {
    let label = |world: &World| world.machine.descriptor().map(|d| d.label.clone());
    let mut world = World::new();
    world.tick();
    world.open();
    assert_eq!((world.state(), label(&world)), (State::Handshaking, None));
    world.line(r#"{"type":"descriptor","descriptor":[]}"#);
    assert_eq!(world.state(), State::Handshaking, "one that is no object describes nothing");
    world.line(r#"{"type":"descriptor","descriptor":{"platform":"discord","label":"first"}}"#);
    assert_eq!(world.state(), State::Ready);
    let ready = |event: &Event| matches!(event, Event::Ready { .. });
    assert_eq!(world.take_events().iter().filter(|event| ready(event)).count(), 1);
    for (platform, name) in [("slack", "a"), ("slack", "b"), ("discord", "second")] {
        let inner = format!(r#"{{"platform":"{platform}","label":"{name}"}}"#);
        world.line(&format!(r#"{{"type":"descriptor","descriptor":{inner}}}"#));
    }
    assert_eq!(label(&world).as_deref(), Some("first"));
    assert_eq!(world.machine.descriptor_for("slack").unwrap().label, "b", "the latest of its platform");
    assert_eq!(world.machine.descriptor_for("discord").unwrap().label, "second");
    assert!(!world.take_events().iter().any(ready), "ready once a link");

    world.end(lost());
    assert!(world.machine.descriptor().is_none() && world.machine.descriptor_for("slack").is_none());
    world.await_dial();
    world.open();
    assert!(world.machine.descriptor_for("slack").is_none(), "none survives a reconnect");
    world.line(DESCRIPTOR);
    assert_eq!(label(&world).as_deref(), Some(""));
    assert!(world.machine.descriptor_for("slack").is_none());
}

// proves: HELLO-3, LINK-2
#[test]
fn an_orderly_close_before_the_descriptor_is_no_normal_end() {
    let mut world = World::new();
    world.tick();
    for (code, cause) in [(1000, Cause::NoDescriptor), (1011, Cause::Failed)] {
        world.open();
        world.end(closed(code, ""));
        let (ended, _) = world.disconnected();
        assert_eq!((ended.cause, &*ended.reason), (cause, "ended before the first descriptor"));
        world.await_dial();
    }
}

// proves: FRAME-5
#[test]
fn what_the_connector_said_is_why_the_handshake_failed() {
    let said = r#"{"type":"error","error":"unknown identity"}"#;
    let ends: [(fn(&mut World), _); 3] = [
        (|world| world.advance(secs(30)), "no descriptor after 30s; the connector said: unknown identity"),
        (
            |world| world.end(closed(1000, "")),
            "ended before the first descriptor; the connector said: unknown identity",
        ),
        (|world| world.end(closed(1008, "no")), "no; the connector said: unknown identity"),
    ];
    for (end, reason) in ends {
        let mut world = World::new();
        world.tick();
        world.open();
        world.line(said);
        assert_eq!(world.notices, [crate::gateway::Notice::PeerError("unknown identity".into())]);
        end(&mut world);
        assert_eq!(world.disconnected().0.reason, reason);
        // It was said on that link.
        world.await_dial();
        world.open();
        world.end(closed(1000, ""));
        assert_eq!(world.disconnected().0.reason, "ended before the first descriptor");
    }
    let mut world = World::ready();
    world.line(said);
    world.end(closed(4401, "unauthorized"));
    assert_eq!(world.state(), State::Revoked);
}

// proves: HELLO-3
#[test]
fn a_close_before_the_descriptor_fails_the_handshake_at_once() {
    let mut world = World::new();
    world.tick();
    world.open();
    let waiting = world.patient_request(Some(millis(5)));
    world.end(closed(1013, "busy"));
    let (ended, retry) = world.disconnected();
    let told = "ended before the first descriptor: busy";
    assert_eq!((ended.cause, ended.code, ended.reason.as_str()), (Cause::GoingAway, Some(1013), told));
    assert!(retry.unwrap() <= secs(1), "no deadline is waited out");
    assert_eq!(world.outcome(waiting), None, "its caller asked to wait");
}

// proves: DIAL-5, HELLO-3
#[test]
fn inputs_for_dead_and_future_links_are_ignored() {
    let mut world = World::ready();
    let dead = world.id();
    world.end(lost());
    world.reconnect();
    let before = world.surface();
    for stranger in [dead, LinkId(world.id().0 + 1)] {
        world.machine.handle_opened(stranger, world.now);
        world.machine.handle_traffic(stranger, world.now);
        world.machine.handle_message(stranger, inbound("1", "ghost").as_bytes(), world.now);
        world.machine.handle_ended(stranger, LinkEnd::Lost { detail: "late".into() }, world.now);
        assert_eq!(world.machine.poll_transmit(stranger), None);
        world.drain();
    }
    assert_eq!(world.surface(), before);
    assert!(world.take_events().is_empty());
}

// proves: DIAL-5
#[test]
fn bytes_before_the_upgrade_was_accepted_are_nothing() {
    let mut world = World::new();
    world.tick();
    world.line(DESCRIPTOR);
    assert_eq!((world.state(), world.machine.stats().lines_received), (State::Dialing, 0));
}
