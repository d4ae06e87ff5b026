//! relay-blocking: its threads, over sockets that block, take nothing, break, and are closed under a reader.

use std::time::Duration;

use relay_blocking::{Event, NotYet, Outcome, RequestOptions};
use relay_schedules::calls::{ask, ask_patiently, patient};
use relay_schedules::{Threads, config, explore, quick, repeat, sleep, wait};
use simulated::{thread, time};

// proves: REQ-1, REQ-2
#[test]
fn a_link_is_cut_under_requests() {
    explore(3000, || {
        let (mut threads, events) = Threads::ready(quick());
        threads.run(|gateway, connector| {
            ask(&gateway, &connector, "a1", &RequestOptions::default());
            ask(&gateway, &connector, "a2", &RequestOptions::default());
        });
        threads.run(|gateway, connector| {
            ask_patiently(&gateway, &connector, "b");
            gateway.close();
        });
        threads.run(|_, connector| connector.cut());
        threads.run(move |_, _| events.for_each(|event| sleep(&event)));
        threads.end();
    });
}

// proves: CLOSE-1, REQ-1
#[test]
fn a_gateway_is_closed_at_any_moment() {
    explore(3000, closed_at_any_moment);
}

/// Whatever fails can be replayed.
#[test]
fn an_order_is_all_that_decides() {
    repeat(200, closed_at_any_moment);
}

fn closed_at_any_moment() {
    let (mut threads, events) = Threads::new(quick());
    threads.connector.deliver("1");
    threads.run(|gateway, connector| {
        ask(&gateway, &connector, "a", &patient());
        gateway.go_idle();
    });
    threads.run(|_, connector| connector.cut());
    threads.run(move |_, _| {
        let mut last = None;
        for event in events {
            sleep(&event);
            match event {
                Event::Delivery(delivery) => delivery.ack(),
                event => last = Some(event),
            }
        }
        assert!(matches!(last, Some(Event::Closed)), "CLOSE-1: {last:?}");
    });
    threads.close();
}

// proves: CLOSE-1, REQ-1
#[test]
fn a_gateway_is_closed_over_a_backlog() {
    explore(2000, || {
        let (mut threads, events) = Threads::ready(quick());
        for _ in 0..5 {
            threads.connector.deliver(&"x".repeat(700));
        }
        threads.run(|gateway, connector| {
            ask(&gateway, &connector, "a", &patient());
        });
        threads.run(move |gateway, _| {
            // Read only when all is over.
            gateway.ended();
            let last = events.last();
            assert!(matches!(last, Some(Event::Closed)), "CLOSE-1: {last:?}");
        });
        threads.close();
    });
}

// proves: CLOSE-1
#[test]
fn the_last_handle_goes_at_any_moment() {
    explore(3000, || {
        let (mut threads, events) = Threads::new(quick());
        threads.connector.deliver("1");
        threads.run(|gateway, _| drop(gateway));
        threads.run(move |_, _| drop(events));
        threads.end();
    });
}

#[test]
fn a_gateway_is_closed_while_its_name_is_looked_up() {
    explore(2000, || {
        let named = relay_blocking::Config::new("ws://connector.invalid:1").identity("discord", "b");
        let (mut threads, events) = Threads::new(named);
        threads.run(|gateway, _| drop(gateway.as_async().ended()));
        threads.run(move |_, _| events.for_each(|event| sleep(&event)));
        threads.close();
    });
}

// proves: REQ-7
#[test]
fn events_that_nobody_reads_hold_the_link_back_and_let_it_go_on() {
    explore(3000, || {
        let (mut threads, mut events) = Threads::ready(quick());
        for _ in 0..5 {
            threads.connector.deliver(&"x".repeat(700));
        }
        threads.run(|gateway, connector| {
            let outcome = ask(&gateway, &connector, "a", &RequestOptions::default());
            assert!(matches!(outcome, Outcome::Result(_)), "REQ-7: {outcome:?}");
        });
        // What a reader acknowledges and then no call sends is sent when the link's thread has stood by for long enough.
        threads.tick();
        threads.run(move |_, connector| {
            for _ in 0..5 {
                match events.next() {
                    Some(Event::Delivery(delivery)) => delivery.ack(),
                    other => panic!("{other:?}"),
                }
            }
            connector.wait_for_acks(5);
        });
        threads.end();
    });
}

#[test]
fn a_socket_takes_nothing_for_a_while() {
    explore(3000, || {
        let (mut threads, events) = Threads::ready(config());
        threads.connector.make_room(10);
        drop(events);
        for name in ["a", "b"] {
            threads.run(move |gateway, connector| {
                let outcome = ask(&gateway, &connector, name, &RequestOptions::default());
                assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}");
            });
        }
        threads.run(|_, connector| {
            connector.make_room(50);
            connector.make_room(usize::MAX);
        });
        threads.end();
    });
}

// proves: LINK-2, REQ-2
#[test]
fn a_socket_breaks_while_it_takes_nothing() {
    explore(3000, || {
        let (mut threads, events) = Threads::ready(quick());
        threads.connector.make_room(10);
        for name in ["a", "b"] {
            threads.run(move |gateway, connector| {
                ask(&gateway, &connector, name, &RequestOptions::default());
                ask_patiently(&gateway, &connector, &format!("{name} again"));
            });
        }
        threads.run(|_, connector| connector.cut());
        threads.run(move |gateway, _| {
            drop(gateway);
            events.for_each(|event| sleep(&event));
        });
        threads.close_after(2);
    });
}

// proves: CLOSE-1, REQ-1
#[test]
fn a_socket_takes_nothing_until_the_end() {
    explore(3000, || {
        let (mut threads, events) = Threads::ready(config());
        threads.connector.make_room(10);
        for name in ["a", "b"] {
            threads.run(move |gateway, connector| {
                let outcome = ask(&gateway, &connector, name, &RequestOptions::default());
                assert!(!matches!(outcome, Outcome::Result(_)), "{outcome:?}");
            });
        }
        drop(events);
        let end = threads.gateway.as_async().close();
        while !threads.gateway.state().is_terminal() {
            // Others come first, or time would pass while nobody could do anything about it.
            thread::yield_now();
            time::advance(Duration::from_secs(10));
        }
        wait(end);
        threads.end();
    });
}

#[test]
fn a_reader_waits_for_some_time_only() {
    explore(3000, || {
        let (mut threads, mut events) = Threads::ready(config());
        threads.run(|_, connector| {
            connector.deliver("1");
            time::advance(Duration::from_secs(1));
            connector.deliver("2");
            time::advance(Duration::from_secs(1));
        });
        threads.run(move |_, _| {
            let mut seen = Vec::new();
            let mut late = 0;
            while seen.len() < 2 {
                match events.next_timeout(Duration::from_secs(if late < 2 { 1 } else { 1000 })) {
                    Ok(Some(Event::Delivery(delivery))) => {
                        seen.push(delivery.message().expect("a message").text().to_owned());
                        delivery.ack();
                    }
                    Err(NotYet) => late += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(seen, ["1", "2"]);
            assert!(late <= 2, "two seconds passed, and no more");
            assert_eq!(events.try_next().map(|event| event.is_none()), Err(NotYet));
        });
        threads.end();
    });
}
