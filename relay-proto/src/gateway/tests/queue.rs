//! Events that the application has not taken: what they hold up, and what they never do.

use super::pair::*;
use crate::gateway::{Cause, Event, Limits, Notice, Outcome, State};

const STOP: &str = r#"{"type":"interrupt_inbound","session_key":"s:1","chat_id":"c"}"#;

fn small() -> Limits {
    Limits { queue: 4096, queue_hard: 16 << 10, ..Limits::default() }
}

/// A ready world whose application has stopped taking events, with its queue full.
fn full() -> World {
    let mut world = World::ready_with(config().limits(small()));
    world.reads = false;
    let mut number = 0;
    while world.machine.wants_read() {
        world.line(&inbound(&format!("{number}"), "hello"));
        number += 1;
    }
    assert!(number > 1);
    world
}

// proves: STOP-1
#[test]
fn an_interrupt_overtakes_queued_messages_and_names_one_session() {
    let mut world = World::ready();
    world.reads = false;
    world.line(&format!("{}\n{}\n{STOP}", inbound("1", "a"), inbound("2", "b")));
    world.line(r#"{"type":"interrupt_inbound","session_key":"s:2","chat_id":"c"}"#);
    world.reads = true;
    world.drain();
    let [Event::Interrupt(first), Event::Interrupt(second), Event::Delivery(_), Event::Delivery(_)] = &world.events[..]
    else {
        panic!("{:?}", world.events)
    };
    assert_eq!((first.session_key.as_str(), first.chat_id.as_deref()), ("s:1", Some("c")));
    assert_eq!(second.session_key, "s:2");
}

// proves: REQ-7
#[test]
fn a_request_made_while_handling_an_event_completes() {
    let mut world = full();
    let Some(Event::Delivery(_)) = world.machine.poll_event() else { panic!() };
    let id = world.request();
    assert!(world.machine.wants_read(), "the queue may be full: a result is awaited");
    // Ahead of the result the peer has more deliveries under way.
    world.line(&inbound("more", "hello"));
    world.line(&inbound("and more", "hello"));
    assert!(world.machine.wants_read());
    world.answer(id);
    assert!(matches!(world.outcome(id), Some(Outcome::Result(_))));
    assert!(!world.machine.wants_read(), "and then the peer waits again");
}

// proves: REQ-7
#[test]
fn unread_events_delay_neither_results_nor_acks_nor_interrupts() {
    let mut world = World::ready();
    let held = world.deliver("0", "held").unwrap();
    let id = world.request();
    world.reads = false;
    for i in 1..100 {
        world.line(&inbound(&format!("{i}"), "x"));
    }
    world.answer(id);
    assert!(world.outcome(id).is_some());
    world.ack(held);
    assert_eq!(world.acked(), ["0"]);
    world.line(STOP);
    assert!(matches!(world.machine.poll_event(), Some(Event::Interrupt(_))));
}

// proves: REQ-7
#[test]
fn a_full_queue_stops_the_reading_and_a_taken_event_starts_it() {
    let mut world = full();
    assert_eq!(world.state(), State::Ready);
    while !world.machine.wants_read() {
        assert!(world.machine.poll_event().is_some());
    }
    world.drain();
}

// proves: REQ-7, ACK-4
#[test]
fn past_the_hard_limit_the_link_is_closed_and_what_was_buffered_comes_again() {
    let mut world = full();
    world.request();
    let mut number = 1000;
    while world.state() == State::Ready {
        world.line(&inbound(&format!("{number}"), "hello"));
        number += 1;
        assert!(number < 2000, "bounded");
    }
    assert_eq!(world.close_frame().map(|close| close.0), Some(1013));
    world.line(&inbound("after", "hello"));
    world.end(closed(1013, ""));
    world.reads = true;
    world.drain();
    assert_eq!(world.disconnected().0.cause, Cause::QueueFull);
    world.reconnect();
    assert!(world.deliver("after", "hello").is_some());
    assert_eq!(world.deliver(&format!("{}", number - 1), "hello"), None, "that one was taken into the queue");
}

// proves: REQ-1, REQ-7
#[test]
fn a_result_behind_the_delivery_that_was_too_much_still_counts() {
    let mut world = full();
    let id = world.request();
    let big = inbound("big", &"x".repeat(20_000));
    world.bytes(format!("{big}\n{}\n{}\n", inbound("more", "x"), result(id)).as_bytes());
    assert_eq!(world.state(), State::Closing);
    assert!(matches!(world.outcome(id), Some(Outcome::Result(_))));
    assert!(!world.log.iter().any(|line| line.contains("more")));
}

// proves: REQ-7, HELLO-2
#[test]
fn what_is_still_unread_is_not_held_against_the_next_link() {
    let mut world = full();
    world.request();
    for number in 0.. {
        if world.state() != State::Ready {
            break;
        }
        world.line(&inbound(&format!("x{number}"), "hello"));
    }
    world.end(closed(1013, ""));
    world.await_dial();
    world.open();
    world.line(DESCRIPTOR);
    assert_eq!(world.state(), State::Ready);
    assert!(!world.machine.wants_read());
    let id = world.request();
    world.line(&inbound("x0", "hello"));
    world.answer(id);
    assert_eq!(world.state(), State::Ready, "a replay and a result add nothing");
    assert!(matches!(world.outcome(id), Some(Outcome::Result(_))));
}

// proves: REQ-7
#[test]
fn reports_left_unread_for_hours_do_not_pile_up() {
    let mut world = World::new();
    world.reads = false;
    world.tick();
    world.open();
    world.line(DESCRIPTOR);
    world.line(&inbound("1", "x"));
    for _ in 0..500 {
        world.end(lost());
        world.await_dial();
    }
    world.call(|machine, now| machine.close(now));
    world.reads = true;
    world.drain();
    let events = world.take_events();
    assert!(events.len() <= 20, "{}", events.len());
    assert!(events.iter().any(|event| matches!(event, Event::Delivery(_))), "deliveries are never dropped");
    assert_eq!(events.last(), Some(&Event::Closed));
    assert_eq!(world.machine.stats().reports_dropped, 501 - 16);
}

// proves: REQ-7
#[test]
fn one_event_is_taken_whatever_its_size() {
    let mut world = World::ready_with(config().limits(small()));
    world.reads = false;
    // Closing the link would bring it again, on each link.
    world.line(&inbound("1", &"x".repeat(64 << 10)));
    assert_eq!((world.state(), world.machine.wants_read()), (State::Ready, false));
    world.line(&inbound("2", &"x".repeat(64 << 10)));
    assert_eq!(world.state(), State::Closing, "a second one is over the limit");
    assert!(matches!(world.machine.poll_event(), Some(Event::Ready { .. }) | Some(Event::Delivery(_))));
}

// proves: REQ-7
#[test]
fn lists_of_tiny_things_weigh_what_they_cost() {
    for content in [
        format!(r#""type":"inbound","event":{{"media_urls":[{}1]}}"#, "1,".repeat(600)),
        format!(r#""type":"passthrough_forward","forward":{{"headers":[{}["",""]]}}"#, r#"["",""],"#.repeat(100)),
    ] {
        let mut world = World::ready_with(config().limits(small()));
        world.reads = false;
        world.line(&format!("{{{content}}}"));
        assert!(!world.machine.wants_read());
        while world.machine.poll_event().is_some() {}
        assert!(world.machine.wants_read());
    }
}

// proves: ACK-2, FRAME-3
#[test]
fn acks_that_one_delivery_holds_up_are_bounded() {
    let mut world = World::ready_with(config().limits(small()));
    let first = world.deliver("first", "given back").unwrap();
    world.call(|machine, now| {
        machine.nack(first, now);
    });
    let mut number = 0;
    while world.state() == State::Ready {
        let id = world.deliver(&format!("{number}"), "taken").unwrap();
        world.ack(id);
        number += 1;
        assert!(number < 10_000, "acknowledgements that nobody bounds");
    }
    assert_eq!(world.close_frame(), Some((1013, "too many unacknowledged deliveries")));
    world.end(closed(1013, ""));
    assert_eq!(world.disconnected().0.cause, Cause::QueueFull);
    // The next link replays them, and nothing is held up any more.
    world.reconnect();
    let again = world.deliver("first", "given back").expect("given back: shown again");
    world.ack(again);
    for i in 0..number {
        assert_eq!(world.deliver(&format!("{i}"), "taken"), None);
    }
    assert_eq!(world.acked().len(), number + 1);
}

#[test]
fn everything_is_counted_once() {
    let mut world = World::ready_with(config().identity("slack", "b2"));
    world.line(DESCRIPTOR);
    world.line("junk");
    let [first, second] = ["1", "2"].map(|id| world.deliver(id, id).unwrap());
    world.ack(first);
    world.call(|machine, now| assert!(machine.nack(second, now)));
    world.line(&inbound("1", "1"));
    world.acked();
    let third = world.deliver("3", "3").unwrap();
    world.call(|machine, now| machine.drop_delivery(third, now));
    world.call(|machine, now| machine.drop_delivery(third, now));
    assert_eq!(world.notices.iter().filter(|notice| **notice == Notice::Dropped).count(), 1);
    let request = world.request();
    world.answer(request);
    world.answer(request);
    world.line(r#"{"type":"going_idle_ack"}"#);
    world.end(lost());
    world.reconnect();
    let stats = world.machine.stats();
    assert_eq!((stats.dials, stats.links), (2, 2));
    // Two descriptors, junk, three deliveries and a replay, two results and an ack; and a descriptor on the second link.
    assert_eq!((stats.lines_received, stats.skipped_total()), (11, 1));
    assert_eq!((stats.deliveries, stats.replays_suppressed), (3, 1));
    assert_eq!((stats.nacked, stats.dropped), (1, 1));
    assert_eq!((stats.unmatched_results, stats.unasked_idle_acks, stats.reports_dropped), (1, 1, 0));
    // Two hellos on each link, an ack and a request. What was given back holds up the replay's ack.
    assert_eq!((stats.acks_sent, stats.frames_sent), (1, 6));
}
