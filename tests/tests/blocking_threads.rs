//! What relay-blocking leaves behind, which is nothing: its threads and sockets are counted, in a process of their own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use relay_blocking::{Action, Ambiguous, Cause, Config, Event, NotSent, Outcome, RawJson, RequestOptions, State};
use relay_proto::client;
use relay_tests::app::{config, patient, quick};
use relay_tests::frames::{buffered, message};
use relay_tests::peer::{Link, Peer};
use relay_tests::{HOUR, NEVER, guard};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// The names of a gateway's threads.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let mut names: Vec<_> =
        names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("relay-")).collect();
    names.sort();
    names
}

fn sockets() -> usize {
    let files = fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    files.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Until something is so.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    guard(what, waiting).await;
}

/// Runs a test alone, and waits until it has left nothing.
fn alone<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let before = sockets();
        test().await;
        until("the end of every thread", || threads().is_empty()).await;
        until("the end of every socket", || sockets() <= before).await;
    });
}

/// Quick to give everything up. For what ends without the peer's help, and for nothing that the peer answers: it may take
/// longer than this.
fn hasty(peer: &Peer) -> Config {
    let mut timing = quick();
    timing.shutdown_idle = Duration::from_millis(5);
    timing.shutdown_requests = Duration::from_millis(5);
    timing.close = Duration::from_millis(5);
    config(peer).timing(timing)
}

fn start(config: Config) -> (client::Gateway, client::Events) {
    let (gateway, events) = relay_blocking::connect(config).unwrap();
    (gateway.into_async(), events.into_async())
}

async fn linked(peer: &Peer, config: Config) -> (client::Gateway, client::Events, Link) {
    let (gateway, mut events) = start(config);
    let link = peer.handshake().await;
    assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
    (gateway, events, link)
}

/// An action of almost a frame's limit.
fn large() -> RawJson {
    Action::send("c1", &"x".repeat(1_000_000)).to_json()
}

type Waiting = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Requests that nobody reads, until the socket takes no more.
async fn stall(gateway: &client::Gateway) -> Vec<Waiting> {
    let (action, mut requests) = (large(), Vec::<Waiting>::new());
    let mut options = RequestOptions::default();
    options.timeout = Some(NEVER);
    until("a full socket", || {
        if requests.len() < 64 {
            requests.push(Box::pin(gateway.call(&action, &options)));
        }
        threads().iter().any(|name| name == "relay-writer")
    })
    .await;
    requests
}

// proves: CLOSE-1
#[test]
fn a_gateway_is_two_threads_and_then_none() {
    alone(|| async {
        let peer = Peer::bind().await;
        let (gateway, mut events, mut link) = linked(&peer, config(&peer)).await;
        assert_eq!(threads(), ["relay-driver", "relay-link"]);
        let closing = gateway.close();
        link.farewell().await;
        assert_eq!(guard("the end", closing).await, State::Closed);
        // The handles may stay: they hold nothing.
        until("the end of every thread", || threads().is_empty()).await;
        assert!(matches!(guard("an event", events.next()).await, Some(Event::Idle)));
        assert!(matches!(guard("an event", events.next()).await, Some(Event::Closed)));
    });
}

// proves: AUTH-2
#[test]
fn a_revoked_gateway_leaves_nothing() {
    alone(|| async {
        let peer = Peer::bind().await;
        let (gateway, _events, mut link) = linked(&peer, config(&peer)).await;
        link.close(4401, "unauthorized").await;
        assert_eq!(guard("the end", gateway.ended()).await, State::Revoked);
        link.ended().await;
    });
}

// proves: CLOSE-1
#[test]
fn dropping_every_handle_ends_everything_at_any_moment() {
    for moment in 0..10 {
        alone(|| async move {
            let peer = Peer::bind().await;
            match moment {
                0 => drop(start(hasty(&peer))),
                1 => {
                    let app = start(hasty(&peer));
                    let raw = peer.accept_raw().await;
                    drop(app);
                    drop(raw);
                }
                2 => {
                    let app = start(hasty(&peer));
                    let mut raw = peer.accept_raw().await;
                    raw.request().await;
                    drop(app);
                    raw.read_to_end().await;
                }
                3 => {
                    let app = start(hasty(&peer));
                    let mut link = peer.accept().await;
                    link.expect("hello").await;
                    drop(app);
                    link.ended().await;
                }
                4 => {
                    let (gateway, events, mut link) = linked(&peer, config(&peer)).await;
                    drop((gateway, events));
                    assert_eq!(link.farewell().await.map(|(code, _)| code), Some(1000));
                }
                5 => {
                    // A request under way counts for nobody once its future is dropped.
                    let (gateway, events, mut link) = linked(&peer, config(&peer)).await;
                    let request = gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
                    link.expect("outbound").await;
                    drop((gateway, events, request));
                    link.farewell().await;
                }
                6 => {
                    // More unread events than make its reader wait. What one read may bring beside them stays below the limit
                    // at which the link would be closed.
                    let mut limits = relay_blocking::Limits::default();
                    (limits.queue, limits.queue_hard) = (1024, 1 << 20);
                    let (gateway, events, mut link) = linked(&peer, hasty(&peer).limits(limits)).await;
                    for _ in 0..100 {
                        link.send(&message(&"x".repeat(500))).await;
                    }
                    drop((gateway, events));
                    link.ended().await;
                }
                7 => {
                    let (gateway, mut events, mut link) = linked(&peer, config(&peer)).await;
                    link.send(&buffered("b1", "held")).await;
                    let delivery = guard("an event", events.next()).await;
                    drop((gateway, events));
                    link.farewell().await;
                    drop(delivery);
                }
                8 => {
                    // A writer in the middle of a write that nobody takes.
                    let (gateway, events, link) = linked(&peer, hasty(&peer)).await;
                    let requests = stall(&gateway).await;
                    drop((gateway, events, requests));
                    until("the end of every thread", || threads().is_empty()).await;
                    drop(link);
                }
                _ => {
                    // Between two dials.
                    let mut timing = quick();
                    (timing.backoff_initial, timing.backoff_max) = (NEVER, NEVER);
                    let (gateway, mut events, link) = linked(&peer, config(&peer).timing(timing)).await;
                    link.cut();
                    let event = guard("an event", events.next()).await;
                    assert!(matches!(event, Some(Event::Disconnected { .. })), "{event:?}");
                    until("the end of the reader", || threads() == ["relay-driver"]).await;
                    drop((gateway, events));
                }
            }
        });
    }
}

// proves: REQ-1, CLOSE-1
#[test]
fn a_peer_that_stops_reading_holds_nobody_up() {
    alone(|| async {
        let peer = Peer::bind().await;
        let (gateway, mut events, mut link) = linked(&peer, hasty(&peer)).await;
        let requests = stall(&gateway).await;
        // Deadlines are kept, and what arrives is read.
        let mut options = RequestOptions::default();
        options.timeout = Some(Duration::from_millis(1));
        let late = gateway.call(&Action::typing("c1").to_json(), &options);
        let late = guard("a deadline", late).await;
        assert!(matches!(late, Outcome::NotSent(_) | Outcome::Ambiguous(Ambiguous::TimedOut)), "{late:?}");
        link.send(&message("still here")).await;
        assert!(matches!(guard("an event", events.next()).await, Some(Event::Delivery(_))));
        // So is the end.
        assert_eq!(guard("the end", gateway.close()).await, State::Closed);
        until("the end of every thread", || threads().is_empty()).await;
        for request in requests {
            let outcome = guard("an outcome", request).await;
            assert!(matches!(outcome, Outcome::NotSent(_) | Outcome::Ambiguous(_)), "{outcome:?}");
        }
        drop(link);
    });
}

/// A request that is made on a thread of its own, which would wait for ever if a write did.
async fn call_elsewhere(gateway: &client::Gateway, action: RawJson, options: RequestOptions) -> Waiting {
    let (made, told) = tokio::sync::oneshot::channel::<Waiting>();
    let gateway = gateway.clone();
    std::thread::spawn(move || made.send(Box::pin(gateway.call(&action, &options))));
    guard("a call that does not wait for its peer", told).await.unwrap()
}

/// The thread that waits for the socket has gone when it takes everything again, and writes are attempts once more.
// proves: REQ-1
#[test]
fn a_peer_that_stops_reading_again_holds_nobody_up() {
    alone(|| async {
        let peer = Peer::bind().await;
        let (gateway, events, mut link) = linked(&peer, config(&peer)).await;
        for _ in 0..3 {
            let mut requests = Vec::new();
            guard("a full socket", async {
                while !threads().iter().any(|name| name == "relay-writer") {
                    if requests.len() < 64 {
                        requests.push(call_elsewhere(&gateway, large(), RequestOptions::default()).await);
                    }
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let mut options = RequestOptions::default();
            options.timeout = Some(HOUR);
            let late = call_elsewhere(&gateway, Action::typing("c1").to_json(), options).await;
            gateway.advance(HOUR);
            let late = guard("a deadline", late).await;
            assert!(matches!(late, Outcome::NotSent(_) | Outcome::Ambiguous(Ambiguous::TimedOut)), "{late:?}");
            for request in requests {
                let asked = loop {
                    let asked = link.expect("outbound").await;
                    if asked["action"]["op"] == "send" {
                        break asked;
                    }
                };
                link.answer(&asked).await;
                assert!(matches!(guard("a result", request).await, Outcome::Result(_)));
            }
            until("the end of the writer", || threads() == ["relay-driver", "relay-link"]).await;
        }
        drop((gateway, events));
        link.farewell().await;
    });
}

// proves: LINK-1
#[test]
fn a_peer_that_stops_reading_is_left_for_a_new_link_at_once() {
    alone(|| async {
        let peer = Peer::bind().await;
        let (gateway, mut events, old) = linked(&peer, hasty(&peer)).await;
        let requests = stall(&gateway).await;
        gateway.reconnect();
        let mut new = peer.handshake().await;
        // Nothing of the old link gets on the new one.
        let request = loop {
            match guard("an event", events.next()).await {
                Some(Event::Ready { .. }) => {
                    break gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
                }
                Some(Event::Disconnected { ended, .. }) => assert_eq!(ended.cause, Cause::Requested),
                other => panic!("{other:?}"),
            }
        };
        let seen = new.expect("outbound").await;
        assert_eq!(seen["action"]["op"], "typing");
        new.answer(&seen).await;
        assert!(matches!(guard("a result", request).await, Outcome::Result(_)));
        until("the end of the old link's threads", || threads() == ["relay-driver", "relay-link"]).await;
        drop((requests, gateway, events, old));
        new.farewell().await;
    });
}

// proves: FRAME-1
#[test]
fn a_peer_that_reads_again_gets_everything_in_order() {
    alone(|| async {
        let peer = Peer::bind().await;
        let (gateway, events, mut link) = linked(&peer, config(&peer)).await;
        let mut requests = stall(&gateway).await;
        for n in 0..100 {
            let action = Action::send("c2", &n.to_string()).to_json();
            requests.push(Box::pin(gateway.call(&action, &RequestOptions::default())));
        }
        let mut small = 0;
        for _ in 0..requests.len() {
            let request = link.expect("outbound").await;
            if request["action"]["chat_id"] == "c2" {
                assert_eq!(request["action"]["content"], small.to_string());
                small += 1;
            }
            link.answer(&request).await;
        }
        assert_eq!(small, 100);
        for request in requests {
            let outcome = guard("a result", request).await;
            assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}");
        }
        // The socket takes everything again, and the extra thread is gone.
        until("the end of the writer", || threads() == ["relay-driver", "relay-link"]).await;
        drop((gateway, events));
        link.farewell().await;
    });
}

// proves: LINK-2, REQ-2
#[test]
fn cut_in_each_state() {
    alone(|| async {
        let peer = Peer::bind().await;
        let (gateway, mut events) = start(config(&peer));
        for state in 0..6 {
            let mut request: Option<Waiting> = None;
            match state {
                0 => peer.accept_raw().await.reset(),
                1 => {
                    let mut raw = peer.accept_raw().await;
                    raw.request().await;
                    raw.reset();
                }
                2 => {
                    let mut link = peer.accept().await;
                    link.expect("hello").await;
                    link.cut();
                }
                _ => {
                    let mut link = peer.handshake().await;
                    assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
                    let call = gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
                    request = Some(Box::pin(call));
                    link.expect("outbound").await;
                    match state {
                        3 => {}
                        // A message of 100 bytes, of which three come.
                        4 => link.write_raw(&[0x81, 100, b'{', b'"', b't']).await,
                        _ => {
                            drop(gateway.go_idle());
                            link.expect("going_idle").await;
                        }
                    }
                    link.cut();
                }
            }
            match guard("an event", events.next()).await {
                // A reset may come before anybody has seen that there was a connection.
                Some(Event::Disconnected { ended, .. }) if state == 0 && ended.cause == Cause::Unreachable => {}
                Some(Event::Disconnected { ended, .. }) => assert_eq!(ended.cause, Cause::Lost, "{state}: {ended}"),
                other => panic!("{state}: {other:?}"),
            }
            if let Some(request) = request {
                assert_eq!(guard("an outcome", request).await, Outcome::Ambiguous(Ambiguous::LinkLost), "{state}");
            }
        }
        // While closing.
        let mut link = peer.handshake().await;
        assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
        let closing = gateway.close();
        link.expect("going_idle").await;
        link.cut();
        assert_eq!(guard("the end", closing).await, State::Closed);
        let late = gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
        assert_eq!(guard("an outcome", late).await, Outcome::NotSent(NotSent::ShutDown));
    });
}

// proves: DIAL-5
#[test]
fn dials_that_fail_leave_no_thread() {
    alone(|| async {
        let peer = Peer::bind().await;
        let refusing = config(&peer);
        drop(peer);
        let (gateway, mut events) = start(refusing);
        for _ in 0..20 {
            match guard("an event", events.next()).await {
                Some(Event::Disconnected { ended, .. }) => assert_eq!(ended.cause, Cause::Unreachable),
                other => panic!("{other:?}"),
            }
        }
        // Some of them may be about to end.
        until("no more threads than one dial has", || threads().len() <= 2).await;
        drop((gateway, events));
    });
}

#[test]
fn a_hundred_gateways_in_one_process() {
    alone(|| async {
        use relay_connector as connector;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ids = (0..100).map(|n| format!("g{n}"));
        let registered = ids.clone().fold(connector::Config::new(), |config, id| config.gateway(id, "s3cret"));
        let (connector, mut seen) = connector::serve(listener, patient(registered)).unwrap();
        let url = format!("ws://{}", connector.address());
        // As its users have it: threads that wait.
        let users: Vec<_> = ids
            .map(|id| {
                let config = Config::new(&url).identity("discord", "b").credentials(id, "s3cret").timing(quick());
                tokio::task::spawn_blocking(move || {
                    let (gateway, mut events) = relay_blocking::connect(config).unwrap();
                    assert!(matches!(events.next(), Some(Event::Ready { .. })));
                    gateway.typing("c1").unwrap();
                    (gateway, events)
                })
            })
            .collect();
        let mut answered = 0;
        while answered < 100 {
            let (gateway, event) = guard("an event", seen.next()).await.unwrap();
            if let connector::Event::Outbound(outbound) = event {
                let success = RawJson::parse(r#"{"success":true}"#).unwrap();
                connector.gateway(gateway.as_str()).answer(outbound.id, &success).unwrap();
                answered += 1;
            }
        }
        let mut apps = Vec::new();
        for user in users {
            apps.push(guard("a result", user).await.unwrap());
        }
        assert_eq!(threads().len(), 200);
        drop(apps);
        until("the end of every thread", || threads().is_empty()).await;
        guard("the end of the connector", connector.shutdown()).await;
        drop(seen);
    });
}
