//! Shutting down, from everywhere.

use super::pair::*;
use crate::gateway::{Ambiguous, Event, NotSent, Outcome, RequestOptions, State};

const ACK: &str = r#"{"type":"going_idle_ack"}"#;

fn close(world: &mut World) {
    world.call(|machine, now| machine.close(now));
}

fn assert_closed(world: &mut World) {
    assert_eq!((world.state(), world.link, world.unended()), (State::Closed, None, 0));
    let closed = world.take_events().into_iter().filter(|event| *event == Event::Closed).count();
    assert_eq!(closed, 1, "reported once");
    let dials = world.dials.len();
    close(world);
    world.call(|machine, now| machine.wake(now));
    world.call(|machine, now| machine.reconnect(now));
    world.call(|machine, now| machine.hold_redial(now));
    world.call(|machine, now| machine.release_redial(now));
    world.go_idle();
    world.go_dormant();
    world.advance(secs(100_000));
    assert_eq!((world.dials.len(), world.events.len()), (dials, 0), "nothing dials again, and nothing is told again");
    assert_eq!(world.ask("send", &RequestOptions::default()), Err(NotSent::ShutDown));
    let patient = RequestOptions { wait_for_link: true, ..Default::default() };
    assert_eq!(world.ask("send", &patient), Err(NotSent::ShutDown));
    assert_eq!(world.machine.interrupt("k", None, world.now), Err(NotSent::ShutDown));
}

// proves: CLOSE-1
#[test]
fn it_goes_idle_lets_requests_finish_closes_and_reports() {
    let mut world = World::ready();
    let id = world.request();
    let delivery = world.deliver("1", "x").unwrap();
    world.written.clear();
    close(&mut world);
    assert_eq!(world.sent(), [r#"{"type":"going_idle"}"#]);
    assert_eq!(world.ask("send", &RequestOptions::default()), Err(NotSent::ShutDown), "no new work");
    assert!(world.deliver("2", "late").is_some(), "deliveries flow until the ack");
    world.line(ACK);
    assert_eq!(world.state(), State::Ready, "a request is under way");
    world.ack(delivery);
    assert_eq!(world.acked(), ["1"], "so that it is not replayed");
    world.answer(id);
    assert!(matches!(world.outcome(id), Some(Outcome::Result(_))));
    assert_eq!((world.state(), world.close_frame()), (State::Closing, Some((1000, ""))));
    world.end(closed(1000, ""));
    assert_closed(&mut world);
}

// proves: CLOSE-1
#[test]
fn every_step_is_bounded() {
    let mut world = World::ready();
    let id = world.ask("send", &RequestOptions { timeout: Some(secs(1000)), ..Default::default() }).unwrap();
    close(&mut world);
    world.advance(secs(1));
    close(&mut world);
    world.advance(secs(1) - millis(1));
    assert_eq!(world.state(), State::Ready, "2 s for the ack");
    world.advance(secs(5));
    assert_eq!((world.state(), world.outcome(id)), (State::Ready, None), "5 s for requests");
    world.advance(millis(1));
    assert_eq!(world.state(), State::Closing);
    close(&mut world);
    world.advance(secs(2));
    assert_eq!(world.outcome(id), Some(&Outcome::Ambiguous(Ambiguous::ShutDown)));
    assert_closed(&mut world);
}

// proves: CLOSE-1
#[test]
fn without_requests_it_closes_on_the_ack() {
    let mut world = World::ready();
    close(&mut world);
    world.line(ACK);
    assert_eq!(world.close_frame(), Some((1000, "")));
    world.end(lost());
    assert_closed(&mut world);
}

// proves: CLOSE-1
#[test]
fn a_link_that_is_idle_already_is_not_told_again() {
    let mut world = World::ready();
    world.go_idle();
    world.line(ACK);
    world.written.clear();
    close(&mut world);
    assert_eq!(world.written.len(), 1);
    assert_eq!(world.close_frame(), Some((1000, "")));
}

// proves: CLOSE-1
#[test]
fn on_a_link_that_is_idle_requests_finish_too() {
    let mut world = World::ready();
    world.go_idle();
    world.line(ACK);
    let id = world.request();
    close(&mut world);
    assert_eq!((world.state(), world.outcome(id)), (State::Ready, None));
    world.answer(id);
    assert!(matches!(world.outcome(id), Some(Outcome::Result(_))));
    assert_eq!((world.state(), world.close_frame()), (State::Closing, Some((1000, ""))));
}

// proves: CLOSE-1
#[test]
fn a_cancelled_request_is_not_waited_for() {
    let mut world = World::ready();
    let id = world.request();
    close(&mut world);
    world.line(ACK);
    world.cancel(id);
    assert_eq!(world.state(), State::Closing);
}

// proves: CLOSE-1, REQ-1
#[test]
fn closing_works_in_every_phase_and_twice() {
    for twice in [false, true] {
        for phase in 0..10 {
            let mut world = World::new();
            match phase {
                0 => {}
                1 => world.tick(),
                2 | 3 => {
                    world.tick();
                    world.open();
                }
                _ => {
                    world.tick();
                    world.become_ready();
                }
            }
            match phase {
                4 => world.end(lost()),
                5 => world.end(closed(4409, "")),
                6 => world.call(|machine, now| machine.reconnect(now)),
                7 => {
                    world.go_dormant();
                    world.line(ACK);
                }
                8 => {
                    world.go_dormant();
                    world.line(ACK);
                    world.end(closed(1000, ""));
                    world.call(|machine, now| machine.hold_redial(now));
                }
                _ => {}
            }
            let patient = world.patient_request(Some(secs(1000)));
            world.events.clear();
            close(&mut world);
            if twice {
                close(&mut world);
            }
            if phase == 3 {
                world.line(DESCRIPTOR);
            }
            if !matches!(phase, 9) {
                assert!(world.state() == State::Closed || world.outcome(patient).is_some(), "phase {phase}");
            }
            world.advance(secs(9));
            assert!(world.outcome(patient).is_some(), "phase {phase}");
            assert_closed(&mut world);
        }
    }
}

// proves: CLOSE-1, REQ-1
#[test]
fn a_link_lost_on_the_way_ends_it_at_once() {
    for step in 0..3 {
        let mut world = World::ready();
        let id = world.request();
        close(&mut world);
        if step > 0 {
            world.line(ACK);
        }
        if step > 1 {
            world.advance(secs(5));
        }
        world.end(if step == 0 { closed(1012, "restart") } else { lost() });
        assert_eq!(world.outcome(id), Some(&Outcome::Ambiguous(Ambiguous::ShutDown)));
        assert_closed(&mut world);
    }
}

// proves: CLOSE-1, IDLE-1
#[test]
fn a_call_to_go_idle_ends_when_shutting_down_begins() {
    let mut world = World::ready();
    let (idle, dormant) = (world.go_idle(), world.go_dormant());
    world.written.clear();
    close(&mut world);
    assert!(world.idles.contains_key(&idle) && world.idles.contains_key(&dormant));
    assert!(world.sent().is_empty(), "the going_idle under way serves this, too");
    world.line(ACK);
    assert_eq!(world.state(), State::Closing);
    world.end(closed(1000, ""));
    assert_closed(&mut world);
}

// proves: CLOSE-1, IDLE-1
#[test]
fn an_earlier_going_idle_that_was_ignored_is_sent_again() {
    let mut world = World::ready();
    world.go_idle();
    world.advance(secs(10));
    world.written.clear();
    close(&mut world);
    assert_eq!(world.sent(), [r#"{"type":"going_idle"}"#]);
}

// proves: CLOSE-1, REQ-7
#[test]
fn unread_events_survive_the_end() {
    let mut world = World::ready();
    world.reads = false;
    world.line(&inbound("1", "x"));
    close(&mut world);
    world.line(ACK);
    world.end(closed(1000, ""));
    assert!(!world.machine.is_drained());
    world.reads = true;
    world.drain();
    assert!(matches!(world.events[..], [Event::Delivery(_), Event::Idle, Event::Closed]));
    assert!(world.machine.is_drained());
}

// proves: CLOSE-1, REQ-1
#[test]
fn abandoning_ends_everything_at_once_in_every_phase() {
    for phase in 0..5 {
        let mut world = World::new();
        if phase > 0 {
            world.tick();
        }
        if phase > 1 {
            world.open();
        }
        if phase > 2 {
            world.line(DESCRIPTOR);
            world.request();
        }
        if phase > 3 {
            close(&mut world);
        }
        if phase < 4 {
            world.patient_request(None);
        }
        world.call(|machine, now| machine.abandon(now));
        assert_closed(&mut world);
    }
}
