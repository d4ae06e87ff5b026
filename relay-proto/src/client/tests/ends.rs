//! What ends, and what is left of it.

use super::*;

// proves: REQ-1, CLOSE-1
#[test]
fn a_driver_that_is_dropped_ends_every_future() {
    for early in [false, true] {
        let mut bench = if early { Bench::new(config()) } else { Bench::ready(config()) };
        let mut call = bench.call();
        let gateway = bench.gateway.clone();
        let mut patient = Box::pin({
            let options = RequestOptions { wait_for_link: true, ..RequestOptions::default() };
            gateway.call(&Action::typing("c").to_json(), &options)
        });
        let mut idle = Box::pin(gateway.go_idle());
        let mut end = Box::pin(gateway.ended());
        let state = gateway.state();
        let mut change = Box::pin(gateway.state_changed(state));
        let mut next = Box::pin(bench.events.next());
        let (wakes, waker) = Wakes::new();
        if early {
            assert_eq!(poll(call.as_mut(), &waker), Poll::Ready(Outcome::NotSent(NotSent::NoLink)));
        } else {
            assert!(poll(call.as_mut(), &waker).is_pending());
            let _ = poll(bench.driving.as_mut(), &bench.waker);
        }
        assert!(poll(patient.as_mut(), &waker).is_pending());
        let _ = poll(idle.as_mut(), &waker);
        assert!(poll(end.as_mut(), &waker).is_pending());
        assert!(poll(change.as_mut(), &waker).is_pending());
        assert!(poll(next.as_mut(), &waker).is_pending());
        drop(bench.driving);
        assert!(wakes.take() >= 4, "everyone is woken");
        if !early {
            assert_eq!(poll(call.as_mut(), &waker), Poll::Ready(Outcome::Ambiguous(Ambiguous::ShutDown)));
            assert!(poll(idle.as_mut(), &waker).is_ready());
        }
        assert!(poll(patient.as_mut(), &waker).is_ready());
        assert_eq!(poll(end.as_mut(), &waker), Poll::Ready(State::Closed));
        assert_eq!(poll(change.as_mut(), &waker), Poll::Ready(State::Closed));
        assert!(matches!(poll(next.as_mut(), &waker), Poll::Ready(Some(Event::Closed))));
        drop(next);
        assert!(matches!(poll(pin!(bench.events.next()), &waker), Poll::Ready(None)));
        assert_eq!(bench.net.sockets.load(Ordering::SeqCst), 0);
    }
}

// proves: CLOSE-1
#[test]
fn dropping_every_handle_ends_the_driver_and_its_socket() {
    let mut bench = Bench::ready(config());
    bench.send_message(Some(1), "held");
    bench.settle();
    let delivery = bench.event().unwrap();
    let call = bench.call();
    let (driving, waker, net) = (&mut bench.driving, &bench.waker, &bench.net);
    drop((bench.gateway, bench.events, call));
    let _ = poll(driving.as_mut(), waker);
    bench.server.handle_bytes(&std::mem::take(&mut net.pipe.lock().unwrap().outbound));
    bench.server.send_text("{\"type\":\"going_idle_ack\"}\n".into());
    net.pipe.lock().unwrap().inbound.extend(bench.server.transmit());
    bench.server.consume(usize::MAX);
    assert!(poll(driving.as_mut(), waker).is_pending());
    bench.server.handle_bytes(&std::mem::take(&mut net.pipe.lock().unwrap().outbound));
    net.pipe.lock().unwrap().inbound.extend(bench.server.transmit());
    assert!(poll(driving.as_mut(), waker).is_ready());
    assert_eq!(net.sockets.load(Ordering::SeqCst), 0);
    drop(delivery);
}

// proves: REQ-3
#[test]
fn what_is_dropped_leaves_nothing_behind() {
    let bench = Bench::ready(config());
    for _ in 0..1000 {
        // As tasks of their own would poll them.
        let (_, waker) = Wakes::new();
        let _ = poll(pin!(bench.call()), &waker);
        let _ = poll(pin!(bench.gateway.go_idle()), &waker);
        let _ = poll(pin!(bench.gateway.ended()), &waker);
        let _ = poll(pin!(bench.gateway.state_changed(State::Ready)), &waker);
    }
    let (wakes, waker) = Wakes::new();
    let kept = Arc::strong_count(&wakes);
    let _ = poll(pin!(bench.gateway.ended()), &waker);
    let _ = poll(pin!(bench.gateway.state_changed(State::Ready)), &waker);
    let _ = poll(pin!(bench.call()), &waker);
    assert_eq!(Arc::strong_count(&wakes), kept, "nothing keeps a task that waits no longer");
    assert_eq!(bench.gateway.waiting(), 0);
}

#[test]
fn who_waits_for_the_end_is_woken_by_the_end_alone() {
    let mut bench = Bench::ready(config());
    let (wakes, waker) = Wakes::new();
    let mut end = pin!(bench.gateway.ended());
    assert!(poll(end.as_mut(), &waker).is_pending());
    bench.gateway.reconnect();
    bench.settle();
    bench.link();
    assert_eq!(wakes.take(), 0);
    drop(bench.driving);
    assert_eq!(wakes.take(), 1);
    assert_eq!(poll(end.as_mut(), &waker), Poll::Ready(State::Closed));
}

/// A program that only sends drops its events.
#[test]
fn a_gateway_without_a_reader_holds_no_link_back() {
    let limits = Limits { queue: 4096, queue_hard: 16_384, ..Limits::default() };
    let mut bench = Bench::ready(config().limits(limits));
    let (_gateway, reader, _driver) = gateway(config().build().unwrap(), None);
    drop(std::mem::replace(&mut bench.events, reader));
    let text = "x".repeat(5000);
    for n in 0..20 {
        let mut call = bench.call();
        bench.send_message(Some(n), &text);
        bench.settle();
        bench.answer(n);
        bench.settle();
        assert!(matches!(poll(call.as_mut(), &bench.waker), Poll::Ready(Outcome::Result(_))), "{n}");
    }
    let stats = bench.gateway.stats();
    assert_eq!((stats.links, stats.dropped, stats.acks_sent), (1, 20, 0), "nobody took them: they may come again");
}

// proves: LINK-2
#[test]
fn a_connection_that_ends_is_dropped_and_its_requests_end() {
    let mut bench = Bench::ready(config());
    let mut call = bench.call();
    bench.settle();
    let reader = {
        let mut pipe = bench.net.pipe.lock().unwrap();
        pipe.end = true;
        pipe.reader.take()
    };
    reader.unwrap().wake();
    bench.turn();
    assert_eq!(bench.sockets(), 0);
    assert_eq!(poll(call.as_mut(), &bench.waker), Poll::Ready(Outcome::Ambiguous(Ambiguous::LinkLost)));
    let Some(Event::Disconnected { ended, retry_in: Some(_) }) = bench.event() else { panic!() };
    assert_eq!(ended.cause, Cause::Lost);
}
