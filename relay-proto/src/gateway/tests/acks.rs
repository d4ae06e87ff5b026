//! Acknowledgements and replays.

use super::pair::*;
use crate::gateway::{DeliveryId, Event, Limits, Notice};

/// A buffered message that has a platform, a chat and an id of its own.
fn named(buffer_id: Option<&str>, message_id: &str, text: &str) -> String {
    let buffer_id = buffer_id.map_or(String::new(), |id| format!(r#""bufferId":"{id}","#));
    let event =
        format!(r#"{{"text":"{text}","message_id":"{message_id}","source":{{"platform":"irc","chat_id":"c"}}}}"#);
    format!(r#"{{"type":"inbound",{buffer_id}"event":{event}}}"#)
}

fn shown(world: &mut World, line: &str) -> Option<DeliveryId> {
    world.line(line);
    match world.events.pop() {
        Some(Event::Delivery(delivered)) => Some(delivered.id),
        None => None,
        other => panic!("{other:?}"),
    }
}

// proves: ACK-1, EVENT-3
#[test]
fn an_ack_leaves_once_the_application_took_the_delivery_and_not_before() {
    let mut world = World::ready();
    let id = world.deliver("7", "hi").unwrap();
    world.advance(secs(20));
    assert!(world.acked().is_empty());
    world.ack(id);
    assert_eq!(world.sent(), [r#"{"type":"inbound_ack","bufferId":"7"}"#]);
    assert!(!world.machine.ack(id, world.now), "of several calls the first counts");
    world.write();
    assert!(world.sent().is_empty());
}

// proves: ACK-1
#[test]
fn what_has_no_buffer_id_is_not_acknowledged_and_numbers_are_echoed_as_text() {
    let mut world = World::ready();
    for none in ["", r#""bufferId":"","#, r#""bufferId":0,"#, r#""bufferId":null,"#, r#""bufferId":[1],"#] {
        for content in [r#""type":"inbound","event":{}"#, r#""type":"passthrough_forward","forward":{}"#] {
            let id = shown(&mut world, &format!("{{{none}{content}}}")).unwrap();
            world.ack(id);
            assert!(world.acked().is_empty(), "{none} {content}");
        }
    }
    for (content, id) in [
        (r#""type":"inbound","event":{}"#, "17"),
        (r#""type":"passthrough_forward","forward":{"path":"/x"}"#, "-3"),
        (r#""type":"inbound","event":{"text":"x"}"#, "12345678901234567890123"),
    ] {
        let delivery = shown(&mut world, &format!(r#"{{"bufferId":{id},{content}}}"#)).unwrap();
        world.ack(delivery);
        assert_eq!(world.acked(), [id]);
    }
}

// proves: ACK-2
#[test]
fn acks_leave_in_arrival_order() {
    let mut world = World::ready();
    let ids: Vec<_> = ["a", "b", "c", "d"].iter().map(|id| world.deliver(id, id).unwrap()).collect();
    world.ack(ids[2]);
    world.ack(ids[1]);
    assert!(world.acked().is_empty(), "b and c wait for a");
    world.ack(ids[0]);
    assert_eq!(world.acked(), ["a", "b", "c"]);
    world.ack(ids[3]);
    assert_eq!(world.acked(), ["d"]);
}

// proves: ACK-2, ACK-4, ACK-6
#[test]
fn a_delivery_given_back_holds_back_the_acks_behind_it_until_the_next_link() {
    for silent in [false, true] {
        let mut world = World::ready();
        let (a, b) = (world.deliver("a", "A").unwrap(), world.deliver("b", "B").unwrap());
        if silent {
            world.call(|machine, now| machine.drop_delivery(a, now));
        } else {
            world.call(|machine, now| assert!(machine.nack(a, now)));
        }
        let stats = world.machine.stats();
        assert_eq!((stats.nacked, stats.dropped), (u64::from(!silent), u64::from(silent)));
        world.ack(b);
        assert!(world.acked().is_empty());
        assert!(!world.machine.ack(a, world.now), "it is out of the application's hands");
        world.end(lost());
        world.reconnect();
        let again = world.deliver("a", "A").expect("shown again");
        assert_eq!(world.deliver("b", "B"), None, "taken: not shown again");
        assert!(world.acked().is_empty(), "in order");
        world.ack(again);
        assert_eq!(world.acked(), ["a", "b"]);
    }
}

// proves: ACK-3
#[test]
fn an_ack_never_travels_on_a_link_that_did_not_carry_its_delivery() {
    let mut world = World::ready();
    let (a, b) = (world.deliver("a", "A").unwrap(), world.deliver("b", "B").unwrap());
    world.end(lost());
    world.ack(a);
    world.reconnect();
    world.ack(b);
    let c = world.deliver("c", "C").unwrap();
    world.ack(c);
    assert_eq!(world.acked(), ["c"], "only what this link carried");
    assert_eq!(world.deliver("b", "B"), None);
    assert_eq!(world.acked(), ["b"], "replayed: acknowledged at once");
    assert_eq!(world.deliver("a", "A"), None);
    assert_eq!(world.acked(), ["a"]);
}

// proves: ACK-3
#[test]
fn an_ack_that_the_dying_link_did_not_write_is_owed_to_the_next() {
    let mut world = World::ready();
    let a = world.deliver("a", "A").unwrap();
    world.writes = false;
    world.ack(a);
    world.end(lost());
    world.writes = true;
    world.reconnect();
    assert!(world.acked().is_empty());
    assert_eq!(world.deliver("a", "A"), None);
    assert_eq!(world.acked(), ["a"]);
}

// proves: ACK-4
#[test]
fn a_replay_of_what_is_still_held_is_not_shown_again() {
    let mut world = World::ready();
    let a = world.deliver("a", "A").unwrap();
    world.end(lost());
    world.reconnect();
    assert_eq!(world.deliver("a", "A"), None);
    assert_eq!(world.notices, [Notice::ReplaySuppressed("a".into())]);
    assert_eq!(world.machine.stats().replays_suppressed, 1);
    assert!(world.acked().is_empty(), "the application still holds it");
    world.ack(a);
    assert_eq!(world.acked(), ["a"]);
}

// proves: ACK-4
#[test]
fn a_replay_of_what_still_waits_in_the_queue_is_not_shown_twice() {
    let mut world = World::ready();
    world.reads = false;
    world.line(&inbound("a", "A"));
    world.end(lost());
    world.await_dial();
    world.open();
    world.line(DESCRIPTOR);
    world.line(&inbound("a", "A"));
    world.reads = true;
    world.drain();
    let events = world.take_events();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Delivery(_))).count(), 1);
}

// proves: ACK-4
#[test]
fn a_reused_buffer_id_does_not_swallow_a_fresh_message() {
    let mut world = World::ready();
    let first = world.deliver("1", "old").unwrap();
    world.ack(first);
    assert_eq!(world.acked(), ["1"]);
    world.end(closed(1012, "restart"));
    world.reconnect();
    let fresh = world.deliver("1", "new").expect("another payload is another message");
    assert!(world.acked().is_empty());
    world.ack(fresh);
    assert_eq!(world.acked(), ["1"]);
    let line = named(Some("5"), "m", "one");
    let one = shown(&mut world, &line).unwrap();
    world.ack(one);
    assert!(shown(&mut world, &named(Some("6"), "m", "edited")).is_some(), "equal message ids, another payload");
}

// proves: ACK-4
#[test]
fn live_deliveries_are_never_suppressed_and_a_buffered_copy_is() {
    let mut world = World::ready();
    let live = shown(&mut world, &named(None, "m", "hi")).unwrap();
    assert!(shown(&mut world, &named(None, "m", "hi")).is_some(), "live again: shown again");
    world.ack(live);
    world.end(lost());
    world.reconnect();
    assert_eq!(shown(&mut world, &named(Some("9"), "m", "hi")), None, "the same message, buffered meanwhile");
    assert!(shown(&mut world, &named(Some("10"), "n", "hi")).is_some(), "another message");
}

// proves: ACK-4
#[test]
fn one_message_under_two_buffer_ids_is_shown_once_and_both_are_acknowledged() {
    let mut world = World::ready();
    let one = shown(&mut world, &named(Some("1"), "m", "hi")).unwrap();
    assert_eq!(shown(&mut world, &named(Some("2"), "m", "hi")), None);
    assert_eq!(shown(&mut world, &named(Some("2"), "m", "hi")), None, "repeated: owed once all the same");
    let behind = world.deliver("3", "other").unwrap();
    world.ack(behind);
    world.ack(one);
    assert_eq!(world.acked(), ["1", "2", "3"]);
    assert_eq!(shown(&mut world, &named(Some("2"), "m", "hi")), None);
    assert_eq!(world.acked(), ["2"], "taken: a replay is acknowledged at once");
}

// proves: ACK-4, ACK-6
#[test]
fn a_copy_of_a_message_given_back_under_another_id_does_not_lose_it() {
    let mut world = World::ready();
    let one = shown(&mut world, &named(Some("1"), "m", "hi")).unwrap();
    assert_eq!(shown(&mut world, &named(Some("2"), "m", "hi")), None);
    world.call(|machine, now| assert!(machine.nack(one, now)));
    assert!(world.acked().is_empty());
    world.end(lost());
    world.reconnect();
    let again = shown(&mut world, &named(Some("1"), "m", "hi")).expect("shown again");
    assert_eq!(shown(&mut world, &named(Some("2"), "m", "hi")), None);
    world.ack(again);
    assert_eq!(world.acked(), ["1", "2"]);
}

// proves: ACK-4
#[test]
fn the_memory_of_replays_is_bounded_and_forgets_the_oldest() {
    let mut world = World::ready_with(config().limits(Limits { replay_memory: 8, ..Limits::default() }));
    for i in 0..100 {
        let id = world.deliver(&format!("{i}"), "x").unwrap();
        world.ack(id);
    }
    let held = world.deliver("held", "x").unwrap();
    for i in 100..200 {
        let id = world.deliver(&format!("{i}"), "x").unwrap();
        world.ack(id);
    }
    world.end(lost());
    world.reconnect();
    assert_eq!(world.deliver("held", "x"), None, "what is held is never forgotten");
    assert_eq!(world.deliver("199", "x"), None);
    assert_eq!(world.deliver("192", "x"), None);
    assert!(world.deliver("191", "x").is_some(), "at least once");
    world.ack(held);
    assert_eq!(world.acked(), ["held", "199", "192"]);
}

// proves: ACK-5
#[test]
fn poison_is_handed_over_with_the_right_to_acknowledge_it() {
    let mut world = World::ready();
    let poison: [(&[u8], Option<&str>); 6] = [
        (br#"{"type":"inbound","bufferId":"1"}"#, None),
        (br#"{"type":"inbound","bufferId":"2","event":null}"#, Some("null")),
        (br#"{"type":"inbound","bufferId":"3","event":[1,2]}"#, Some("[1,2]")),
        (br#"{"type":"passthrough_forward","bufferId":"4","forward":"x"}"#, Some("\"x\"")),
        (br#"{"type":"passthrough_forward","bufferId":"5"}"#, None),
        (b"{\"type\":\"inbound\",\"bufferId\":\"6\",\"event\":{\"text\":\"\xff\"}}", Some("{\"text\":\"\u{FFFD}\"}")),
    ];
    for (number, (line, raw)) in (1..).zip(poison) {
        world.bytes(&[line, b"\n"].concat());
        let Some(Event::Delivery(delivered)) = world.events.pop() else { panic!("{line:?}") };
        let content = delivered.content.undecodable().expect("content that cannot be decoded");
        assert_eq!(content.raw.as_ref().map(|raw| raw.as_str()), raw);
        assert!(world.acked().is_empty());
        world.ack(delivered.id);
        assert_eq!(world.acked(), [number.to_string()], "it does not block the buffer");
    }
}

// proves: ACK-2, ACK-4
#[test]
fn a_delivery_given_back_and_repeated_on_the_same_link_keeps_its_place() {
    let mut world = World::ready();
    let (a, b) = (world.deliver("a", "A").unwrap(), world.deliver("b", "B").unwrap());
    world.call(|machine, now| assert!(machine.nack(a, now)));
    world.ack(b);
    let again = world.deliver("a", "A").expect("given back: shown again");
    world.ack(again);
    assert_eq!(world.acked(), ["a", "b"]);
}

// proves: ACK-1, ACK-3
#[test]
fn after_this_side_closed_nothing_is_shown_or_acknowledged() {
    let mut world = World::ready();
    let a = world.deliver("a", "A").unwrap();
    world.call(|machine, now| machine.reconnect(now));
    assert_eq!(world.close_frame(), Some((1000, "reconnect")));
    world.ack(a);
    assert_eq!(world.deliver("b", "B"), None, "it comes again on the next link");
    assert!(world.written.is_empty());
    world.end(closed(1000, ""));
    world.become_ready();
    assert!(world.deliver("b", "B").is_some());
}

// proves: ACK-4
#[test]
fn second_ids_are_owed_for_as_long_as_they_are_and_no_longer() {
    let mut world = World::ready_with(config().limits(Limits { replay_memory: 2, ..Limits::default() }));
    for round in 0..10 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        let one = shown(&mut world, &named(Some(&a), "m", &a)).unwrap();
        assert_eq!(shown(&mut world, &named(Some(&b), "m", &a)), None);
        if round >= 5 {
            world.end(lost());
            world.reconnect();
            assert_eq!(shown(&mut world, &named(Some(&a), "m", &a)), None);
            assert_eq!(shown(&mut world, &named(Some(&b), "m", &a)), None);
        }
        world.ack(one);
        assert_eq!(world.acked(), [a, b]);
    }
}

// proves: ACK-4
#[test]
fn forgetting_an_old_copy_does_not_forget_the_one_that_is_held() {
    let mut world = World::ready_with(config().limits(Limits { replay_memory: 1, ..Limits::default() }));
    let old = shown(&mut world, &named(None, "m", "hi")).unwrap();
    let held = shown(&mut world, &named(None, "m", "hi")).unwrap();
    world.ack(old);
    let other = world.deliver("1", "pushes the old copy out").unwrap();
    world.ack(other);
    assert_eq!(world.acked(), ["1"]);
    assert_eq!(shown(&mut world, &named(Some("2"), "m", "hi")), None, "still held");
    world.ack(held);
    assert_eq!(world.acked(), ["2"]);
}

// proves: ACK-6
#[test]
fn a_drop_is_noticed_where_it_holds_up_acknowledgements() {
    let dropped = |world: &mut World, delivery| {
        world.notices.clear();
        world.call(|machine, now| machine.drop_delivery(delivery, now));
        world.notices.contains(&Notice::Dropped)
    };
    let mut world = World::ready();
    let [first, second, earlier, third] = ["1", "2", "3", "4"].map(|id| world.deliver(id, id).unwrap());
    assert!(dropped(&mut world, first) && !dropped(&mut world, first));
    world.end(lost());
    assert!(!dropped(&mut world, second), "nothing is owed to anybody");
    world.reconnect();
    let live = shown(&mut world, &named(None, "m", "hi")).unwrap();
    assert!(!dropped(&mut world, live), "it has no acknowledgement");
    assert!(!dropped(&mut world, earlier), "this link does not owe it");
    assert_eq!(world.deliver("4", "4"), None, "this one it does");
    let fourth = world.deliver("5", "5").unwrap();
    assert!(dropped(&mut world, third) && dropped(&mut world, fourth));
    let third = world.deliver("6", "6").unwrap();
    world.call(|machine, now| machine.close(now));
    assert!(!dropped(&mut world, third), "there will not be any more");
}
