//! Lines that come in, whatever they are.

use super::pair::*;
use crate::end::LinkEnd;
use crate::frame::Skipped;
use crate::gateway::{Cause, Event, Limits, Notice, Outcome, State};

/// Everything that a peer may write and that is no frame for a gateway, or only half of one.
fn strange_lines() -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = [
        "nonsense",
        "{",
        "}",
        "[]",
        "5",
        "null",
        "true",
        "\"inbound\"",
        "{}",
        r#"{"type":null}"#,
        r#"{"type":["inbound"]}"#,
        r#"{"type":{"type":"inbound"}}"#,
        r#"{"type":7}"#,
        r#"{"type":"telepathy"}"#,
        r#"{"type":"inbound"} trailing"#,
        r#"{"type":"descriptor"}"#,
        r#"{"type":"descriptor","descriptor":null}"#,
        r#"{"type":"descriptor","descriptor":[1]}"#,
        r#"{"type":"outbound_result"}"#,
        r#"{"type":"outbound_result","requestId":[1],"result":{}}"#,
        r#"{"type":"outbound_result","requestId":"x","result":null}"#,
        r#"{"type":"interrupt_inbound"}"#,
        r#"{"type":"interrupt_inbound","session_key":[]}"#,
        r#"{"type":"going_idle_ack"}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"error","message":"x"}"#,
        r#"{"type":"hello","platform":"discord"}"#,
        r#"{"type":"outbound","requestId":"1","action":{}}"#,
        r#"{"type":"interrupt","session_key":"k"}"#,
        r#"{"type":"going_idle"}"#,
        r#"{"type":"inbound_ack","bufferId":"1"}"#,
        r#"{"type":"inbound","event":{"text":1e999999,"source":[1],"context":{"a":1},"media_urls":"x"}}"#,
        r#"{"type":"inbound","event":{"text":"\ud800","source":{"chat_id":"\u0000"}}}"#,
        r#"{"type":"inbound","type":"inbound","event":{},"event":null}"#,
        r#"{"type":"passthrough_forward","forward":{"headers":[[1],[],{},["a"]],"bodyB64":null}}"#,
        r#"{"type":"passthrough_forward","forward":{"headers":{},"bodyB64":"***"}}"#,
    ]
    .map(|line| line.as_bytes().to_vec())
    .into();
    lines.push(b"{\"type\":\"inbound\",\"event\":{\"text\":\"\xff\xfe\"}}".to_vec());
    lines.push(b"\xff\x00\x01".to_vec());
    let (open, close) = ("[".repeat(5000), "]".repeat(5000));
    lines.push(format!(r#"{{"type":"inbound","event":{{"x":{open}{close}}}}}"#).into_bytes());
    lines.push(open.into_bytes());
    lines.push(r#"{"a":"#.repeat(5000).into_bytes());
    lines
}

// proves: FRAME-4, FRAME-5, EVENT-2
#[test]
fn after_every_strange_line_the_next_good_frame_arrives() {
    let mut world = World::ready();
    for (number, line) in strange_lines().into_iter().enumerate() {
        world.bytes(&[&*line, b"\n"].concat());
        world.take_events();
        let text = format!("good {number}");
        assert!(world.deliver(&number.to_string(), &text).is_some(), "{}", String::from_utf8_lossy(&line));
        assert_eq!(world.state(), State::Ready);
    }
    world.events.clear();
    // All in one message, and before a descriptor came, too.
    let mut world = World::new();
    world.tick();
    world.open();
    let mut all = strange_lines().join(&b'\n');
    all.extend_from_slice(format!("\n{DESCRIPTOR}\n").as_bytes());
    world.bytes(&all);
    assert_eq!(world.state(), State::Ready);
}

// proves: FRAME-4, FRAME-5
#[test]
fn what_is_skipped_is_counted_and_observable() {
    let mut world = World::ready();
    for (line, skipped) in [
        ("x", Skipped::NotJson),
        ("[1]", Skipped::NotAnObject),
        ("{}", Skipped::NoType),
        (r#"{"type":[]}"#, Skipped::TypeNotAString),
        (r#"{"type":"telepathy"}"#, Skipped::UnknownType("telepathy".into())),
        (r#"{"type":"hello"}"#, Skipped::WrongDirection("hello".into())),
        (r#"{"type":"inbound_ack"}"#, Skipped::WrongDirection("inbound_ack".into())),
        (r#"{"type":"ping"}"#, Skipped::Ignored("ping".into())),
        (r#"{"type":"descriptor"}"#, Skipped::MalformedDescriptor),
        (r#"{"type":"outbound_result"}"#, Skipped::MissingField("requestId")),
    ] {
        let before = world.machine.stats().skipped;
        world.line(line);
        let mut expected = before;
        expected[skipped.kind()] += 1;
        assert_eq!(world.machine.stats().skipped, expected, "{line}");
        assert_eq!(world.notices.pop(), Some(Notice::Skipped(skipped)));
    }
    // Each kind has a counter of its own.
    assert_eq!(world.machine.stats().skipped, [1, 1, 1, 1, 1, 2, 1, 1, 1]);
    assert_eq!(world.machine.stats().skipped_total(), 10);
    assert!(world.take_events().is_empty());
    world.line(r#"{"type":"error","message":"x"}"#);
    assert_eq!(world.machine.stats().skipped_total(), 11);
    assert_eq!(world.notices.pop(), Some(Notice::PeerError("x".into())));
}

// proves: FRAME-2
#[test]
fn frames_may_be_cut_and_joined_anywhere() {
    let stream = [inbound("1", "one 🔌"), String::new(), inbound("2", "two"), " ".into(), inbound("3", "three")]
        .join("\r\n")
        + "\n";
    let texts = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut world = World::ready();
        pieces.for_each(|piece| world.bytes(piece));
        let text = |event: Event| match event {
            Event::Delivery(delivered) => delivered.content.message().unwrap().text().to_owned(),
            other => panic!("{other:?}"),
        };
        world.take_events().into_iter().map(text).collect::<Vec<_>>()
    };
    let expected = ["one 🔌", "two", "three"];
    assert_eq!(texts(&mut [stream.as_bytes()].into_iter()), expected);
    for size in 1..stream.len() {
        assert_eq!(texts(&mut stream.as_bytes().chunks(size)), expected, "pieces of {size}");
    }
    let unterminated = [inbound("1", "one 🔌"), inbound("2", "two"), inbound("3", "three")];
    assert_eq!(texts(&mut unterminated.iter().map(String::as_bytes)), expected);
}

// proves: FRAME-2
#[test]
fn half_a_line_does_not_outlive_its_link() {
    let mut world = World::ready();
    world.bytes(b"{\"type\":\"inbound\",\"event\":{\"text\":\"half");
    world.end(lost());
    world.reconnect();
    assert!(world.deliver("1", "whole").is_some());
}

// proves: FRAME-3
#[test]
fn a_line_over_the_limit_closes_with_1009_and_is_reported() {
    for cut in [4096, 100, 7] {
        let mut world = World::ready_with(config().limits(Limits { line: 1024, ..Limits::default() }));
        world.bytes(&[&vec![b'x'; 1024][..], b"\n"].concat());
        assert_eq!(world.state(), State::Ready, "exactly the limit");
        for piece in [b"{\"x\":\"".as_slice(), &[b'x'; 1019]].concat().chunks(cut) {
            world.bytes(piece);
        }
        assert_eq!((world.state(), world.close_frame().map(|close| close.0)), (State::Closing, Some(1009)));
        world.line(&inbound("1", "x"));
        world.end(closed(1009, ""));
        let (ended, retry) = world.disconnected();
        assert_eq!((ended.cause, ended.code, retry.is_some()), (Cause::TooLarge, Some(1009), true));
        assert!(ended.reason.contains("1024"), "names the limit");
        assert!(world.events.is_empty());
        world.reconnect();
    }
}

// proves: FRAME-3
#[test]
fn what_is_too_long_on_two_links_in_a_row_is_told_of_with_its_limit() {
    let limits = Limits { line: 1024, message: 4096, ..Limits::default() };
    let mut world = World::ready_with(config().limits(limits));
    let told = |world: &mut World| {
        let notices = std::mem::take(&mut world.notices);
        // A dial that fails in between is no link.
        world.await_dial();
        world.end(lost());
        world.reconnect();
        notices.into_iter().filter(|notice| matches!(notice, Notice::TooLong { .. })).collect::<Vec<_>>()
    };
    let line = |world: &mut World| {
        world.bytes(&[b'x'; 1025]);
        world.end(closed(1009, ""));
        told(world)
    };
    let message = |world: &mut World| {
        world.end(LinkEnd::MessageTooLarge { limit: 4096 });
        told(world)
    };
    assert_eq!(line(&mut world), []);
    assert_eq!(line(&mut world), [Notice::TooLong { what: "line", limit: 1024 }]);
    assert_eq!(line(&mut world), [], "the third begins anew");
    assert_eq!(message(&mut world), [Notice::TooLong { what: "message", limit: 4096 }]);
    line(&mut world);
    world.end(lost());
    assert_eq!(told(&mut world), []);
    assert_eq!(line(&mut world), [], "a link that ended otherwise came in between");
    world.end(closed(1009, "the gateway's line was too long"));
    assert_eq!(told(&mut world), [], "what was too long for the connector is not this limit's");
    assert_eq!(line(&mut world), []);
}

// proves: FRAME-3
#[test]
fn lines_before_one_that_is_too_long_are_not_lost() {
    let mut world = World::ready_with(config().limits(Limits { line: 1024, ..Limits::default() }));
    world.line(&format!("{}\n{}", inbound("1", "good"), "x".repeat(2000)));
    assert!(matches!(world.events[..], [Event::Delivery(_)]));
    assert_eq!(world.state(), State::Closing);
}

// proves: FRAME-3, REQ-3
#[test]
fn pieces_around_a_line_that_is_too_long_make_no_other() {
    let mut world = World::ready_with(config().limits(Limits { line: 1024, ..Limits::default() }));
    let [refused, other] = [world.request(), world.request()];
    let start = |id| format!(r#"{{"type":"outbound_result","requestId":"{id}","result":{{"text":""#);
    let fill = "x".repeat(700);
    world.bytes(format!("{}{fill}", start(refused)).as_bytes());
    world.bytes(format!("{fill}\",\"success\":false}}}}\n{}", start(other)).as_bytes());
    assert_eq!(world.state(), State::Closing);
    world.bytes(b"\",\"success\":true}}\n");
    assert_eq!((world.outcome(refused), world.outcome(other)), (None, None), "nobody said that");
    world.line(&super::pair::result(other));
    assert_eq!(world.outcome(other), None, "where a line begins is not known any more");
    world.end(closed(1009, ""));
    assert!(matches!(world.outcome(refused), Some(Outcome::Ambiguous(_))));
    assert!(matches!(world.outcome(other), Some(Outcome::Ambiguous(_))));
}

// proves: FRAME-6
#[test]
fn unknown_fields_stay_readable() {
    let mut world = World::ready();
    world.line(r#"{"v":2,"type":"inbound","event":{"text":"x","future":{"a":[1]}},"trace":"t"}"#);
    let Some(Event::Delivery(delivered)) = world.events.pop() else { panic!() };
    assert_eq!(delivered.content.raw(), r#"{"text":"x","future":{"a":[1]}}"#);
}

// proves: EVENT-3
#[test]
fn trust_is_stamped_by_the_gateway_alone() {
    let mut world = World::ready();
    for claim in ["true", "false", "null"] {
        let event = format!(r#"{{"upstream":{claim},"delivered_via_upstream_relay":{claim},"text":"x"}}"#);
        assert!(!crate::frame::MessageEvent::parse(&event).unwrap().is_upstream_trusted());
        world.line(&format!(r#"{{"type":"inbound","event":{event}}}"#));
        let Some(Event::Delivery(delivered)) = world.events.pop() else { panic!() };
        assert!(delivered.content.message().unwrap().is_upstream_trusted());
    }
}
