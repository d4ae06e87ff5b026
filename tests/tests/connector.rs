//! relay-connector, over real sockets, with relay-tokio's gateway and with hand-written clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use relay_connector::{self as connector, Connector};
use relay_proto::client::{Delivery, Event, Events, Gateway, RequestError};
use relay_proto::connector::{Ended, Event as Seen};
use relay_proto::end::LinkEnd;
use relay_proto::frame::{Descriptor, RawJson};
use relay_proto::gateway::{Cause, Config, IdleOutcome, State};
use relay_proto::token::{Secret, mint};
use relay_tests::app::{IsMessage as _, patient, quick};
use relay_tests::guard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ID: &str = "tenant:gw-1";
const SECRET: &str = "s3cret";

async fn serve(config: connector::Config) -> (Connector, connector::Events) {
    connector::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), patient(config)).unwrap()
}

fn registered() -> connector::Config {
    connector::Config::new().gateway(ID, "rotated").gateway(ID, SECRET)
}

fn config(connector: &Connector) -> Config {
    Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1").timing(quick())
}

// proves: CLOSE-1
#[test]
fn a_connector_whose_runtime_ended_before_it_listened_shuts_down() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let theirs = runtime();
    // Nothing but this runs on that runtime, so that the task that accepts connections has never run.
    let (connector, mut events) = theirs.block_on(serve(registered()));
    drop(theirs);
    runtime().block_on(async {
        guard("the shutdown", connector.shutdown()).await;
        assert!(guard("the end of its events", events.next()).await.is_none());
    });
}

async fn linked(connector: &Connector) -> (Gateway, Events) {
    let (gateway, mut events) = relay_tokio::connect(config(connector).credentials(ID, SECRET)).unwrap();
    assert!(matches!(event(&mut events).await, Event::Ready { .. }));
    (gateway, events)
}

async fn event(events: &mut Events) -> Event {
    guard("an event of the gateway", events.next()).await.expect("not the end")
}

async fn message(events: &mut Events) -> Delivery {
    match event(events).await {
        Event::Delivery(message) => message,
        other => panic!("{other:?} is no message"),
    }
}

async fn seen(events: &mut connector::Events, is: impl Fn(&Seen) -> bool) -> Seen {
    loop {
        let (_, seen) = guard("an event of the connector", events.next()).await.expect("not the end");
        if is(&seen) {
            return seen;
        }
    }
}

fn text(text: &str) -> RawJson {
    RawJson::parse(&format!(r#"{{"text":"{text}"}}"#)).unwrap()
}

/// Sends an upgrade request and returns all that comes back until the connector closes.
async fn upgrade(connector: &Connector, path: &str, token: Option<&str>) -> Vec<u8> {
    let mut stream = TcpStream::connect(connector.address()).await.unwrap();
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{authorization}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    guard("the connector's close", async {
        // A refused client that does not answer the close frame is not waited for long.
        let mut bytes = [0; 512];
        while let Ok(n @ 1..) = stream.read(&mut bytes).await {
            answer.extend_from_slice(&bytes[..n]);
            if answer.windows(4).any(|four| four == b"\x88\x0e\x11\x31" || four == b"\x88\x09\x11\x31") {
                break;
            }
        }
    })
    .await;
    answer
}

// proves: CONN-1
#[tokio::test]
async fn an_upgrade_on_another_path_gets_http_400() {
    let (connector, _events) = serve(registered()).await;
    for path in ["/", "/relay/", "/relay/x", "/Relay", "/relayx"] {
        let answer = upgrade(&connector, path, None).await;
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{path}: {}", String::from_utf8_lossy(&answer));
    }
}

// proves: CONN-1, TOKEN-2
#[tokio::test]
async fn a_refused_token_is_accepted_as_a_websocket_and_closed_with_4401_and_the_reason() {
    let (connector, _events) = serve(registered()).await;
    let expired = mint(ID, &Secret::new(SECRET), 1, 1);
    let wrong = mint(ID, &Secret::new("wrong"), 0, 0);
    let stranger = mint("stranger", &Secret::new(SECRET), 0, 0);
    for (token, reason) in [
        (Some(expired.as_str()), "expired"),
        (Some(wrong.as_str()), "unauthorized"),
        (Some(stranger.as_str()), "unauthorized"),
        (Some("garbage"), "unauthorized"),
        (None, "unauthorized"),
    ] {
        let answer = upgrade(&connector, "/relay", token).await;
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        let close = [&[0x88, 2 + reason.len() as u8, 0x11, 0x31], reason.as_bytes()].concat();
        assert!(answer.ends_with(&close), "{token:?}: {:?}", String::from_utf8_lossy(&answer));
    }
}

// proves: TOKEN-3
#[tokio::test]
async fn a_gateway_that_closes_with_its_own_token_is_told_of_without_it() {
    let (connector, mut events) = serve(connector::Config::new().gateway(ID, "exactly8")).await;
    let token = mint(ID, &Secret::new("exactly8"), 0, 0);
    for (reason, told) in [
        (format!("bad: {}", &token.as_str()[3..80]), "bad: ***"),
        ("the secret is exactly8".into(), "the secret is ***"),
        ("bye".into(), "bye"),
    ] {
        let mut stream = TcpStream::connect(connector.address()).await.unwrap();
        let request = format!(
            "GET /relay HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {}\r\n\r\n",
            token.as_str()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        // A close frame with a mask that changes nothing.
        let payload = [&4000_u16.to_be_bytes(), reason.as_bytes()].concat();
        let head = [0x88, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        stream.write_all(&[&head[..], &payload].concat()).await.unwrap();
        let ended = seen(&mut events, |seen| matches!(seen, Seen::LinkEnded { .. })).await;
        let Seen::LinkEnded { ended: Ended::Remote(LinkEnd::Closed { reason: shown, .. }), .. } = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(shown, told);
    }
}

// proves: CONN-1, CONN-2
#[tokio::test]
async fn any_secret_of_the_rotation_lets_a_gateway_in_under_its_own_id() {
    let (connector, mut events) = serve(registered()).await;
    for secret in ["rotated", SECRET] {
        let (gateway, mut own) = relay_tokio::connect(config(&connector).credentials(ID, secret)).unwrap();
        assert!(matches!(event(&mut own).await, Event::Ready { .. }));
        let (id, seen) = guard("a hello", events.next()).await.unwrap();
        assert!(matches!(seen, Seen::Hello(_)), "{seen:?}");
        assert_eq!(id.as_str(), ID);
        gateway.close().await;
        while !matches!(guard("the end", events.next()).await.unwrap().1, Seen::LinkEnded { .. }) {}
    }
}

// proves: CONN-3, CONN-7
#[tokio::test]
async fn what_waits_is_delivered_in_order_and_leaves_on_its_ack() {
    let (connector, mut events) = serve(registered()).await;
    let peer = connector.gateway(ID);
    for i in 0..50 {
        peer.deliver(&text(&format!("m{i}"))).await.unwrap();
    }
    let (_gateway, mut own) = linked(&connector).await;
    for i in 0..50 {
        let message = message(&mut own).await;
        assert_eq!(message.text(), format!("m{i}"));
        assert_eq!(peer.buffered(), 50 - i);
        message.ack();
        seen(&mut events, |seen| matches!(seen, Seen::Acked(_))).await;
    }
    assert_eq!(peer.buffered(), 0);
}

// proves: CONN-4, IDLE-2
#[tokio::test]
async fn a_sleeping_gateway_misses_nothing() {
    let (connector, _events) = serve(registered()).await;
    let peer = connector.gateway(ID);
    let (gateway, mut own) = linked(&connector).await;
    gateway.hold_redial();
    assert_eq!(gateway.go_dormant().await, IdleOutcome::Acknowledged);
    peer.deliver(&text("while asleep")).await.unwrap();
    gateway.wake();
    loop {
        if let Event::Delivery(message) = event(&mut own).await {
            assert_eq!(message.text(), "while asleep");
            break message.ack();
        }
    }
}

// proves: CONN-5, LINK-2
#[tokio::test]
async fn a_second_link_of_a_gateway_replaces_the_first() {
    let (connector, mut events) = serve(registered()).await;
    let (_first, mut first_events) = linked(&connector).await;
    let (_second, mut second_events) = linked(&connector).await;
    let Event::Disconnected { ended, retry_in } = event(&mut first_events).await else { panic!() };
    assert_eq!((ended.cause, ended.code, ended.reason.as_str()), (Cause::Replaced, Some(1000), "replaced"));
    assert!(retry_in >= Some(quick().backoff_max), "two gateways must not duel");
    let ended = seen(&mut events, |seen| matches!(seen, Seen::LinkEnded { .. })).await;
    assert!(
        matches!(ended, Seen::LinkEnded { ended: Ended::Closed { code: 1000, reason: "replaced" }, .. }),
        "{ended:?}"
    );
    connector.gateway(ID).deliver(&text("to the second")).await.unwrap();
    message(&mut second_events).await.ack();
}

// proves: CONN-6
#[tokio::test]
async fn an_outbound_without_an_answer_is_answered_when_its_link_is_closed() {
    let (connector, mut events) = serve(registered()).await;
    let (gateway, _own) = linked(&connector).await;
    let (request, ()) = tokio::join!(gateway.send("c1", "hi"), async {
        seen(&mut events, |seen| matches!(seen, Seen::Outbound(_))).await;
        connector.shutdown().await;
    });
    assert!(matches!(request, Err(RequestError::Unknown(_))), "the connector says that it does not know: {request:?}");
}

// proves: CONN-6, AUTH-2
#[tokio::test]
async fn revoking_a_secret_closes_the_link_and_refuses_the_next() {
    let (connector, _events) = serve(registered()).await;
    let (gateway, mut own) = linked(&connector).await;
    assert!(connector.gateway(ID).revoke());
    assert!(matches!(event(&mut own).await, Event::Disconnected { retry_in: None, .. }));
    assert!(matches!(event(&mut own).await, Event::Revoked { .. }));
    assert_eq!(gateway.state(), State::Revoked);
    let (_next, mut events) =
        relay_tokio::connect(config(&connector).credentials(ID, SECRET).reconnect(false)).unwrap();
    let Event::Disconnected { ended, .. } = event(&mut events).await else { panic!() };
    assert_eq!((ended.cause, ended.code), (Cause::Unauthorized, Some(4401)));
}

// proves: CONN-2
#[tokio::test]
async fn the_policy_of_the_host_decides_about_hellos() {
    let describe = |identity: &connector::Identity| (identity.platform == "slack").then(|| Descriptor::new("slack"));
    let (connector, _events) = serve(connector::Config::new().describe(describe)).await;
    let (_gateway, mut events) = relay_tokio::connect(config(&connector).reconnect(false)).unwrap();
    let Event::Disconnected { ended, .. } = event(&mut events).await else { panic!() };
    assert_eq!((ended.cause, ended.code), (Cause::Forbidden, Some(4403)));
}

#[tokio::test]
async fn shutting_down_closes_every_link_with_1001_and_ends_the_events() {
    let (connector, mut events) = serve(registered()).await;
    let (_gateway, mut own) = linked(&connector).await;
    guard("the shutdown", connector.shutdown()).await;
    let Event::Disconnected { ended, .. } = event(&mut own).await else { panic!() };
    assert_eq!((ended.cause, ended.code), (Cause::GoingAway, Some(1001)));
    while guard("the end of events", events.next()).await.is_some() {}
    assert!(TcpStream::connect(connector.address()).await.is_err(), "nobody listens any more");
    let refused = connector.gateway(ID).deliver(&text("too late")).await;
    assert_eq!(refused, Err(connector::Refused::ShutDown.into()));
}

#[tokio::test]
async fn dropping_handles_and_events_shuts_the_connector_down() {
    let (connector, events) = serve(registered()).await;
    let (_gateway, mut own) = linked(&connector).await;
    drop((connector, events));
    let Event::Disconnected { ended, .. } = event(&mut own).await else { panic!() };
    assert_eq!(ended.code, Some(1001));
}
