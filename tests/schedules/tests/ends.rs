//! Waiting for states and ends, and every way to end: at any moment of a gateway's life, whoever waits is told.

use std::pin::pin;

use relay_proto::client::{Event, Events, Gateway};
use relay_proto::gateway::{IdleOutcome, Outcome, RequestOptions, State};
use relay_schedules::{Connector, World, explore, polled, quick, read, wait};
use simulated::thread;

fn patient(gateway: &Gateway, connector: &Connector, name: &str) -> Outcome {
    let outcome = wait(gateway.call(&Connector::request(name), &RequestOptions::default().wait_for_link()));
    connector.check(name, &outcome);
    outcome
}

/// Somebody for everything that can be waited for.
fn everybody(world: &mut World, events: Events) {
    world.connector.deliver("1");
    world.connector.deliver("2");
    world.run(|gateway, connector| {
        patient(&gateway, &connector, "a");
        patient(&gateway, &connector, "b");
    });
    world.run(|gateway, _| {
        wait(gateway.go_idle());
        drop(gateway.go_dormant());
    });
    world.run(|gateway, _| {
        let mut state = gateway.state();
        while !state.is_terminal() {
            state = wait(gateway.state_changed(state));
        }
        assert_eq!(wait(gateway.ended()), State::Closed);
    });
    world.run(move |_, _| {
        let mut last = None;
        read(events, |event| {
            if let Event::Delivery(delivery) = event {
                delivery.ack();
            } else {
                last = Some(event);
            }
        });
        assert!(matches!(last, Some(Event::Closed)), "CLOSE-1: {last:?}");
    });
}

// proves: CLOSE-1, REQ-1
#[test]
fn a_gateway_is_closed_at_any_moment() {
    explore(6000, || {
        let (mut world, events) = World::new(quick());
        everybody(&mut world, events);
        world.run(|gateway, _| {
            gateway.reconnect();
            // Said, or there was nobody to say it to.
            let _ = gateway.interrupt("s", None);
            assert_eq!(wait(gateway.close()), State::Closed);
        });
        world.close();
    });
}

// proves: CLOSE-1, REQ-1
#[test]
fn a_gateway_is_closed_while_its_link_is_cut() {
    explore(6000, || {
        let (mut world, events) = World::new(quick());
        everybody(&mut world, events);
        world.run(|_, connector| {
            connector.cut();
            connector.refuse(true);
            connector.cut();
        });
        world.close();
    });
}

// proves: CLOSE-1, REQ-1
#[test]
fn a_gateway_is_closed_over_a_backlog() {
    explore(2000, || {
        let (mut world, events) = World::ready(quick());
        for _ in 0..5 {
            world.connector.deliver(&"x".repeat(700));
        }
        world.run(|gateway, connector| {
            patient(&gateway, &connector, "a");
        });
        world.run(move |gateway, _| {
            // Read only when all is over.
            wait(gateway.ended());
            let mut last = None;
            read(events, |event| last = Some(event));
            assert!(matches!(last, Some(Event::Closed)), "CLOSE-1: {last:?}");
        });
        world.close();
    });
}

// proves: CLOSE-1, REQ-1
#[test]
fn a_driver_is_dropped_at_any_moment() {
    explore(6000, || {
        let (mut world, events) = World::new(quick());
        everybody(&mut world, events);
        world.abort();
        world.end();
    });
}

// proves: CLOSE-1
#[test]
fn the_last_handle_goes_at_any_moment() {
    explore(6000, || {
        let (mut world, mut events) = World::new(quick());
        world.connector.deliver("1");
        world.run(|gateway, _| drop(gateway));
        world.run(|gateway, _| {
            let other = gateway.clone();
            drop(gateway);
            let call = Box::pin(other.call(&Connector::request("a"), &RequestOptions::default().wait_for_link()));
            // A request is no handle.
            drop(other);
            drop(call);
        });
        world.run(move |gateway, _| {
            drop(gateway);
            // What was read is no handle either.
            let event = polled(Box::pin(events.next()).as_mut());
            drop(events);
            drop(event);
        });
        world.end();
    });
}

#[test]
fn clones_wait_for_different_things() {
    explore(4000, || {
        let (mut world, events) = World::new(quick());
        world.run(|gateway, _| {
            let mut state = gateway.state();
            while state != State::Ready && !state.is_terminal() {
                state = wait(gateway.state_changed(state));
            }
            let mut end = Box::pin(gateway.ended());
            let other = gateway.clone();
            let second = thread::spawn(move || {
                assert_ne!(wait(other.state_changed(State::Ready)), State::Ready);
            });
            if let Err(pending) = polled(end.as_mut()) {
                pending.wait();
            }
            assert_eq!(wait(end), State::Closed);
            second.join().expect("a thread that does not panic");
        });
        world.run(move |_, _| read(events, drop));
        world.run(|gateway, connector| {
            patient(&gateway, &connector, "a");
            drop(gateway.close());
        });
        world.end();
    });
}

#[test]
fn calls_to_go_idle_end() {
    explore(4000, || {
        let (mut world, events) = World::ready(quick());
        world.connector.deliver("1");
        world.run(|gateway, _| {
            let outcome = wait(gateway.go_idle());
            assert!(matches!(outcome, IdleOutcome::Acknowledged | IdleOutcome::NoLink), "{outcome:?}");
            let _ = polled(pin!(gateway.go_idle()));
        });
        world.run(|gateway, _| {
            wait(gateway.go_dormant());
            gateway.wake();
            gateway.hold_redial();
            gateway.release_redial();
        });
        world.run(|_, connector| connector.cut());
        world.run(move |_, _| read(events, drop));
        world.close();
    });
}
