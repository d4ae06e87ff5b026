//! relay-connector where somebody does not read: the gateway its socket, or the application its events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use relay_connector::{self as connector, Connector};
use relay_proto::client::{Event, Events, Gateway, RequestError};
use relay_proto::connector::{Event as Seen, Limits, Settings, Timing};
use relay_proto::frame::RawJson;
use relay_proto::gateway::Config;
use relay_tests::app::{patient, quick};
use relay_tests::held::HeldClock;
use relay_tests::{HOUR, guard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const FORWARD: &str = r#"{"platform":"discord","method":"POST","path":"/","headers":[],"bodyB64":""}"#;

async fn serve(config: connector::Config) -> (Connector, connector::Events) {
    connector::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), patient(config)).unwrap()
}

/// A link of a gateway that reads what it wants to. Its hello is answered.
async fn raw(connector: &Connector) -> TcpStream {
    let mut stream = TcpStream::connect(connector.address()).await.unwrap();
    let request = "GET /relay HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut stream, b"\r\n\r\n").await;
    say(&mut stream, 0x81, b"{\"type\":\"hello\",\"platform\":\"discord\",\"botId\":\"b\"}\n").await;
    stream
}

/// A frame as a client writes it, masked with zeros.
async fn say(stream: &mut TcpStream, opcode: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    stream.write_all(&[&[opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()).await.unwrap();
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(guard("what the connector says", stream.read_u8()).await.unwrap());
    }
}

async fn seen(events: &mut connector::Events, is: impl Fn(&Seen) -> bool) {
    while !is(&guard("an event of the connector", events.next()).await.expect("not the end").1) {}
}

async fn linked(connector: &Connector) -> (Gateway, Events) {
    let config = Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1").timing(quick());
    let (gateway, mut events) = relay_tokio::connect(config).unwrap();
    assert!(matches!(guard("a link", events.next()).await, Some(Event::Ready { .. })));
    (gateway, events)
}

async fn take(events: &mut Events) {
    match guard("a message", events.next()).await {
        Some(Event::Delivery(message)) => message.ack(),
        other => panic!("{other:?} is no message"),
    }
}

// proves: CONN-3
#[tokio::test]
async fn a_forward_waits_until_the_gateway_has_read_it_whatever_it_says() {
    let mut timing = Timing::default();
    timing.forward_patience = Some(Duration::from_millis(1));
    let settings = Settings::new(timing, Limits::default()).unwrap();
    let (connector, mut events) = serve(connector::Config::new().settings(settings)).await;
    let gateway = connector.gateway("default");
    let mut stream = raw(&connector).await;
    let forward = gateway.forward(&RawJson::parse(FORWARD).unwrap()).await.unwrap();
    // The ping has been written: so far the bytes have come, and the gateway's WebSocket has looked at none of them.
    read_until(&mut stream, &[0x89, 8]).await;
    let mut asked = [0; 8];
    guard("the payload of the ping", stream.read_exact(&mut asked)).await.unwrap();
    for (opcode, payload) in [(0x8a, &b""[..]), (0x8a, &[0; 8]), (0x81, b"{\"type\":\"junk\"}\n")] {
        say(&mut stream, opcode, payload).await;
    }
    say(&mut stream, 0x81, b"{\"type\":\"interrupt\",\"session_key\":\"s\",\"reason\":null}\n").await;
    seen(&mut events, |event| matches!(event, Seen::Interrupt { .. })).await;
    assert_eq!(gateway.buffered(), 1, "nothing of that says that it was received");
    say(&mut stream, 0x8a, &asked).await;
    seen(&mut events, |event| *event == Seen::AssumedAcked(forward)).await;
    assert_eq!(gateway.buffered(), 0);
}

// proves: CONN-3
#[tokio::test]
async fn without_anybody_to_read_events_deliveries_go_on() {
    let mut limits = Limits::default();
    // Eight acknowledgements.
    limits.queue = 1024;
    let settings = Settings::new(Timing::default(), limits).unwrap();
    let (connector, mut events) = serve(connector::Config::new().settings(settings)).await;
    let (gateway, mut own) = linked(&connector).await;
    seen(&mut events, |event| matches!(event, Seen::Hello(_))).await;
    let buffer = connector.gateway("default");
    for _ in 0..40 {
        buffer.deliver(&RawJson::parse(r#"{"text":"hi"}"#).unwrap()).await.unwrap();
    }
    take(&mut own).await;
    // What is waiting to be read goes as well as what comes.
    drop(events);
    for _ in 1..40 {
        take(&mut own).await;
    }
    let Err(RequestError::Rejected(result)) = guard("the result", gateway.send("c1", "hi")).await else {
        panic!("not carried out, and nobody doubts it")
    };
    assert_eq!(result.error.as_deref(), Some("nobody serves requests at this connector"));
}

// proves: CONN-6
#[tokio::test]
async fn a_request_that_waits_to_be_read_is_answered_when_nobody_will() {
    let (connector, mut events) = serve(connector::Config::new()).await;
    let (gateway, _own) = linked(&connector).await;
    let mut asked = Box::pin(gateway.send("c1", "hi"));
    let outbound = async {
        seen(&mut events, |event| matches!(event, Seen::Hello(_))).await;
        // There, and not shown to anybody.
        while connector.gateway("default").stats().outbounds == 0 {
            tokio::task::yield_now().await;
        }
        drop(events);
    };
    let (result, ()) = guard("the result", async { tokio::join!(&mut asked, outbound) }).await;
    assert!(matches!(result, Err(RequestError::Rejected(_))), "{result:?}");
}

#[tokio::test]
async fn a_socket_may_take_nothing_for_ever() {
    let (connector, _events) = serve(connector::Config::new().write_timeout(Duration::MAX)).await;
    let gateway = connector.gateway("default");
    let mut stream = raw(&connector).await;
    // More than the buffers of two sockets hold.
    let event = RawJson::parse(&format!(r#"{{"text":"{}"}}"#, "x".repeat(900 << 10))).unwrap();
    for _ in 0..16 {
        gateway.deliver(&event).await.unwrap();
    }
    let mut last = (0, 0);
    // The connector has this thread for itself, and stops when the socket does.
    while last.1 < 1000 {
        tokio::task::yield_now().await;
        let delivered = gateway.stats().delivered;
        last = if delivered == last.0 { (delivered, last.1 + u32::from(delivered > 0)) } else { (delivered, 0) };
    }
    assert!(last.0 < 16, "the socket took all of it");
    let mut rest = vec![0; 15 * (900 << 10)];
    guard("what waited", stream.read_exact(&mut rest)).await.unwrap();
    assert_eq!((gateway.is_linked(), gateway.stats().links), (true, 1));
}

/// A connector that gives up a socket which takes nothing for two hours, and nothing else.
async fn two_hours(limits: Limits) -> (Connector, connector::Events) {
    const NEVER: Duration = relay_tests::NEVER;
    let mut timing = Timing::default();
    (timing.handshake, timing.outbound, timing.ping_after, timing.lost_after) = (NEVER, NEVER, NEVER, 2 * NEVER);
    let settings = Settings::new(timing, limits).unwrap();
    serve(connector::Config::new().settings(settings).write_timeout(2 * HOUR)).await
}

/// A gateway of which the system takes little that it has not read.
async fn narrow(connector: &Connector) -> WebSocketStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    let stream = socket.connect(connector.address()).await.unwrap();
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let url = format!("ws://{}/relay", connector.address());
    let linking = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
    let (mut link, _) = guard("a link", linking).await.unwrap();
    link.send(Message::text("{\"type\":\"hello\",\"platform\":\"discord\",\"botId\":\"b\"}\n")).await.unwrap();
    link
}

/// Lets everything that is under way come to rest, and then an hour and a half pass.
async fn later(clock: &HeldClock) {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    clock.advance(HOUR + HOUR / 2).await;
}

// proves: CONN-3
#[tokio::test]
async fn a_gateway_that_stalls_twice_keeps_its_link() {
    const EACH: usize = 8;
    let clock = HeldClock::pause();
    let mut limits = Limits::default();
    limits.window = 64;
    let (connector, _events) = two_hours(limits).await;
    let mut link = narrow(&connector).await;
    // The descriptor.
    guard("a message", link.next()).await.unwrap().unwrap();
    let gateway = connector.gateway("default");
    // Together more than the system takes.
    let event = RawJson::parse(&format!(r#"{{"text":"{}"}}"#, "x".repeat(900_000))).unwrap();
    for _ in 0..2 {
        for _ in 0..EACH {
            gateway.deliver(&event).await.unwrap();
        }
        later(&clock).await;
        for _ in 0..EACH {
            guard("a message", link.next()).await.unwrap().unwrap();
        }
    }
    assert_eq!((gateway.is_linked(), gateway.stats().links), (true, 1));
}

/// Of one frame a part is taken now and then, and it takes far longer than a socket may take nothing.
// proves: CONN-3
#[tokio::test]
async fn a_gateway_that_reads_a_large_frame_slowly_keeps_its_link() {
    // More than the system takes of a socket that nobody reads: when as much is read, the connector has written again.
    const PART: usize = 9 << 20;
    let clock = HeldClock::pause();
    let mut limits = Limits::default();
    limits.frame = 3 * PART;
    let (connector, _events) = two_hours(limits).await;
    let mut link = narrow(&connector).await;
    guard("a message", link.next()).await.unwrap().unwrap();
    let gateway = connector.gateway("default");
    let event = format!(r#"{{"text":"{}"}}"#, "x".repeat(2 * PART + PART / 8));
    gateway.deliver(&RawJson::parse(&event).unwrap()).await.unwrap();
    let stream = link.get_mut();
    let mut bytes = vec![0; PART];
    for _ in 0..2 {
        later(&clock).await;
        guard("a part", stream.read_exact(&mut bytes)).await.unwrap();
    }
    later(&clock).await;
    // The line ends with the frame.
    while bytes.last() != Some(&b'\n') {
        bytes.resize(PART, 0);
        let read = guard("the end", stream.read(&mut bytes)).await.unwrap();
        assert!(read > 0, "the link ended");
        bytes.truncate(read);
    }
    assert_eq!((gateway.is_linked(), gateway.stats().links), (true, 1));
}
