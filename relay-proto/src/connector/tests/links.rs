//! The life of links (CONN-5, CONN-6, LINK-3).

use super::*;
use crate::connector::{Ended, Limits, Reason, Refused, Timing};
use crate::end::LinkEnd;

const fn close(code: u16, reason: &'static str) -> Transmit {
    Transmit::Close { code, reason }
}

fn ended(events: &[Event]) -> Vec<(LinkId, Ended)> {
    let ended = |event: &Event| match event {
        Event::LinkEnded { link, ended } => Some((*link, ended.clone())),
        _ => None,
    };
    events.iter().filter_map(ended).collect()
}

// proves: CONN-5
#[test]
fn a_second_link_replaces_the_first() {
    let mut rig = Rig::new();
    let first = rig.link();
    let id = rig.deliver(0);
    assert_eq!(rig.entries(first), [id]);
    let second = rig.link();
    assert_eq!(rig.transmits(first), [close(1000, "replaced")]);
    assert_eq!(rig.entries(second), [id], "the second gets what the first did not acknowledge");
    assert_eq!(rig.peer.current_link(), Some(second));
    let replaced = Ended::Closed { code: 1000, reason: "replaced" };
    assert_eq!(ended(&rig.events()), [(first, replaced)]);
    // What the first still says does not count any more, and its end is no news.
    rig.say(first, r#"{"type":"outbound","requestId":"r","action":{}}"#);
    rig.say(first, r#"{"type":"going_idle"}"#);
    rig.peer.handle_ended(first, LinkEnd::Closed { code: Some(1000), reason: "replaced".into() }, rig.now);
    assert_eq!((rig.events(), rig.peer.is_delivering()), (alloc::vec![], true));
}

// proves: CONN-5
#[test]
fn an_ack_that_was_under_way_on_the_replaced_link_counts_until_the_entry_is_sent_again() {
    let mut rig = Rig::new();
    let first = rig.link();
    let ids = [rig.deliver(0), rig.deliver(1)];
    assert_eq!(rig.entries(first), ids);
    let second = rig.link();
    rig.ack(first, ids[0]);
    assert_eq!(rig.entries(second), [ids[1]]);
    rig.ack(first, ids[1]);
    assert_eq!(rig.peer.buffered(), 1, "sent again: the second link's ack counts");
}

// proves: CONN-5
#[test]
fn links_that_are_opened_in_a_loop_cost_a_bounded_amount() {
    let mut rig = Rig::new();
    for _ in 0..1000 {
        rig.link();
    }
    let dropped = rig.outputs.iter().filter(|output| matches!(output, Output::Drop(_))).count();
    assert_eq!(dropped, 1000 - 5, "one is current, four are closing");
    assert!(ended(&rig.events()).len() <= 64);
    assert_eq!(rig.peer.stats().reports_dropped, 999 - 64);
}

// proves: CONN-6
#[test]
fn revoking_closes_the_link_and_refuses_the_next() {
    let mut rig = Rig::new();
    let link = rig.link();
    let id = rig.deliver(0);
    assert!(rig.peer.revoke(rig.now) && !rig.peer.revoke(rig.now));
    assert_eq!(rig.transmits(link), [close(4401, "unauthorized")]);
    let next = rig.peer.handle_opened(rig.now);
    assert_eq!(rig.transmits(next), [close(4401, "unauthorized")]);
    rig.say(next, r#"{"type":"hello","platform":"discord"}"#);
    assert_eq!((rig.transmits(next), rig.peer.current_link()), (alloc::vec![], None));
    rig.peer.reinstate(rig.now);
    let link = rig.link();
    assert_eq!(rig.entries(link), [id], "the buffer waited");
}

// proves: CONN-6
#[test]
fn shutting_down_closes_with_1001_and_takes_nothing_up() {
    let mut rig = Rig::new();
    let link = rig.link();
    rig.peer.shutdown(rig.now);
    rig.peer.shutdown(rig.now);
    assert_eq!(rig.transmits(link), [close(1001, "going away")]);
    assert_eq!(rig.peer.deliver(&RawJson::parse("{}").unwrap(), rig.now), Err(Refused::ShutDown));
    let late = rig.peer.handle_opened(rig.now);
    assert_eq!(rig.transmits(late), [close(1001, "going away")]);
    rig.peer.reinstate(rig.now);
    rig.peer.handle_ended(late, LinkEnd::Closed { code: Some(1001), reason: String::new() }, rig.now);
    assert!(!rig.peer.is_finished(), "one link has not answered");
    rig.wait_secs(2);
    assert!(matches!(rig.outputs[..], [Output::Drop(dropped)] if dropped == link));
    assert!(rig.peer.is_finished() && rig.peer.poll_timeout().is_none());
}

// proves: LINK-3
#[test]
fn one_ping_waits_to_be_written_and_no_more() {
    let timing = Timing { ping_after: Duration::from_secs(1), ..Timing::default() };
    let mut rig = Rig::with(Settings::new(timing, Limits::default()).unwrap());
    let link = rig.link();
    for _ in 0..50 {
        rig.wait_secs(1);
    }
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
    rig.wait_secs(1);
    assert_eq!(rig.transmits(link), [Transmit::Ping], "and another once that is");
}

// proves: LINK-3
#[test]
fn a_silent_gateway_is_pinged_and_then_dropped() {
    let mut rig = Rig::new();
    let link = rig.link();
    let deadline = rig.peer.poll_timeout().unwrap();
    assert_eq!((deadline.at - rig.now.monotonic, deadline.reason), (Duration::from_secs(30), Reason::Keepalive));
    rig.wait_secs(30);
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
    rig.wait_secs(29);
    rig.peer.handle_traffic(link, rig.now);
    rig.wait_secs(29);
    assert_eq!(rig.transmits(link), [], "what it says postpones the ping, what we say does not");
    rig.wait_secs(1);
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
    rig.wait_secs(60);
    assert!(matches!(rig.outputs[..], [Output::Drop(dropped)] if dropped == link));
    assert!(matches!(ended(&rig.events())[..], [(_, Ended::Dropped("the gateway is silent"))]));
    assert_eq!(rig.peer.poll_timeout(), None, "a gateway that is away costs no timer");
}

// proves: LINK-3
#[test]
fn a_gateway_that_talks_and_reads_nothing_is_dropped() {
    let mut rig = Rig::new();
    let link = rig.link();
    let [first, second] = [rig.deliver(0), rig.deliver(1)];
    let talk = |rig: &mut Rig, seconds: u64| {
        for _ in 0..seconds {
            rig.wait_secs(1);
            rig.peer.handle_traffic(link, rig.now);
        }
    };
    talk(&mut rig, 89);
    let Some(Transmit::Text(frame)) = rig.peer.poll_transmit(link) else { panic!() };
    assert_eq!(entry_of(&frame), Some(first));
    talk(&mut rig, 89);
    // The socket took some more of that frame.
    rig.peer.handle_progress(link, rig.now);
    talk(&mut rig, 89);
    let deadline = rig.peer.poll_timeout().unwrap();
    assert_eq!((deadline.at - rig.now.monotonic, deadline.reason), (Duration::from_secs(1), Reason::Stalled));
    talk(&mut rig, 1);
    assert!(matches!(rig.outputs[..], [Output::Drop(dropped)] if dropped == link));
    assert!(matches!(ended(&rig.events())[..], [(_, Ended::Dropped("the gateway does not read"))]));
    rig.outputs.clear();
    let link = rig.link();
    assert_eq!(rig.entries(link), [first, second]);
}

#[test]
fn a_link_without_a_hello_is_closed() {
    let mut rig = Rig::new();
    rig.describe = false;
    let link = rig.peer.handle_opened(rig.now);
    rig.wait_secs(29);
    rig.peer.handle_traffic(link, rig.now);
    rig.wait_secs(1);
    assert_eq!(rig.transmits(link), [close(1008, "no hello")]);
    let link = rig.peer.handle_opened(rig.now);
    rig.say(link, r#"{"type":"hello","platform":"p"}"#);
    rig.wait_secs(29);
    rig.peer.handle_traffic(link, rig.now);
    rig.wait_secs(1);
    assert_eq!(rig.transmits(link).last(), Some(&close(1011, "no descriptor")), "that one is our own fault");
}

// proves: CLOCK-1
#[test]
fn time_that_goes_backwards_stands_still() {
    let mut rig = Rig::new();
    let link = rig.link();
    let before = rig.peer.poll_timeout();
    rig.peer.handle_traffic(link, Now::default());
    rig.peer.handle_timeout(Now::default());
    assert_eq!((rig.peer.poll_timeout(), rig.transmits(link)), (before, alloc::vec![]));
    rig.wait(Duration::MAX - rig.now.monotonic);
    assert_eq!(rig.peer.current_link(), None, "a jump to the end of time is silence");
}

#[test]
fn inputs_for_a_dead_link_are_ignored() {
    let mut rig = Rig::new();
    let dead = rig.link();
    assert!(rig.peer.drop_link(rig.now) && !rig.peer.drop_link(rig.now));
    rig.settle();
    rig.events();
    rig.say(dead, r#"{"type":"hello","platform":"p"}"#);
    rig.peer.handle_ended(dead, LinkEnd::Lost { detail: String::new() }, rig.now);
    assert_eq!((rig.events(), rig.transmits(dead), rig.peer.wants_read(dead)), (alloc::vec![], alloc::vec![], false));
}

#[test]
fn a_link_that_is_over_is_not_read_however_the_next_one_fares() {
    let mut rig = Rig::new();
    let first = rig.link();
    assert!(rig.peer.wants_read(first));
    rig.peer.handle_ended(first, LinkEnd::Lost { detail: String::new() }, rig.now);
    let second = rig.link();
    assert_eq!((rig.peer.wants_read(first), rig.peer.wants_read(second)), (false, true));
}
