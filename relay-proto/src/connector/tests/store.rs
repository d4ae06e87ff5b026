//! Entries in a store of the host's (CONN-7).

use super::*;

fn stored() -> Rig {
    Rig::on(Store::default(), Settings::default(), 1)
}

// proves: CONN-7
#[test]
fn an_entry_is_accepted_and_sent_only_once_it_is_durable() {
    let mut rig = stored();
    rig.durable = false;
    let link = rig.link();
    let ids = [rig.deliver(0), rig.deliver(1), rig.deliver(2)];
    assert_eq!((rig.accepted.len(), rig.transmits(link)), (0, alloc::vec![]));
    rig.commit(2);
    rig.settle();
    assert_eq!(rig.accepted, ids[..2]);
    assert_eq!(rig.peer.stats().accepted, 2);
    assert_eq!(rig.entries(link), ids[..2]);
}

// proves: CONN-7, CONN-3
#[test]
fn nothing_overtakes_an_entry_that_is_not_durable_yet() {
    let mut rig = stored();
    rig.durable = false;
    let link = rig.link();
    let ids = [rig.deliver(0), rig.deliver(1)];
    rig.peer.handle_stored(ids[1], rig.now);
    rig.peer.handle_stored(ids[1], rig.now);
    rig.settle();
    assert_eq!((rig.transmits(link), &rig.accepted[..]), (alloc::vec![], &ids[1..]));
    rig.peer.handle_stored(ids[0], rig.now);
    rig.settle();
    assert_eq!(rig.entries(link), ids);
}

// proves: CONN-7
#[test]
fn an_entry_that_the_store_could_not_take_is_gone_and_holds_nothing_up() {
    let mut rig = stored();
    rig.durable = false;
    let link = rig.link();
    let ids = [rig.deliver(0), rig.deliver(1)];
    rig.peer.handle_not_stored(ids[0], rig.now);
    rig.peer.handle_not_stored(ids[0], rig.now);
    rig.peer.handle_stored(ids[1], rig.now);
    rig.settle();
    assert_eq!((&rig.accepted[..], rig.peer.buffered()), (&ids[1..], 1));
    assert_eq!(rig.entries(link), [ids[1]]);
}

// proves: CONN-7, CONN-3
#[test]
fn a_backlog_passes_through_a_bounded_memory_in_order() {
    let mut rig = stored();
    let ids: Vec<_> = (0..1000).map(|n| rig.deliver(n)).collect();
    assert_eq!(rig.store.as_ref().unwrap().fetches, 0, "a gateway that is away is not read for");
    let link = rig.link();
    let mut got = Vec::new();
    loop {
        let entries = rig.entries(link);
        if entries.is_empty() {
            break;
        }
        assert!(rig.peer.in_flight() <= 16);
        for id in entries {
            got.push(id);
            rig.ack(link, id);
        }
    }
    assert_eq!(got, ids);
    let store = rig.store.as_ref().unwrap();
    assert!(store.durable.is_empty() && store.largest <= 32);
    assert!(store.fetches < 200, "{} fetches: not one for each ack", store.fetches);
    let live = rig.deliver(0);
    assert_eq!(rig.entries(link), [live], "and what is live again needs no fetch");
}

// proves: CONN-7
#[test]
fn after_a_crash_the_store_is_the_whole_truth() {
    let mut rig = stored();
    let ids: Vec<_> = (0..100).map(|n| rig.deliver(n)).collect();
    let link = rig.link();
    let sent = rig.frames(link);
    rig.ack(link, ids[0]);
    rig.ack(link, ids[5]);
    // Appended, and not durable: it was not accepted, so nobody counts on it.
    rig.durable = false;
    rig.deliver(1000);
    let mut again = Rig::on(rig.store.take().unwrap(), Settings::default(), 2);
    assert_eq!(again.peer.buffered(), 98);
    let fresh = again.deliver(2000);
    assert_eq!((fresh.epoch(), fresh.seq()), (2, 100), "no id is used twice");
    let link = again.link();
    let mut got = Vec::new();
    let frames = again.frames(link);
    assert_eq!(frames[0], sent[1], "replayed byte for byte, under the same id");
    let mut entries: Vec<_> = frames.iter().map(|frame| entry_of(frame).unwrap()).collect();
    while !entries.is_empty() {
        for id in core::mem::take(&mut entries) {
            got.push(id);
            again.ack(link, id);
        }
        entries = again.entries(link);
    }
    let mut expected: Vec<_> = ids.iter().copied().filter(|id| ![ids[0], ids[5]].contains(id)).collect();
    expected.push(fresh);
    assert_eq!(got, expected);
    assert!(again.store.unwrap().durable.is_empty());
}

// proves: CONN-7
#[test]
fn a_store_that_answers_nonsense_cannot_make_an_entry_go_out_twice_or_out_of_order() {
    let mut peer = Peer::stored(Settings::with_window(2).unwrap(), 9, Backlog::new(5..10, 5), Now::default());
    let now = Now::default();
    peer.handle_fetched([(EntryId::new(1, 5), String::from("unasked\n"))], now);
    let link = peer.handle_opened(now);
    peer.handle_message(link, b"{\"type\":\"hello\",\"platform\":\"p\"}\n", now);
    let Some(Output::Hello { hello, .. }) = peer.poll_output() else { panic!() };
    peer.describe(hello, &Descriptor::new("p"), now).unwrap();
    let Some(Output::Fetch(fetch)) = peer.poll_output() else { panic!() };
    assert_eq!((fetch.from, fetch.until, fetch.count), (5, 10, 4));
    let entry = |seq: u64| (EntryId::new(1, seq), format!("{{\"bufferId\":\"{}\"}}\n", EntryId::new(1, seq)));
    peer.handle_fetched([3, 6, 5, 6, 7, 8, 9].map(entry), now);
    let sent: Vec<_> = core::iter::from_fn(|| peer.poll_transmit(link)).collect();
    assert_eq!(sent.len(), 2, "a descriptor and entry 6: {sent:?}");
    let Some(Output::Fetch(fetch)) = peer.poll_output() else { panic!() };
    assert_eq!((fetch.from, fetch.until), (7, 10));
    assert_eq!(peer.poll_output(), None, "one at a time");
}

// proves: CONN-7
#[test]
fn a_range_that_ends_in_entries_that_were_not_stored_is_read_once() {
    let mut rig = stored();
    let ids: Vec<_> = (0..40).map(|n| rig.deliver(n)).collect();
    rig.durable = false;
    let lost = [rig.deliver(40), rig.deliver(41)];
    rig.store.as_mut().unwrap().appended.clear();
    for id in lost {
        rig.peer.handle_not_stored(id, rig.now);
    }
    rig.durable = true;
    let link = rig.link();
    for id in ids {
        rig.frames(link);
        rig.ack(link, id);
    }
    let fetches = rig.store.as_ref().unwrap().fetches;
    let live = rig.deliver(42);
    assert_eq!((rig.entries(link), rig.peer.buffered()), (alloc::vec![live], 1));
    rig.ack(link, live);
    assert_eq!(rig.store.as_ref().unwrap().fetches, fetches);
}

// proves: CONN-7
#[test]
fn a_store_that_takes_its_time_is_asked_one_thing_at_a_time() {
    let now = Now::default();
    let mut peer = Peer::stored(Settings::with_window(2).unwrap(), 9, Backlog::new(0..10, 10), now);
    let mut fetches = Vec::new();
    for _ in 0..3 {
        let link = peer.handle_opened(now);
        peer.handle_message(link, b"{\"type\":\"hello\",\"platform\":\"p\"}\n", now);
        while let Some(output) = peer.poll_output() {
            match output {
                Output::Hello { hello, .. } => peer.describe(hello, &Descriptor::new("p"), now).unwrap(),
                Output::Fetch(fetch) => fetches.push(fetch),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(fetches.len(), 1, "a fetch belongs to the buffer, not to a link");
}

// proves: CONN-3, CONN-7
#[test]
fn what_the_store_may_still_forget_keeps_its_place_in_the_window() {
    let now = Now::default();
    let mut peer = Peer::stored(Settings::with_window(2).unwrap(), 7, Backlog::default(), now);
    for _ in 0..4 {
        let entry = peer.deliver(&RawJson::parse("{}").unwrap(), now).unwrap();
        peer.handle_stored(entry, now);
    }
    let link = peer.handle_opened(now);
    peer.handle_message(link, br#"{"type":"hello","platform":"discord"}"#, now);
    while let Some(output) = peer.poll_output() {
        if let Output::Hello { hello, .. } = output {
            peer.describe(hello, &Descriptor::new("discord"), now).unwrap();
        }
    }
    let sent = |peer: &mut Peer| core::iter::from_fn(|| peer.poll_transmit(link)).count();
    assert_eq!(sent(&mut peer), 1 + 2, "the descriptor and a window");
    let ack = format!(r#"{{"type":"inbound_ack","bufferId":"{}"}}"#, EntryId::new(7, 0));
    peer.handle_message(link, ack.as_bytes(), now);
    assert_eq!(peer.poll_output(), Some(Output::Discard(EntryId::new(7, 0))));
    assert_eq!(sent(&mut peer), 0, "after a crash it might come again, as the third entry would");
    peer.handle_discarded(EntryId::new(7, 0), now);
    assert_eq!(sent(&mut peer), 1);
}

// proves: CONN-7
#[test]
fn a_shutdown_waits_for_what_the_store_was_given() {
    let mut rig = stored();
    rig.durable = false;
    rig.deliver(0);
    rig.peer.shutdown(rig.now);
    rig.settle();
    assert!(!rig.peer.is_finished(), "its host must still be told what became of the entry");
    rig.commit(1);
    rig.settle();
    assert!(rig.peer.is_finished());
}

// proves: CONN-7
#[test]
fn a_backlog_behind_an_entry_that_could_not_be_stored_is_read_once_that_is_known() {
    let mut rig = stored();
    let ids: Vec<_> = (0..40).map(|n| rig.deliver(n)).collect();
    let link = rig.link();
    rig.durable = false;
    let lost = rig.deliver(40);
    // The store may report its entries in any order: those behind are durable before it is known that this one is not.
    let behind = [rig.deliver(41), rig.deliver(42)];
    for (entry, frame) in rig.store.as_mut().unwrap().appended.drain(..).skip(1).collect::<Vec<_>>() {
        rig.store.as_mut().unwrap().durable.insert(entry.seq(), (entry, frame));
        rig.peer.handle_stored(entry, rig.now);
    }
    rig.settle();
    let mut got = Vec::new();
    loop {
        let entries = rig.entries(link);
        if entries.is_empty() {
            break;
        }
        for id in entries {
            got.push(id);
            rig.ack(link, id);
        }
    }
    assert_eq!(got, ids, "nothing overtakes the one that is not known yet");
    rig.peer.handle_not_stored(lost, rig.now);
    rig.settle();
    assert_eq!((rig.entries(link), rig.peer.buffered()), (behind.to_vec(), 2));
}

// proves: CONN-6
#[test]
fn a_revocation_after_a_shutdown_leaves_it_shut_down() {
    let mut rig = stored();
    let link = rig.link();
    rig.peer.shutdown(rig.now);
    assert!(!rig.peer.revoke(rig.now), "there is no link any more");
    rig.peer.reinstate(rig.now);
    rig.peer.handle_ended(link, crate::end::LinkEnd::Closed { code: Some(1001), reason: String::new() }, rig.now);
    rig.settle();
    rig.events();
    assert!(rig.peer.is_finished());
    let late = rig.peer.handle_opened(rig.now);
    let said = rig.transmits(late);
    assert!(matches!(said[..], [Transmit::Close { code: 1001, .. }]), "{said:?}");
}
