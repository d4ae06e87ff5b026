//! Calls of relay-blocking on simulated threads.

use std::time::Duration;

use relay_blocking::{Events, Gateway, Outcome, RequestOptions};
use simulated::{thread, time};

use crate::{Connector, Threads};

/// Calls, and checks that the outcome is what the connector knows.
pub fn ask(gateway: &Gateway, connector: &Connector, name: &str, options: &RequestOptions) -> Outcome {
    let outcome = gateway.call(&Connector::request(name), options);
    connector.check(name, &outcome);
    outcome
}

/// A request that waits for a link.
pub fn patient() -> RequestOptions {
    RequestOptions::default().wait_for_link()
}

/// Calls, and has a result.
pub fn get(gateway: &Gateway, connector: &Connector, name: &str) {
    let outcome = ask(gateway, connector, name, &RequestOptions::default());
    assert!(matches!(outcome, Outcome::Result(_)), "{name}: {outcome:?}");
}

/// Calls when there is a link, and is sent.
pub fn ask_patiently(gateway: &Gateway, connector: &Connector, name: &str) {
    let outcome = ask(gateway, connector, name, &patient());
    assert!(!matches!(outcome, Outcome::NotSent(_)), "{name}: {outcome:?}: there was a link again");
}

/// Lets time pass until there has been another link, and no further.
pub fn until_linked_again(connector: &Connector, by: Duration) {
    while connector.accepted() < 2 {
        // Others come first, or time would pass while nobody could do anything about it.
        thread::yield_now();
        time::advance(by);
    }
}

/// Two threads call while the socket takes nothing for a while.
pub fn rows_of_calls_through_little_room((mut threads, events): (Threads, Events)) {
    drop(events);
    threads.connector.make_room(10);
    for names in [["a1", "a2"], ["b1", "b2"]] {
        threads.run(move |gateway, connector| names.iter().for_each(|name| get(&gateway, &connector, name)));
    }
    threads.run(|_, connector| {
        connector.make_room(50);
        connector.make_room(usize::MAX);
    });
    threads.end();
}
