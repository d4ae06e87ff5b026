//! Forwards to gateways that acknowledge none, as the reference does not up to 0.19.

use super::*;
use crate::connector::{Limits, Notice, Reason, Timing};

const PATIENCE: u64 = 10;

/// The gateway answers the ping that asks whether it read on.
fn pong(rig: &mut Rig, link: LinkId) {
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
    rig.peer.handle_traffic(link, rig.now);
    rig.settle();
}

/// The gateway stays on its link for longer than the patience, and answers pings.
fn stay(rig: &mut Rig, link: LinkId) {
    rig.wait_secs(25);
    assert!(rig.transmits(link).iter().all(|transmit| *transmit == Transmit::Ping));
    rig.peer.handle_traffic(link, rig.now);
    rig.settle();
}

// proves: CONN-3
#[test]
fn a_window_full_of_forwards_does_not_stop_deliveries_for_ever() {
    let mut rig = Rig::new();
    let link = rig.link();
    let forwards: Vec<_> = (0..16).map(|n| rig.forward(n)).collect();
    let message = rig.deliver(0);
    assert_eq!(rig.entries(link), forwards);
    let deadline = rig.peer.poll_timeout().unwrap();
    assert_eq!((deadline.at - rig.now.monotonic, deadline.reason), (Duration::from_secs(PATIENCE), Reason::Forward));
    rig.wait_secs(PATIENCE);
    assert_eq!(rig.peer.buffered(), 17, "time alone proves nothing");
    pong(&mut rig, link);
    assert_eq!(rig.entries(link), [message]);
    assert_eq!((rig.peer.buffered(), rig.peer.stats().forwards_unacknowledged), (1, 16));
    assert!(rig.outputs.contains(&Output::Notice(Notice::ForwardPresumed(forwards[0]))));
    let told =
        rig.events().into_iter().filter_map(|event| if let Event::Presumed(id) = event { Some(id) } else { None });
    assert_eq!(told.collect::<Vec<_>>(), forwards);
}

// proves: CONN-3
#[test]
fn a_message_is_never_presumed_taken() {
    let mut rig = Rig::new();
    let link = rig.link();
    let [message, forward] = [rig.deliver(0), rig.forward(1)];
    assert_eq!(rig.entries(link), [message, forward]);
    for _ in 0..20 {
        stay(&mut rig, link);
    }
    assert_eq!(rig.peer.buffered(), 1, "the forward is presumed taken, and nothing else");
    let link = rig.link();
    assert_eq!(rig.entries(link), [message]);
}

// proves: CONN-3
#[test]
fn a_gateway_that_acknowledged_one_forward_is_held_to_its_acks() {
    let mut rig = Rig::new();
    let link = rig.link();
    let [first, second] = [rig.forward(0), rig.forward(1)];
    assert_eq!(rig.entries(link), [first, second]);
    rig.ack(link, first);
    for _ in 0..5 {
        stay(&mut rig, link);
    }
    for _ in 0..10 {
        let link = rig.link();
        assert_eq!(rig.entries(link), [second], "however many links it takes");
    }
}

// proves: CONN-3
#[test]
fn traffic_that_does_not_prove_that_the_gateway_read_on_proves_nothing() {
    let mut rig = Rig::new();
    let link = rig.link();
    let forward = rig.forward(0);
    assert_eq!(rig.entries(link), [forward]);
    rig.wait_secs(PATIENCE);
    rig.peer.handle_traffic(link, rig.now);
    assert_eq!(rig.peer.buffered(), 1, "the ping has not even been written");
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
    let late = rig.forward(1);
    assert_eq!(rig.entries(link), [late]);
    rig.wait_secs(PATIENCE);
    rig.peer.handle_traffic(link, rig.now);
    assert_eq!(rig.peer.buffered(), 1, "the ping was written before the second forward");
    rig.wait(Duration::ZERO);
    pong(&mut rig, link);
    assert_eq!(rig.peer.buffered(), 0);
}

// proves: CONN-3
#[test]
fn a_forward_is_replayed_on_a_bounded_number_of_links() {
    let mut rig = Rig::new();
    let [forward, message] = [rig.forward(0), rig.deliver(1)];
    for _ in 0..3 {
        let link = rig.link();
        assert_eq!(rig.entries(link), [forward, message], "a cut replays it like everything else");
        rig.peer.drop_link(rig.now);
    }
    let link = rig.link();
    assert_eq!(rig.entries(link), [message]);
    assert!(rig.outputs.contains(&Output::Notice(Notice::ForwardGivenUp(forward))));
    assert_eq!(rig.events().into_iter().filter(|event| *event == Event::GivenUp(forward)).count(), 1);
}

// proves: CONN-3
#[test]
fn without_the_exception_forwards_are_entries_like_all_others() {
    let timing = Timing { forward_patience: None, ..Timing::default() };
    let limits = Limits { forward_attempts: u32::MAX, ..Limits::default() };
    let mut rig = Rig::with(Settings::new(timing, limits).unwrap());
    let forward = rig.forward(0);
    for _ in 0..10 {
        let link = rig.link();
        assert_eq!(rig.entries(link), [forward]);
        stay(&mut rig, link);
    }
    assert_eq!(rig.peer.buffered(), 1);
}

// proves: CONN-3
#[test]
fn the_latest_sixty_four_that_are_presumed_are_remembered() {
    for (acked, presumed_next) in [(0, true), (1, false)] {
        let mut rig = Rig::with(Settings::with_window(65).unwrap());
        let link = rig.link();
        let forwards: Vec<_> = (0..65).map(|n| rig.forward(n)).collect();
        assert_eq!(rig.entries(link), forwards);
        rig.wait_secs(PATIENCE);
        pong(&mut rig, link);
        assert_eq!(rig.peer.stats().forwards_unacknowledged, 65);
        rig.ack(link, forwards[acked]);
        // A gateway that has acknowledged one late is held to acknowledge.
        let next = rig.forward(65);
        assert_eq!(rig.entries(link), [next]);
        stay(&mut rig, link);
        assert_eq!(rig.peer.buffered() == 0, presumed_next, "{acked}");
    }
}

// proves: CONN-3
#[test]
fn a_late_ack_shows_that_the_gateway_acknowledges() {
    let mut rig = Rig::new();
    let link = rig.link();
    let [first, second] = [rig.forward(0), rig.forward(1)];
    assert_eq!(rig.entries(link), [first, second]);
    rig.wait_secs(PATIENCE);
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
    rig.ack(link, first);
    assert_eq!(rig.peer.buffered(), 1, "the ack that proves that the gateway read on is an ack");
    let mut rig = Rig::new();
    let link = rig.link();
    let late = rig.forward(0);
    assert_eq!(rig.entries(link), [late]);
    rig.wait_secs(PATIENCE);
    pong(&mut rig, link);
    rig.ack(link, late);
    assert_eq!(rig.peer.stats().stray_acks, 1);
    let next = rig.forward(1);
    assert_eq!(rig.entries(link), [next]);
    for _ in 0..5 {
        stay(&mut rig, link);
    }
    assert_eq!(rig.peer.buffered(), 1, "held to its acks from now on");
}

// proves: CONN-3, CONN-7
#[test]
fn after_a_restart_a_gateway_is_unproven_until_it_acknowledges_a_forward_again() {
    let mut rig = Rig::on(Store::default(), Settings::default(), 1);
    let link = rig.link();
    let [first, second, third] = [rig.forward(0), rig.forward(1), rig.forward(2)];
    assert_eq!(rig.entries(link), [first, second, third]);
    rig.ack(link, first);
    stay(&mut rig, link);
    assert_eq!(rig.peer.buffered(), 2, "proven");
    let mut rig = Rig::on(rig.store.take().unwrap(), Settings::default(), 2);
    let link = rig.link();
    assert_eq!(rig.entries(link), [second, third], "what it did not acknowledge comes again");
    rig.wait_secs(PATIENCE - 1);
    rig.ack(link, second);
    stay(&mut rig, link);
    assert_eq!(rig.peer.buffered(), 1, "one ack in time proves it again");
    let mut rig = Rig::on(rig.store.take().unwrap(), Settings::default(), 3);
    let link = rig.link();
    assert_eq!(rig.entries(link), [third]);
    rig.wait_secs(PATIENCE);
    pong(&mut rig, link);
    assert_eq!(
        (rig.peer.buffered(), rig.store.unwrap().durable.len()),
        (0, 0),
        "the price of being too slow just then"
    );
}
