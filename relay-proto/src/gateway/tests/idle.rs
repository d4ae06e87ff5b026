//! Going idle.

use super::pair::*;
use crate::gateway::{Event, IdleOutcome, Notice, State};

const ACK: &str = r#"{"type":"going_idle_ack"}"#;

// proves: IDLE-1
#[test]
fn going_idle_is_one_frame_and_ends_with_the_ack() {
    let mut world = World::ready();
    let (first, second) = (world.go_idle(), world.go_idle());
    assert_eq!(world.sent(), [r#"{"type":"going_idle"}"#], "one serves both");
    assert!(world.deliver("1", "still flowing").is_some());
    assert!(world.idles.is_empty());
    world.line(ACK);
    assert_eq!(world.idles[&first], IdleOutcome::Acknowledged);
    assert_eq!(world.idles[&second], IdleOutcome::Acknowledged);
    assert_eq!(world.take_events(), [Event::Idle]);
    assert_eq!(world.state(), State::Ready, "idle is not dormant");
    assert!(world.deliver("2", "a peer that delivers on").is_some(), "nothing is lost even so");
}

// proves: IDLE-1
#[test]
fn without_an_ack_it_times_out_and_asking_again_asks_anew() {
    let mut world = World::ready();
    let call = world.go_idle();
    world.sent();
    world.advance(secs(10) - millis(1));
    assert!(world.idles.is_empty());
    world.advance(millis(1));
    assert_eq!((world.idles[&call], world.state()), (IdleOutcome::TimedOut, State::Ready));
    let again = world.go_idle();
    assert_eq!(world.sent(), [r#"{"type":"going_idle"}"#]);
    world.line(ACK);
    assert_eq!(world.idles[&again], IdleOutcome::Acknowledged);
}

// proves: IDLE-1
#[test]
fn without_a_ready_link_there_is_nobody_to_tell() {
    let mut world = World::new();
    for _ in 0..3 {
        let (idle, dormant) = (world.go_idle(), world.go_dormant());
        assert_eq!((world.idles[&idle], world.idles[&dormant]), (IdleOutcome::NoLink, IdleOutcome::NoLink));
        match world.state() {
            State::Disconnected => world.tick(),
            State::Dialing => world.open(),
            _ => {}
        }
    }
    world.line(DESCRIPTOR);
    let call = world.go_idle();
    world.end(lost());
    assert_eq!(world.idles[&call], IdleOutcome::NoLink, "its link ended first");
    world.reconnect();
    world.line(ACK);
    assert_eq!(world.machine.stats().unasked_idle_acks, 1, "the call is not carried over to the next link");
}

// proves: IDLE-1
#[test]
fn an_ack_nobody_asked_for_is_ignored() {
    let mut world = World::ready();
    world.line(ACK);
    assert_eq!((world.state(), world.notices.as_slice()), (State::Ready, [Notice::UnaskedIdleAck].as_slice()));
    assert!(world.take_events().is_empty());
    let call = world.go_idle();
    assert!(world.idles.is_empty(), "and it is not saved up");
    world.line(ACK);
    world.line(ACK);
    assert_eq!(world.idles[&call], IdleOutcome::Acknowledged);
    assert_eq!(world.machine.stats().unasked_idle_acks, 2);
}

// proves: IDLE-1, REQ-7
#[test]
fn unread_deliveries_do_not_hold_up_the_ack() {
    let small = crate::gateway::Limits { queue: 1024, ..Default::default() };
    let mut world = World::ready_with(config().limits(small));
    world.reads = false;
    for i in 0..10 {
        world.line(&inbound(&format!("{i}"), "x"));
    }
    assert!(!world.machine.wants_read());
    world.go_idle();
    assert!(world.machine.wants_read());
    world.line(ACK);
    assert!(!world.machine.wants_read());
    world.call(|machine, now| machine.close(now));
    assert!(!world.machine.wants_read() || world.state() != State::Ready);
}
