//! Who is woken, and how often.

use super::*;

#[test]
fn an_idle_link_wakes_nobody() {
    let mut bench = Bench::ready(config());
    let (reader, waker) = Wakes::new();
    assert!(bench.events.poll_next(&mut Context::from_waker(&waker)).is_pending());
    for _ in 0..100 {
        let gateway = bench.gateway.clone();
        let _ = (gateway.state(), gateway.stats(), gateway.descriptor(), gateway.descriptor_for("discord"));
        gateway.wake();
        gateway.release_redial();
        assert!(poll(pin!(gateway.ended()), &waker).is_pending());
        assert!(poll(pin!(gateway.state_changed(State::Ready)), &waker).is_pending());
        assert!(bench.events.poll_next(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!((bench.wakes.take(), reader.take()), (0, 0));
}

#[test]
fn a_row_of_commands_wakes_the_driver_once() {
    let mut bench = Bench::ready(config());
    for n in 0..100 {
        bench.send_message(Some(n), "hi");
    }
    bench.settle();
    while let Some(event) = bench.event() {
        let Event::Delivery(delivery) = event else { panic!("{event:?}") };
        delivery.ack();
    }
    let calls: Vec<_> = (0..100).map(|_| bench.call()).collect();
    bench.gateway.interrupt("s", None).unwrap();
    assert_eq!(bench.wakes.take(), 1);
    bench.settle();
    assert_eq!(bench.frames.len(), 201);
    drop(calls);
    assert_eq!(bench.wakes.take(), 0, "a request that nobody waits for is no news to the driver");
}

/// Every command, while the driver sleeps.
#[test]
fn a_driver_that_sleeps_misses_no_command() {
    type Command = fn(&Gateway) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>>;
    let commands: [(&str, Command); 6] = [
        ("outbound", |gateway| {
            let call = gateway.call(&Action::typing("c").to_json(), &RequestOptions::default());
            Some(Box::pin(async {
                let _ = call.await;
            }))
        }),
        ("interrupt", |gateway| gateway.interrupt("s", None).map(|()| None).unwrap()),
        ("going_idle", |gateway| {
            Some(Box::pin({
                let idle = gateway.go_idle();
                async {
                    let _ = idle.await;
                }
            }))
        }),
        ("going_idle", |gateway| {
            Some(Box::pin({
                let idle = gateway.go_dormant();
                async {
                    let _ = idle.await;
                }
            }))
        }),
        ("going_idle", |gateway| {
            Some(Box::pin({
                let end = gateway.close();
                async {
                    let _ = end.await;
                }
            }))
        }),
        ("", |gateway| {
            gateway.reconnect();
            None
        }),
    ];
    for (frame, command) in commands {
        let mut bench = Bench::ready(config());
        let waits = command(&bench.gateway);
        assert_eq!(bench.wakes.take(), 1, "{frame}");
        bench.turn();
        let sent = std::mem::take(&mut bench.net.pipe.lock().unwrap().outbound);
        assert!(!sent.is_empty(), "{frame}");
        bench.server.handle_bytes(&sent);
        if let (false, Some(ServerEvent::Message(text))) = (frame.is_empty(), bench.server.poll_event()) {
            assert!(text.windows(frame.len()).any(|part| part == frame.as_bytes()), "{frame}");
        }
        drop(waits);
    }
}

// proves: REQ-7
#[test]
fn the_driver_reads_again_once_events_are_read_or_a_result_is_awaited() {
    let limits = Limits { queue: 4096, ..Limits::default() };
    let mut bench = Bench::ready(config().limits(limits));
    let text = "x".repeat(5000);
    bench.send_message(None, &text);
    bench.settle();
    bench.send_message(None, &text);
    bench.deliver();
    bench.turn();
    assert!(!bench.net.pipe.lock().unwrap().inbound.is_empty(), "the queue is full: the bytes stay where they are");
    assert_eq!(bench.turn(), 1, "and nothing spins");
    let mut call = bench.call();
    assert_eq!(bench.wakes.take(), 1);
    bench.settle();
    assert!(bench.net.pipe.lock().unwrap().inbound.is_empty(), "somebody waits for a result");
    bench.answer(0);
    bench.settle();
    assert!(poll(call.as_mut(), &bench.waker).is_ready(), "it came past what nobody read");
    drop(call);
    bench.send_message(None, &text);
    bench.deliver();
    bench.turn();
    assert!(!bench.net.pipe.lock().unwrap().inbound.is_empty());
    assert!(bench.event().is_some());
    assert_eq!(bench.wakes.take(), 0, "still full");
    assert!(bench.event().is_some());
    assert_eq!(bench.wakes.take(), 1, "now there is room");
    bench.turn();
    assert!(bench.event().is_some());
}

#[test]
fn a_reader_of_many_events_is_woken_once_a_read() {
    let mut bench = Bench::ready(config());
    let (reader, waker) = Wakes::new();
    let (mut seen, mut wakes) = (0, 0);
    for _ in 0..100 {
        for _ in 0..100 {
            bench.send_message(None, "hi");
        }
        bench.deliver();
        while bench.wakes.take() > 0 {
            let _ = poll(bench.driving.as_mut(), &bench.waker);
            let woken = reader.take();
            wakes += woken;
            while let Poll::Ready(event) = bench.events.poll_next(&mut Context::from_waker(&waker)) {
                assert!(event.is_some());
                seen += 1;
            }
        }
        assert_eq!(reader.take(), 0, "reading wakes no reader");
    }
    assert_eq!(seen, 10_000);
    assert!(wakes <= 100, "{wakes}");
}

#[test]
fn a_socket_that_takes_nothing_does_not_spin() {
    let mut bench = Bench::ready(config());
    bench.net.pipe.lock().unwrap().room = 10;
    let calls: Vec<_> = (0..1000).map(|_| bench.call()).collect();
    bench.wakes.take();
    bench.turn();
    drop((calls, bench.call()));
    let calls: Vec<_> = (0..1000).map(|_| bench.call()).collect();
    assert_eq!(bench.wakes.take(), 0, "more of what cannot be written is no news");
    let writer = {
        let mut pipe = bench.net.pipe.lock().unwrap();
        pipe.room = usize::MAX;
        pipe.writer.take()
    };
    writer.expect("the driver waits for room").wake();
    bench.settle();
    assert!(bench.frames.len() > 1000, "{}", bench.frames.len());
    drop(calls);
}
