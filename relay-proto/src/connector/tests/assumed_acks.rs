//! Gateways that acknowledge nothing, as the reference does before 0.18.

use super::*;
use crate::connector::{AckPolicy, Limits, Reason, Timing};
use crate::end::LinkEnd;

fn settings(window: usize) -> Settings {
    Settings::with_window(window).unwrap().with_acks(AckPolicy::Assumed)
}

/// Everything that goes out while the host keeps doing what is due.
fn drain(rig: &mut Rig, link: LinkId) -> Vec<EntryId> {
    let mut all = Vec::new();
    loop {
        let entries = rig.entries(link);
        if entries.is_empty() {
            return all;
        }
        all.extend(entries);
        rig.wait(Duration::ZERO);
    }
}

fn assumed_acked(rig: &mut Rig) -> Vec<EntryId> {
    let only = |event| if let Event::AssumedAcked(entry) = event { Some(entry) } else { None };
    rig.events().into_iter().filter_map(only).collect()
}

// proves: CONN-3
#[test]
fn silence_does_not_stop_deliveries_when_acks_are_presumed() {
    let mut rig = Rig::with(settings(4));
    let mut ids: Vec<_> = (0..50).map(|n| if n % 3 == 0 { rig.forward(n) } else { rig.deliver(n) }).collect();
    let link = rig.link();
    assert_eq!(rig.entries(link), ids[..4], "a window at a time");
    let deadline = rig.peer.poll_timeout().unwrap();
    assert_eq!(
        (deadline.at, deadline.reason),
        (rig.now.monotonic, Reason::AssumedAcked),
        "and the next is due at once"
    );
    rig.wait(Duration::ZERO);
    assert_eq!(drain(&mut rig, link), ids[4..]);
    ids.push(rig.deliver(50));
    assert_eq!(drain(&mut rig, link), ids[50..]);
    assert_eq!((rig.peer.buffered(), rig.peer.stats().assumed_acked, rig.peer.stats().acked), (0, 51, 0));
    assert_eq!(assumed_acked(&mut rig), ids, "each is told once, in order");
    assert_ne!(rig.peer.poll_timeout().unwrap().reason, Reason::AssumedAcked);
}

// proves: CONN-3
#[test]
fn by_default_silence_is_held_to_the_window() {
    let mut rig = Rig::with(Settings::with_window(4).unwrap());
    let ids: Vec<_> = (0..9).map(|n| rig.deliver(n)).collect();
    let link = rig.link();
    assert_eq!(drain(&mut rig, link), ids[..4]);
    let link = rig.link();
    assert_eq!(drain(&mut rig, link), ids[..4], "and the same on the next link");
}

// proves: CONN-3
#[test]
fn what_was_handed_to_a_link_never_comes_again_and_what_was_not_does_not_get_lost() {
    let mut rig = Rig::with(settings(2));
    let ids: Vec<_> = (0..6).map(|n| rig.deliver(n)).collect();
    for (at, way) in [0, 1, 2].into_iter().enumerate() {
        let link = rig.link();
        // The link ends before anything else happens.
        assert_eq!(rig.entries(link), ids[at * 2..at * 2 + 2]);
        match way {
            0 => rig.peer.handle_ended(link, LinkEnd::Lost { detail: "cut".into() }, rig.now),
            1 => assert!(rig.peer.drop_link(rig.now)),
            // The next link replaces it.
            _ => {}
        }
    }
    let link = rig.link();
    assert_eq!((rig.entries(link), rig.peer.buffered()), (alloc::vec![], 0));
}

// proves: CONN-4
#[test]
fn a_gateway_that_went_idle_gets_nothing_more() {
    let mut rig = Rig::with(settings(2));
    let ids: Vec<_> = (0..5).map(|n| rig.deliver(n)).collect();
    let link = rig.link();
    assert_eq!(rig.entries(link), ids[..2]);
    rig.say(link, r#"{"type":"going_idle"}"#);
    let late = rig.deliver(5);
    assert_eq!(rig.frames(link), ["{\"type\":\"going_idle_ack\"}\n"]);
    rig.wait(Duration::ZERO);
    assert_eq!((drain(&mut rig, link), rig.peer.buffered()), (alloc::vec![], 4));
    let link = rig.link();
    assert_eq!(drain(&mut rig, link), [&ids[2..], &[late]].concat());
}

// proves: CONN-3
#[test]
fn a_gateway_that_acknowledges_is_held_to_its_acks() {
    let mut rig = Rig::with(settings(2));
    let ids: Vec<_> = (0..6).map(|n| rig.deliver(n)).collect();
    let link = rig.link();
    assert_eq!(rig.entries(link), ids[..2]);
    rig.say(link, r#"{"type":"inbound_ack","bufferId":"none of ours"}"#);
    assert_eq!(rig.entries(link), ids[2..4], "that acknowledges nothing");
    // It comes late, which shows as much.
    rig.ack(link, ids[0]);
    assert_eq!(rig.entries(link), ids[4..], "what was in flight then counts as taken");
    rig.wait_secs(20);
    assert_eq!((rig.peer.buffered(), rig.peer.stats().assumed_acked), (2, 4));
    let link = rig.link();
    assert_eq!(rig.entries(link), ids[4..], "a cut replays what it did not acknowledge");
    rig.ack(link, ids[4]);
    assert_eq!((rig.peer.buffered(), rig.peer.stats().acked), (1, 1));
}

// proves: CONN-7, CONN-3
#[test]
fn a_store_forgets_what_was_handed_out_and_a_crash_repeats_a_window_at_most() {
    let mut rig = Rig::on(Store::default(), settings(4), 1);
    let ids: Vec<_> = (0..100).map(|n| rig.deliver(n)).collect();
    let link = rig.link();
    assert_eq!(rig.entries(link), ids[..4]);
    rig.wait(Duration::ZERO);
    assert_eq!(rig.store.as_ref().unwrap().durable.len(), 96, "deleted without an ack");
    // Killed with these on the wire.
    assert_eq!(rig.entries(link), ids[4..8]);
    let mut again = Rig::on(rig.store.take().unwrap(), settings(4), 2);
    let link = again.link();
    assert_eq!(drain(&mut again, link), ids[4..], "in order, a bounded memory at a time");
    let store = again.store.unwrap();
    assert!(store.durable.is_empty() && store.largest <= 8);
}

// proves: CONN-3, CONN-7
#[test]
fn what_the_store_has_not_deleted_keeps_its_place_in_the_window() {
    let now = Now::default();
    let mut peer = Peer::stored(settings(2), 7, Backlog::default(), now);
    let ids = [(); 3].map(|()| peer.deliver(&RawJson::parse("{}").unwrap(), now).unwrap());
    ids.iter().for_each(|id| peer.handle_stored(*id, now));
    let link = peer.handle_opened(now);
    peer.handle_message(link, b"{\"type\":\"hello\",\"platform\":\"p\"}\n", now);
    while let Some(output) = peer.poll_output() {
        if let Output::Hello { hello, .. } = output {
            peer.describe(hello, &Descriptor::new("p"), now).unwrap();
        }
    }
    let sent = |peer: &mut Peer| core::iter::from_fn(|| peer.poll_transmit(link)).count();
    assert_eq!(sent(&mut peer), 1 + 2);
    peer.handle_timeout(now);
    assert_eq!([peer.poll_output(), peer.poll_output()], [ids[0], ids[1]].map(|id| Some(Output::Discard(id))));
    assert_eq!(sent(&mut peer), 0, "a crash would repeat these two, and not three");
    peer.handle_discarded(ids[0], now);
    assert_eq!(sent(&mut peer), 1);
}

// proves: CONN-3
#[test]
fn nothing_is_handed_out_while_nobody_reads_the_events() {
    let limits = Limits { queue: 1024, window: 4, ..Limits::default() };
    let mut rig = Rig::with(Settings::new(Timing::default(), limits).unwrap().with_acks(AckPolicy::Assumed));
    let ids: Vec<_> = (0..1000).map(|n| rig.deliver(n)).collect();
    let link = rig.link();
    let first = drain(&mut rig, link);
    assert!(first.len() < 20 && !rig.peer.wants_read(link), "{}", first.len());
    let mut got = first;
    while got.len() < ids.len() {
        rig.peer.poll_event().unwrap();
        got.extend(drain(&mut rig, link));
    }
    assert_eq!(got, ids);
}
