//! relay-blocking: calls that wait read the socket for themselves, and for each other.
//!
//! The clock stands still unless a scenario says otherwise. So the link's thread, once it stands by, does so until it is
//! told that it has to read: a call that ends and leaves others waiting without a reader is a deadlock.

use std::time::Duration;

use relay_blocking::{Event, NotYet, Outcome, RequestOptions, State, block_on};
use relay_schedules::calls::{ask, ask_patiently, get, patient, rows_of_calls_through_little_room, until_linked_again};
use relay_schedules::{Connector, Threads, config, explore, polled, quick};
use simulated::{switch, thread, time};

// proves: REQ-1
#[test]
fn two_calls_wait_at_once_and_one_is_answered_before_the_other() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(config());
        drop(events);
        threads.connector.answer(false);
        for name in ["a", "b"] {
            threads.run(move |gateway, connector| get(&gateway, &connector, name));
        }
        threads.run(|_, connector| {
            connector.answer_one();
            connector.answer_one();
        });
        threads.end();
    });
}

// proves: REQ-1
#[test]
fn rows_of_calls_hand_the_socket_to_each_other() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(config());
        drop(events);
        for names in [["a1", "a2", "a3"], ["b1", "b2", "b3"], ["c1", "c2", "c3"]] {
            threads.run(move |gateway, connector| names.iter().for_each(|name| get(&gateway, &connector, name)));
        }
        threads.end();
    });
}

// proves: REQ-1
#[test]
fn a_call_ends_while_another_and_the_reader_of_events_wait() {
    explore(4000, || {
        let (mut threads, mut events) = Threads::ready(config());
        threads.run(|gateway, connector| get(&gateway, &connector, "a"));
        threads.run(move |gateway, connector| {
            let first = events.next();
            assert!(matches!(first, Some(Event::Delivery(_))), "{first:?}");
            get(&gateway, &connector, "b");
            let second = events.next();
            assert!(matches!(second, Some(Event::Delivery(_))), "{second:?}");
        });
        threads.run(|_, connector| {
            connector.deliver("1");
            switch();
            connector.deliver("2");
        });
        threads.end();
    });
}

/// A second passes while it reads, or before, or after.
#[test]
fn a_call_comes_to_its_time_while_it_reads() {
    explore(4000, || {
        let (mut threads, mut events) = Threads::ready(config());
        threads.connector.answer(false);
        threads.run(move |_, _| {
            // When the second has passed before it begins, the event comes in time.
            match events.next_timeout(Duration::from_secs(1)) {
                Err(NotYet) | Ok(Some(Event::Delivery(_))) => {}
                other => panic!("{other:?}"),
            }
        });
        threads.run(|gateway, connector| get(&gateway, &connector, "a"));
        threads.run(|_, connector| {
            time::advance(Duration::from_secs(1));
            connector.answer_one();
            switch();
            connector.deliver("1");
        });
        threads.end();
    });
}

/// The request that comes to its time is one that others may read for.
#[test]
fn a_request_comes_to_its_time_while_others_wait() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(config());
        drop(events);
        threads.connector.answer(false);
        threads.run(|gateway, connector| {
            let short = RequestOptions::default().timeout(Duration::from_secs(1));
            ask(&gateway, &connector, "a", &short);
        });
        threads.run(|gateway, connector| get(&gateway, &connector, "b"));
        threads.run(|_, connector| {
            time::advance(Duration::from_secs(1));
            connector.answer(true);
        });
        threads.end();
    });
}

// proves: CLOSE-1, REQ-1
#[test]
fn another_thread_closes_while_calls_read() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(config());
        drop(events);
        threads.connector.answer(false);
        for name in ["a", "b"] {
            threads.run(move |gateway, connector| drop(ask(&gateway, &connector, name, &RequestOptions::default())));
        }
        threads.run(|gateway, _| assert_eq!(gateway.ended(), State::Closed));
        threads.run(|_, connector| {
            connector.answer_one();
            connector.answer(true);
        });
        threads.close();
    });
}

// proves: LINK-2, REQ-1
#[test]
fn a_link_ends_under_calls_and_another_takes_its_place() {
    explore(8000, || {
        let (mut threads, events) = Threads::ready(quick());
        drop(events);
        for names in [["a1", "a2"], ["b1", "b2"]] {
            threads.run(move |gateway, connector| {
                for name in names {
                    ask_patiently(&gateway, &connector, name);
                }
            });
        }
        threads.run(|_, connector| {
            connector.cut();
            // It dials after 10 ms, and from then on time stands still.
            until_linked_again(&connector, Duration::from_millis(10));
        });
        threads.end();
    });
}

// proves: REQ-7
#[test]
fn calls_wait_behind_a_queue_that_is_full() {
    explore(4000, || {
        let (mut threads, mut events) = Threads::ready(quick());
        for _ in 0..3 {
            threads.connector.deliver(&"x".repeat(700));
        }
        for name in ["a", "b"] {
            threads.run(move |gateway, connector| get(&gateway, &connector, name));
        }
        threads.run(move |gateway, connector| {
            for _ in 0..3 {
                match events.next() {
                    Some(Event::Delivery(delivery)) => delivery.ack(),
                    other => panic!("{other:?}"),
                }
            }
            // Whatever it says next takes the acknowledgements along, and no time has to pass for it.
            get(&gateway, &connector, "c");
            connector.wait_for_acks(3);
        });
        threads.end();
    });
}

// proves: REQ-1
#[test]
fn a_socket_takes_nothing_for_a_while_under_calls_that_read() {
    explore(4000, || rows_of_calls_through_little_room(Threads::ready(config())));
}

/// Acknowledgements that are put off go out although nobody says or reads anything after them.
#[test]
fn what_was_put_off_is_sent_when_nothing_else_is() {
    explore(6000, || {
        let (mut threads, mut events) = Threads::ready(config());
        threads.tick();
        for text in ["1", "2", "3"] {
            threads.connector.deliver(text);
        }
        threads.run(|gateway, connector| get(&gateway, &connector, "a"));
        threads.run(move |_, connector| {
            for _ in 0..2 {
                match events.next() {
                    Some(Event::Delivery(delivery)) => delivery.ack(),
                    other => panic!("{other:?}"),
                }
            }
            // The third may be there, and is not read.
            connector.wait_for_acks(2);
        });
        threads.end();
    });
}

/// Nobody else is there to notice: no call is under way, and no thread of the link stands by.
#[test]
fn what_is_said_on_another_thread_than_the_calls_is_sent() {
    explore(4000, || {
        let (mut threads, mut events) = Threads::ready(config());
        for text in ["1", "2"] {
            threads.connector.deliver(text);
        }
        let Some(Event::Delivery(first)) = events.next() else { panic!("a message") };
        let Some(Event::Delivery(second)) = events.next() else { panic!("a message") };
        threads.tick();
        threads.run(move |_, _| drop(events));
        threads.run(move |_, _| first.ack());
        threads.run(move |_, _| second.ack());
        threads.run(|_, connector| connector.wait_for_acks(2));
        threads.end();
    });
}

// proves: CLOSE-1
#[test]
fn the_last_handle_goes_while_a_future_waits() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(config());
        threads.tick();
        threads.connector.answer(false);
        threads.run(|gateway, connector| {
            let call = gateway.as_async().call(&Connector::request("a"), &RequestOptions::default());
            drop(gateway);
            connector.check("a", &block_on(call));
        });
        threads.run(move |_, connector| {
            connector.answer(true);
            drop(events);
        });
        threads.run(|gateway, _| drop(gateway));
        threads.end();
    });
}

// proves: REQ-1
#[test]
fn a_future_is_given_up_while_a_call_reads() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(config());
        drop(events);
        threads.run(|gateway, connector| {
            get(&gateway, &connector, "a");
            get(&gateway, &connector, "b");
        });
        threads.run(|gateway, connector| {
            let call = gateway.as_async().call(&Connector::request("c"), &RequestOptions::default());
            let mut call = Box::pin(call);
            let _ = polled(call.as_mut());
            switch();
            drop(call);
            get(&gateway, &connector, "d");
        });
        threads.end();
    });
}

/// The link's thread stands by for calls, and a future is none: it has the socket back when a while has passed.
#[test]
fn a_future_is_served_after_calls() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(config());
        drop(events);
        threads.tick();
        for names in [["a1", "a2"], ["b1", "b2"]] {
            threads.run(move |gateway, connector| {
                get(&gateway, &connector, names[0]);
                let call = gateway.as_async().call(&Connector::request(names[1]), &RequestOptions::default());
                let outcome = block_on(call);
                assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}");
            });
        }
        threads.end();
    });
}

/// Who waits for a moment only does not read, and is served by whoever does, or by the link's thread after a while.
#[test]
fn short_waits_are_served_beside_calls() {
    explore(4000, || {
        let (mut threads, mut events) = Threads::ready(config());
        threads.tick();
        threads.run(|gateway, connector| {
            get(&gateway, &connector, "a");
            connector.deliver("1");
            get(&gateway, &connector, "b");
        });
        threads.run(move |_, _| {
            loop {
                match events.next_timeout(Duration::from_millis(5)) {
                    Err(NotYet) => thread::yield_now(),
                    Ok(Some(Event::Delivery(delivery))) => return delivery.ack(),
                    other => panic!("{other:?}"),
                }
            }
        });
        threads.run(|_, connector| connector.wait_for_acks(1));
        threads.end();
    });
}

/// The link goes without a fault while calls read it, and some of them wait for the next one.
#[test]
fn a_link_is_given_up_under_calls() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(config());
        drop(events);
        let patient = || RequestOptions::default().wait_for_link();
        threads.run(move |gateway, connector| {
            for name in ["a1", "a2", "a3"] {
                ask(&gateway, &connector, name, &patient());
            }
        });
        threads.run(move |gateway, connector| {
            gateway.reconnect();
            ask(&gateway, &connector, "b", &patient());
        });
        threads.run(|gateway, _| assert_eq!(gateway.ended(), State::Closed));
        threads.close_after(2);
    });
}

/// The same, by the gateway's own wish to sleep.
#[test]
fn a_gateway_sleeps_and_wakes_under_calls() {
    explore(4000, || {
        let (mut threads, events) = Threads::ready(config());
        drop(events);
        threads.run(move |gateway, connector| {
            for name in ["a1", "a2"] {
                ask(&gateway, &connector, name, &patient());
            }
        });
        threads.run(move |gateway, connector| {
            let _ = gateway.go_dormant();
            gateway.wake();
            ask(&gateway, &connector, "b", &patient());
        });
        threads.close_after(2);
    });
}
