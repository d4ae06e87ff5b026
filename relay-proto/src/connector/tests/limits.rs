//! What a gateway can cost.

use super::*;
use alloc::string::ToString as _;

use crate::connector::{Limits, Notice, Refused, Timing};
use crate::end::LinkEnd;

// proves: FRAME-3
#[test]
fn a_line_over_the_limit_closes_the_link_with_1009() {
    let limits = Limits { line: 1024, ..Limits::default() };
    let mut rig = Rig::with(Settings::new(Timing::default(), limits).unwrap());
    let link = rig.link();
    rig.peer.handle_message(link, b"{\"x\":\"", rig.now);
    rig.peer.handle_message(link, &[b' '; 1018], rig.now);
    assert_eq!(rig.transmits(link), [], "exactly the limit");
    rig.peer.handle_message(link, b" ", rig.now);
    assert_eq!(rig.transmits(link), [Transmit::Close { code: 1009, reason: "line too long" }]);
    let id = rig.deliver(0);
    rig.ack(link, id);
    assert_eq!(rig.peer.stats().lines_received, 1, "where its lines begin is not known any more");
}

/// The warnings that were told since the last call.
fn warnings(rig: &mut Rig) -> Vec<Notice> {
    rig.settle();
    let told = core::mem::take(&mut rig.outputs);
    let notices = told.into_iter().filter_map(|output| match output {
        Output::Notice(notice) => Some(notice),
        _ => None,
    });
    notices.filter(Notice::is_warning).collect()
}

fn closes(rig: &mut Rig, link: LinkId, code: u16) -> Vec<Notice> {
    let end = LinkEnd::Closed { code: Some(code), reason: String::new() };
    rig.peer.handle_ended(link, end, rig.now);
    warnings(rig)
}

// proves: FRAME-3
#[test]
fn what_is_too_long_on_two_links_in_a_row_is_told_of_with_its_limit() {
    let limits = Limits { line: 1024, ..Limits::default() };
    let mut rig = Rig::with(Settings::new(Timing::default(), limits).unwrap());
    let line = |rig: &mut Rig| {
        let link = rig.link();
        rig.peer.handle_message(link, &[b'x'; 1025], rig.now);
        closes(rig, link, 1009)
    };
    assert_eq!(line(&mut rig), []);
    assert_eq!(line(&mut rig), [Notice::TooLong { what: "line", limit: 1024 }]);
    assert_eq!(line(&mut rig), [], "the third begins anew");
    let link = rig.link();
    rig.peer.handle_ended(link, LinkEnd::MessageTooLarge { limit: 9 }, rig.now);
    assert_eq!(warnings(&mut rig), [Notice::TooLong { what: "message", limit: 9 }]);
    line(&mut rig);
    let link = rig.link();
    assert_eq!(closes(&mut rig, link, 1000), []);
    assert_eq!(line(&mut rig), [], "a link that ended otherwise came in between");
}

// proves: CONN-11
#[test]
fn an_entry_that_a_gateway_closes_for_again_is_told_of_with_its_size() {
    let mut rig = Rig::new();
    rig.deliver(1);
    let large = RawJson::parse(&format!("{{\"n\":\"{}\"}}", "x".repeat(2000))).unwrap();
    let large = rig.peer.deliver(&large, rig.now).unwrap();
    rig.deliver(3);
    let refuse = |rig: &mut Rig, code| {
        let link = rig.link();
        let size = rig.frames(link).iter().map(String::len).max();
        (closes(rig, link, code), size.unwrap() - 1)
    };
    assert_eq!(refuse(&mut rig, 1009).0, []);
    assert_eq!(refuse(&mut rig, 1001).0, [], "an end of another kind says nothing about it");
    let (told, size) = refuse(&mut rig, 1009);
    assert_eq!(told, [Notice::EntryTooLarge { entry: large, size, links: 2 }]);
    assert!(told[0].to_string().contains(&format!("delivery {large} of {size} bytes")), "{}", told[0]);
    let links: Vec<usize> = (3..=9).filter(|_| !refuse(&mut rig, 1009).0.is_empty()).collect();
    assert_eq!(links, [4, 8], "seldom, as it goes on");
    // Once that one is taken, another has its own count.
    let link = rig.link();
    rig.transmits(link);
    rig.ack(link, large);
    assert_eq!(closes(&mut rig, link, 1009), []);
    // An end with nothing in flight is not about an entry.
    let mut rig = Rig::new();
    for _ in 0..3 {
        let link = rig.link();
        assert_eq!(closes(&mut rig, link, 1009), []);
    }
}

// proves: FRAME-2, FRAME-4
#[test]
fn nothing_that_a_gateway_says_ends_the_link_while_lines_are_short() {
    let mut rig = Rig::new();
    let link = rig.link();
    let deep = "[".repeat(5000);
    let deep_frame =
        format!("{{\"type\":\"outbound\",\"requestId\":\"d\",\"action\":{{\"x\":{deep}{}}}}}", "]".repeat(5000));
    for line in [
        "nonsense",
        "[]",
        "5",
        "null",
        "{}",
        "{\"type\":[]}",
        "{\"type\":\"hello\"}",
        "{\"type\":\"hello\",\"platform\":[]}",
        "{\"type\":\"outbound\",\"requestId\":[1],\"action\":{}}",
        "{\"type\":\"inbound_ack\"}",
        "{\"type\":\"inbound_ack\",\"bufferId\":{}}",
        "{\"type\":\"interrupt\",\"session_key\":\"\"}",
        "{\"type\":\"interrupt\",\"session_key\":\"\\ud800\"}",
        "{\"type\":\"descriptor\",\"descriptor\":{}}",
        "{\"type\":\"outbound\",\"type\":\"going_nowhere\"}",
        "{\"type\":\"ping\"}",
        &deep,
        &deep_frame,
    ] {
        rig.say(link, line);
        rig.peer.handle_message(link, b"\xff\x00\n", rig.now);
        let id = rig.deliver(0);
        assert_eq!(rig.entries(link), [id], "after {line}");
        rig.ack(link, id);
    }
    assert_eq!(rig.peer.buffered(), 0);
}

#[test]
fn a_gateway_that_says_hello_for_ever_is_closed() {
    let mut rig = Rig::new();
    let link = rig.link();
    for _ in 0..255 {
        rig.say(link, r#"{"type":"hello","platform":"p"}"#);
    }
    assert_eq!(rig.frames(link).len(), 255);
    rig.say(link, r#"{"type":"hello","platform":"p"}"#);
    assert_eq!(rig.transmits(link), [Transmit::Close { code: 1008, reason: "too many hellos" }]);
}

// proves: CONN-6
#[test]
fn outbounds_beyond_the_limit_are_answered_at_once() {
    let mut rig = Rig::new();
    let link = rig.link();
    let flood = "{\"type\":\"outbound\",\"requestId\":\"r\",\"action\":{}}\n".repeat(300);
    rig.say(link, &flood);
    assert_eq!(rig.frames(link).len(), 300 - 256);
    let long = format!("{{\"type\":\"outbound\",\"requestId\":\"{}\",\"action\":{{}}}}", "r".repeat(2000));
    rig.say(link, &long);
    assert_eq!(rig.frames(link).len(), 1, "an id that is too long to keep gets its result, too");
}

#[test]
fn a_gateway_that_does_not_read_its_answers_is_not_read_and_then_dropped() {
    let mut rig = Rig::new();
    let link = rig.link();
    let mut said = 0;
    while rig.peer.wants_read(link) {
        rig.say(link, "{\"type\":\"outbound\",\"requestId\":\"r\",\"action\":0}");
        said += 1;
    }
    assert!((1000..10_000).contains(&said), "{said}");
    rig.peer.interrupt("s", "c", rig.now).unwrap_err();
    assert_eq!(rig.peer.interrupt("s", "c", rig.now), Err(Refused::Congested));
    for _ in 0..9 {
        rig.wait_secs(10);
        rig.peer.handle_traffic(link, rig.now);
    }
    assert_eq!(rig.peer.current_link(), None, "also when its pings arrive");
    assert!(rig.outputs.contains(&Output::Drop(link)));
}

#[test]
fn an_application_that_does_not_read_stops_the_reading_and_not_the_link() {
    let mut rig = Rig::new();
    let link = rig.link();
    while rig.peer.wants_read(link) {
        let line = format!("{{\"type\":\"interrupt\",\"session_key\":\"{}\"}}", "s".repeat(10_000));
        rig.say(link, &line);
    }
    rig.wait_secs(1000);
    assert_eq!(rig.peer.current_link(), Some(link), "its silence is our own doing");
    rig.events();
    assert!(rig.peer.wants_read(link));
    rig.wait_secs(0);
    rig.wait_secs(29);
    assert_eq!(rig.transmits(link), []);
    rig.wait_secs(1);
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
}

#[test]
fn a_link_that_was_not_read_for_long_is_not_lost_when_it_is_again() {
    let mut rig = Rig::new();
    let link = rig.link();
    while rig.peer.wants_read(link) {
        rig.say(link, &format!("{{\"type\":\"interrupt\",\"session_key\":\"{}\"}}", "s".repeat(10_000)));
    }
    assert_eq!(rig.peer.poll_timeout(), None, "nothing to wake up for");
    // So the host has not called for an hour when the application reads on.
    rig.now.monotonic += Duration::from_secs(3600);
    rig.events();
    rig.wait_secs(0);
    assert_eq!((rig.transmits(link), rig.peer.current_link()), (alloc::vec![], Some(link)));
    rig.wait_secs(30);
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
}

#[test]
fn silence_counts_from_when_the_reading_goes_on_and_not_from_a_glance() {
    let mut rig = Rig::new();
    let link = rig.link();
    while rig.peer.wants_read(link) {
        rig.say(link, &format!("{{\"type\":\"interrupt\",\"session_key\":\"{}\"}}", "s".repeat(600_000)));
    }
    rig.say(link, &format!("{{\"type\":\"interrupt\",\"session_key\":\"{}\"}}", "s".repeat(900_000)));
    rig.wait_secs(100);
    // The hello, and the first interrupt: what is left is still too much to read on.
    assert!(matches!(rig.peer.poll_event(), Some(Event::Hello(_))));
    assert!(matches!(rig.peer.poll_event(), Some(Event::Interrupt { .. })));
    assert!(!rig.peer.wants_read(link));
    rig.wait_secs(80);
    rig.events();
    rig.wait_secs(0);
    rig.wait_secs(29);
    assert_eq!((rig.transmits(link), rig.peer.current_link()), (alloc::vec![], Some(link)));
    rig.wait_secs(1);
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
}

#[test]
fn answers_weigh_what_they_hold_until_they_are_written() {
    let mut rig = Rig::new();
    let link = rig.link();
    let mut said = 0;
    for _ in 0..3 {
        while rig.peer.wants_read(link) {
            rig.say(link, "{\"type\":\"outbound\",\"requestId\":\"r\",\"action\":0}");
            said += 1;
        }
        assert_eq!(rig.frames(link).len(), core::mem::take(&mut said));
    }
    assert!(rig.peer.wants_read(link));
}

#[test]
fn a_handshake_that_we_do_not_read_takes_no_time() {
    let mut rig = Rig::new();
    let link = rig.link();
    while rig.peer.wants_read(link) {
        let line = format!("{{\"type\":\"interrupt\",\"session_key\":\"{}\"}}", "s".repeat(10_000));
        rig.say(link, &line);
    }
    let next = rig.peer.handle_opened(rig.now);
    rig.wait_secs(1000);
    rig.events();
    rig.wait_secs(0);
    rig.wait_secs(29);
    assert_eq!(rig.peer.current_link(), Some(next));
    rig.wait_secs(1);
    assert_eq!(rig.peer.current_link(), None);
}

#[test]
fn a_host_that_does_not_answer_hellos_stops_the_reading() {
    let mut rig = Rig::new();
    rig.describe = false;
    let link = rig.peer.handle_opened(rig.now);
    let hello = format!("{{\"type\":\"hello\",\"platform\":\"p\",\"command_manifest\":\"{}\"}}", "m".repeat(500_000));
    for _ in 0..3 {
        assert!(rig.peer.wants_read(link));
        rig.say(link, &hello);
    }
    assert!(!rig.peer.wants_read(link));
    rig.peer.describe(rig.hellos[0], &Descriptor::new("p"), rig.now).unwrap();
    assert!(rig.peer.wants_read(link));
}

#[test]
fn a_buffer_in_memory_is_bounded() {
    let limits = Limits { buffer: 1000, ..Limits::default() };
    let mut rig = Rig::with(Settings::new(Timing::default(), limits).unwrap());
    let event = RawJson::parse("{}").unwrap();
    let mut ids = Vec::new();
    let refused = loop {
        match rig.peer.deliver(&event, rig.now) {
            Ok(id) => ids.push(id),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Refused::BufferFull { limit: 1000 });
    let link = rig.link();
    assert_eq!(rig.entries(link)[0], ids[0]);
    rig.ack(link, ids[0]);
    rig.peer.deliver(&event, rig.now).unwrap();
}

#[test]
fn notices_and_reports_are_bounded_however_much_is_said() {
    let mut rig = Rig::new();
    let link = rig.link();
    rig.peer.handle_message(link, "x\n".repeat(100_000).as_bytes(), rig.now);
    rig.settle();
    assert_eq!((rig.outputs.len(), rig.peer.stats().skipped[0]), (16, 100_000));
}
