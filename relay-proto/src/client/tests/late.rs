//! A process that was stopped: the time has passed, and what came meanwhile lies in the socket, unnoticed (CLOCK-4).

use super::*;

fn ended(call: &mut Pin<Box<dyn Future<Output = Outcome> + Send>>) -> Option<Outcome> {
    match poll(call.as_mut(), Waker::noop()) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

// proves: CLOCK-4, REQ-1
#[test]
fn a_result_that_came_in_time_is_one_however_late_the_driver_looks() {
    let mut bench = Bench::ready(config());
    let mut call = bench.call();
    bench.settle();
    // More than one read before the result.
    for n in 0..50 {
        bench.send_message(Some(n), &"x".repeat(10_000));
    }
    bench.answer(0);
    bench.stop(Duration::from_secs(33));
    bench.turn();
    assert!(matches!(ended(&mut call), Some(Outcome::Result(_))));
    // Without an answer it ends as it should.
    let mut call = bench.call();
    bench.settle();
    bench.stop(Duration::from_secs(33));
    bench.turn();
    assert_eq!(ended(&mut call), Some(Outcome::Ambiguous(Ambiguous::TimedOut)));
}

// proves: CLOCK-4, LINK-3
#[test]
fn a_peer_that_spoke_meanwhile_is_not_silent() {
    let mut bench = Bench::ready(config());
    for n in 0..10 {
        bench.send_message(Some(n), "hi");
    }
    bench.stop(Duration::from_secs(100));
    bench.settle();
    assert_eq!((bench.gateway.state(), bench.gateway.stats().dials), (State::Ready, 1));
    // One that said nothing is.
    bench.stop(Duration::from_secs(100));
    bench.turn();
    assert_eq!(bench.gateway.state(), State::Disconnected);
}

// proves: CLOCK-4, LINK-3
#[test]
fn a_socket_that_has_room_again_is_not_stalled() {
    for room in [0, usize::MAX] {
        let mut bench = Bench::ready(config());
        bench.net.pipe.lock().unwrap().room = 0;
        let call = bench.call();
        bench.settle();
        bench.send_message(None, "the peer is alive");
        bench.net.pipe.lock().unwrap().room = room;
        bench.stop(Duration::from_secs(100));
        bench.turn();
        let is_lost = bench.gateway.state() == State::Disconnected;
        assert_eq!(is_lost, room == 0);
        drop(call);
    }
}

// proves: CLOCK-4
#[test]
fn a_peer_that_talks_without_end_holds_no_deadline_up_for_ever() {
    let mut bench = Bench::ready(config());
    let mut call = bench.call();
    bench.settle();
    bench.net.pipe.lock().unwrap().endless = true;
    bench.stop(Duration::from_secs(33));
    let mut polls = 0;
    while ended(&mut call).is_none() {
        let _ = poll(bench.driving.as_mut(), &bench.waker);
        polls += 1;
        assert!(polls < 1000, "no end of it");
    }
}
