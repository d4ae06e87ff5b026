//! Forwards to gateways that acknowledge none, as the reference does not up to 0.19.

use super::*;
use crate::connector::{AckPolicy, Limits, Notice, Reason, Timing};

const PATIENCE: u64 = 10;

/// The one thing to write is the ping that asks whether the gateway read on.
fn probe(rig: &mut Rig, link: LinkId) -> [u8; 8] {
    match rig.transmits(link)[..] {
        [Transmit::Probe(payload)] => payload,
        ref other => panic!("{other:?}"),
    }
}

fn answer(rig: &mut Rig, link: LinkId, payload: &[u8]) {
    rig.peer.handle_pong(link, payload, rig.now);
    rig.settle();
}

/// The gateway answers that ping.
fn pong(rig: &mut Rig, link: LinkId) {
    let payload = probe(rig, link);
    answer(rig, link, &payload);
}

/// The gateway stays on its link for longer than the patience, and answers pings.
fn stay(rig: &mut Rig, link: LinkId) {
    rig.wait_secs(25);
    for transmit in rig.transmits(link) {
        match transmit {
            Transmit::Ping => answer(rig, link, b""),
            Transmit::Probe(payload) => answer(rig, link, &payload),
            other => panic!("{other:?}"),
        }
    }
    rig.peer.handle_traffic(link, rig.now);
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
    assert!(rig.outputs.contains(&Output::Notice(Notice::ForwardAssumedAcked(forwards[0]))));
    let told =
        rig.events().into_iter().filter_map(|event| if let Event::AssumedAcked(id) = event { Some(id) } else { None });
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
    answer(&mut rig, link, b"");
    assert_eq!(rig.peer.buffered(), 1, "the ping has not even been written");
    let asked = probe(&mut rig, link);
    // A gateway that reads nothing may say all of this.
    rig.say(link, r#"{"type":"interrupt","session_key":"s","reason":null}"#);
    rig.peer.handle_traffic(link, rig.now);
    for payload in [&b""[..], &[0; 8], &asked[1..], &[&asked[..], b"\0"].concat()] {
        answer(&mut rig, link, payload);
    }
    assert_eq!(rig.peer.buffered(), 1, "none of it answers the ping");
    let late = rig.forward(1);
    assert_eq!(rig.entries(link), [late]);
    rig.wait_secs(PATIENCE);
    answer(&mut rig, link, &asked);
    assert_eq!(rig.peer.buffered(), 1, "the ping was written before the second forward");
    rig.wait(Duration::ZERO);
    let again = probe(&mut rig, link);
    answer(&mut rig, link, &asked);
    assert_eq!(rig.peer.buffered(), 1, "an answer that comes twice does not answer the next ping");
    answer(&mut rig, link, &again);
    assert_eq!(rig.peer.buffered(), 0);
}

// proves: CONN-3
#[test]
fn what_is_asked_cannot_be_known_before() {
    let asked = [1, 2].map(|epoch| {
        let mut rig = Rig::on(Store::default(), Settings::default(), epoch);
        let link = rig.link();
        let forward = rig.forward(0);
        assert_eq!(rig.entries(link), [forward]);
        rig.wait_secs(PATIENCE);
        probe(&mut rig, link)
    });
    assert_ne!(asked[0], asked[1], "the epoch is in it, which comes from the system's randomness");
}

// proves: CONN-3
#[test]
fn an_answer_on_another_link_proves_nothing() {
    let mut rig = Rig::new();
    let old = rig.link();
    let forward = rig.forward(0);
    assert_eq!(rig.entries(old), [forward]);
    rig.wait_secs(PATIENCE);
    let asked = probe(&mut rig, old);
    let link = rig.link();
    assert_eq!(rig.entries(link), [forward]);
    answer(&mut rig, old, &asked);
    answer(&mut rig, link, &asked);
    assert_eq!(rig.peer.buffered(), 1);
}

// proves: CONN-3
#[test]
fn a_forward_that_an_earlier_link_carried_further_is_not_asked_about_before_this_link_carries_it() {
    let mut rig = Rig::new();
    let first = rig.link();
    let [message, forward] = [rig.deliver(0), rig.forward(1)];
    assert_eq!(rig.entries(first), [message, forward]);
    let second = rig.link();
    // The socket takes no more than the message.
    assert!(matches!(rig.peer.poll_transmit(second), Some(Transmit::Text(_))));
    rig.wait_secs(PATIENCE);
    assert_ne!(rig.peer.poll_timeout().map(|deadline| deadline.reason), Some(Reason::Forward));
    assert_eq!(rig.entries(second), [forward]);
    let deadline = rig.peer.poll_timeout().unwrap();
    assert_eq!((deadline.at - rig.now.monotonic, deadline.reason), (Duration::from_secs(PATIENCE), Reason::Forward));
    rig.wait_secs(PATIENCE);
    pong(&mut rig, second);
    assert_eq!(rig.peer.buffered(), 1, "the message is left");
}

// proves: CONN-3
#[test]
fn a_peer_that_answers_the_latest_ping_alone_answers_the_probe() {
    let mut rig = Rig::new();
    let link = rig.link();
    let forward = rig.forward(0);
    assert_eq!(rig.entries(link), [forward]);
    rig.wait_secs(PATIENCE);
    let lost = probe(&mut rig, link);
    rig.wait_secs(30);
    assert_eq!(probe(&mut rig, link), lost, "while it is not answered, every ping asks the same");
    answer(&mut rig, link, &lost);
    assert_eq!(rig.peer.buffered(), 0);
    rig.wait_secs(30);
    assert_eq!(rig.transmits(link), [Transmit::Ping]);
}

// proves: CONN-3
#[test]
fn a_ping_that_waits_becomes_the_probe() {
    let timing = Timing { ping_after: Duration::from_secs(PATIENCE - 1), ..Timing::default() };
    let mut rig = Rig::with(Settings::new(timing, Limits::default()).unwrap());
    let link = rig.link();
    let forward = rig.forward(0);
    assert_eq!(rig.entries(link), [forward]);
    rig.wait_secs(PATIENCE - 1);
    rig.wait_secs(1);
    pong(&mut rig, link);
    assert_eq!(rig.peer.buffered(), 0);
}

// proves: CONN-3
#[test]
fn what_was_handed_out_is_presumed_taken_without_an_answer_where_that_was_asked_for() {
    let mut rig = Rig::with(Settings::default().with_acks(AckPolicy::Assumed));
    let link = rig.link();
    let forward = rig.forward(0);
    assert_eq!(rig.entries(link), [forward]);
    rig.wait_secs(PATIENCE);
    assert_eq!((rig.peer.buffered(), rig.transmits(link)), (0, alloc::vec![]));
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
    let asked = probe(&mut rig, link);
    rig.ack(link, first);
    answer(&mut rig, link, &asked);
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
