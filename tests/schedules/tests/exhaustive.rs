//! Two or three threads at a driver, in every order that there is: without a network and without the driver's loop, since
//! what is left of a race then is small enough.

use std::pin::pin;
use std::time::Duration;

use relay_proto::client::{Driver, Event, Events, Gateway, gateway};
use relay_proto::gateway::{LinkId, Outcome, RequestOptions, State};
use relay_proto::wire::{IoRequest, LinkOptions, ServerEvent, ServerLink};
use relay_schedules::{Connector, exhaust, polled, quick, wait};
use simulated::sync::Arc;
use simulated::thread_waker::ThreadWaker;
use simulated::{thread, time};

/// A gateway that is linked, and the other end of its link.
struct Linked {
    gateway: Gateway,
    events: Events,
    driver: Arc<Driver>,
    link: LinkId,
    server: ServerLink,
    frames: Vec<String>,
}

impl Linked {
    fn new() -> Self {
        let (gateway, events, driver) = gateway(quick().build().expect("a good configuration"), None);
        let Some(IoRequest::Connect { link, attempt, .. }) = driver.poll_io() else { panic!("a dial") };
        assert!(driver.handle_connected(link, attempt));
        let server = ServerLink::new(&LinkOptions::default(), None).expect("no TLS, no error");
        let mut linked = Self { gateway, events, driver: Arc::new(driver), link, server, frames: Vec::new() };
        linked.exchange();
        linked.say(r#"{"type":"descriptor","descriptor":{"platform":"discord"}}"#);
        assert_eq!(linked.gateway.state(), State::Ready);
        assert!(matches!(wait(linked.events.next()), Some(Event::Ready { .. })));
        linked.frames.clear();
        linked
    }

    /// Carries bytes until neither end has any.
    fn exchange(&mut self) {
        loop {
            let mut out = Vec::new();
            self.driver.transmit(&mut out);
            // The driver knows that all of it is written, and what it sleeps towards.
            self.driver.transmit(&mut Vec::new());
            self.driver.poll_timeout();
            self.driver.wants_read();
            self.server.handle_bytes(&out);
            while let Some(event) = self.server.poll_event() {
                match event {
                    ServerEvent::Request(_) => self.server.accept(),
                    ServerEvent::Message(frame) => {
                        self.frames.push(String::from_utf8(frame.to_vec()).expect("frames are text"));
                    }
                    _ => {}
                }
            }
            let back = self.take();
            if back.is_empty() {
                return;
            }
            self.driver.handle_bytes(self.link, &back);
        }
    }

    fn take(&mut self) -> Vec<u8> {
        let bytes = self.server.transmit().to_vec();
        self.server.consume(usize::MAX);
        bytes
    }

    /// The bytes of a frame of the connector's.
    fn bytes(&mut self, frame: &str) -> Vec<u8> {
        self.server.send_text(format!("{frame}\n"));
        self.take()
    }

    fn say(&mut self, frame: &str) {
        let bytes = self.bytes(frame);
        self.driver.handle_bytes(self.link, &bytes);
        self.exchange();
    }

    fn message(&mut self, text: &str) -> Vec<u8> {
        self.bytes(&format!(r#"{{"type":"inbound","event":{{"text":"{text}","source":{{"platform":"discord"}}}}}}"#))
    }

    /// The result of the request that was sent.
    fn result(&mut self) -> Vec<u8> {
        let (_, rest) = self.frames[0].split_once(r#""requestId":""#).expect("a request");
        let (id, _) = rest.split_once('"').expect("a request");
        let frame = format!(r#"{{"type":"outbound_result","requestId":"{id}","result":{{"success":true}}}}"#);
        self.bytes(&frame)
    }
}

fn options() -> RequestOptions {
    RequestOptions::default()
}

/// Sleeps, as a driver does, until there is something.
fn sleep(driver: &Driver, something: impl Fn(&Driver) -> bool) {
    let (thread, waker) = ThreadWaker::new();
    loop {
        driver.unpark();
        if something(driver) {
            return;
        }
        if driver.park(&waker) {
            thread.wait();
        }
    }
}

fn has_output(driver: &Driver) -> bool {
    let mut out = Vec::new();
    driver.transmit(&mut out);
    !out.is_empty()
}

#[test]
fn a_driver_that_falls_asleep_hears_of_a_request() {
    exhaust(10, || {
        let linked = Linked::new();
        let driver = linked.driver.clone();
        let sleeper = thread::spawn(move || sleep(&driver, has_output));
        let call = linked.gateway.call(&Connector::request("a"), &options());
        sleeper.join().expect("a thread that does not panic");
        drop(call);
    });
}

#[test]
fn a_driver_that_falls_asleep_hears_of_the_end() {
    exhaust(10, || {
        let Linked { gateway, events, driver, .. } = Linked::new();
        drop(events);
        let own = driver.clone();
        let sleeper = thread::spawn(move || sleep(&own, has_output));
        drop(gateway);
        sleeper.join().expect("a thread that does not panic");
    });
}

// proves: REQ-7
#[test]
fn a_driver_that_falls_asleep_hears_of_room() {
    exhaust(1000, || {
        let mut linked = Linked::new();
        for _ in 0..2 {
            let message = linked.message(&"x".repeat(700));
            linked.driver.handle_bytes(linked.link, &message);
        }
        assert!(!linked.driver.wants_read(), "the queue is full");
        let driver = linked.driver.clone();
        let sleeper = thread::spawn(move || sleep(&driver, Driver::wants_read));
        for _ in 0..2 {
            assert!(matches!(wait(linked.events.next()), Some(Event::Delivery(_))));
        }
        sleeper.join().expect("a thread that does not panic");
    });
}

#[test]
fn a_driver_that_falls_asleep_hears_of_an_earlier_deadline() {
    exhaust(10, || {
        let Linked { gateway, driver, link, events, .. } = Linked::new();
        driver.handle_eof(link);
        while driver.poll_io().is_some() {}
        let soon = time::now() + Duration::from_millis(1);
        let own = driver.clone();
        // It is no more than a deadline: there is no link to write to.
        let sleeper = thread::spawn(move || sleep(&own, |driver| driver.poll_timeout().is_some_and(|at| at <= soon)));
        let options = options().wait_for_link().timeout(Duration::from_millis(1));
        let call = gateway.call(&Connector::request("a"), &options);
        sleeper.join().expect("a thread that does not panic");
        drop((call, events));
    });
}

// proves: REQ-1
#[test]
fn a_result_comes_while_somebody_begins_to_wait() {
    exhaust(4, || {
        let mut linked = Linked::new();
        let call = linked.gateway.call(&Connector::request("a"), &options());
        linked.exchange();
        let result = linked.result();
        let (driver, link) = (linked.driver.clone(), linked.link);
        let reader = thread::spawn(move || driver.handle_bytes(link, &result));
        assert!(matches!(wait(call), Outcome::Result(_)));
        reader.join().expect("a thread that does not panic");
    });
}

// proves: REQ-3
#[test]
fn a_result_comes_while_the_request_is_given_up() {
    exhaust(4, || {
        let mut linked = Linked::new();
        let mut call = Box::pin(linked.gateway.call(&Connector::request("a"), &options()));
        linked.exchange();
        let pending = polled(call.as_mut()).expect_err("nobody answered yet");
        let result = linked.result();
        let (driver, link) = (linked.driver.clone(), linked.link);
        let reader = thread::spawn(move || driver.handle_bytes(link, &result));
        drop(call);
        reader.join().expect("a thread that does not panic");
        assert!(pending.is_forgotten(), "REQ-3: nothing of it stays behind");
    });
}

#[test]
fn a_future_is_woken_through_its_latest_waker() {
    exhaust(1000, || {
        let mut linked = Linked::new();
        let mut call = Box::pin(linked.gateway.call(&Connector::request("a"), &options()));
        let mut end = Box::pin(linked.gateway.ended());
        linked.exchange();
        let stale = [polled(call.as_mut()).err(), polled(end.as_mut()).err(), polled(pin!(linked.events.next())).err()];
        let result = linked.result();
        let (driver, link) = (linked.driver.clone(), linked.link);
        drop(linked.driver);
        let reader = thread::spawn(move || {
            driver.handle_bytes(link, &result);
            // The last one: the gateway ends.
            drop(driver);
        });
        assert!(matches!(wait(call), Outcome::Result(_)));
        assert_eq!(wait(end), State::Closed);
        assert!(matches!(wait(linked.events.next()), Some(Event::Closed)));
        reader.join().expect("a thread that does not panic");
        drop(stale);
    });
}

// proves: ACK-4
#[test]
fn an_event_comes_while_a_reader_gives_up() {
    exhaust(40, || {
        let mut linked = Linked::new();
        let messages = [linked.message("1"), linked.message("2")].concat();
        let (driver, link) = (linked.driver.clone(), linked.link);
        let reader = thread::spawn(move || driver.handle_bytes(link, &messages));
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let first = polled(pin!(linked.events.next()));
            // Given up, and begun anew.
            let event = first.unwrap_or_else(|_| wait(linked.events.next()));
            let Some(Event::Delivery(delivery)) = event else { panic!("{event:?}") };
            seen.push(delivery.message().expect("a message").text().to_owned());
            delivery.ack();
        }
        assert_eq!(seen, ["1", "2"]);
        reader.join().expect("a thread that does not panic");
    });
}

// proves: CLOSE-1
#[test]
fn the_last_two_handles_go_at_once() {
    exhaust(4, || {
        let Linked { gateway, events, driver, .. } = Linked::new();
        let other = thread::spawn(move || drop(events));
        drop(gateway);
        other.join().expect("a thread that does not panic");
        assert!(has_output(&driver), "CLOSE-1: it shuts down");
    });
}

// proves: CLOSE-1
#[test]
fn a_driver_goes_while_somebody_asks() {
    exhaust(10, || {
        let Linked { gateway, events, driver, .. } = Linked::new();
        let dropper = thread::spawn(move || drop(driver));
        let outcome = wait(gateway.call(&Connector::request("a"), &options()));
        assert!(!matches!(outcome, Outcome::Result(_)));
        dropper.join().expect("a thread that does not panic");
        drop(events);
    });
}

// proves: CLOSE-1
#[test]
fn a_driver_goes_while_somebody_reads() {
    exhaust(4, || {
        let Linked { gateway, mut events, driver, .. } = Linked::new();
        let dropper = thread::spawn(move || drop(driver));
        assert!(matches!(wait(events.next()), Some(Event::Closed)));
        assert!(wait(events.next()).is_none());
        dropper.join().expect("a thread that does not panic");
        drop(gateway);
    });
}

#[test]
fn a_change_of_state_comes_while_somebody_begins_to_wait() {
    exhaust(4, || {
        let Linked { gateway, driver, link, .. } = Linked::new();
        let own = driver.clone();
        let reader = thread::spawn(move || own.handle_eof(link));
        assert_eq!(wait(gateway.state_changed(State::Ready)), State::Disconnected);
        reader.join().expect("a thread that does not panic");
        drop(driver);
        assert_eq!(wait(gateway.ended()), State::Closed);
    });
}

#[test]
fn a_future_on_a_thread_is_woken_while_it_falls_asleep() {
    exhaust(20, || {
        let linked = Linked::new();
        let gateway = linked.gateway.clone();
        let waiter = thread::spawn(move || relay_blocking::block_on(gateway.ended()));
        drop(linked.driver);
        assert_eq!(waiter.join().expect("a thread that does not panic"), State::Closed);
    });
}
