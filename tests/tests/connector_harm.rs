//! Gateways and strangers that mean harm to a connector: what they cost is bounded, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::SinkExt;
use relay_connector::{self as connector, Connector};
use relay_proto::client::{Event, Events, Gateway};
use relay_proto::connector::{Ended, Event as Seen};
use relay_proto::end::LinkEnd;
use relay_proto::frame::RawJson;
use relay_proto::gateway::Config;
use relay_proto::token::{Secret, mint};
use relay_tests::app::{IsMessage as _, patient, quick};
use relay_tests::guard;
use relay_tests::held::HeldClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const GOOD: &str = "good";
const BAD: &str = "bad";
const SECRET: &str = "s3cret";
const HELLO: &str = "{\"type\":\"hello\",\"platform\":\"discord\",\"botId\":\"b\"}\n";

/// The first bytes of frames.
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;

fn config() -> connector::Config {
    connector::Config::new().gateway(GOOD, SECRET).gateway(BAD, SECRET)
}

async fn serve(config: connector::Config) -> (Connector, connector::Events) {
    connector::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), patient(config)).unwrap()
}

/// A gateway that behaves.
async fn linked(connector: &Connector, id: &str) -> (Gateway, Events) {
    let config = Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1").timing(quick());
    let (gateway, mut events) = relay_tokio::connect(config.credentials(id, SECRET)).unwrap();
    assert!(matches!(guard("a link", events.next()).await, Some(Event::Ready { .. })));
    (gateway, events)
}

/// An upgraded connection of the bad gateway, which has not said anything yet.
async fn upgraded(connector: &Connector) -> TcpStream {
    let mut stream = TcpStream::connect(connector.address()).await.unwrap();
    let token = mint(BAD, &Secret::new(SECRET), 0, 0);
    let request = format!(
        "GET /relay HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {}\r\n\r\n",
        token.as_str()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(guard("the answer to the upgrade", stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

async fn websocket(stream: TcpStream) -> WebSocketStream<TcpStream> {
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

/// A text message as a client writes it, masked with zeros.
fn message(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&[0x81, 0x80 | 126], length.as_slice(), &[0; 4], text.as_bytes()].concat()
}

async fn end_of_link(events: &mut connector::Events, id: &str) -> Ended {
    loop {
        let (gateway, seen) = guard("the end of the link", events.next()).await.expect("not the end");
        if let Seen::LinkEnded { ended, .. } = seen
            && gateway.as_str() == id
        {
            return ended;
        }
    }
}

/// One frame of the connector, as it is on the wire: its first byte, and its payload.
async fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    guard("a frame", stream.read_exact(&mut head)).await.unwrap();
    let length = match head[1] {
        126 => usize::from(guard("its length", stream.read_u16()).await.unwrap()),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    guard("its payload", stream.read_exact(&mut payload)).await.unwrap();
    (head[0], payload)
}

// proves: LINK-2
#[tokio::test]
async fn a_connection_that_is_reset_ends_its_link_as_lost() {
    let (connector, mut events) = serve(config()).await;
    let mut stream = upgraded(&connector).await;
    stream.write_all(&message(HELLO)).await.unwrap();
    assert_eq!(frame(&mut stream).await.0, TEXT, "the descriptor");
    // What is dropped now is reset: the connector's next read is an error, and no end.
    stream.set_zero_linger().unwrap();
    drop(stream);
    let ended = end_of_link(&mut events, BAD).await;
    assert!(matches!(&ended, Ended::Remote(LinkEnd::Lost { detail }) if detail.contains("reset")), "{ended:?}");
    assert!(!connector.gateway(BAD).is_linked());
}

// proves: LINK-3, CLOCK-3
#[tokio::test]
async fn a_gateway_that_is_silent_is_pinged_and_then_given_up() {
    let clock = HeldClock::pause();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (connector, mut events) = connector::serve(listener, config()).unwrap();
    let mut stream = upgraded(&connector).await;
    stream.write_all(&message(HELLO)).await.unwrap();
    assert_eq!(frame(&mut stream).await.0, TEXT, "the descriptor");
    for n in 0..4 {
        clock.advance(Duration::from_secs(30)).await;
        let (kind, payload) = frame(&mut stream).await;
        assert_eq!(kind, PING, "after {n} half minutes and another");
        let length = u8::try_from(payload.len()).unwrap();
        // A mask of zeros. What is answered behind the pong shows that the pong has come.
        stream.write_all(&[&[0x8a, 0x80 | length, 0, 0, 0, 0], payload.as_slice()].concat()).await.unwrap();
        stream.write_all(&message(HELLO)).await.unwrap();
        assert_eq!(frame(&mut stream).await.0, TEXT);
    }
    clock.advance(Duration::from_secs(89)).await;
    assert_eq!(frame(&mut stream).await.0, PING, "nothing answers this one");
    assert!(connector.gateway(BAD).is_linked());
    clock.advance(Duration::from_secs(1)).await;
    let ended = end_of_link(&mut events, BAD).await;
    assert!(matches!(&ended, Ended::Dropped("the gateway is silent")), "{ended:?}");
}

#[tokio::test]
async fn a_gateway_that_floods_leaves_the_others_their_turn() {
    // One thread for everybody: a link that never waits would be the only one.
    let (connector, mut events) = serve(config()).await;
    let mut stream = upgraded(&connector).await.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    let served = Arc::new(AtomicBool::new(false));
    let enough = served.clone();
    let flood = std::thread::spawn(move || {
        let junk = message(&"{\"type\":\"junk\"}\n".repeat(1000)).repeat(16);
        stream.write_all(&message(HELLO)).unwrap();
        // An end of it all, so that a connector that does nothing else is found out.
        (0..256).take_while(|_| !enough.load(Ordering::Relaxed)).all(|_| stream.write_all(&junk).is_ok())
    });
    let (_gateway, mut own) = linked(&connector, GOOD).await;
    for _ in 0..10 {
        connector.gateway(GOOD).deliver(&RawJson::parse(r#"{"text":"hi"}"#).unwrap()).await.unwrap();
        match guard("the delivery", own.next()).await.unwrap() {
            Event::Delivery(message) => message.ack(),
            other => panic!("{other:?} is no message"),
        }
        while !matches!(guard("the acknowledgement", events.next()).await.unwrap().1, Seen::Acked(_)) {}
    }
    assert!(!flood.is_finished(), "the others were served while it was at it");
    served.store(true, Ordering::Relaxed);
    // It may be waiting for the connector to read, which shares this thread.
    assert!(tokio::task::spawn_blocking(|| flood.join()).await.unwrap().unwrap(), "and it kept its link");
}

// proves: FRAME-2
#[tokio::test]
async fn a_message_full_of_lines_is_read_to_its_end() {
    let (connector, mut events) = serve(config()).await;
    let mut link = websocket(upgraded(&connector).await).await;
    let last = r#"{"type":"interrupt","session_key":"the last","reason":null}"#;
    let text = format!("{HELLO}{}{last}", "{\"type\":\"junk\"}\n".repeat(50_000));
    link.send(Message::text(text)).await.unwrap();
    loop {
        if let (_, Seen::Interrupt { session_key, .. }) = guard("the interrupt", events.next()).await.unwrap() {
            assert_eq!(session_key, "the last");
            break;
        }
    }
    let stats = connector.gateway(BAD).stats();
    assert_eq!((stats.lines_received, stats.skipped.iter().sum::<u64>()), (50_002, 50_000));
}

// proves: CONN-3
#[tokio::test]
async fn a_gateway_that_does_not_read_loses_its_link_and_nothing_else() {
    let (connector, mut events) = serve(config().write_timeout(Duration::from_millis(50))).await;
    let bad = connector.gateway(BAD);
    // More than the buffers of two sockets hold; the window would let through twice as much.
    let event = RawJson::parse(&format!(r#"{{"text":"{}"}}"#, "x".repeat(900 << 10))).unwrap();
    for _ in 0..32 {
        bad.deliver(&event).await.unwrap();
    }
    let mut stream = upgraded(&connector).await;
    stream.write_all(&message(HELLO)).await.unwrap();
    let ended = end_of_link(&mut events, BAD).await;
    let Ended::Remote(LinkEnd::Lost { detail }) = ended else { panic!("{ended:?}") };
    assert_eq!(detail, "the gateway does not read");
    assert_eq!(bad.buffered(), 32, "all of it waits for the next link");
    assert!(!bad.is_linked());
    let mut rest = vec![0; 1 << 20];
    while !matches!(guard("the end of the connection", stream.read(&mut rest)).await, Ok(0) | Err(_)) {}

    let mut next = upgraded(&connector).await;
    next.write_all(&message(HELLO)).await.unwrap();
    guard("what waited", next.read_exact(&mut rest)).await.unwrap();
    assert!(bad.stats().redelivered > 0 && bad.buffered() == 32, "{:?}", bad.stats());
}

#[tokio::test]
async fn connections_that_never_upgrade_make_room_for_those_that_do() {
    let (connector, _events) = serve(config().unlinked(3)).await;
    let mut begun = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(connector.address()).await.unwrap();
        stream.write_all(b"GET /relay HTTP/1.1\r\nHost: ").await.unwrap();
        begun.push(stream);
    }
    // The oldest go, without a word.
    for stream in &mut begun[..5] {
        let mut answer = Vec::new();
        let _ = guard("the end of the connection", stream.read_to_end(&mut answer)).await;
        assert_eq!(answer, b"");
    }
    // There is room for who comes, however many come, and whoever is linked does not count.
    let mut links = Vec::new();
    for id in [GOOD, BAD] {
        links.push(linked(&connector, id).await);
    }
    for _ in 0..8 {
        begun.push(TcpStream::connect(connector.address()).await.unwrap());
    }
    connector.gateway(GOOD).deliver(&RawJson::parse(r#"{"text":"hi"}"#).unwrap()).await.unwrap();
    let Event::Delivery(message) = guard("a message", links[0].1.next()).await.unwrap() else { panic!() };
    assert_eq!(message.text(), "hi");
}

// proves: CONN-9
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_with_many_connections_keeps_nobody_else_out() {
    let (connector, _events) = serve(config().unlinked(4)).await;
    // A gateway far away: its request takes its time.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut slow = socket.connect(connector.address()).await.unwrap();
    slow.write_all(b"GET /relay HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut many = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(connector.address()).await.unwrap();
        stream.write_all(b"GET /relay HTTP/1.1\r\nHost: ").await.unwrap();
        many.push(stream);
    }
    // All but three of them have gone by now, which is when the last has been accepted.
    for stream in &mut many[..37] {
        let mut answer = Vec::new();
        let _ = guard("the end of the connection", stream.read_to_end(&mut answer)).await;
        assert_eq!(answer, b"");
    }
    let token = mint(GOOD, &Secret::new(SECRET), 0, 0);
    let rest = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {}\r\n\r\n",
        token.as_str()
    );
    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut status = [0; 13];
    guard("the answer to the upgrade", slow.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 101 ");
}

#[tokio::test]
async fn refused_clients_that_stay_make_room_as_well() {
    let (connector, _events) = serve(config().unlinked(1)).await;
    let mut refused = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(connector.address()).await.unwrap();
        let request = "GET /relay HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let close = b"\x88\x0e\x11\x31unauthorized";
        let mut answer = Vec::new();
        while !answer.ends_with(close) {
            answer.push(guard("the refusal", stream.read_u8()).await.unwrap());
        }
        refused.push(stream);
    }
    // It has not answered the close frame, and is not waited for any longer.
    assert!(matches!(guard("the end of the connection", refused[0].read(&mut [0; 8])).await, Ok(0) | Err(_)));
}
