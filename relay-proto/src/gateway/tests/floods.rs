//! Peers without measure: memory stays bounded, and time linear.

use super::pair::*;
use crate::gateway::{DeliveryId, Event, Limits, State};

// proves: FRAME-4, FRAME-3
#[test]
fn a_million_tiny_bad_lines_in_one_message_leave_sixteen_notices() {
    let mut world = World::ready();
    world.bytes(&b"x\n".repeat(1_000_000));
    assert_eq!(world.machine.stats().skipped_total(), 1_000_000);
    assert_eq!(world.notices.len(), 16);
    assert!(world.deliver("1", "and on").is_some());
    world.line("x");
    assert_eq!(world.notices.len(), 17, "the next message is told of again");
}

// proves: ACK-2, ACK-4
#[test]
fn a_peer_that_replays_for_ever_and_never_reads_our_acks_is_not_read_for_ever() {
    let mut world = World::ready();
    let id = world.deliver("1", "x").unwrap();
    world.ack(id);
    world.writes = false;
    let mut replays = 0;
    while world.machine.wants_read() {
        world.line(&inbound("1", "x"));
        replays += 1;
        assert!(replays < 100_000, "unwritten acks without bound");
    }
    world.advance(secs(90));
    assert_eq!(world.state(), State::Disconnected, "it does not read: it is as good as gone");
    world.writes = true;
    world.reconnect();
    assert!(world.machine.wants_read());
}

fn copy(buffer_id: usize) -> String {
    let event = r#"{"text":"x","message_id":"m","source":{"platform":"irc","chat_id":"c"}}"#;
    format!("{{\"type\":\"inbound\",\"bufferId\":\"b{buffer_id}\",\"event\":{event}}}\n")
}

// proves: ACK-4
#[test]
fn one_message_under_ever_new_ids_is_not_remembered_without_bound() {
    let mut world = World::ready_with(config().limits(Limits { replay_memory: 100, ..Limits::default() }));
    let flood: String = (0..10_000).map(copy).collect();
    world.bytes(flood.as_bytes());
    let Some(Event::Delivery(delivered)) = world.events.pop() else { panic!() };
    assert!(world.events.is_empty());
    world.ack(delivered.id);
    let acked = world.acked();
    assert_eq!(acked.len(), 101, "what was remembered is acknowledged");
    assert!(acked.iter().enumerate().all(|(i, id)| *id == format!("b{i}")));
    world.bytes(copy(5000).as_bytes());
    assert_eq!(world.acked(), ["b5000"], "the rest when it comes again");
}

// proves: FRAME-3, ACK-4
#[test]
fn buffer_ids_of_any_length_are_held_within_a_bound() {
    let mut world = World::ready();
    world.reads = false;
    world.request();
    let long = "i".repeat(100_000);
    let named = |i: usize, text: &str| {
        inbound(&format!("{long}{i}"), text)
            .replace("event\":{", "event\":{\"message_id\":\"m\",\"source\":{\"chat_id\":\"c\"},")
    };
    let mut shown = 0;
    while world.state() == State::Ready {
        world.line(&named(shown, &format!("{shown}")));
        shown += 1;
        assert!(shown < 100, "ids that nobody weighs");
    }
    let mut world = World::ready();
    for i in 0..100 {
        world.line(&named(i, "the same"));
    }
    let Some(Event::Delivery(delivered)) = world.events.pop() else { panic!() };
    world.end(lost());
    world.reconnect();
    for i in 0..100 {
        world.line(&named(i, "the same"));
    }
    world.ack(delivered.id);
    assert_eq!(world.acked().len(), 10, "a megabyte of them; the rest is acknowledged when it comes again");
    world.line(&named(50, "the same"));
    assert_eq!(world.acked().len(), 1);
}

/// Many deliveries that the application holds all at once.
fn hold(world: &mut World, count: usize) -> Vec<DeliveryId> {
    let flood: String = (0..count).map(|i| inbound(&format!("{i}"), "x") + "\n").collect();
    world.bytes(flood.as_bytes());
    let id = |event: Event| match event {
        Event::Delivery(delivered) => delivered.id,
        other => panic!("{other:?}"),
    };
    world.take_events().into_iter().map(id).collect()
}

// proves: ACK-2 (linear time: n² would take minutes here)
#[test]
fn acknowledging_in_reverse_costs_little() {
    let mut world = World::ready();
    let ids = hold(&mut world, 20_000);
    for id in ids.iter().rev() {
        assert!(world.machine.ack(*id, world.now));
    }
    world.drain();
    assert_eq!(world.acked().len(), 20_000);
}

// proves: ACK-4 (linear time: n² would take minutes here)
#[test]
fn replays_of_everything_that_is_held_cost_little() {
    let mut world = World::ready();
    let ids = hold(&mut world, 20_000);
    for _ in 0..3 {
        let again: String = (0..20_000).rev().map(|i| inbound(&format!("{i}"), "x") + "\n").collect();
        world.bytes(again.as_bytes());
    }
    assert_eq!(world.machine.stats().replays_suppressed, 60_000);
    for id in ids {
        world.ack(id);
    }
    assert_eq!(world.acked().len(), 20_000, "one each");
}

// proves: ACK-4 (linear time: n² would take minutes here)
#[test]
fn many_messages_under_two_ids_each_cost_little() {
    let mut world = World::ready_with(config().limits(Limits { replay_memory: 50_000, ..Limits::default() }));
    let line = |name: &str, i: usize| {
        let event = format!(r#"{{"message_id":"{i}","source":{{"platform":"irc","chat_id":"c"}}}}"#);
        format!("{{\"type\":\"inbound\",\"bufferId\":\"{name}{i}\",\"event\":{event}}}\n")
    };
    let flood: String = ["a", "b"].iter().flat_map(|name| (0..10_000).map(move |i| line(name, i))).collect();
    world.bytes(flood.as_bytes());
    let events = world.take_events();
    assert_eq!(events.len(), 10_000);
    for event in events {
        let Event::Delivery(delivered) = event else { panic!() };
        assert!(world.machine.ack(delivered.id, world.now));
    }
    world.drain();
    assert_eq!(world.acked().len(), 20_000);
}

// proves: STOP-1, REQ-7
#[test]
fn a_flood_of_interrupts_ends_the_link_and_not_the_memory() {
    let mut world = World::ready();
    world.reads = false;
    world.request();
    let stop = "{\"type\":\"interrupt_inbound\",\"session_key\":\"k\"}\n".repeat(10_000);
    for _ in 0..100 {
        if world.state() == State::Ready {
            world.bytes(stop.as_bytes());
        }
    }
    assert_eq!(world.state(), State::Closing);
    world.reads = true;
    world.drain();
    let limit = Limits::default().queue_hard;
    assert!(world.events.len() <= limit / 256 + 1);
}

// proves: HELLO-2, FRAME-3
#[test]
fn descriptors_without_end_are_kept_within_a_bound() {
    let mut world = World::ready();
    let hint = "h".repeat(200_000);
    for i in 0..100 {
        let inner = format!(r#"{{"platform":"p{i}","platform_hint":"{hint}"}}"#);
        world.line(&format!(r#"{{"type":"descriptor","descriptor":{inner}}}"#));
    }
    let kept = (0..100).filter(|i| world.machine.descriptor_for(&format!("p{i}")).is_some()).count();
    // What is read of a descriptor is kept beside it.
    assert_eq!(kept, 2, "a megabyte of them");
    for i in 0..1000 {
        world.line(&format!(r#"{{"type":"descriptor","descriptor":{{"platform":"q{i}"}}}}"#));
    }
    let kept = (0..1000).filter(|i| world.machine.descriptor_for(&format!("q{i}")).is_some()).count();
    assert!(kept < 64);
    assert_eq!(world.machine.descriptor().unwrap().platform, "discord");
}

// proves: REQ-3
#[test]
fn results_that_nobody_waits_for_leave_nothing_but_a_count() {
    let mut world = World::ready();
    let flood = "{\"type\":\"outbound_result\",\"requestId\":\"x\",\"result\":{}}\n".repeat(10_000);
    world.bytes(flood.as_bytes());
    assert_eq!((world.machine.stats().unmatched_results, world.notices.len()), (10_000, 16));
}

// proves: DIAL-5, LINK-1
#[test]
fn thousands_of_reconnects_leave_nothing_behind() {
    let mut world = World::ready_with(config().limits(Limits { replay_memory: 8, ..Limits::default() }));
    let size = |world: &World| format!("{:?}", world.machine).len();
    let mut sizes = Vec::new();
    for round in 0..2000_usize {
        world.request();
        world.patient_request(Some(secs(1)));
        world.go_idle();
        world.bytes(b"{\"half\":");
        if let Some(id) = world.deliver("1", &format!("{round}")) {
            world.ack(id);
        }
        world.end(lost());
        world.reconnect();
        world.log.clear();
        if round >= 1000 && round % 100 == 0 {
            sizes.push(size(&world));
        }
    }
    assert_eq!(world.machine.stats().links, 2001);
    let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
    assert!(most - least < 100, "only the numbers grow: {sizes:?}");
}

// proves: ACK-2, ACK-4
#[test]
fn replays_of_what_was_taken_may_be_many_in_one_message() {
    let limits = Limits { queue: 4096, queue_hard: 8192, ..Limits::default() };
    let mut world = World::ready_with(config().limits(limits));
    let ids: Vec<String> = (0..200).map(|n| format!("{n:0>100}")).collect();
    for id in &ids {
        let delivery = world.deliver(id, "hi").unwrap();
        world.ack(delivery);
    }
    world.acked();
    world.end(lost());
    world.reconnect();
    let lines: Vec<String> = ids.iter().map(|id| inbound(id, "hi")).collect();
    world.line(&lines.join("\n"));
    assert_eq!((world.acked(), world.state()), (ids, State::Ready), "acknowledged, and not counted as waiting");
}
