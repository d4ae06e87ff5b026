//! Silence on a link.

use super::pair::*;
use crate::gateway::{Cause, Limits, Reason, State};

// proves: LINK-3
#[test]
fn silence_is_answered_with_pings_and_at_last_with_the_end() {
    let mut world = World::ready();
    world.advance(secs(30) - millis(1));
    assert_eq!(world.pings(), 0);
    world.advance(millis(1));
    assert_eq!(world.pings(), 1);
    world.advance(secs(30));
    assert_eq!(world.pings(), 1);
    world.advance(secs(30) - millis(1));
    assert_eq!((world.state(), world.pings()), (State::Ready, 0));
    world.advance(millis(1));
    assert_eq!((world.state(), world.link), (State::Disconnected, None), "dropped: there is nobody to close it with");
    assert_eq!(world.disconnected().0.cause, Cause::Lost);
}

// proves: LINK-3
#[test]
fn our_own_sending_does_not_hide_the_silence() {
    let mut world = World::ready();
    for _ in 0..89 {
        world.advance(secs(1));
        let id = world.request();
        world.cancel(id);
        world.machine.interrupt("k", None, world.now).unwrap();
        world.drain();
    }
    assert_eq!((world.state(), world.pings()), (State::Ready, 2));
    world.advance(secs(1));
    assert_eq!(world.state(), State::Disconnected);
}

// proves: LINK-3
#[test]
fn anything_from_the_peer_counts_as_life() {
    let mut world = World::ready();
    for round in 0..20 {
        world.advance(secs(29));
        match round % 4 {
            0 => world.machine.handle_traffic(world.id(), world.now),
            1 => world.line("nonsense"),
            2 => world.bytes(b"half a li"),
            _ => world.line(r#"{"type":"ping"}"#),
        }
    }
    assert_eq!((world.state(), world.pings()), (State::Ready, 0));
}

/// An application that acknowledges without telling the time, as the handle does.
// proves: LINK-3
#[test]
fn what_waits_for_the_socket_has_waited_since_it_was_there() {
    let mut world = World::ready();
    let taken = world.deliver("b1", "hello").expect("a delivery");
    world.jump(secs(100));
    world.machine.take(taken);
    // Only now does the host look at the clock, and the peer has spoken meanwhile.
    world.machine.handle_traffic(world.id(), world.now);
    world.machine.handle_timeout(world.now);
    assert_eq!(world.state(), State::Ready, "the acknowledgement has waited for no time");
    world.jump(secs(89));
    world.machine.handle_traffic(world.id(), world.now);
    world.machine.handle_timeout(world.now);
    assert_eq!(world.state(), State::Ready);
    world.jump(secs(1));
    world.machine.handle_traffic(world.id(), world.now);
    world.machine.handle_timeout(world.now);
    assert_eq!(world.state(), State::Disconnected, "it counts from the first look at the clock on");
}

// proves: LINK-3
#[test]
fn timers_die_with_their_link() {
    let mut world = World::ready();
    world.advance(secs(89));
    let id = world.request();
    world.go_idle();
    world.end(lost());
    assert_eq!(world.machine.poll_timeout().map(|d| d.reason), Some(Reason::Redial), "nothing else is left");
    assert!(world.outcome(id).is_some());
    world.reconnect();
    world.advance(secs(29));
    assert_eq!((world.state(), world.pings()), (State::Ready, 0), "a life of its own");
    world.advance(secs(1));
    assert_eq!(world.pings(), 1);
}

// proves: LINK-3
#[test]
fn silence_during_the_handshake_is_noticed_too() {
    let mut world = World::with(config().timing(timing(|t| t.handshake = secs(1000))));
    world.tick();
    world.open();
    world.advance(secs(89));
    assert_eq!((world.state(), world.pings()), (State::Handshaking, 2));
    world.advance(secs(1));
    assert_eq!(world.state(), State::Disconnected);
}

/// A ready link that is not read, because the application leaves its events.
fn paused() -> World {
    let mut world = World::ready_with(config().limits(Limits { queue: 1024, ..Limits::default() }));
    world.reads = false;
    for i in 0..10 {
        world.line(&inbound(&format!("{i}"), "hello"));
    }
    assert!(!world.machine.wants_read());
    world
}

// proves: LINK-3, REQ-7
#[test]
fn silence_while_this_side_does_not_read_is_no_silence() {
    let mut world = paused();
    assert_eq!(world.machine.poll_timeout(), None, "nothing to wake up for");
    world.jump(secs(10_000));
    world.tick();
    assert_eq!((world.state(), world.pings()), (State::Ready, 0));
}

// proves: LINK-3, REQ-7
#[test]
fn taking_an_event_after_a_long_pause_does_not_lose_the_link() {
    let mut world = paused();
    // The host had no reason to call in the meantime.
    world.jump(secs(600));
    while world.machine.poll_event().is_some() {}
    assert!(world.machine.wants_read());
    world.tick();
    assert_eq!((world.state(), world.pings()), (State::Ready, 0));
    world.advance(secs(89));
    assert_eq!((world.state(), world.pings()), (State::Ready, 2), "from now on it counts");
    world.advance(secs(1));
    assert_eq!(world.state(), State::Disconnected);
}

// proves: LINK-3, REQ-7
#[test]
fn a_request_after_a_long_pause_does_not_lose_the_link() {
    let mut world = paused();
    world.jump(secs(600));
    let id = world.request();
    assert!(world.machine.wants_read(), "its result is awaited");
    world.tick();
    assert_eq!(world.state(), State::Ready);
    world.advance(secs(1));
    world.answer(id);
    assert!(world.outcome(id).is_some());
    assert!(!world.machine.wants_read(), "paused again");
    world.advance(secs(600));
    assert_eq!(world.state(), State::Ready);
}

// proves: LINK-3, REQ-7
#[test]
fn requests_of_an_application_that_reads_nothing_do_not_keep_a_dead_link() {
    let mut world = paused();
    for _ in 0..3 {
        world.request();
        world.advance(secs(30));
    }
    // What these three waited counts as silence, and the next has it noticed.
    assert_eq!((world.state(), world.pings()), (State::Ready, 2));
    world.request();
    world.tick();
    assert_ne!(world.state(), State::Ready);
}

// proves: LINK-3
#[test]
fn a_peer_that_talks_and_reads_nothing_is_lost() {
    let talk = |world: &mut World, seconds: u64| {
        for _ in 0..seconds {
            world.advance(secs(1));
            if world.link.is_some() {
                world.machine.handle_traffic(world.id(), world.now);
            }
        }
    };
    let mut world = World::ready();
    talk(&mut world, 1000);
    assert_eq!(world.state(), State::Ready, "nothing waits");
    world.writes = false;
    let stop = |world: &mut World| world.call(|machine, now| machine.interrupt("k", None, now).unwrap());
    stop(&mut world);
    stop(&mut world);
    talk(&mut world, 89);
    assert_eq!(world.state(), State::Ready);
    // One frame after all: it is only slow.
    assert!(world.machine.poll_transmit(world.id()).is_some());
    world.tick();
    talk(&mut world, 89);
    assert_eq!(world.state(), State::Ready);
    assert_eq!(world.machine.poll_timeout().map(|deadline| deadline.reason), Some(Reason::Stalled));
    talk(&mut world, 1);
    assert_eq!((world.state(), world.link), (State::Disconnected, None));
    let (ended, _) = world.disconnected();
    assert!(ended.cause == Cause::Lost && ended.reason.contains("90s"), "{ended}");
}

// proves: LINK-3
#[test]
fn pings_that_are_not_written_do_not_pile_up() {
    let often = timing(|t| (t.ping_after, t.lost_after) = (secs(1), secs(1000)));
    let mut world = World::ready_with(config().timing(often));
    world.writes = false;
    world.advance(secs(900));
    world.writes = true;
    world.drain();
    assert_eq!(world.pings(), 1);
    world.advance(secs(1));
    assert_eq!(world.pings(), 1);
}

// proves: LINK-3, REQ-7
#[test]
fn a_pause_in_which_nobody_looked_at_the_clock_is_no_silence() {
    let mut world = World::ready_with(config().limits(Limits { queue: 1024, ..Limits::default() }));
    world.reads = false;
    world.line(&inbound("1", &"x".repeat(2000)));
    assert!(!world.machine.wants_read());
    (world.now.monotonic, world.now.unix) = (world.now.monotonic + secs(200), world.now.unix + 200);
    assert!(world.machine.poll_event().is_some() && world.machine.poll_event().is_none());
    world.tick();
    assert_eq!(world.state(), State::Ready);
    world.advance(secs(90));
    assert_eq!(world.state(), State::Disconnected, "from here on it is");
}
