//! What users' code may do while it is called.

use super::*;

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    let mut bench = Bench::ready(config());
    let mut calls: Vec<_> = (0..3).map(|_| bench.call()).collect();
    bench.settle();
    let (wakes, waker) = Wakes::new();
    for (n, call) in calls.iter_mut().enumerate() {
        let waker = if n == 0 { on_wake(|| panic!("a waker of a user's, for a test")) } else { waker.clone() };
        assert!(poll(call.as_mut(), &waker).is_pending());
    }
    for n in 0..3 {
        bench.answer(n);
    }
    bench.settle();
    assert_eq!(wakes.take(), 2, "the others are woken");
    assert_eq!(bench.gateway.state(), State::Ready, "and the link lives");
    for call in &mut calls {
        assert!(poll(call.as_mut(), &waker).is_ready());
    }
}

#[test]
fn a_waker_may_drop_a_handle_when_it_is_dropped() {
    in_time(|| {
        let bench = Bench::ready(config());
        let with_gateway = || Waker::from(Arc::new(Holds(bench.gateway.clone())));
        let mut call = bench.call();
        let mut idle = Box::pin(bench.gateway.go_idle());
        let mut end = Box::pin(bench.gateway.ended());
        let mut next = bench.events;
        for _ in 0..3 {
            // Each waker replaces, and so drops, the one before.
            assert!(poll(call.as_mut(), &with_gateway()).is_pending());
            assert!(poll(idle.as_mut(), &with_gateway()).is_pending());
            assert!(poll(end.as_mut(), &with_gateway()).is_pending());
            assert!(next.poll_next(&mut Context::from_waker(&with_gateway())).is_pending());
        }
        drop((call, idle, end));
    });
}

thread_local! {
    static INNER: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

/// An executor may run a task from within its waker.
#[test]
fn a_waker_may_drive_another_gateway() {
    let mut outer = Bench::ready(config());
    let mut inner = Bench::ready(config());
    inner.send_message(None, "inner");
    inner.deliver();
    INNER.set(Some(inner));
    let waker = on_wake(|| {
        INNER.with_borrow_mut(|inner| inner.as_mut().map(Bench::turn));
    });
    assert!(outer.events.poll_next(&mut Context::from_waker(&waker)).is_pending());
    outer.send_message(None, "outer");
    outer.settle();
    assert!(matches!(outer.event(), Some(Event::Delivery(_))));
    assert!(matches!(INNER.take().unwrap().event(), Some(Event::Delivery(_))));
}

/// A subscriber that looks at the gateway whose news it is told.
#[cfg(feature = "tracing")]
#[test]
fn a_subscriber_may_use_the_gateway() {
    use tracing::span;
    struct Nosy(Gateway, Arc<AtomicUsize>);
    impl tracing::Subscriber for Nosy {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            if event.metadata().target() == "relay" {
                let _ = self.0.state();
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }
    in_time(|| {
        let mut bench = Bench::new(config());
        let told = Arc::new(AtomicUsize::new(0));
        let nosy = Nosy(bench.gateway.clone(), told.clone());
        // For every thread: `tracing` remembers of a log line whether the first thread that came by had a subscriber.
        tracing::subscriber::set_global_default(nosy).unwrap();
        bench.link();
        bench.send("garbage");
        bench.settle();
        assert!(told.load(Ordering::SeqCst) >= 3, "states and a skipped line");
    });
}
