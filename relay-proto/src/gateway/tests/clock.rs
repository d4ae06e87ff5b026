//! Time that stands still, repeats, jumps and goes back.

use super::pair::*;
use crate::gateway::State;
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
fn a_wall_clock_that_goes_anywhere_touches_tokens_alone() {
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
