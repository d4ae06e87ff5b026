//! What unread events weigh, against what they hold.

use super::pair::*;
use crate::frame::{Descriptor, PassthroughForward};
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
                Event::Passthrough(delivered) => heap(&delivered.payload),
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
    while let Some(event) = world.machine.next_event() {
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
