//! Events and deliveries: none is lost, none is shown twice, and who reads them late holds nobody up for ever.

use std::collections::BTreeMap;
use std::pin::pin;

use relay_proto::client::{Event, Events};
use relay_proto::gateway::{Outcome, RequestOptions, State};
use relay_schedules::{Connector, World, config, explore, polled, quick, read, wait};
use simulated::thread;

fn text(event: &Event) -> Option<String> {
    match event {
        Event::Delivery(delivery) => delivery.message().map(|message| message.text().to_owned()),
        _ => None,
    }
}

/// Reads one event, by a reader who gives up and begins anew whenever there is none.
fn fickle(events: &mut Events) -> Event {
    loop {
        let first = match polled(pin!(events.next())) {
            Ok(event) => return event.expect("more events"),
            Err(first) => first,
        };
        match polled(pin!(events.next())) {
            Ok(event) => return event.expect("more events"),
            Err(second) => second.wait(),
        }
        drop(first);
    }
}

// proves: ACK-4
#[test]
fn a_reader_who_gives_up_loses_nothing() {
    explore(4000, || {
        let (mut world, mut events) = World::ready(config());
        world.run(|_, connector| {
            for text in ["1", "2", "3"] {
                connector.deliver(text);
            }
        });
        world.run(|gateway, _| {
            wait(gateway.state_changed(State::Ready));
        });
        world.run(move |gateway, _| {
            let mut seen = Vec::new();
            while seen.len() < 3 {
                let event = fickle(&mut events);
                seen.extend(text(&event));
                match event {
                    Event::Delivery(delivery) => delivery.ack(),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(seen, ["1", "2", "3"], "ACK-4");
            drop(gateway.close());
        });
        world.end();
    });
}

// proves: REQ-7
#[test]
fn events_that_nobody_reads_hold_the_link_back_and_let_it_go_on() {
    explore(4000, || {
        let (mut world, mut events) = World::ready(quick());
        let long = "x".repeat(700);
        for _ in 0..5 {
            world.connector.deliver(&long);
        }
        world.run(|gateway, connector| {
            let outcome = wait(gateway.call(&Connector::request("a"), &RequestOptions::default()));
            connector.check("a", &outcome);
            assert!(matches!(outcome, Outcome::Result(_)), "REQ-7: {outcome:?}");
        });
        world.run(move |_, connector| {
            for _ in 0..5 {
                match wait(events.next()) {
                    Some(Event::Delivery(delivery)) => delivery.ack(),
                    other => panic!("{other:?}"),
                }
            }
            connector.wait_for_acks(5);
        });
        world.end();
    });
}

// proves: ACK-6
#[test]
fn nobody_is_left_to_read() {
    explore(4000, || {
        let (mut world, events) = World::ready(quick());
        let long = "x".repeat(700);
        for _ in 0..5 {
            world.connector.deliver(&long);
        }
        world.run(move |gateway, connector| {
            drop(events);
            for name in ["a", "b"] {
                let outcome = wait(gateway.call(&Connector::request(name), &RequestOptions::default()));
                connector.check(name, &outcome);
                assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}");
            }
            // They were sent before the results, and none is kept for a reader.
            assert_eq!(gateway.stats().dropped, 5, "ACK-6");
        });
        world.end();
    });
}

// proves: ACK-4, ACK-6
#[test]
fn deliveries_are_taken_while_links_come_and_go() {
    explore(4000, || {
        let (mut world, events) = World::ready(config());
        for text in ["kept", "given back", "dropped"] {
            world.connector.deliver(text);
        }
        world.run(|_, connector| connector.cut());
        world.run(|gateway, connector| {
            connector.wait_for_acks(3);
            assert_eq!(connector.buffered(), 0);
            drop(gateway.close());
        });
        world.run(move |gateway, _| {
            let mut shown: BTreeMap<String, usize> = BTreeMap::new();
            let mut takers = Vec::new();
            read(events, |event| {
                let Event::Delivery(delivery) = event else { return };
                let text = delivery.message().expect("a message").text().to_owned();
                let times = shown.entry(text.clone()).or_default();
                *times += 1;
                let again = *times == 1;
                let gateway = gateway.clone();
                takers.push(thread::spawn(move || match text.as_str() {
                    "given back" if again => {
                        delivery.nack();
                        gateway.reconnect();
                    }
                    "dropped" if again => {
                        drop(delivery);
                        gateway.reconnect();
                    }
                    _ => delivery.ack(),
                }));
            });
            for taker in takers {
                taker.join().expect("a thread that does not panic");
            }
            let shown: Vec<_> = shown.iter().map(|(text, times)| (text.as_str(), *times)).collect();
            assert_eq!(shown, [("dropped", 2), ("given back", 2), ("kept", 1)], "ACK-4");
        });
        world.end();
    });
}
