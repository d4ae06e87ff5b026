//! Limits, to the byte.

use alloc::string::ToString;

use super::*;
use crate::connector::{AckPolicy, Limits, Refused, Timing};
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

#[test]
fn settings_say_what_they_were_made_with() {
    let settings = Settings::default();
    assert_eq!(settings.acks(), AckPolicy::Required);
    assert_eq!(settings.with_acks(AckPolicy::Presumed).acks(), AckPolicy::Presumed);
}
