//! Refusals: when they revoke, and when they do not.

use super::pair::*;
use crate::end::LinkEnd;
use crate::gateway::{Cause, Event, NotSent, Notice, Outcome, RequestOptions, State};

fn refusal() -> LinkEnd {
    closed(4401, "unauthorized")
}

fn http(status: u16) -> LinkEnd {
    LinkEnd::Refused { status, reason: "no".into() }
}

fn assert_revoked(world: &mut World) {
    assert_eq!(world.state(), State::Revoked);
    let revoked = world.take_events().into_iter().filter(|event| matches!(event, Event::Revoked { .. })).count();
    assert_eq!(revoked, 1, "an event of its own, once");
    let dials = world.dials.len();
    world.advance(secs(100_000));
    world.call(|machine, now| machine.wake(now));
    world.call(|machine, now| machine.reconnect(now));
    world.call(|machine, now| machine.release_redial(now));
    world.go_dormant();
    assert_eq!((world.dials.len(), world.state()), (dials, State::Revoked), "no dial ever again");
    assert_eq!(world.ask("send", &RequestOptions::default()), Err(NotSent::Revoked));
    world.call(|machine, now| machine.close(now));
    assert_eq!(world.state(), State::Revoked);
}

// proves: AUTH-1
#[test]
fn a_refusal_before_any_handshake_is_retried_with_backoff() {
    for end in [refusal(), http(401), closed(4401, "")] {
        let mut world = World::new();
        world.tick();
        for full in [1, 2, 4, 8, 16, 30, 30] {
            if !matches!(end, LinkEnd::Refused { .. }) {
                world.open();
            }
            world.end(end.clone());
            assert_eq!(world.state(), State::Disconnected);
            let waited = world.await_dial();
            assert!(waited >= secs(full) / 2 && waited <= secs(full));
        }
        world.become_ready();
    }
}

// proves: AUTH-2, REQ-1
#[test]
fn a_refusal_after_a_handshake_revokes() {
    for (end, on_ready_link) in [(refusal(), true), (refusal(), false), (http(401), false)] {
        let mut world = World::ready();
        if !on_ready_link {
            world.end(lost());
            world.await_dial();
        }
        let patient = world.patient_request(None);
        world.end(end);
        let outcome = world.outcome(patient).expect("every request ends");
        assert_eq!(matches!(outcome, Outcome::NotSent(NotSent::Revoked)), !on_ready_link);
        assert_revoked(&mut world);
    }
}

// proves: AUTH-2
#[test]
fn the_reason_expired_never_revokes() {
    for confirm in [false, true] {
        let mut world = World::ready_with(config().confirm_refusals(confirm));
        for _ in 0..5 {
            world.end(closed(4401, "expired"));
            assert_eq!(world.state(), State::Disconnected);
            world.await_dial();
            world.open();
        }
        world.end(LinkEnd::Refused { status: 401, reason: "Expired".into() });
        assert_eq!(world.state(), State::Disconnected);
    }
}

// proves: AUTH-3
#[test]
fn a_token_that_expired_on_its_way_does_not_revoke() {
    for end in [refusal(), http(401)] {
        let mut world = World::ready();
        world.end(lost());
        world.await_dial();
        // The machine is frozen: only the wall clock knows.
        world.now.unix += 301;
        let dials = world.dials.len();
        world.end(end.clone());
        assert_eq!((world.state(), world.dials.len()), (State::Dialing, dials + 1), "one immediate dial decides");
        assert_eq!(world.notices, [Notice::RefusalProvisional]);
        let token = world.dials.last().unwrap().1.token.clone().unwrap();
        assert_eq!(token.expires_at(), Some(world.now.unix + 300), "with a fresh token");
        world.become_ready();
        world.end(lost());
        world.await_dial();
        world.end(end);
        assert_revoked(&mut world);
    }
}

// proves: AUTH-3
#[test]
fn the_deciding_dial_revokes_when_it_is_refused_too() {
    let mut world = World::ready();
    world.end(lost());
    world.await_dial();
    world.open();
    world.now.unix += 301;
    world.end(refusal());
    world.open();
    world.end(refusal());
    assert_revoked(&mut world);
}

// proves: AUTH-2, AUTH-3
#[test]
fn neither_a_fresh_token_nor_a_ready_link_makes_a_refusal_provisional() {
    // In its last second the token was still good.
    let mut world = World::ready();
    world.end(lost());
    world.await_dial();
    world.now.unix += 300;
    world.end(refusal());
    assert_revoked(&mut world);
    // A link that was ready long after its token expired: the token was accepted, so this is about the credentials.
    let mut world = World::ready();
    world.now.unix += 10_000;
    world.end(refusal());
    assert_revoked(&mut world);
}

// proves: AUTH-3, AUTH-4
#[test]
fn the_stricter_setting_confirms_every_refusal_once() {
    let mut world = World::ready_with(config().confirm_refusals(true));
    world.end(refusal());
    assert_eq!((world.state(), world.dials.len()), (State::Dialing, 2), "at once");
    world.become_ready();
    world.end(closed(1001, ""));
    world.reconnect();
    world.end(refusal());
    assert_eq!(world.state(), State::Dialing, "a link that ended otherwise has ended the confirmation");
    world.become_ready();
    for _ in 0..12 {
        world.advance(secs(5));
        world.line("still here");
    }
    world.end(refusal());
    assert_eq!(world.state(), State::Dialing, "so has a link that was stable");
    world.open();
    world.end(refusal());
    assert_revoked(&mut world);
}

// proves: AUTH-4
#[test]
fn a_connector_that_describes_and_refuses_in_turns_revokes_with_its_second_refusal() {
    let eager = timing(|t| (t.stable, t.backoff_initial, t.backoff_max) = (secs(0), millis(1), millis(1)));
    for timing in [Default::default(), eager] {
        let mut world = World::ready_with(config().confirm_refusals(true).timing(timing));
        world.end(refusal());
        world.become_ready();
        world.end(refusal());
        assert_eq!(world.dials.len(), 2);
        assert_revoked(&mut world);
    }
}

// proves: LINK-5
#[test]
fn whatever_the_peer_does_dials_at_once_do_not_follow_each_other() {
    let ends = [refusal(), closed(4401, "expired"), closed(1000, ""), closed(1000, "replaced"), lost(), http(401)];
    for strict in [false, true] {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let short = timing(|t| (t.token_ttl, t.stable) = (secs(1), secs(seed % 2)));
            let mut world = World::seeded(config().confirm_refusals(strict).timing(short), seed);
            world.tick();
            for _ in 0..30 {
                if world.state().is_terminal() {
                    break;
                }
                world.await_dial();
                match rng.u8(..4) {
                    0 => world.open(),
                    1 | 2 => world.become_ready(),
                    _ => {}
                }
                // Time enough for a token to expire, or for a link to be stable by these settings.
                world.advance(secs([0, 0, 2, 5][rng.usize(..4)]));
                if world.link.is_some() {
                    world.end(ends[rng.usize(..ends.len())].clone());
                }
            }
            for three in world.dials.windows(3) {
                assert!(three[2].0 - three[0].0 >= millis(500), "seed {seed}: {:?}", world.log);
            }
        }
    }
}

// proves: AUTH-3
#[test]
fn a_machine_that_freezes_at_every_dial_neither_revokes_nor_spins() {
    let mut world = World::ready();
    world.end(lost());
    world.await_dial();
    let mut immediate = 0;
    for _ in 0..8 {
        world.now.unix += 1000;
        world.end(refusal());
        immediate += usize::from(world.link.is_some());
        world.await_dial();
    }
    assert_eq!(immediate, 1);
    world.become_ready();
}

// proves: AUTH-3
#[test]
fn forbidden_is_retried_slowly_and_reported() {
    for (end, cause) in [(closed(4403, "no"), Cause::Forbidden), (http(403), Cause::HttpStatus)] {
        let mut world = World::ready();
        world.end(lost());
        world.await_dial();
        for _ in 0..3 {
            world.end(end.clone());
            assert_eq!(world.disconnected().0.cause, cause);
            assert!(world.await_dial() >= secs(30));
        }
        world.become_ready();
    }
}

// proves: AUTH-2
#[test]
fn a_refusal_that_answers_our_own_close_counts() {
    let mut world = World::ready();
    world.call(|machine, now| machine.reconnect(now));
    world.end(refusal());
    assert_revoked(&mut world);
}

// proves: AUTH-1, AUTH-2
#[test]
fn without_credentials_a_refusal_is_judged_the_same() {
    let plain = || crate::gateway::Config::new("wss://c.example").identity("discord", "b");
    let mut world = World::with(plain());
    world.tick();
    world.end(http(401));
    assert_eq!(world.state(), State::Disconnected);
    let mut world = World::ready_with(plain());
    world.end(refusal());
    assert_revoked(&mut world);
}

// proves: AUTH-3, LINK-4
#[test]
fn no_dial_is_announced_where_none_comes() {
    let mut world = World::ready_with(config().reconnect(false));
    world.go_dormant();
    world.line(r#"{"type":"going_idle_ack"}"#);
    world.end(closed(1000, ""));
    world.await_dial();
    // Frozen until the token of the dial has expired.
    world.now.unix += 400;
    world.end(closed(4401, "unauthorized"));
    assert_eq!(world.state(), State::Closed);
    assert!(!world.notices.contains(&Notice::RefusalProvisional), "{:?}", world.notices);
}
