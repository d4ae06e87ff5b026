//! relay-blocking: how the right to read changes hands when a call ends without its result, and when the link does.
//!
//! As in `reading`, the clock stands still unless a scenario says otherwise, so that nobody takes back a right that was
//! not given back.

use std::time::Duration;

use relay_blocking::{Event, NotYet, Outcome, RequestOptions, State, block_on};
use relay_schedules::calls::{ask, ask_patiently, get, rows_of_calls_through_little_room, until_linked_again};
use relay_schedules::{Connector, Threads, config, explore, quick, sleep};
use simulated::{net, thread, time};

/// Nothing ever comes that would end its read.
#[test]
fn a_wait_ends_by_its_time_although_nothing_comes() {
    explore(3000, || {
        let (mut threads, mut events) = Threads::ready(config());
        threads.connector.answer(false);
        threads.run(move |_, connector| {
            assert_eq!(events.next_timeout(Duration::from_secs(1)).map(drop), Err(NotYet));
            connector.answer(true);
        });
        threads.run(|gateway, connector| get(&gateway, &connector, "a"));
        threads.run(|_, connector| {
            while !connector.answers() {
                thread::yield_now();
                time::advance(Duration::from_millis(300));
            }
        });
        threads.end();
    });
}

/// Only futures wait when the calls are done, and for these nobody reads but the link's thread. It slept while the queue was
/// full, and a call may be the first to find that there is room.
#[test]
fn a_call_reads_on_where_the_links_thread_paused() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(quick());
        let mut events = events.into_async();
        threads.tick();
        for _ in 0..3 {
            threads.connector.deliver(&"x".repeat(700));
        }
        threads.run(|gateway, connector| {
            get(&gateway, &connector, "a");
            let outcome = block_on(gateway.as_async().call(&Connector::request("b"), &RequestOptions::default()));
            assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}");
        });
        threads.run(move |_, connector| {
            for _ in 0..3 {
                match block_on(events.next()) {
                    Some(Event::Delivery(delivery)) => delivery.ack(),
                    other => panic!("{other:?}"),
                }
            }
            connector.wait_for_acks(3);
        });
        threads.end();
    });
}

// proves: ACK-6, REQ-7
#[test]
fn the_reader_of_events_goes_while_calls_wait_behind_a_full_queue() {
    explore(3000, || {
        let (mut threads, mut events) = Threads::ready(quick());
        for _ in 0..4 {
            threads.connector.deliver(&"x".repeat(700));
        }
        for name in ["a", "b"] {
            threads.run(move |gateway, connector| get(&gateway, &connector, name));
        }
        threads.run(move |_, _| {
            drop(events.next());
            drop(events);
        });
        threads.end();
    });
}

// proves: LINK-2, REQ-1
#[test]
fn a_connector_hangs_up_under_calls() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(quick());
        drop(events);
        for names in [["a1", "a2"], ["b1", "b2"]] {
            threads
                .run(move |gateway, connector| names.iter().for_each(|name| ask_patiently(&gateway, &connector, name)));
        }
        threads.run(|_, connector| {
            connector.hang_up();
            until_linked_again(&connector, Duration::from_millis(10));
        });
        threads.end();
    });
}

// proves: LINK-2, REQ-1
#[test]
fn a_link_breaks_while_calls_read_and_write() {
    explore(6000, || {
        let (mut threads, events) = Threads::ready(quick());
        drop(events);
        threads.connector.make_room(60);
        for names in [["a1", "a2"], ["b1", "b2"], ["c1", "c2"]] {
            threads
                .run(move |gateway, connector| names.iter().for_each(|name| ask_patiently(&gateway, &connector, name)));
        }
        threads.run(|_, connector| {
            connector.make_room(60);
            connector.cut();
            until_linked_again(&connector, Duration::from_millis(10));
        });
        threads.end();
    });
}

/// Nobody reads it and nobody will, but for an acknowledgement that cannot be written.
// proves: LINK-2
#[test]
fn a_link_breaks_behind_a_queue_that_is_full() {
    explore(3000, || {
        let (mut threads, mut events) = Threads::ready(quick());
        threads.tick();
        for _ in 0..4 {
            threads.connector.deliver(&"x".repeat(700));
        }
        threads.run(move |gateway, connector| {
            let Some(Event::Delivery(delivery)) = events.next() else { panic!("a message") };
            connector.cut();
            delivery.ack();
            assert_ne!(gateway.state_changed(State::Ready), State::Ready);
        });
        threads.end();
    });
}

/// The deadlines are the gateway's own, and the driver's thread keeps them while calls read.
// proves: CLOCK-1, REQ-1
#[test]
fn a_link_falls_silent_under_calls() {
    explore(3000, || {
        let (mut threads, events) = Threads::ready(quick());
        drop(events);
        // A ping does not get there.
        threads.connector.make_room(0);
        for names in [["a1", "a2"], ["b1", "b2"]] {
            threads.run(move |gateway, connector| {
                ask(&gateway, &connector, names[0], &RequestOptions::default());
                ask(&gateway, &connector, names[1], &RequestOptions::default());
            });
        }
        threads.run(|_, connector| until_linked_again(&connector, Duration::from_secs(7)));
        threads.end();
    });
}

// proves: CLOSE-1, REQ-1
#[test]
fn everything_is_asked_for_and_closed_at_once() {
    explore(6000, || {
        let (mut threads, mut events) = Threads::new(quick());
        threads.connector.deliver("1");
        threads.run(|gateway, connector| {
            ask(&gateway, &connector, "a", &RequestOptions::default().wait_for_link());
            gateway.go_dormant();
        });
        threads.run(|gateway, connector| {
            let mut state = gateway.state();
            while state != State::Ready && !state.is_terminal() {
                state = gateway.state_changed(state);
            }
            gateway.reconnect();
            ask(&gateway, &connector, "b", &RequestOptions::default().wait_for_link());
        });
        threads.run(move |gateway, _| {
            let mut last = None;
            loop {
                match events.next_timeout(Duration::from_secs(1)) {
                    Ok(Some(event)) => {
                        sleep(&event);
                        last = Some(event);
                    }
                    Ok(None) => break,
                    Err(NotYet) => panic!("no second has passed"),
                }
            }
            assert!(matches!(last, Some(Event::Closed)), "CLOSE-1: {last:?}");
            assert_eq!(gateway.ended(), State::Closed);
        });
        threads.run(|gateway, _| assert_eq!(gateway.close(), State::Closed));
        threads.close();
    });
}

/// The last handle of all, and the reader of events, while others still wait for what was asked through it.
// proves: CLOSE-1
#[test]
fn the_last_handle_goes_while_a_call_reads() {
    explore(4000, || {
        let (mut threads, mut events) = Threads::ready(quick());
        threads.run(|gateway, connector| {
            let end = gateway.as_async().ended();
            ask(&gateway, &connector, "a", &RequestOptions::default());
            drop(gateway);
            assert_eq!(block_on(end), State::Closed);
        });
        threads.run(move |gateway, _| {
            drop(gateway);
            assert_eq!(events.try_next().map(drop), Err(NotYet));
        });
        threads.tick();
        threads.end();
    });
}

/// Where sockets cannot be told how long to wait, the link's thread reads and no call does.
mod without_timeouts {
    use super::*;

    // proves: REQ-1
    #[test]
    fn rows_of_calls() {
        explore(3000, || {
            net::without_timeouts();
            rows_of_calls_through_little_room(Threads::ready(config()));
        });
    }

    // proves: REQ-7
    #[test]
    fn a_full_queue() {
        explore(3000, || {
            net::without_timeouts();
            let (mut threads, mut events) = Threads::ready(quick());
            for _ in 0..3 {
                threads.connector.deliver(&"x".repeat(700));
            }
            threads.run(|gateway, connector| get(&gateway, &connector, "a"));
            threads.run(move |gateway, connector| {
                for _ in 0..3 {
                    assert!(matches!(events.next(), Some(Event::Delivery(_))));
                }
                get(&gateway, &connector, "b");
            });
            threads.end();
        });
    }

    // proves: CLOSE-1, LINK-2, REQ-1
    #[test]
    fn a_link_is_cut_and_the_gateway_closed() {
        explore(4000, || {
            net::without_timeouts();
            let (mut threads, events) = Threads::ready(quick());
            threads.connector.make_room(60);
            for names in [["a1", "a2"], ["b1", "b2"]] {
                threads.run(move |gateway, connector| {
                    for name in names {
                        ask_patiently(&gateway, &connector, name);
                    }
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
}
