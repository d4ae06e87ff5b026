//! Requests from several threads: each ends once, with the truth, whatever happens to the link.

use relay_proto::client::Gateway;
use relay_proto::gateway::{Outcome, RequestOptions};
use relay_schedules::{Connector, World, config, explore, polled, quick, read, wait};
use simulated::{thread, time};
use std::time::Duration;

fn ask(gateway: &Gateway, connector: &Connector, name: &str, options: &RequestOptions) -> Outcome {
    let outcome = wait(gateway.call(&Connector::request(name), options));
    connector.check(name, &outcome);
    outcome
}

fn patient() -> RequestOptions {
    RequestOptions::default().wait_for_link()
}

// proves: REQ-1, REQ-2
#[test]
fn a_link_is_cut_under_requests() {
    explore(4000, || {
        let (mut world, events) = World::ready(quick());
        world.run(|gateway, connector| {
            ask(&gateway, &connector, "a1", &RequestOptions::default());
            ask(&gateway, &connector, "a2", &RequestOptions::default());
        });
        world.run(|gateway, connector| {
            let outcome = ask(&gateway, &connector, "b", &patient());
            assert!(!matches!(outcome, Outcome::NotSent(_)), "{outcome:?}: there was a link again");
            drop(gateway.close());
        });
        world.run(|_, connector| connector.cut());
        world.run(move |_, _| read(events, drop));
        world.end();
    });
}

// proves: REQ-1, CLOSE-1
#[test]
fn a_gateway_closes_under_requests() {
    explore(4000, || {
        let (mut world, events) = World::ready(quick());
        for names in [["a1", "a2"], ["b1", "b2"]] {
            world.run(move |gateway, connector| {
                ask(&gateway, &connector, names[0], &RequestOptions::default());
                ask(&gateway, &connector, names[1], &patient());
            });
        }
        drop(events);
        world.close();
    });
}

// proves: REQ-1
#[test]
fn a_deadline_passes_under_requests() {
    explore(4000, || {
        let (mut world, events) = World::ready(quick());
        let short = || RequestOptions::default().timeout(Duration::from_secs(1));
        world.run(move |gateway, connector| {
            ask(&gateway, &connector, "a", &short());
        });
        world.run(move |gateway, connector| {
            ask(&gateway, &connector, "b", &short());
        });
        world.run(move |_, connector| {
            connector.answer(false);
            time::advance(Duration::from_secs(1));
            // What was asked for later than that has all the time that there is.
            connector.answer(true);
        });
        drop(events);
        world.close();
    });
}

// proves: REQ-3
#[test]
fn requests_are_given_up_at_any_point() {
    explore(4000, || {
        let (mut world, events) = World::ready(quick());
        world.run(|gateway, _| {
            let call = |name| Box::pin(gateway.call(&Connector::request(name), &RequestOptions::default()));
            drop(call("unpolled"));
            let _ = polled(call("polled").as_mut());
            let mut woken = call("woken");
            if let Err(pending) = polled(woken.as_mut()) {
                pending.wait();
            }
            drop(woken);
        });
        world.run(|gateway, connector| {
            for name in ["a", "b"] {
                let outcome = ask(&gateway, &connector, name, &RequestOptions::default());
                assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}");
            }
            drop(gateway.close());
        });
        drop(events);
        world.end();
    });
}

// proves: REQ-3
#[test]
fn a_request_that_is_given_up_leaves_nothing_behind() {
    explore(2000, || {
        let (mut world, events) = World::ready(quick());
        world.run(|gateway, connector| {
            let mut call = Box::pin(gateway.call(&Connector::request("a"), &RequestOptions::default()));
            let pending = polled(call.as_mut()).err();
            drop(call);
            // It may be woken by its result at this moment. Then it is forgotten when that is over.
            connector.cut();
            wait(gateway.close());
            assert!(pending.is_none_or(|pending| pending.is_forgotten()), "REQ-3: somebody still wants to wake it");
        });
        drop(events);
        world.end();
    });
}

#[test]
fn a_request_moves_to_another_thread() {
    explore(2000, || {
        let (mut world, events) = World::ready(config());
        world.run(|gateway, _| {
            let mut call = Box::pin(gateway.call(&Connector::request("a"), &RequestOptions::default()));
            // Whoever polls it last is woken, and no other.
            if let Err(first) = polled(call.as_mut()) {
                let other = thread::spawn(move || wait(call));
                let outcome = other.join().expect("a thread that does not panic");
                assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}");
                drop(first);
            }
        });
        drop(events);
        world.end();
    });
}

// proves: LINK-2, REQ-2
#[test]
fn a_socket_breaks_while_it_takes_nothing() {
    explore(3000, || {
        let (mut world, events) = World::ready(quick());
        world.connector.make_room(10);
        for name in ["a", "b"] {
            world.run(move |gateway, connector| {
                ask(&gateway, &connector, name, &RequestOptions::default());
                let outcome = ask(&gateway, &connector, &format!("{name} again"), &patient());
                assert!(!matches!(outcome, Outcome::NotSent(_)), "{outcome:?}: there was a link again");
            });
        }
        world.run(|_, connector| connector.cut());
        world.run(move |_, _| read(events, drop));
        world.close_after(2);
    });
}

#[test]
fn a_socket_takes_nothing_for_a_while() {
    explore(3000, || {
        let (mut world, events) = World::ready(config());
        world.connector.make_room(10);
        drop(events);
        for name in ["a", "b"] {
            world.run(move |gateway, connector| {
                let outcome = ask(&gateway, &connector, name, &RequestOptions::default());
                assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}");
            });
        }
        world.run(|_, connector| {
            connector.make_room(50);
            connector.make_room(usize::MAX);
        });
        world.end();
    });
}

// proves: CHAT-2
#[test]
fn a_long_text_is_sent_while_the_link_becomes_ready() {
    explore(2000, || {
        let (mut world, events) = World::new(config());
        world.run(move |gateway, _| {
            let _ = wait(gateway.send("a", &"x".repeat(5000)));
            drop(events);
        });
        world.end();
    });
}
