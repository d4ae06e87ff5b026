//! The ends of links, and when the next dial comes.

use core::time::Duration;

use super::pair::*;
use crate::end::{LinkEnd, TlsProblem};
use crate::gateway::{Cause, Event, NotSent, RequestOptions, State};

/// How long the gateway waits after a ready link ended like this.
fn wait_after(end: LinkEnd) -> (Cause, u64) {
    let mut world = World::ready();
    world.end(end);
    let (ended, retry) = world.disconnected();
    let waited = world.await_dial();
    assert_eq!(retry, Some(waited), "it waits as long as it says");
    (ended.cause, waited.as_millis() as u64)
}

// proves: LINK-1
#[test]
fn failed_dials_wait_ever_longer_with_jitter() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut world = World::seeded(config(), seed);
        world.tick();
        for full in [1, 2, 4, 8, 16, 30, 30, 30] {
            world.end(LinkEnd::Unreachable { detail: "no route".into() });
            let waited = world.await_dial();
            assert!(waited >= secs(full) / 2 && waited <= secs(full), "{waited:?} with a full backoff of {full} s");
            seen.insert(waited);
        }
    }
    assert!(seen.len() > 100, "jitter");
}

// proves: LINK-1
#[test]
fn the_ladder_starts_over_after_stability_and_not_after_a_connect() {
    let mut world = World::new();
    world.tick();
    for _ in 0..6 {
        world.become_ready();
        world.advance(secs(59));
        world.machine.handle_traffic(world.id(), world.now);
        world.end(lost());
        world.await_dial();
    }
    world.become_ready();
    world.advance(secs(1));
    world.end(lost());
    assert!(world.await_dial() >= secs(15), "seven short links: the longest backoff");
    world.become_ready();
    world.advance(secs(50));
    world.machine.handle_traffic(world.id(), world.now);
    world.advance(secs(10));
    world.end(lost());
    assert!(world.await_dial() <= secs(1), "60 s of stability");
}

// proves: LINK-1
#[test]
fn a_stable_link_that_this_side_closed_was_stable_all_the_same() {
    let mut world = World::new();
    world.tick();
    for _ in 0..6 {
        world.end(lost());
        world.await_dial();
    }
    world.become_ready();
    for _ in 0..6 {
        world.advance(secs(10));
        world.line("still here");
    }
    world.bytes(&vec![b'x'; (1 << 20) + 1]);
    world.end(closed(1009, ""));
    assert!(world.await_dial() <= secs(1));
}

// proves: LINK-1
#[test]
fn handshaking_for_long_is_no_stability() {
    let long = timing(|t| t.handshake = secs(500));
    let mut world = World::with(config().timing(long));
    world.tick();
    for _ in 0..5 {
        world.open();
        for _ in 0..10 {
            world.advance(secs(10));
            world.machine.handle_traffic(world.id(), world.now);
        }
        world.end(lost());
        world.await_dial();
    }
    world.end(lost());
    assert!(world.await_dial() >= secs(15));
}

// proves: LINK-2
#[test]
fn every_end_has_a_class_and_its_code_and_reason_reach_the_application() {
    let detail = || "why".to_owned();
    for (end, cause, code) in [
        (closed(1000, "why"), Cause::Normal, Some(1000)),
        (closed(1011, "why"), Cause::Failed, Some(1011)),
        (closed(1000, "replaced"), Cause::Replaced, Some(1000)),
        (closed(1008, "duplicate session"), Cause::Replaced, Some(1008)),
        (closed(4000, "why"), Cause::Replaced, Some(4000)),
        (closed(4409, "why"), Cause::Replaced, Some(4409)),
        (closed(1001, "why"), Cause::GoingAway, Some(1001)),
        (closed(1012, "why"), Cause::GoingAway, Some(1012)),
        (closed(1013, "why"), Cause::GoingAway, Some(1013)),
        (closed(1002, "why"), Cause::Protocol, Some(1002)),
        (closed(1003, "why"), Cause::Protocol, Some(1003)),
        (closed(1007, "why"), Cause::Protocol, Some(1007)),
        (closed(1008, "why"), Cause::Protocol, Some(1008)),
        (closed(1009, "why"), Cause::TooLarge, Some(1009)),
        (closed(4401, "why"), Cause::Unauthorized, Some(4401)),
        (closed(4403, "why"), Cause::Forbidden, Some(4403)),
        (LinkEnd::Lost { detail: detail() }, Cause::Lost, None),
        (LinkEnd::Protocol { detail: detail() }, Cause::Protocol, None),
        (LinkEnd::Tls { problem: TlsProblem::Expired, detail: detail() }, Cause::Tls(TlsProblem::Expired), None),
        (LinkEnd::Proxy { status: Some(407), detail: detail() }, Cause::Proxy, Some(407)),
        (LinkEnd::Refused { status: 503, reason: detail() }, Cause::HttpStatus, Some(503)),
    ] {
        let mut world = World::ready();
        world.end(end.clone());
        let (ended, _) = world.disconnected();
        assert_eq!((ended.cause, ended.code), (cause, code), "{end:?}");
        let replaced = ["replaced", "duplicate session"].contains(&&*ended.reason);
        assert!(ended.reason == "why" || replaced, "{end:?}");
    }
}

// proves: LINK-2
#[test]
fn replaced_and_protocol_ends_wait_at_least_the_longest_backoff() {
    for slow in [closed(1000, "replaced"), closed(1008, "duplicate session"), closed(4000, ""), closed(4409, "")] {
        assert!(wait_after(slow).1 >= 30_000);
    }
    for slow in [closed(1002, ""), closed(1003, ""), closed(1007, ""), closed(1008, "")] {
        assert!(wait_after(slow).1 >= 30_000);
    }
    assert!(wait_after(LinkEnd::Protocol { detail: String::new() }).1 >= 30_000);
    for quick in [closed(1000, ""), closed(1001, ""), closed(1009, ""), lost()] {
        assert!(wait_after(quick).1 <= 1_000);
    }
}

// proves: LINK-2
#[test]
fn two_copies_that_take_turns_are_told_of_with_the_third_replaced_link() {
    let mut world = World::ready();
    let replace = |world: &mut World| {
        world.end(closed(1000, "replaced"));
        let told = std::mem::take(&mut world.notices);
        assert!(world.await_dial() >= secs(30));
        // A dial that fails in between is no link of ours.
        world.end(lost());
        world.reconnect();
        told.iter().filter(|notice| **notice == crate::gateway::Notice::TakingTurns).count()
    };
    assert_eq!([replace(&mut world), replace(&mut world), replace(&mut world)], [0, 0, 1]);
    assert_eq!([replace(&mut world), replace(&mut world), replace(&mut world)], [0, 0, 1], "and again");
    replace(&mut world);
    replace(&mut world);
    world.end(lost());
    world.reconnect();
    assert_eq!([replace(&mut world), replace(&mut world)], [0, 0], "a link that ended by itself begins anew");
}

// proves: LINK-2
#[test]
fn the_fifth_replaced_link_waits_as_the_first_did() {
    let mut world = World::ready();
    for n in 0..8 {
        world.end(closed(4409, "conflict"));
        let (ended, retry) = world.disconnected();
        assert_eq!(ended.cause, Cause::Replaced);
        assert!(retry >= Some(secs(30)) && retry <= Some(secs(45)), "{n}: {retry:?}");
        assert_eq!(world.await_dial(), retry.unwrap());
        world.become_ready();
    }
    // The backoff is where it was.
    world.end(lost());
    assert!(world.await_dial() <= secs(1));
}

// proves: IDLE-2
#[test]
fn a_wake_call_while_closing_for_another_reason_dials_as_soon_as_the_link_has_ended() {
    for answer in [closed(1009, ""), lost()] {
        let mut world = World::ready();
        world.bytes(&vec![b'x'; (1 << 20) + 1]);
        assert_eq!(world.state(), State::Closing);
        world.call(|machine, now| machine.wake(now));
        assert_eq!(world.state(), State::Closing, "not before");
        world.end(answer);
        let (ended, retry) = world.disconnected();
        assert_eq!((ended.cause, retry, world.state()), (Cause::TooLarge, Some(secs(0)), State::Dialing));
    }
    // A peer that does not answer is dropped first.
    let mut world = World::ready();
    world.bytes(&vec![b'x'; (1 << 20) + 1]);
    world.call(|machine, now| machine.wake(now));
    world.advance(secs(2));
    assert_eq!((world.state(), world.dials.len()), (State::Dialing, 2));
}

// proves: LINK-2
#[test]
fn being_replaced_while_this_side_closes_is_no_duel() {
    for answer in [closed(1000, "replaced"), closed(4409, ""), closed(1008, "duplicate session")] {
        let mut world = World::ready();
        world.call(|machine, now| machine.reconnect(now));
        world.end(answer);
        assert_eq!(world.disconnected().0.cause, Cause::Replaced);
        assert!(world.await_dial() >= secs(30));
    }
}

// proves: LINK-2, FRAME-3
#[test]
fn the_answer_to_our_own_close_does_not_hide_why_we_closed() {
    for answer in [closed(1009, ""), closed(1000, ""), closed(1001, "bye"), lost()] {
        let mut world = World::ready();
        world.bytes(&vec![b'x'; (1 << 20) + 1]);
        assert_eq!(world.close_frame().unwrap().0, 1009);
        world.end(answer);
        let (ended, _) = world.disconnected();
        assert_eq!((ended.cause, ended.code), (Cause::TooLarge, Some(1009)));
    }
}

// proves: LINK-1, DIAL-5
#[test]
fn one_call_reconnects_at_once_in_every_phase() {
    let again = |world: &mut World| world.call(|machine, now| machine.reconnect(now));
    // Waiting, also for long.
    let mut world = World::ready();
    world.end(closed(4409, ""));
    again(&mut world);
    assert_eq!((world.state(), world.dials.len()), (State::Dialing, 2));
    // Dialling: that is the dial that was asked for.
    again(&mut world);
    assert_eq!((world.state(), world.dials.len()), (State::Dialing, 2));
    // Handshaking.
    world.open();
    world.written.clear();
    again(&mut world);
    assert_eq!(world.close_frame(), Some((1000, "reconnect")));
    world.end(closed(1000, ""));
    assert_eq!((world.state(), world.dials.len()), (State::Dialing, 3));
    // Ready.
    world.become_ready();
    again(&mut world);
    world.end(closed(1000, ""));
    let (ended, retry) = world.disconnected();
    assert_eq!((ended.cause, retry), (Cause::Requested, Some(secs(0))));
    assert_eq!((world.state(), world.dials.len()), (State::Dialing, 4));
    // Closing, for whatever reason.
    world.become_ready();
    world.bytes(&vec![b'x'; (1 << 20) + 1]);
    assert_eq!(world.state(), State::Closing);
    again(&mut world);
    again(&mut world);
    world.end(closed(1009, ""));
    let (ended, retry) = world.disconnected();
    assert_eq!(
        (ended.cause, retry),
        (Cause::TooLarge, Some(secs(0))),
        "reported as what it was, and redialled at once"
    );
    assert_eq!((world.state(), world.dials.len()), (State::Dialing, 5));
    // After the end.
    world.call(|machine, now| machine.close(now));
    again(&mut world);
    assert_eq!((world.state(), world.dials.len()), (State::Closed, 5));
}

// proves: IDLE-2, LINK-1
#[test]
fn a_wake_call_on_a_link_that_is_up_is_forgotten() {
    let mut world = World::ready();
    world.call(|machine, now| machine.wake(now));
    world.end(lost());
    assert!(world.disconnected().1 >= Some(millis(500)), "it waits for its backoff");
}

// proves: LINK-1
#[test]
fn a_peer_that_does_not_answer_our_close_is_dropped() {
    let mut world = World::ready();
    let id = world.request();
    world.call(|machine, now| machine.reconnect(now));
    assert_eq!(world.outcome(id), None, "its result may still come");
    world.advance(core::time::Duration::from_millis(250));
    assert!(world.outcome(id).is_some());
    assert_eq!((world.state(), world.dials.len()), (State::Dialing, 2));
}

// proves: REQ-3
#[test]
fn a_result_that_comes_while_closing_still_counts() {
    let mut world = World::ready();
    let id = world.request();
    world.call(|machine, now| machine.reconnect(now));
    world.answer(id);
    assert!(matches!(world.outcome(id), Some(crate::gateway::Outcome::Result(_))));
}

// proves: LINK-4
#[test]
fn with_reconnecting_off_the_first_end_is_the_last() {
    for ready in [false, true] {
        let mut world = World::with(config().reconnect(false));
        world.tick();
        if ready {
            world.become_ready();
        }
        world.end(closed(1001, ""));
        assert_eq!(world.state(), State::Closed);
        assert!(matches!(world.take_events()[..], [Event::Disconnected { retry_in: None, .. }, Event::Closed]));
        world.advance(secs(1000));
        world.call(|machine, now| machine.wake(now));
        world.call(|machine, now| machine.reconnect(now));
        assert_eq!(world.dials.len(), 1);
        let patient = RequestOptions::default().wait_for_link();
        assert_eq!(world.ask("send", &patient), Err(NotSent::ShutDown), "there will be no link");
    }
    let mut world = World::ready_with(config().reconnect(false));
    world.call(|machine, now| machine.reconnect(now));
    world.end(closed(1001, ""));
    assert_eq!(world.state(), State::Dialing, "a call is a call, whatever the peer answers");
}

// proves: LINK-1, LINK-4
#[test]
fn by_default_it_dials_again_for_ever() {
    let mut world = World::new();
    world.tick();
    for _ in 0..200 {
        world.end(lost());
        world.await_dial();
    }
    assert_eq!(world.dials.len(), 201);
    let gaps = world.dials.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(gaps.max() <= Some(secs(30)));
}

// proves: LINK-2
#[test]
fn extreme_settings_do_not_overflow() {
    let for_ever = std::time::Duration::MAX;
    let extreme = timing(|t| {
        *t = crate::gateway::Timing {
            dial: for_ever,
            handshake: for_ever,
            request: for_ever,
            idle: for_ever,
            backoff_initial: for_ever,
            backoff_max: for_ever,
            stable: for_ever,
            ping_after: for_ever - secs(1),
            lost_after: for_ever,
            resume: for_ever,
            dormant_redial: for_ever,
            hold_max: for_ever,
            shutdown_idle: for_ever,
            shutdown_requests: for_ever,
            close: for_ever,
            token_ttl: for_ever,
        };
    });
    for end in [closed(4409, ""), lost(), closed(4401, "")] {
        let mut world = World::ready_with(config().timing(extreme.clone()));
        let id = world.request();
        world.go_idle();
        world.advance(secs(1_000_000));
        assert_eq!(world.outcome(id), None);
        world.call(|machine, now| machine.hold_redial(now));
        world.end(end);
        if world.state().is_terminal() {
            continue;
        }
        world.advance(secs(1_000_000));
        assert_eq!(world.link, None);
        world.call(|machine, now| machine.wake(now));
        world.become_ready();
        world.go_dormant();
        world.line(r#"{"type":"going_idle_ack"}"#);
        world.end(closed(1000, ""));
        world.call(|machine, now| machine.reconnect(now));
        world.become_ready();
        world.request();
        world.call(|machine, now| machine.close(now));
        world.advance(secs(1_000_000));
        world.end(closed(1000, ""));
        assert_eq!(world.state(), State::Closed);
    }
}

// proves: CLOSE-1, LINK-1
#[test]
fn a_peer_has_two_seconds_to_answer_a_close_that_nobody_waits_for() {
    let mut world = World::ready();
    world.bytes(&vec![b'x'; (1 << 20) + 1]);
    world.advance(secs(2) - millis(1));
    assert_eq!(world.state(), State::Closing);
    world.advance(millis(1));
    assert_eq!(world.state(), State::Disconnected);
}

// proves: LINK-1
#[test]
fn a_peer_that_says_when_to_come_again_is_heeded_within_the_longest_backoff() {
    for (asked, least, most) in [(0, 0, 1), (12, 12, 12), (30, 30, 30), (86_400, 30, 30), (u64::MAX, 30, 30)] {
        let mut world = World::ready();
        world.end(lost());
        world.await_dial();
        let retry_after = Duration::from_secs(asked);
        world.end(LinkEnd::RefusedForNow { status: 503, reason: "later".into(), retry_after });
        let (ended, retry_in) = world.disconnected();
        assert_eq!((ended.cause, ended.code, &*ended.reason), (Cause::HttpStatus, Some(503), "later"));
        let most = if asked == 0 { Duration::from_secs(2) } else { Duration::from_secs(most) };
        assert!((Duration::from_secs(least)..=most).contains(&retry_in.unwrap()), "{asked}: {retry_in:?}");
        assert_eq!(world.await_dial(), retry_in.unwrap());
    }
}
