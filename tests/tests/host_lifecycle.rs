//! relay-connector at its ends: clients that do not play along, runtimes that go away, policies that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::{Arc, OnceLock};

use relay_connector::{self as connector, Connector};
use relay_proto::client::{Event, Events, Gateway};
use relay_proto::connector::Event as Seen;
use relay_proto::frame::{Descriptor, RawJson};
use relay_proto::gateway::Config;
use relay_tests::app::{patient, quick};
use relay_tests::guard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

async fn serve(config: connector::Config) -> (Connector, connector::Events) {
    connector::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), patient(config)).unwrap()
}

async fn linked(connector: &Connector) -> (Gateway, Events) {
    let config = Config::new(format!("http://{}", connector.address())).identity("discord", "b").timing(quick());
    let (gateway, mut events) = relay_tokio::connect(config).unwrap();
    assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
    (gateway, events)
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Until no task is left on a runtime.
async fn idle(runtime: &Runtime) {
    let idle = async {
        while runtime.metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    guard("the end of every task", idle).await;
}

/// A short frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// A hand-written gateway after its hello, and the connector's event that says so.
async fn greet(connector: &Connector, events: &mut connector::Events) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(connector.address()).await.unwrap();
    let request = "GET /relay HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let hello = br#"{"type":"hello","platform":"discord","botId":"b"}"#;
    stream.write_all(&frame(0x81, &[hello.as_slice(), b"\n"].concat())).await.unwrap();
    let (_, seen) = guard("a hello", events.next()).await.unwrap();
    assert!(matches!(seen, Seen::Hello(_)));
    stream
}

// proves: FRAME-4
#[test]
fn a_gateway_that_closes_and_reads_nothing_is_let_go() {
    let theirs = runtime();
    theirs.block_on(async {
        let (connector, mut events) = serve(connector::Config::new()).await;
        let mut stream = greet(&connector, &mut events).await;
        let event = RawJson::parse(&format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000_000))).unwrap();
        for _ in 0..16 {
            connector.gateway("any").deliver(&event).await.unwrap();
        }
        stream.write_all(&frame(0x88, &1000_u16.to_be_bytes())).await.unwrap();
        let (_, seen) = guard("the end of the link", events.next()).await.unwrap();
        assert!(matches!(seen, Seen::LinkEnded { .. }));
        // Its socket is full and stays so. What is left of the connection goes all the same.
        guard("the end of the connection", connector.shutdown()).await;
        drop(stream);
    });
    theirs.block_on(idle(&theirs));
}

#[test]
fn shutting_down_does_not_wait_for_those_who_never_upgrade() {
    let theirs = runtime();
    theirs.block_on(async {
        let (connector, _events) = serve(connector::Config::new()).await;
        let mut strangers = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(connector.address()).await.unwrap();
            stream.write_all(b"GET /rel").await.unwrap();
            strangers.push(stream);
        }
        let end = tokio::spawn(async move { connector.shutdown().await });
        for stream in &mut strangers {
            // They could have taken as long as they like.
            assert!(matches!(guard("to be let go", stream.read(&mut [0; 64])).await, Ok(0) | Err(_)));
        }
        drop(strangers);
        guard("the shutdown", end).await.unwrap();
    });
    theirs.block_on(idle(&theirs));
}

// proves: CLOSE-1
#[test]
fn a_connector_ends_with_its_runtime() {
    let (ours, theirs) = (runtime(), runtime());
    let (connector, mut events) = theirs.block_on(serve(connector::Config::new()));
    let (_gateway, _own) = ours.block_on(linked(&connector));
    theirs.shutdown_background();
    ours.block_on(async {
        while guard("the end of events", events.next()).await.is_some() {}
        guard("the shutdown", connector.shutdown()).await;
        assert!(!connector.gateway("any").is_linked(), "a link without a connection");
    });
}

// proves: CONN-2
#[test]
fn a_policy_may_use_the_connector() {
    // On a runtime that is not waited for, so that a deadlock is a failure.
    let (ours, theirs) = (runtime(), runtime());
    let known: Arc<OnceLock<Connector>> = Arc::default();
    let policy = known.clone();
    let describe = move |_: &connector::Identity| {
        assert!(policy.get().unwrap().gateway("any").is_linked());
        Some(Descriptor::new("discord"))
    };
    let (connector, events) = theirs.block_on(serve(connector::Config::new().describe(describe)));
    known.set(connector.clone()).unwrap();
    ours.block_on(async {
        linked(&connector).await;
        guard("the shutdown", connector.shutdown()).await;
    });
    drop(events);
    theirs.shutdown_background();
}

// proves: CONN-6
#[tokio::test]
async fn a_policy_that_panics_costs_its_link_alone() {
    let describe = |identity: &connector::Identity| {
        assert_ne!(identity.platform, "poison", "for a test");
        Some(Descriptor::new("discord"))
    };
    let (connector, mut events) = serve(connector::Config::new().describe(describe)).await;
    let config = Config::new(format!("http://{}", connector.address())).identity("poison", "b").reconnect(false);
    let (_gateway, mut own) = relay_tokio::connect(config).unwrap();
    assert!(matches!(guard("an event", own.next()).await, Some(Event::Disconnected { .. })));
    let (_, seen) = guard("the end of the link", events.next()).await.unwrap();
    assert!(matches!(seen, Seen::LinkEnded { .. }), "{seen:?}");
    assert!(!connector.gateway("any").is_linked());
    linked(&connector).await;
    guard("the shutdown", connector.shutdown()).await;
}

#[test]
fn nothing_is_left_of_links_that_come_and_go() {
    let theirs = runtime();
    theirs.block_on(async {
        let (connector, mut events) = serve(connector::Config::new()).await;
        for round in 0..30 {
            let (gateway, own) = linked(&connector).await;
            match round % 3 {
                0 => drop(gateway.close().await),
                1 => assert!(connector.gateway("any").drop_link()),
                _ => {}
            }
            drop((gateway, own));
            while !matches!(guard("an event", events.next()).await.unwrap().1, Seen::LinkEnded { .. }) {}
        }
        drop((connector, events));
    });
    theirs.block_on(idle(&theirs));
}
