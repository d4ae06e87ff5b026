//! Going dormant, waking, and holding a dial.

use super::pair::*;
use crate::gateway::{Cause, Event, IdleOutcome, State};

const ACK: &str = r#"{"type":"going_idle_ack"}"#;

fn cadence(seconds: u64) -> crate::gateway::Config {
    config().timing(timing(|t| t.dormant_redial = secs(seconds)))
}

fn closing(config: crate::gateway::Config) -> World {
    let mut world = World::ready_with(config);
    let call = world.go_dormant();
    assert_eq!(world.state(), State::Ready, "only on the ack");
    world.line(ACK);
    assert_eq!(world.idles[&call], IdleOutcome::Acknowledged);
    assert_eq!(world.state(), State::Closing);
    assert_eq!(world.close_frame(), Some((1000, "dormant")));
    world
}

fn asleep(config: crate::gateway::Config) -> World {
    let mut world = closing(config);
    world.end(closed(1000, ""));
    assert_eq!(world.state(), State::Dormant);
    world
}

// proves: IDLE-2
#[test]
fn the_ack_puts_it_to_sleep_and_the_cadence_wakes_it() {
    let mut world = asleep(config());
    let events = world.take_events();
    assert!(matches!(events[0], Event::Idle));
    let Event::Disconnected { ended, retry_in } = &events[1] else { panic!() };
    assert_eq!((ended.cause, *retry_in), (Cause::Dormant, Some(secs(1))));
    assert_eq!(world.await_dial(), secs(1));
    world.become_ready();
    assert!(world.deliver("1", "buffered meanwhile").is_some());
}

// proves: IDLE-2
#[test]
fn without_the_ack_the_link_stays_up_and_the_caller_learns_it() {
    let mut world = World::ready();
    let call = world.go_dormant();
    world.advance(secs(10));
    assert_eq!((world.idles[&call], world.state()), (IdleOutcome::TimedOut, State::Ready));
    world.line(ACK);
    assert_eq!(world.state(), State::Ready, "late: the caller has made other plans");
}

// proves: IDLE-2
#[test]
fn a_wake_call_dials_at_once() {
    let mut world = asleep(cadence(3600));
    world.advance(secs(3000));
    assert_eq!(world.state(), State::Dormant);
    world.call(|machine, now| machine.wake(now));
    assert_eq!(world.state(), State::Dialing);
    world.call(|machine, now| machine.wake(now));
    world.become_ready();
    world.call(|machine, now| machine.wake(now));
    assert_eq!((world.state(), world.dials.len()), (State::Ready, 2), "a link that is there is left alone");
    world.end(lost());
    assert!(world.await_dial() <= secs(1), "sleep is over");
}

// proves: IDLE-2
#[test]
fn a_wake_call_while_falling_asleep_is_not_lost() {
    for answer in [closed(1000, ""), lost()] {
        let mut world = closing(cadence(3600));
        world.call(|machine, now| machine.hold_redial(now));
        world.call(|machine, now| machine.wake(now));
        assert_eq!(world.state(), State::Closing);
        world.end(answer);
        assert_eq!(world.state(), State::Dialing);
    }
    let mut world = closing(cadence(3600));
    world.call(|machine, now| machine.wake(now));
    world.advance(secs(2));
    assert_eq!(world.state(), State::Dialing, "also when the peer does not answer the close");
    world.become_ready();
    world.end(lost());
    assert_ne!(world.state(), State::Dialing, "once");
}

// proves: IDLE-2
#[test]
fn a_wake_call_before_the_ack_is_not_lost_either() {
    let mut world = World::ready_with(cadence(3600));
    world.go_dormant();
    world.call(|machine, now| machine.wake(now));
    assert_eq!(world.state(), State::Ready, "the connector was told to stop, and has not said that it has");
    world.line(ACK);
    world.end(closed(1000, ""));
    assert_eq!(world.state(), State::Dialing);
    world.become_ready();
    // Who goes to sleep after the wake-up means it, and a wake-up is for one sleep.
    world.go_dormant();
    world.call(|machine, now| machine.wake(now));
    world.go_dormant();
    world.line(ACK);
    world.end(closed(1000, ""));
    assert_eq!(world.state(), State::Dormant);
    world.call(|machine, now| machine.wake(now));
    world.become_ready();
    world.go_dormant();
    world.call(|machine, now| machine.wake(now));
    world.advance(secs(10));
    world.end(lost());
    assert_eq!(world.state(), State::Disconnected, "it did not fall asleep");
}

// proves: IDLE-2, LINK-4
#[test]
fn dormancy_keeps_the_right_to_dial_even_with_reconnecting_off() {
    let mut world = closing(cadence(5).reconnect(false));
    world.end(closed(1001, "bye"));
    assert_eq!(world.state(), State::Dormant, "whatever the peer answers to our close");
    assert_eq!(world.await_dial(), secs(5));
    world.end(lost());
    assert_eq!(world.state(), State::Closed);
}

// proves: IDLE-2
#[test]
fn a_hold_parks_the_next_dial_until_released() {
    let mut world = World::ready();
    world.call(|machine, now| machine.hold_redial(now));
    world.end(lost());
    world.advance(secs(30));
    assert_eq!(world.state(), State::Disconnected);
    world.call(|machine, now| machine.release_redial(now));
    assert_eq!(world.state(), State::Dialing, "it was due");
    world.become_ready();
    world.call(|machine, now| machine.hold_redial(now));
    world.call(|machine, now| machine.release_redial(now));
    world.end(lost());
    assert!(world.await_dial() <= secs(2), "released before it mattered");
}

// proves: IDLE-2
#[test]
fn a_hold_parks_a_dial_for_a_minute_at_the_longest() {
    let mut world = asleep(config());
    for _ in 0..10 {
        world.call(|machine, now| machine.hold_redial(now));
    }
    assert_eq!(world.await_dial(), secs(61), "due after 1 s, and parked for 60");
    world.end(lost());
    assert!(world.await_dial() <= secs(1), "one dial, not all that follow");
}

// proves: IDLE-2
#[test]
fn waking_and_reconnecting_end_a_hold() {
    for reconnect in [false, true] {
        let mut world = asleep(cadence(3600));
        world.call(|machine, now| machine.hold_redial(now));
        world.call(|machine, now| if reconnect { machine.reconnect(now) } else { machine.wake(now) });
        world.become_ready();
        world.end(lost());
        assert!(world.await_dial() <= secs(1));
    }
}

// proves: IDLE-2
#[test]
fn a_hold_does_not_start_a_dial_of_its_own() {
    let mut world = asleep(cadence(3600));
    world.call(|machine, now| machine.hold_redial(now));
    world.call(|machine, now| machine.release_redial(now));
    assert_eq!(world.state(), State::Dormant);
    assert_eq!(world.await_dial(), secs(3600));
}

// proves: IDLE-2, ACK-3
#[test]
fn what_was_taken_before_the_ack_is_acknowledged_before_the_close() {
    let mut world = World::ready();
    let one = world.deliver("1", "x").unwrap();
    world.writes = false;
    world.go_dormant();
    world.ack(one);
    world.line(ACK);
    world.writes = true;
    world.drain();
    assert_eq!(world.written.len(), 3);
    assert_eq!(world.acked(), ["1"]);
}

// proves: IDLE-2, ACK-4
#[test]
fn a_replay_just_before_the_ack_is_acknowledged_before_the_close() {
    let mut world = World::ready();
    let one = world.deliver("1", "x").unwrap();
    world.ack(one);
    world.go_dormant();
    world.written.clear();
    world.bytes(format!("{}\n{ACK}\n", inbound("1", "x")).as_bytes());
    assert_eq!(world.state(), State::Closing);
    assert_eq!(world.acked(), ["1"]);
}
