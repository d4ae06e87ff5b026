//! Limits, to the byte.

use alloc::string::ToString;

use super::*;
use crate::connector::{AckPolicy, Limits, Reason, Refused, Timing};
use crate::end::LinkEnd;
use crate::frame::encode;

fn rig(limits: Limits) -> Rig {
    Rig::with(Settings::new(Timing::default(), limits).unwrap())
}

/// A JSON object of so many bytes.
fn object(size: usize) -> RawJson {
    RawJson::parse(&format!("{{\"x\":\"{}\"}}", "x".repeat(size - 8))).unwrap()
}

/// The size of a frame without its newline.
fn size(frame: &str) -> usize {
    assert!(frame.ends_with('\n'));
    frame.len() - 1
}

#[test]
fn a_buffer_takes_what_just_fits() {
    let frame = encode::inbound("{}", Some(&EntryId::new(1, 0).to_string())).len();
    for (buffer, taken) in [(3 * frame, 3), (3 * frame - 1, 2)] {
        let mut rig = rig(Limits { buffer, ..Limits::default() });
        let event = RawJson::parse("{}").unwrap();
        let ids: Vec<_> = core::iter::from_fn(|| rig.peer.deliver(&event, rig.now).ok()).collect();
        assert_eq!((ids.len(), rig.peer.stats().accepted), (taken, taken as u64));
    }
}

// proves: FRAME-1
#[test]
fn a_frame_that_just_fits_is_sent() {
    let limits = Limits { frame: 1024, ..Limits::default() };
    let mut rig = rig(limits);
    let link = rig.link();
    let spare = 1024 - size(&encode::interrupt_inbound("", "c"));
    rig.peer.interrupt(&"s".repeat(spare), "c", rig.now).unwrap();
    assert_eq!(size(&rig.frames(link)[0]), 1024);
    let refused = rig.peer.interrupt(&"s".repeat(spare + 1), "c", rig.now);
    assert_eq!(refused, Err(Refused::TooLarge { size: 1025, limit: 1024 }));
    assert_eq!(rig.transmits(link), []);
}

// proves: CONN-6
#[test]
fn a_result_that_just_fits_is_sent() {
    let mut rig = rig(Limits { frame: 1024, ..Limits::default() });
    let link = rig.link();
    let spare = 1024 - size(&encode::outbound_result("r", ""));
    for (result, answered) in [(spare, Ok(())), (spare + 1, Err(Refused::TooLarge { size: 1025, limit: 1024 }))] {
        rig.say(link, r#"{"type":"outbound","requestId":"r","action":{}}"#);
        let Some(Event::Outbound(outbound)) = rig.events().pop() else { panic!() };
        assert_eq!(rig.peer.answer(outbound.id, &object(result), rig.now), answered);
        let frame = rig.frames(link).pop().unwrap();
        assert_eq!(frame.contains("the result is too large"), answered.is_err(), "{frame}");
    }
}

// proves: CONN-6
#[test]
fn a_request_id_that_is_just_short_enough_reaches_the_application() {
    let mut rig = Rig::new();
    let link = rig.link();
    rig.events();
    for (length, reaches) in [(1024, true), (1025, false)] {
        let id = "r".repeat(length);
        rig.say(link, &format!("{{\"type\":\"outbound\",\"requestId\":\"{id}\",\"action\":{{}}}}"));
        let reached = rig.events().into_iter().any(|event| matches!(event, Event::Outbound(_)));
        assert_eq!(reached, reaches, "{length}");
        assert_eq!(rig.frames(link).iter().any(|frame| frame.contains("the request id is too long")), !reaches);
    }
}

// proves: CONN-6
#[test]
fn each_of_several_requests_is_answered_by_itself() {
    let mut rig = Rig::new();
    let link = rig.link();
    rig.events();
    for n in 0..3 {
        rig.say(link, &format!("{{\"type\":\"outbound\",\"requestId\":\"r{n}\",\"action\":{{}}}}"));
    }
    for (n, event) in rig.events().into_iter().enumerate().rev() {
        let Event::Outbound(outbound) = event else { panic!("{event:?}") };
        rig.peer.answer(outbound.id, &RawJson::parse("{}").unwrap(), rig.now).unwrap();
        assert!(rig.frames(link)[0].contains(&format!("\"requestId\":\"r{n}\"")));
    }
}

#[test]
fn hellos_weigh_what_they_hold_until_they_are_answered() {
    let mut rig = Rig::new();
    rig.describe = false;
    let link = rig.peer.handle_opened(rig.now);
    for size in [400_000, 700_000, 200_000] {
        let manifest = "m".repeat(size);
        rig.say(link, &format!("{{\"type\":\"hello\",\"platform\":\"p\",\"command_manifest\":\"{manifest}\"}}"));
    }
    let hellos = rig.hellos.clone();
    for (hello, reads) in [(hellos[2], false), (hellos[0], true)] {
        rig.peer.describe(hello, &Descriptor::new("p"), rig.now).unwrap();
        assert_eq!(rig.peer.wants_read(link), reads, "{hello:?}");
    }
}

/// A link is not read from the byte on that reaches the limit.
#[test]
fn unread_events_stop_the_reading_at_the_limit() {
    let x = |length: usize| "x".repeat(length);
    let interrupt =
        |key, reason| format!("{{\"type\":\"interrupt\",\"session_key\":\"{}\",\"reason\":\"{}\"}}", x(key), x(reason));
    let outbound = |id, platform, bot, action| {
        let [id, platform, bot] = [id, platform, bot].map(x);
        let action = object(action);
        format!(
            "{{\"type\":\"outbound\",\"requestId\":\"{id}\",\"platform\":\"{platform}\",\"botId\":\"{bot}\",\"action\":{}}}",
            action.as_str()
        )
    };
    let hello = |platform, bot, manifest: usize| {
        let [platform, bot, manifest] = [platform, bot, manifest - 2].map(x);
        format!(
            "{{\"type\":\"hello\",\"platform\":\"{platform}\",\"botId\":\"{bot}\",\"command_manifest\":\"{manifest}\"}}"
        )
    };
    // An event weighs 128 bytes and its texts.
    for (line, reads) in [
        (interrupt(500, 395), true),
        (interrupt(500, 396), false),
        (interrupt(501, 395), false),
        (outbound(1, 200, 300, 394), true),
        (outbound(1, 200, 300, 395), false),
        (outbound(1, 200, 301, 394), false),
        (outbound(1, 201, 300, 394), false),
        (outbound(2, 200, 300, 394), false),
        (hello(200, 300, 395), true),
        (hello(200, 300, 396), false),
        (hello(200, 301, 395), false),
        (hello(201, 300, 395), false),
    ] {
        let mut rig = rig(Limits { queue: 1024, ..Limits::default() });
        let link = rig.link();
        rig.events();
        rig.say(link, &line);
        assert!(rig.peer.has_event());
        assert_eq!(rig.peer.wants_read(link), reads, "{line}");
        rig.events();
        assert!(!rig.peer.has_event());
        assert!(rig.peer.wants_read(link));
    }
}

#[test]
fn hellos_that_wait_stop_the_reading_at_the_limit() {
    for (length, reads) in [(1022, true), (1023, false)] {
        let mut rig = rig(Limits { queue: 1024, ..Limits::default() });
        rig.describe = false;
        let link = rig.peer.handle_opened(rig.now);
        rig.say(link, &format!("{{\"type\":\"hello\",\"platform\":\"p\",\"botId\":\"{}\"}}", "b".repeat(length)));
        rig.events();
        assert_eq!(rig.peer.wants_read(link), reads, "{length}");
    }
}

#[test]
fn unwritten_answers_stop_the_reading_at_the_limit() {
    for (spare, reads) in [(1, true), (0, false)] {
        let frame = encode::interrupt_inbound("s", "c").len();
        let mut rig = rig(Limits { transmit: 2 * (32 + frame) + spare, ..Limits::default() });
        let link = rig.link();
        for _ in 0..2 {
            rig.peer.interrupt("s", "c", rig.now).unwrap();
        }
        assert_eq!(rig.peer.wants_read(link), reads);
        assert_eq!(rig.frames(link).len(), 2);
        assert!(rig.peer.wants_read(link));
    }
}

#[test]
fn a_closed_link_is_read_to_its_end_and_others_are_not() {
    let mut rig = Rig::new();
    let [first, second] = [rig.link(), rig.link()];
    assert_eq!([first, second].map(|link| rig.peer.wants_read(link)), [true, true]);
    rig.peer.handle_ended(first, LinkEnd::Lost { detail: "eof".into() }, rig.now);
    assert_eq!([first, second].map(|link| rig.peer.wants_read(link)), [false, true]);
}

#[test]
fn of_two_deadlines_at_once_the_graver_one_is_named() {
    let timing =
        Timing { handshake: Duration::from_secs(30), ping_after: Duration::from_secs(30), ..Timing::default() };
    let mut rig = Rig::with(Settings::new(timing, Limits::default()).unwrap());
    rig.peer.handle_opened(rig.now);
    let deadline = rig.peer.poll_timeout().unwrap();
    assert_eq!((deadline.at - rig.now.monotonic, deadline.reason), (Duration::from_secs(30), Reason::Handshake));
}

#[test]
fn each_of_several_is_counted() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        let link = rig.link();
        for action in ["0", "{}"] {
            rig.say(link, &format!("{{\"type\":\"outbound\",\"requestId\":\"r\",\"action\":{action}}}"));
        }
    }
    // Of each link, one for its action; of the first two, another for the next link.
    let stats = rig.peer.stats();
    assert_eq!((stats.links, stats.replaced, stats.outbounds, stats.outbounds_failed), (3, 2, 6, 3 + 2));
}

#[test]
fn settings_say_what_they_were_made_with() {
    let settings = Settings::default();
    assert_eq!(settings.acks(), AckPolicy::Required);
    let settings = settings.with_acks(AckPolicy::Assumed);
    assert_eq!(settings.acks(), AckPolicy::Assumed);
    assert_eq!(Rig::with(settings).peer.settings().acks(), AckPolicy::Assumed);
}

#[test]
fn a_window_is_not_walked_for_each_frame_or_each_deadline() {
    const WINDOW: usize = 1000;
    for forwards in [false, true] {
        let mut rig = Rig::with(Settings::with_window(WINDOW).unwrap());
        let ids: Vec<_> = (0..WINDOW).map(|n| if forwards { rig.forward(n) } else { rig.deliver(n) }).collect();
        let link = rig.link();
        let mut sent = Vec::new();
        while let Some(transmit) = rig.peer.poll_transmit(link) {
            let Transmit::Text(frame) = transmit else { panic!("{transmit:?}") };
            sent.push(entry_of(&frame).unwrap());
            assert!(rig.peer.poll_timeout().is_some() && rig.peer.in_flight() == sent.len());
        }
        assert_eq!(sent, ids);
        let walked = rig.peer.buffer.walked.get();
        assert!(walked <= WINDOW, "{walked} entries were looked at");
        assert_eq!(rig.peer.buffer.in_flight(u64::MAX).count(), WINDOW);
        assert_eq!(rig.peer.buffer.walked.replace(0), walked + WINDOW, "looking is counted");
        ids.iter().for_each(|id| rig.ack(link, *id));
        assert_eq!(rig.peer.buffered(), 0);
        let walked = rig.peer.buffer.walked.get();
        assert!(walked <= WINDOW, "{walked} entries were looked at");
    }
}
