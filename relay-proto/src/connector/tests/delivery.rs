//! The buffer, its order and its window (CONN-3, CONN-4).

use super::*;
use crate::connector::Notice;
use crate::connector::Refused;

// proves: CONN-3
#[test]
fn every_event_goes_through_the_buffer_and_out_in_order_with_its_id() {
    let mut rig = Rig::new();
    let first = rig.deliver(0);
    let link = rig.link();
    let second = rig.forward(1);
    let third = rig.deliver(2);
    assert_eq!(rig.accepted, [first, second, third]);
    let frames = rig.frames(link);
    assert_eq!(frames[0], format!("{{\"type\":\"inbound\",\"event\":{{\"n\":0}},\"bufferId\":\"{first}\"}}\n"));
    assert_eq!(
        frames[1],
        format!("{{\"type\":\"passthrough_forward\",\"forward\":{{\"f\":1}},\"bufferId\":\"{second}\"}}\n")
    );
    assert_eq!(entry_of(&frames[2]), Some(third));
    assert_eq!(rig.peer.buffered(), 3, "nothing leaves without its ack");
}

// proves: CONN-3
#[test]
fn at_most_a_window_is_unacknowledged() {
    let mut rig = Rig::new();
    let ids: Vec<_> = (0..40).map(|n| rig.deliver(n)).collect();
    let link = rig.link();
    assert_eq!(rig.entries(link), ids[..16]);
    assert_eq!(rig.peer.in_flight(), 16);
    rig.ack(link, ids[3]);
    assert_eq!(rig.entries(link), [ids[16]], "any ack makes room for one");
    for id in &ids[4..10] {
        rig.ack(link, *id);
    }
    assert_eq!(rig.entries(link), ids[17..23]);
    assert_eq!((rig.peer.in_flight(), rig.peer.buffered()), (16, 33));
    let mut narrow = Rig::with(Settings::with_window(1).unwrap());
    let ids = [narrow.deliver(0), narrow.deliver(1)];
    let link = narrow.link();
    assert_eq!(narrow.entries(link), [ids[0]]);
    narrow.ack(link, ids[0]);
    assert_eq!(narrow.entries(link), [ids[1]]);
}

// proves: CONN-3
#[test]
fn an_ack_of_nothing_in_flight_is_ignored_and_counted() {
    let mut rig = Rig::with(Settings::with_window(1).unwrap());
    let link = rig.link();
    let [sent, waiting] = [rig.deliver(0), rig.deliver(1)];
    let other_epoch = EntryId::new(2, sent.seq());
    rig.ack(link, sent);
    assert_eq!(rig.peer.stats().stray_acks, 1, "not sent yet");
    assert_eq!(rig.entries(link), [sent]);
    rig.ack(link, waiting);
    rig.ack(link, other_epoch);
    for id in ["", "0", "x", "0000000000000001-00", "18446744073709551616"] {
        rig.say(link, &format!("{{\"type\":\"inbound_ack\",\"bufferId\":\"{id}\"}}"));
    }
    assert_eq!((rig.peer.stats().stray_acks, rig.peer.buffered()), (8, 2));
    rig.ack(link, sent);
    rig.ack(link, sent);
    assert_eq!((rig.peer.stats().stray_acks, rig.peer.stats().acked, rig.peer.buffered()), (9, 1, 1));
}

// proves: CONN-3
#[test]
fn a_new_link_starts_with_the_unacknowledged_tail_byte_for_byte() {
    let mut rig = Rig::new();
    let ids: Vec<_> = (0..20).map(|n| rig.deliver(n)).collect();
    let old = rig.link();
    let sent = rig.frames(old);
    rig.ack(old, ids[1]);
    rig.peer.handle_ended(old, crate::end::LinkEnd::Lost { detail: "cut".into() }, rig.now);
    let new = rig.link();
    let again = rig.frames(new);
    let expected: Vec<&String> = sent.iter().enumerate().filter(|(n, _)| *n != 1).map(|(_, frame)| frame).collect();
    assert_eq!(again[..15].iter().collect::<Vec<_>>(), expected);
    assert_eq!(entry_of(&again[15]), Some(ids[16]), "and goes on behind it, within the window");
    assert_eq!(again.len(), 16);
    assert_eq!(rig.peer.stats().redelivered, 15);
}

// proves: CONN-3
#[test]
fn an_ack_counts_only_on_the_link_that_carried_the_entry() {
    let mut rig = Rig::new();
    let id = rig.deliver(0);
    let old = rig.link();
    assert_eq!(rig.entries(old), [id]);
    rig.peer.drop_link(rig.now);
    let new = rig.link();
    rig.ack(old, id);
    rig.ack(new, id);
    assert_eq!(rig.peer.buffered(), 1, "this link has not carried it yet");
    assert_eq!(rig.entries(new), [id]);
    rig.ack(new, id);
    assert_eq!(rig.peer.buffered(), 0);
}

// proves: CONN-3
#[test]
fn deliveries_start_when_the_first_hello_was_answered() {
    let mut rig = Rig::new();
    rig.describe = false;
    let id = rig.deliver(0);
    let link = rig.peer.handle_opened(rig.now);
    assert_eq!(rig.transmits(link), []);
    rig.say(link, r#"{"type":"hello","platform":"discord"}"#);
    assert_eq!(rig.transmits(link), [], "the host has not answered");
    rig.peer.describe(rig.hellos[0], &Descriptor::new("discord"), rig.now).unwrap();
    let frames = rig.frames(link);
    assert!(frames[0].starts_with("{\"type\":\"descriptor\""));
    assert_eq!(entry_of(&frames[1]), Some(id));
}

// proves: CONN-4
#[test]
fn going_idle_stops_deliveries_before_it_is_acknowledged() {
    let mut rig = Rig::new();
    let link = rig.link();
    let [sent, unsent] = [rig.deliver(0), rig.deliver(1)];
    let Some(Transmit::Text(first)) = rig.peer.poll_transmit(link) else { panic!() };
    assert_eq!(entry_of(&first), Some(sent));
    rig.say(link, r#"{"type":"going_idle"}"#);
    let late = rig.deliver(2);
    assert_eq!(rig.frames(link), ["{\"type\":\"going_idle_ack\"}\n"], "the ack, and nothing behind it");
    rig.ack(link, sent);
    assert_eq!(rig.peer.buffered(), 2, "an ack of what was in flight still counts");
    assert_eq!(rig.transmits(link), []);
    let next = rig.link();
    assert_eq!(rig.entries(next), [unsent, late]);
    let idle = rig.events().into_iter().filter(|event| *event == Event::Idle).count();
    assert_eq!(idle, 1);
}

// proves: CONN-4
#[test]
fn going_idle_again_is_acknowledged_again_and_told_once() {
    let mut rig = Rig::new();
    let link = rig.link();
    rig.say(link, "{\"type\":\"going_idle\"}\n{\"type\":\"going_idle\"}");
    assert_eq!(rig.frames(link).len(), 2);
    assert_eq!(rig.events().into_iter().filter(|event| *event == Event::Idle).count(), 1);
}

// proves: FRAME-1
#[test]
fn what_cannot_be_a_frame_is_refused_before_it_is_taken_up() {
    let mut rig = Rig::new();
    for not_object in ["[]", "5", "null", "\"{}\"", " [{}]"] {
        let refused = rig.peer.deliver(&RawJson::parse(not_object).unwrap(), rig.now);
        assert_eq!(refused, Err(Refused::NotAnObject), "{not_object}");
    }
    let large = RawJson::parse(&format!("{{\"t\":\"{}\"}}", "x".repeat(1 << 20))).unwrap();
    let Err(Refused::TooLarge { size, limit }) = rig.peer.forward(&large, rig.now) else { panic!() };
    assert!(size > limit && limit == 1 << 20);
    rig.settle();
    assert_eq!((rig.peer.buffered(), rig.accepted.len()), (0, 0));
    let spread = RawJson::parse("{\n  \"a\": [\n    1\n  ]\n}").unwrap();
    rig.peer.deliver(&spread, rig.now).unwrap();
    let link = rig.link();
    assert!(rig.frames(link)[0].contains("\"event\":{\"a\":[1]},"), "one line, whatever the host's JSON looks like");
}

#[test]
fn what_goes_out_is_counted() {
    let mut rig = Rig::new();
    let first = rig.link();
    let ids: Vec<_> = (0..3).map(|n| rig.deliver(n)).collect();
    rig.entries(first);
    rig.ack(first, ids[0]);
    let second = rig.link();
    rig.entries(second);
    let stats = rig.peer.stats();
    assert_eq!((stats.links, stats.accepted, stats.delivered, stats.redelivered, stats.acked), (2, 3, 5, 2, 1));
    assert_eq!(stats.frames_sent, 2 + 5, "a descriptor for each link, and the deliveries");
}

#[test]
fn notices_name_what_they_are_about() {
    let id = EntryId::new(7, 1);
    for (notice, about) in [
        (Notice::StrayAck, "nothing in flight"),
        (Notice::ForwardAssumedAcked(id), &*format!("{id}")),
        (Notice::ForwardGivenUp(id), &*format!("{id}")),
    ] {
        assert!(format!("{notice}").contains(about), "{notice}");
    }
}
