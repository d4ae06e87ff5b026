//! What a connector's listener does besides links: HTTP beside the upgrade, refusals by address, TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_connector::{self as connector, Connector};
use relay_proto::client::Event;
use relay_proto::connector::{Ended, Event as Seen};
use relay_proto::end::LinkEnd;
use relay_proto::frame::RawJson;
use relay_proto::gateway::Config;
use relay_proto::target::Target;
use relay_proto::token::{Secret, mint};
use relay_proto::wire::rustls::crypto::ring;
use relay_proto::wire::rustls::pki_types::PrivateKeyDer;
use relay_proto::wire::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use relay_proto::wire::{ClientLink, LinkEvent, LinkOptions};
use relay_tests::app::{IsMessage as _, patient, quick};
use relay_tests::guard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const ID: &str = "gw-1";
const SECRET: &str = "s3cret";

async fn serve(config: connector::Config) -> (Connector, connector::Events) {
    connector::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), patient(config)).unwrap()
}

fn registered() -> connector::Config {
    connector::Config::new().gateway(ID, SECRET)
}

/// Sends a request and returns the head and what else comes until the connector closes.
async fn ask(mut stream: TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    guard("the answer", async {
        let mut bytes = [0; 512];
        while let Ok(n @ 1..) = stream.read(&mut bytes).await {
            answer.extend_from_slice(&bytes[..n]);
            // A close frame, unmasked: a client that does not answer it is not closed at once.
            if answer.windows(4).any(|four| four[0] == 0x88 && four[2..] == [0x11, 0x31]) {
                break;
            }
        }
    })
    .await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A connection from this address of loopback: all of 127/8 is, on Linux.
async fn connect(connector: &Connector, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(connector.address()).await.unwrap()
}

/// What an upgrade with this token is answered, from this address of loopback, as far as it is refused.
async fn upgrade(connector: &Connector, from: [u8; 4], token: &str) -> String {
    ask(connect(connector, from).await, &upgrade_request(token)).await
}

/// How an upgrade with this token ends: 4401, an HTTP status, or 101 for a link.
async fn outcome(connector: &Connector, from: [u8; 4], token: &str) -> u16 {
    let mut stream = connect(connector, from).await;
    let request = upgrade_request(token);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(guard("the answer", stream.read_u8()).await.unwrap());
    }
    let status = std::str::from_utf8(&head[9..12]).unwrap().parse().unwrap();
    if status != 101 {
        return status;
    }
    // A link is answered its hello; a refusal is a close frame that comes by itself.
    let hello = b"{\"type\":\"hello\",\"platform\":\"x\",\"botId\":\"\"}\n";
    let frame = [&[0x81, 0x80 | u8::try_from(hello.len()).unwrap(), 0, 0, 0, 0], hello.as_slice()].concat();
    // It may be closed already.
    let _ = stream.write_all(&frame).await;
    match guard("a frame", stream.read_u8()).await.unwrap() {
        0x88 => 4401,
        _ => 101,
    }
}

/// A secret that nobody guesses.
const STRONG: &str = "0c1f7ad93be5528466d0e7f8a1b2c3d4";
const HOUR: Duration = Duration::from_secs(3600);

fn upgrade_request(token: &str) -> String {
    format!(
        "GET /relay HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}

// proves: CONN-1
#[tokio::test]
async fn a_health_check_is_answered_and_other_paths_are_not_there() {
    let (connector, _events) = serve(registered()).await;
    for (request, status, body) in [
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "ok"),
        ("GET /healthz?verbose HTTP/1.0\r\n\r\n", "200 OK", "ok"),
        ("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", ""),
        ("HEAD /relay HTTP/1.1\r\nHost: x\r\n\r\n", "426 Upgrade Required", ""),
        ("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request", ""),
        ("HEAD / HTTP/3\r\n\r\n", "400 Bad Request", ""),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request", "the relay is at /relay"),
        ("GET /healthz/ HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request", "the relay is at /relay"),
        ("GET /relay HTTP/1.1\r\nHost: x\r\n\r\n", "426 Upgrade Required", "the relay speaks WebSocket"),
        ("POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", "the request is not a GET"),
    ] {
        let answer = ask(TcpStream::connect(connector.address()).await.unwrap(), request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{request}: {answer}");
    }
}

// proves: CONN-1
#[tokio::test]
async fn the_answer_to_a_head_is_that_to_a_get_without_its_body() {
    let (connector, _events) = serve(registered()).await;
    for path in ["/healthz", "/relay", "/"] {
        let mut answers = Vec::new();
        for method in ["GET", "HEAD"] {
            let stream = TcpStream::connect(connector.address()).await.unwrap();
            answers.push(ask(stream, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await);
        }
        let (head, body) = answers[0].split_once("\r\n\r\n").unwrap();
        assert!(!body.is_empty());
        assert_eq!(answers[1], format!("{head}\r\n\r\n"));
    }
}

// proves: CONN-1
#[tokio::test]
async fn an_upgrade_has_no_body() {
    let (connector, _events) = serve(registered()).await;
    let token = mint(ID, &Secret::new(SECRET), 0, 0);
    for (fields, status) in [
        ("Content-Length: 5\r\n", 400),
        ("Content-Length: 0\r\nContent-Length: 5\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", 400),
    ] {
        let request = upgrade_request(token.as_str()).replace("Host: x\r\n", &format!("Host: x\r\n{fields}"));
        let answer = ask(TcpStream::connect(connector.address()).await.unwrap(), &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {answer}");
    }
}

// proves: CONN-8
#[tokio::test]
async fn over_the_limit_of_an_address_the_right_token_is_refused_as_well() {
    let (connector, _events) = serve(registered().gateway("other", STRONG).refusals(2, HOUR)).await;
    let here = [127, 0, 0, 1];
    let (bad, good) = (mint(ID, &Secret::new("wrong"), 0, 0), mint(ID, &Secret::new(SECRET), 0, 0));
    for _ in 0..2 {
        assert_eq!(outcome(&connector, here, bad.as_str()).await, 4401);
    }
    let stranger = mint("stranger", &Secret::new("wrong"), 0, 0);
    for token in [&bad, &good, &good, &stranger] {
        let answer = upgrade(&connector, here, token.as_str()).await;
        assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
        let wait = answer.lines().find_map(|line| line.strip_prefix("Retry-After: "));
        let wait: u32 = wait.expect("when to come back").parse().unwrap();
        assert!((3500..=3600).contains(&wait), "{answer}");
    }
    if cfg!(target_os = "linux") {
        assert_eq!(outcome(&connector, [127, 0, 0, 2], good.as_str()).await, 101);
        // Also one whose token was right before: a weak secret can be guessed.
        for _ in 0..2 {
            assert_eq!(outcome(&connector, [127, 0, 0, 2], bad.as_str()).await, 4401);
        }
        assert_eq!(outcome(&connector, [127, 0, 0, 2], good.as_str()).await, 429);
    }
}

// proves: CONN-8
#[tokio::test]
async fn a_gateway_with_a_strong_secret_cannot_be_locked_out() {
    let (connector, mut events) = serve(registered().gateway("strong", STRONG).refusals(2, HOUR)).await;
    let here = [127, 0, 0, 1];
    let bad = mint("strong", &Secret::new("wrong"), 0, 0);
    while outcome(&connector, here, bad.as_str()).await != 429 {}
    // Its first dial is refused like any other, and is enough.
    let config = Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1").timing(quick());
    let (_gateway, mut own) = relay_tokio::connect(config.credentials("strong", STRONG)).unwrap();
    let mut refused = 0;
    loop {
        match guard("the end of a dial", own.next()).await.unwrap() {
            Event::Ready { .. } => break,
            Event::Disconnected { .. } => refused += 1,
            other => panic!("{other:?}"),
        }
        assert!(refused <= 1, "the second dial is let in");
    }
    assert_eq!(refused, 1, "the first is not");
    assert_eq!(guard("its hello", events.next()).await.unwrap().0.as_str(), "strong");
    // Nor has a stranger learned anything.
    assert_eq!(outcome(&connector, here, bad.as_str()).await, 429);
}

// proves: CONN-8
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_id_that_is_guessed_from_many_addresses_is_limited_too() {
    let (connector, _events) = serve(registered().gateway("other", "weak").refusals(1, HOUR)).await;
    let bad = mint(ID, &Secret::new("wrong"), 0, 0);
    for last in 1..=10 {
        assert_eq!(outcome(&connector, [127, 0, 1, last], bad.as_str()).await, 4401);
    }
    let good = |id: &str, secret: &str| mint(id, &Secret::new(secret), 0, 0);
    assert_eq!(outcome(&connector, [127, 0, 1, 11], good(ID, SECRET).as_str()).await, 429);
    assert_eq!(outcome(&connector, [127, 0, 1, 11], good("other", "weak").as_str()).await, 101);
}

// proves: CONN-6, CONN-8
#[tokio::test]
async fn the_dials_of_a_revoked_gateway_are_counted_like_any_others() {
    for open in [false, true] {
        let config = if open { connector::Config::new() } else { connector::Config::new().gateway(ID, STRONG) };
        let (connector, mut events) = serve(config.refusals(3, HOUR)).await;
        let token = mint(ID, &Secret::new(STRONG), 0, 0);
        let here = [127, 0, 0, 1];
        assert_eq!(outcome(&connector, here, token.as_str()).await, 101);
        connector.gateway(ID).revoke();
        while !matches!(guard("the end of the link", events.next()).await.unwrap().1, Seen::LinkEnded { .. }) {}
        for _ in 0..3 {
            assert_eq!(outcome(&connector, here, token.as_str()).await, 4401);
        }
        for _ in 0..3 {
            assert_eq!(outcome(&connector, here, token.as_str()).await, 429, "open: {open}");
        }
    }
}

// proves: CONN-10
#[tokio::test]
async fn a_web_page_is_no_gateway_of_an_open_connector() {
    let (open, _events) = serve(connector::Config::new()).await;
    let (closed, _events) = serve(registered()).await;
    let token = mint(ID, &Secret::new(SECRET), 0, 0);
    // A page that has rebound its own name has the same host, and a file has none.
    let own = format!("http://{}", open.address());
    for origin in ["https://page.example", "http://x", &own, "null", ""] {
        let request =
            upgrade_request(token.as_str()).replace("Host: x\r\n", &format!("Host: x\r\nOrigin: {origin}\r\n"));
        let answer = ask(TcpStream::connect(open.address()).await.unwrap(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{origin}: {answer}");
        assert!(answer.contains("refuses web pages (Origin)"), "it says why: {answer}");
        // A page has no secret, and who has one is let in.
        let mut stream = TcpStream::connect(closed.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 13];
        guard("the answer", stream.read_exact(&mut status)).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 101 ");
    }
    assert!(!open.gateway("default").is_linked());
    assert_eq!(outcome(&open, [127, 0, 0, 1], token.as_str()).await, 101);
}

/// The TLS of a gateway and of a connector that it trusts.
fn tls() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

#[tokio::test]
async fn a_link_whose_tls_breaks_says_so() {
    let (client, server) = tls();
    let (connector, mut events) = serve(registered().tls(server)).await;
    let target = Target::parse(&format!("https://{}", connector.address())).unwrap();
    let token = mint(ID, &Secret::new(SECRET), 0, 0);
    let mut link = ClientLink::new(&target, Some(token.as_str()), &LinkOptions::default(), Some(client)).unwrap();
    let mut stream = TcpStream::connect(connector.address()).await.unwrap();
    let mut bytes = [0; 4096];
    guard("the upgrade", async {
        while link.poll_event() != Some(LinkEvent::Opened) {
            stream.write_all(link.transmit()).await.unwrap();
            link.consume(usize::MAX);
            let n = stream.read(&mut bytes).await.unwrap();
            link.handle_bytes(&bytes[..n]);
        }
    })
    .await;
    // A record that nobody with the key has made.
    stream.write_all(&[23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]).await.unwrap();
    let (gateway, end) = guard("the end of the link", events.next()).await.unwrap();
    assert_eq!(gateway.as_str(), ID);
    assert!(matches!(&end, Seen::LinkEnded { ended: Ended::Remote(LinkEnd::Tls { .. }), .. }), "{end:?}");
}

/// Sends a request over TLS with the end of the session behind it, in one write, and returns what the connector says until
/// it closes.
async fn ask_and_close(connector: &Connector, config: Arc<ClientConfig>, request: &[u8]) -> String {
    let mut session = ClientConnection::new(config, "127.0.0.1".try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect(connector.address()).await.unwrap();
    let (mut bytes, mut answer) = (vec![0; 4096], Vec::new());
    let mut asked = false;
    guard("the answer", async {
        loop {
            if !session.is_handshaking() && !asked {
                asked = true;
                session.writer().write_all(request).unwrap();
                session.send_close_notify();
            }
            let mut out = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut out).unwrap();
            }
            stream.write_all(&out).await.unwrap();
            // The connector closes once it has said all that it has to say.
            let Ok(n @ 1..) = stream.read(&mut bytes).await else { break };
            let mut input = &bytes[..n];
            while session.read_tls(&mut input).unwrap() > 0 {
                session.process_new_packets().unwrap();
            }
            // Nothing may be there yet.
            let _ = session.reader().read_to_end(&mut answer);
        }
    })
    .await;
    assert!(asked);
    String::from_utf8_lossy(&answer).into_owned()
}

// proves: CONN-5, LINK-2
#[tokio::test]
async fn an_upgrade_that_ends_with_its_request_is_no_link() {
    let (client, server) = tls();
    let (connector, mut seen) = serve(registered().tls(server)).await;
    let config = Config::new(format!("https://{}", connector.address())).identity("discord", "bot-1").timing(quick());
    let config = config.credentials(ID, SECRET).reconnect(false);
    let (_gateway, mut events) = relay_tokio::connect_with_tls(config, Some(client.clone())).unwrap();
    assert!(matches!(guard("a link", events.next()).await, Some(Event::Ready { .. })));
    assert!(matches!(guard("its hello", seen.next()).await, Some((_, Seen::Hello(_)))));

    let token = mint(ID, &Secret::new(SECRET), 0, 0);
    let request = upgrade_request(token.as_str());
    assert_eq!(ask_and_close(&connector, client, request.as_bytes()).await, "");
    // The link that there was is there.
    assert_eq!(connector.gateway(ID).stats().replaced, 0);
    connector.gateway(ID).deliver(&RawJson::parse(r#"{"text":"hi"}"#).unwrap()).await.unwrap();
    let next = guard("the message", events.next()).await.unwrap();
    assert!(matches!(&next, Event::Delivery(message) if message.text() == "hi"), "{next:?}");
}

// proves: CONN-1, ENROLL-5
#[tokio::test]
async fn who_ends_a_request_with_the_session_is_answered() {
    let (client, server) = tls();
    let (connector, _events) = serve(registered().tls(server)).await;
    let token = mint(ID, &Secret::new(SECRET), 0, 0);
    let body = r#"{"platform":"discord"}"#;
    let post = format!(
        "POST /relay/policy HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nAuthorization: Bearer {}\r\n\r\n{body}",
        body.len(),
        token.as_str()
    );
    let get = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for (request, end) in [(get, "ok"), (&post, r#"{"ok":true}"#)] {
        let answer = ask_and_close(&connector, client.clone(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&format!("\r\n\r\n{end}")), "{answer}");
    }
    assert_eq!(connector.gateway(ID).policies().len(), 1);
    // As without TLS, where the socket is half closed.
    let (connector, _events) = serve(registered()).await;
    for (request, end) in [(get, "ok"), (&post, r#"{"ok":true}"#)] {
        let mut stream = TcpStream::connect(connector.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        guard("the answer", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&format!("\r\n\r\n{end}")), "{answer}");
    }
}

#[tokio::test]
async fn over_tls_everything_is_the_same() {
    let (client, server) = tls();
    let (connector, _events) = serve(registered().tls(server)).await;
    let peer = connector.gateway(ID);
    let text = "x".repeat(100_000);
    peer.deliver(&RawJson::parse(&format!(r#"{{"text":"{text}"}}"#)).unwrap()).await.unwrap();
    let config = Config::new(format!("https://{}", connector.address())).identity("discord", "bot-1").timing(quick());
    let (_gateway, mut events) = relay_tokio::connect_with_tls(config.credentials(ID, SECRET), Some(client)).unwrap();
    loop {
        if let Event::Delivery(message) = guard("the message", events.next()).await.unwrap() {
            assert_eq!(message.text(), text);
            break message.ack();
        }
    }
    // Somebody who does not speak TLS is nobody's trouble.
    let plain = TcpStream::connect(connector.address()).await.unwrap();
    let answer = ask(plain, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!answer.contains("200 OK"), "{answer}");
    guard("the shutdown", connector.shutdown()).await;
    while !matches!(guard("the end of the link", events.next()).await.unwrap(), Event::Disconnected { .. }) {}
}
