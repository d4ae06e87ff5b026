//! What unread events weigh, against what they hold.

use super::pair::*;
use crate::frame::{Descriptor, PassthroughForward};
use crate::gateway::machine::Life;
use crate::gateway::{Event, Limits};

/// The least that an allocator takes for a text.
const LEAST: usize = 32;

/// The bytes on the heap that a forward holds.
fn heap(forward: &PassthroughForward) -> usize {
    let PassthroughForward { platform, bot_id, method, path, headers, body, raw, .. } = forward;
    let texts = headers.iter().map(|(name, value)| name.capacity().max(LEAST) + value.capacity().max(LEAST));
    let headers = headers.capacity() * size_of::<(String, String)>() + texts.sum::<usize>();
    let fields = [platform, bot_id, method, path].map(String::capacity).iter().sum::<usize>();
    raw.as_str().len() + body.capacity() + fields + headers
}

// proves: REQ-7, PASS-1
#[test]
fn unread_forwards_hold_no_more_than_the_limit_and_the_last_of_them() {
    let long = "x".repeat(10_000);
    for (held_in, fields) in [
        ("headers", format!(r#""headers":[{}["c","d"]]"#, r#"["a","b"],"#.repeat(99))),
        ("long headers", format!(r#""headers":[["a","{long}"]]"#)),
        ("the path", format!(r#""path":"{long}""#)),
        ("the body", format!(r#""bodyB64":"{}""#, "AAAA".repeat(1000))),
    ] {
        let limits = Limits { queue: 1 << 20, queue_hard: 2 << 20, ..Limits::default() };
        let mut world = World::ready_with(config().limits(limits.clone()));
        world.reads = false;
        while world.machine.wants_read() {
            world.line(&format!(r#"{{"type":"passthrough_forward","forward":{{{fields}}}}}"#));
        }
        world.reads = true;
        world.drain();
        let events = world.take_events();
        let sizes: Vec<usize> = events
            .iter()
            .map(|event| match event {
                Event::Delivery(delivered) => heap(delivered.content.passthrough().unwrap()),
                other => panic!("{other:?}"),
            })
            .collect();
        let held = sizes.iter().sum::<usize>();
        assert!(held <= limits.queue + sizes[0], "{held_in}: {held} bytes");
        assert!(held > limits.queue / 2, "{held_in}: only {held} bytes, and reading has stopped");
        assert!(world.machine.wants_read());
    }
}

/// Links that are lost as soon as they are ready, and nobody reads about.
fn links(world: &mut World, count: usize, descriptor: &str) {
    for _ in 0..count {
        world.end(lost());
        world.await_dial();
        world.open();
        world.line(&format!(r#"{{"type":"descriptor","descriptor":{descriptor}}}"#));
    }
}

/// The bytes of the descriptors in the unread reports.
fn described(world: &mut World) -> usize {
    let mut bytes = 0;
    while let Some(event) = world.machine.poll_event() {
        if let Event::Ready { descriptor } = event {
            bytes += descriptor.raw.as_ref().unwrap().as_str().len() + descriptor.platform_hint.capacity();
        }
    }
    bytes
}

// proves: REQ-7, HELLO-2
#[test]
fn descriptors_without_measure_that_nobody_has_read_hold_the_link_back() {
    let limits = Limits { queue: 1 << 20, queue_hard: 4 << 20, ..Limits::default() };
    let hint = "h".repeat(100_000);
    let mut world = World::ready_with(config().limits(limits.clone()));
    world.reads = false;
    let mut count = 0;
    while world.machine.wants_read() {
        // One that differs: alike ones are held once.
        links(&mut world, 1, &format!(r#"{{"platform_hint":"{hint}{count}"}}"#));
        count += 1;
        assert!(count < 8, "what they hold is over the limit, and the link is read");
    }
    let held = described(&mut world);
    assert!(held <= limits.queue + (256 << 10), "{held}");
    assert!(world.machine.wants_read(), "they are read");
}

// proves: REQ-7, HELLO-2
#[test]
fn ordinary_descriptors_hold_nothing_back_however_many_are_unread() {
    let mut world =
        World::ready_with(config().limits(Limits { queue: 4096, queue_hard: 16 << 10, ..Limits::default() }));
    world.reads = false;
    let mut descriptor = Descriptor::new("discord");
    descriptor.platform_hint = "Be brief. ".repeat(100);
    descriptor.supported_ops.extend(["react", "send_media", "prompt", "thread_create"].map(str::to_owned));
    links(&mut world, 100, descriptor.to_json().as_str());
    assert!(world.machine.wants_read());
    assert!(described(&mut world) > 4096, "they hold more than the limit");
}

// proves: REQ-7
#[test]
fn each_event_weighs_its_text_and_what_it_takes_to_hold_it() {
    let weight = |frame: &str| {
        let mut world = World::ready();
        world.reads = false;
        world.line(frame);
        world.machine.queue.bytes()
    };
    let event = r#"{"text":"hi","media_urls":["a","b","c"],"context":[{"text":"x"},{"text":"y"}]}"#;
    let message = format!(r#"{{"type":"inbound","event":{event},"bufferId":"b-7"}}"#);
    assert_eq!(weight(&message), 256 + 2 * 3 + event.len() + 3 * 8 + 2 * 24);
    assert_eq!(weight(&format!(r#"{{"type":"inbound","event":{event}}}"#)), 256 + event.len() + 3 * 8 + 2 * 24);
    let junk = r#"{"type":"inbound","event":[1,2,3],"bufferId":"b-7"}"#;
    assert_eq!(weight(junk), 256 + 2 * 3 + "[1,2,3]".len());
    let forward =
        r#"{"platform":"slack","method":"POST","path":"/hook","headers":[["a","bc"],["d",""]],"bodyB64":"AAAA"}"#;
    let headers = 2 * 2 * (size_of::<String>() + 32) + "abcd".len();
    let decoded = "slackPOST/hook".len() + 3 + headers;
    let frame = format!(r#"{{"type":"passthrough_forward","forward":{forward},"bufferId":"b-7"}}"#);
    assert_eq!(weight(&frame), 256 + 2 * 3 + forward.len() + decoded);
    assert_eq!(weight(r#"{"type":"interrupt_inbound","session_key":"key","chat_id":"chat"}"#), 256 + "keychat".len());
    assert_eq!(weight(r#"{"type":"interrupt_inbound","session_key":"key"}"#), 256 + "key".len());
}

// proves: HELLO-2, FRAME-3
#[test]
fn a_peer_describes_no_more_than_a_link_holds() {
    let describe = |world: &mut World, platform: &str, hint: usize| {
        let hint = "h".repeat(hint);
        world.line(&format!(
            r#"{{"type":"descriptor","descriptor":{{"platform":"{platform}","platform_hint":"{hint}"}}}}"#
        ));
        world.machine.descriptor_for(platform).is_some_and(|known| known.platform_hint == hint)
    };
    let mut world = World::ready();
    for n in 1..64 {
        assert!(describe(&mut world, &format!("p{n}"), 1), "{n}");
    }
    assert!(!describe(&mut world, "p64", 1), "with the default there are 64");
    assert!(describe(&mut world, "p63", 2), "one that is there already is replaced");
    assert!(describe(&mut world, "p1", 2));

    // The text counts twice: decoded, and raw.
    let mut world = World::ready();
    assert!(describe(&mut world, "big", 500_000));
    assert!(describe(&mut world, "big", 510_000), "in place of the other");
    assert!(!describe(&mut world, "more", 30_000), "together they are over 1 MiB");
    assert!(describe(&mut world, "less", 5_000));
    let size = |world: &World, platform: &str| world.machine.descriptor_for(platform).unwrap().size();
    let room = (1 << 20) - size(&world, "big") - size(&world, "less");
    assert!(describe(&mut world, "last", 0));
    let bare = size(&world, "last");
    assert!(!describe(&mut world, "last", (room - bare) / 2 + 1), "a byte or two over");
    assert!(describe(&mut world, "last", (room - bare) / 2));
}

// proves: REQ-7
#[test]
fn what_has_gone_weighs_nothing() {
    let mut world = World::ready();
    let fresh = weight(&world);
    for round in 0..3 {
        let taken = ["a", "b", "c"].map(|id| world.deliver(&format!("{id}{round}"), "hi").unwrap());
        world.writes = false;
        world.reads = false;
        world.line(r#"{"type":"interrupt_inbound","session_key":"s","chat_id":"c"}"#);
        world.line(r#"{"type":"interrupt_inbound","session_key":"t","chat_id":"c"}"#);
        world.line(&inbound(&format!("d{round}"), "unread"));
        taken.iter().for_each(|id| world.ack(*id));
        world.call(|machine, now| machine.interrupt("session", None, now).unwrap());
        assert!(weight(&world).iter().zip(fresh).all(|(held, fresh)| *held > fresh), "{:?}", weight(&world));
        // One of each goes.
        let [unread, unwritten, _] = weight(&world);
        assert!(world.machine.poll_event().is_some() && world.machine.poll_transmit(world.id()).is_some());
        let [interrupt, ack] = [unread - weight(&world)[0], unwritten - weight(&world)[1]];
        assert!(world.machine.poll_event().is_some() && world.machine.poll_transmit(world.id()).is_some());
        assert_eq!(weight(&world)[..2], [unread - 2 * interrupt, unwritten - 2 * ack]);
        world.reads = true;
        world.writes = true;
        world.drain();
        for event in world.take_events() {
            if let Event::Delivery(delivered) = event {
                world.ack(delivered.id);
            }
        }
        world.acked();
        assert_eq!(weight(&world), fresh, "round {round}");
    }
}

// proves: REQ-7
#[test]
fn an_acknowledgement_that_has_left_is_owed_no_more() {
    let mut world = World::ready();
    let ids = ["short", "a longer one", "the last"].map(|id| world.deliver(id, "hi").unwrap());
    let owed = weight(&world)[2];
    let each = owed.saturating_sub("short".len() + "a longer one".len() + "the last".len()) / 3;
    world.ack(ids[0]);
    assert_eq!(weight(&world)[2], owed - each - "short".len());
    world.ack(ids[1]);
    assert_eq!(weight(&world)[2], each + "the last".len());
}

/// What its counters say of what is unread, unwritten and owed.
fn weight(world: &World) -> [usize; 3] {
    let machine = &world.machine;
    let Life::Linked(link) = &machine.life else { panic!("no link") };
    let owed = machine.inbound.get().map_or(0, |inbound| inbound.deliveries.owed());
    [machine.queue.bytes(), link.transmit_bytes, owed]
}
