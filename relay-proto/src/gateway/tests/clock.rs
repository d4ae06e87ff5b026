//! Time that stands still, repeats, jumps and goes back.

use super::pair::*;
use crate::gateway::{Cause, Limits, Notice, State, Transmit};
use crate::time::Now;

// proves: CLOCK-1
#[test]
fn nothing_happens_while_time_stands_still() {
    let mut world = World::new();
    assert_eq!(world.state(), State::Disconnected, "it acts on input alone");
    world.tick();
    for step in 0..6 {
        let before = world.surface();
        for _ in 0..100 {
            world.tick();
        }
        assert_eq!(world.surface(), before, "step {step}");
        match step {
            0 => world.open(),
            1 => world.line(DESCRIPTOR),
            2 => drop(world.request()),
            3 => world.call(|machine, now| machine.reconnect(now)),
            4 => world.end(lost()),
            _ => {}
        }
    }
}

// proves: CLOCK-1
#[test]
fn a_time_that_goes_back_stands_still() {
    let mut world = World::ready();
    let id =
        world.ask("send", &crate::gateway::RequestOptions { timeout: Some(secs(5)), ..Default::default() }).unwrap();
    world.advance(secs(4));
    let high = world.now;
    world.now = Now { monotonic: secs(0), unix: 0 };
    for _ in 0..10 {
        world.tick();
        world.machine.handle_traffic(world.id(), world.now);
        world.jump(secs(50));
    }
    assert_eq!((world.outcome(id), world.state()), (None, State::Ready));
    let deadline = world.machine.poll_timeout().unwrap().at;
    assert!(deadline >= high.monotonic, "no deadline slips into the past");
    world.now = high;
    world.advance(secs(1));
    assert!(world.outcome(id).is_some(), "and none is put off");
    world.end(lost());
    world.now.monotonic = secs(1);
    world.tick();
    assert_eq!(world.state(), State::Disconnected);
    world.now.monotonic = high.monotonic;
    world.reconnect();
}

// proves: CLOCK-1
#[test]
fn a_jump_ahead_is_safe_in_every_phase() {
    for hours in [1, 24, 24 * 365 * 100] {
        let mut world = World::new();
        world.tick();
        for phase in 0..5 {
            match phase {
                0 => {}
                1 => world.open(),
                2 => world.become_ready(),
                3 => {
                    world.become_ready();
                    world.request();
                    world.go_idle();
                }
                _ => {
                    world.become_ready();
                    world.call(|machine, now| machine.reconnect(now));
                }
            }
            world.jump(secs(hours * 3600));
            for _ in 0..5 {
                world.tick();
            }
            assert_eq!(world.unended(), 0);
            // A close that nobody answers takes two seconds.
            world.advance(secs(2));
            world.await_dial();
            assert_eq!(world.state(), State::Dialing);
            assert!(world.dials.len() <= 2 * phase + 3, "no burst of dials to make up for the time");
        }
    }
}

// proves: CLOCK-1, DIAL-5
#[test]
fn a_handshake_after_a_long_sleep_is_not_held_against_the_new_link() {
    let mut world = World::ready();
    world.jump(secs(100_000));
    world.end(lost());
    world.await_dial();
    world.jump(secs(9));
    world.tick();
    assert_eq!(world.state(), State::Dialing);
    world.become_ready();
    world.advance(secs(29));
    assert_eq!(world.state(), State::Ready);
}

// proves: CLOCK-1
#[test]
fn a_wall_clock_that_goes_anywhere_does_no_harm() {
    let mut world = World::ready();
    let id = world.request();
    for unix in [0, u64::MAX, 5, UNIX] {
        world.now.unix = unix;
        world.tick();
        let before = world.surface();
        world.tick();
        assert_eq!(world.surface(), before);
    }
    assert_eq!((world.state(), world.outcome(id)), (State::Ready, None));
    world.now.unix = u64::MAX;
    world.end(lost());
    let monotonic = world.machine.poll_timeout().unwrap().at;
    world.now.monotonic = monotonic;
    world.tick();
    assert_eq!(world.dials.last().unwrap().1.token.as_ref().unwrap().expires_at(), Some(u64::MAX));
    world.end(closed(4401, "expired"));
}

// proves: CLOCK-1, LINK-1
#[test]
fn the_end_of_time_is_survived() {
    let mut world = World::ready();
    world.request();
    world.now = Now { monotonic: std::time::Duration::MAX, unix: u64::MAX };
    for _ in 0..20 {
        world.tick();
    }
    world.call(|machine, now| machine.close(now));
    assert_eq!(world.unended(), 0);
}

/// The machine sleeps: the wall clock goes on, the monotonic one does not.
fn sleep(world: &mut World, seconds: u64) {
    world.now.unix += seconds;
    world.tick();
}

// proves: CLOCK-2, LINK-3
#[test]
fn a_link_is_checked_after_the_machine_was_suspended() {
    let mut world = World::ready();
    sleep(&mut world, 9);
    assert_eq!(std::mem::take(&mut world.written), [], "a clock that was corrected");
    sleep(&mut world, 3600);
    assert_eq!(std::mem::take(&mut world.written), [Transmit::Ping]);
    assert!(world.notices.contains(&Notice::Resumed { slept: secs(3600) }));
    world.advance(secs(9));
    assert_eq!(world.state(), State::Ready);
    world.advance(secs(1));
    let (ended, _) = world.disconnected();
    assert_eq!((ended.cause, ended.reason.as_str()), (Cause::Lost, "nothing from the peer for 10 s"));
}

// proves: CLOCK-2, LINK-3
#[test]
fn a_peer_that_is_heard_after_a_suspension_is_alive() {
    let mut world = World::ready();
    sleep(&mut world, 3600);
    world.advance(secs(5));
    world.machine.handle_traffic(world.id(), world.now);
    world.advance(secs(29));
    assert_eq!(world.state(), State::Ready);
    assert_eq!(std::mem::take(&mut world.written), [Transmit::Ping], "and its silence counts from then");
    world.advance(secs(62));
    assert_ne!(world.state(), State::Ready);
}

// proves: CLOCK-2, LINK-1
#[test]
fn time_spent_asleep_counts_towards_the_next_dial() {
    let mut world = World::ready();
    world.end(closed(1000, "replaced"));
    let wait = world.machine.poll_timeout().unwrap().at - world.now.monotonic;
    assert!(wait >= secs(30), "{wait:?}");
    sleep(&mut world, 15);
    assert_eq!(world.machine.poll_timeout().unwrap().at - world.now.monotonic, wait - secs(15));
    sleep(&mut world, 3600);
    assert_eq!(world.state(), State::Dialing);
    let (_, dial) = world.dials.last().unwrap();
    assert_eq!(dial.token.as_ref().unwrap().expires_at(), Some(world.now.unix + 300), "with a fresh token");
}

// proves: CLOCK-2
#[test]
fn a_gateway_that_has_ended_sleeps_on() {
    let mut world = World::ready();
    world.end(closed(4401, ""));
    assert_eq!(world.state(), State::Revoked);
    sleep(&mut world, 3600);
    assert!(world.notices.is_empty());
}

// proves: CLOCK-2
#[test]
fn a_suspended_machine_checks_a_link_that_was_not_read_once_it_is() {
    let mut world = World::ready_with(config().limits(Limits { queue: 1024, ..Limits::default() }));
    world.reads = false;
    world.line(&inbound("1", &"x".repeat(2000)));
    assert!(!world.machine.wants_read());
    // The monotonic clock stands still while the machine sleeps.
    world.now.unix += 3600;
    world.tick();
    assert!(world.notices.iter().any(|notice| matches!(notice, Notice::Resumed { .. })), "{:?}", world.notices);
    assert_eq!(world.pings(), 0, "it is not read yet");
    world.advance(secs(100));
    while world.machine.poll_event().is_some() {}
    world.tick();
    assert_eq!((world.state(), world.pings()), (State::Ready, 1));
    world.advance(secs(10));
    assert_eq!(world.state(), State::Disconnected);
}

// proves: CLOCK-2
#[test]
fn a_suspended_machine_checks_a_link_also_when_its_application_reads_on_first() {
    let mut world = World::ready_with(config().limits(Limits { queue: 1024, ..Limits::default() }));
    world.reads = false;
    world.line(&inbound("1", &"x".repeat(2000)));
    world.now.unix += 3600;
    while world.machine.poll_event().is_some() {}
    world.tick();
    assert_eq!((world.state(), world.pings()), (State::Ready, 1));
}

// proves: CLOCK-2
#[test]
fn what_is_heard_before_the_ping_goes_out_may_be_from_before_the_sleep() {
    let mut world = World::ready();
    world.now.unix += 3600;
    world.line(&inbound("1", "from before"));
    assert!(matches!(world.notices[..], [Notice::Resumed { .. }]), "{:?}", world.notices);
    world.tick();
    assert_eq!(world.pings(), 1);
    world.advance(secs(9));
    world.machine.handle_traffic(world.id(), world.now);
    world.advance(secs(29));
    assert_eq!((world.state(), world.pings()), (State::Ready, 0), "it answered");
}

// proves: CLOCK-2, LINK-3
#[test]
fn a_link_on_which_something_came_is_asked_before_it_is_lost() {
    // The process was stopped, then the machine was suspended; or the peer was silent for long before.
    let stopped = |world: &mut World| world.now.monotonic += secs(95);
    let silent = |world: &mut World| world.advance(secs(85));
    for before in [stopped as fn(&mut World), silent] {
        let mut world = World::ready();
        before(&mut world);
        world.pings();
        world.now.unix += 3600;
        world.line(&inbound("1", "just read"));
        world.tick();
        assert_eq!((world.state(), world.pings()), (State::Ready, 1));
        world.advance(secs(9));
        assert_eq!(world.state(), State::Ready);
        world.advance(secs(1));
        assert_eq!(world.state(), State::Disconnected, "ten seconds, and no sign");
    }
}

// proves: CLOCK-2
#[test]
fn nothing_is_a_sign_while_the_ping_cannot_go_out() {
    let mut world = World::ready();
    world.writes = false;
    world.now.unix += 3600;
    world.line(&inbound("1", "from before"));
    world.tick();
    world.line(&inbound("2", "from before as well"));
    world.advance(secs(9));
    world.line(&inbound("3", "that too"));
    assert_eq!((world.state(), world.pings()), (State::Ready, 0));
    world.advance(secs(1));
    assert_eq!(world.state(), State::Disconnected);
}
