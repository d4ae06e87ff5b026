use std::{
    io::{Read, Write},
    sync::Arc,
};

use super::{
    rustls::{
        ClientConfig, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion, crypto::ring,
        pki_types::PrivateKeyDer, version,
    },
    *,
};
use crate::end::TlsProblem;

/// Configurations that trust each other, for the names that tests dial.
fn configs_for(versions: &[&'static SupportedProtocolVersion]) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    configs_for(&[&version::TLS13])
}

fn dial(url: &str, config: Arc<ClientConfig>) -> ClientLink {
    ClientLink::new(&Target::parse(url).unwrap(), Some("the-token"), &LinkOptions::default(), Some(config)).unwrap()
}

fn accepting(config: Arc<ServerConfig>) -> ServerLink {
    ServerLink::new(&LinkOptions::default(), Some(config)).unwrap()
}

/// A client and a server that are both open.
fn pair() -> (ClientLink, ServerLink) {
    let (client, server) = configs();
    let (mut client, mut server) = (dial("wss://localhost", client), accepting(server));
    let (of_client, _) = carry(&mut client, &mut server, usize::MAX);
    assert_eq!(of_client, [LinkEvent::Opened]);
    (client, server)
}

/// An open client, and the TLS of its peer, with which to write what no `ServerLink` would.
fn by_hand() -> (ClientLink, ServerConnection) {
    let (client, server) = configs();
    let mut client = dial("wss://localhost", client);
    let mut server = ServerConnection::new(server).unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let bytes = client.transmit().to_vec();
        client.consume(bytes.len());
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets().unwrap();
        let _ = server.reader().read_to_end(&mut request);
        client.handle_bytes(&records(&mut server));
    }
    let request = String::from_utf8(request).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    write!(
        server.writer(),
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .unwrap();
    client.handle_bytes(&records(&mut server));
    assert_eq!(events(&mut client), [LinkEvent::Opened]);
    (client, server)
}

fn records(connection: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn both_ends_talk_over_tls_however_the_bytes_are_cut() {
    let long = "x".repeat(1_000_000);
    for versions in [&version::TLS13, &version::TLS12] {
        for (url, chunk) in [("wss://localhost", 1), ("wss://127.0.0.1:8443", 1000), ("wss://[::1]", usize::MAX)] {
            let (client, server) = configs_for(&[versions]);
            let (mut client, mut server) = (dial(url, client), accepting(server));
            let (of_client, of_server) = carry(&mut client, &mut server, chunk);
            assert_eq!(of_client, [LinkEvent::Opened], "{url}");
            assert!(matches!(&of_server[..], [ServerEvent::Request(request)] if request.bearer() == Some("the-token")));

            let text = if chunk == 1 { "short" } else { &long };
            client.send_text(text.into());
            client.send_text("two".into());
            server.send_text(text.into());
            let (of_client, of_server) = carry(&mut client, &mut server, chunk);
            assert_eq!(of_client, [message(text.as_bytes())]);
            assert_eq!(of_server, [server_message(text.as_bytes()), server_message(b"two")]);

            server.close(4401, "no");
            let (of_client, of_server) = carry(&mut client, &mut server, chunk);
            assert_eq!(of_client, [LinkEvent::Ended(closed(4401, "no"))]);
            assert_eq!(of_server, [ServerEvent::Ended(closed(4401, "no"))]);
            assert!(client.is_finished() && server.is_finished());
        }
    }
}

#[test]
fn a_certificate_that_is_not_trusted_ends_both_links() {
    let (_, server) = configs();
    let (client, _) = configs();
    let (mut client, mut server) = (dial("wss://localhost", client), accepting(server));
    let (of_client, of_server) = carry(&mut client, &mut server, 1000);
    assert!(matches!(&of_client[..], [LinkEvent::Ended(LinkEnd::Tls { .. })]), "{of_client:?}");
    // The alert arrived.
    assert!(
        matches!(&of_server[..], [ServerEvent::Ended(LinkEnd::Tls { detail, .. })] if detail.contains("alert")),
        "{of_server:?}"
    );
    assert!(client.is_finished() && server.is_finished());
}

#[test]
fn a_certificate_for_another_name_ends_the_link() {
    let (client, server) = configs();
    let (mut client, mut server) = (dial("wss://example.test", client), accepting(server));
    let (of_client, _) = carry(&mut client, &mut server, usize::MAX);
    assert!(matches!(&of_client[..], [LinkEvent::Ended(LinkEnd::Tls { .. })]), "{of_client:?}");
}

#[test]
fn a_peer_without_tls_ends_the_link() {
    let (client, server) = configs();
    let mut client = dial("wss://localhost", client);
    client.handle_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(matches!(&events(&mut client)[..], [LinkEvent::Ended(LinkEnd::Tls { .. })]));
    let mut server = accepting(server);
    server.handle_bytes(b"GET /relay HTTP/1.1\r\n\r\n");
    assert!(matches!(&server_events(&mut server)[..], [ServerEvent::Ended(LinkEnd::Tls { .. })]));
    assert!(!server.transmit().is_empty(), "no alert");
}

#[test]
fn a_handshake_that_fails_after_the_greeting_misses_a_certificate() {
    // handshake_failure, in plaintext: what OpenSSL says with TLS 1.2 when a client has no certificate, and also when
    // there is no cipher in common.
    let alert = [21, 3, 3, 0, 2, 2, 40];
    let (client, server) = configs_for(&[&version::TLS12]);
    for (greeted, expected) in [(false, TlsProblem::Handshake), (true, TlsProblem::ClientCertificate)] {
        let mut client = dial("wss://localhost", client.clone());
        let mut server = ServerConnection::new(server.clone()).unwrap();
        if greeted {
            server.read_tls(&mut client.transmit()).unwrap();
            server.process_new_packets().unwrap();
            client.handle_bytes(&records(&mut server));
        }
        client.handle_bytes(&alert);
        let ended = events(&mut client);
        assert!(
            matches!(&ended[..], [LinkEvent::Ended(LinkEnd::Tls { problem, .. })] if *problem == expected),
            "{ended:?}"
        );
    }
}

#[test]
fn a_wss_address_needs_a_configuration() {
    let target = Target::parse("wss://localhost").unwrap();
    let refused = ClientLink::new(&target, None, &LinkOptions::default(), None);
    assert!(matches!(refused, Err(LinkEnd::Tls { .. })));
}

#[test]
fn an_end_without_a_websocket_close_is_a_lost_link() {
    // proves: LINK-2
    // Without close_notify.
    let (mut client, mut server) = by_hand();
    server.writer().write_all(&from_server(TEXT, b"last")).unwrap();
    client.handle_bytes(&records(&mut server));
    client.handle_eof();
    let ended = events(&mut client);
    assert!(matches!(&ended[..], [m, LinkEvent::Ended(LinkEnd::Lost { .. })] if *m == message(b"last")), "{ended:?}");
    // With it.
    let (mut client, mut server) = by_hand();
    server.writer().write_all(&from_server(TEXT, b"last")).unwrap();
    server.send_close_notify();
    client.handle_bytes(&records(&mut server));
    let ended = events(&mut client);
    assert!(matches!(&ended[..], [m, LinkEvent::Ended(LinkEnd::Lost { .. })] if *m == message(b"last")), "{ended:?}");
    // During the handshake.
    let (client, _) = configs();
    let mut client = dial("wss://localhost", client);
    client.handle_eof();
    assert!(matches!(&events(&mut client)[..], [LinkEvent::Ended(LinkEnd::Lost { .. })]));
}

#[test]
fn a_close_is_not_lost_behind_a_tls_failure_in_the_same_read() {
    // proves: LINK-2
    let (mut client, mut server) = by_hand();
    server.writer().write_all(&from_server(CLOSE, &close_payload(4401, "no"))).unwrap();
    let bytes = [records(&mut server), vec![0x17, 3, 3, 0, 20], vec![0; 20]].concat();
    client.handle_bytes(&bytes);
    assert_eq!(events(&mut client), [LinkEvent::Ended(closed(4401, "no"))]);
}

#[test]
fn the_answer_to_a_close_leaves_before_close_notify() {
    let (mut client, mut server) = by_hand();
    server.writer().write_all(&from_server(CLOSE, &close_payload(1000, "x"))).unwrap();
    client.handle_bytes(&records(&mut server));
    server.read_tls(&mut client.transmit()).unwrap();
    let state = server.process_new_packets().unwrap();
    assert!(state.peer_has_closed());
    let mut answer = Vec::new();
    server.reader().read_to_end(&mut answer).unwrap();
    assert_eq!(only_close(&decode(Role::Client, &answer)), (1000, "x".into()));
}

#[test]
fn one_read_may_hold_any_number_of_records() {
    let (mut client, mut server) = pair();
    for i in 0..2000 {
        server.send_text(format!("{i}\n"));
    }
    server.send_text("x".repeat(500_000));
    let bytes = server.transmit().to_vec();
    client.handle_bytes(&bytes);
    assert_eq!(events(&mut client).len(), 2001);
}

#[test]
fn pings_without_reading_do_not_pile_up_answers_over_tls() {
    let (mut client, mut server) = pair();
    for _ in 0..5000 {
        server.ping();
        client.handle_bytes(server.transmit());
        server.consume(usize::MAX);
    }
    assert!(client.transmit().len() < 8 << 10, "{}", client.transmit().len());
}

#[test]
fn a_link_that_cannot_write_still_reads() {
    // proves: LINK-2
    let (mut client, mut server) = pair();
    client.handle_write_error();
    client.send_text("x".repeat(100_000));
    assert!(client.transmit().is_empty());
    server.close(4401, "no");
    client.handle_bytes(server.transmit());
    assert_eq!(events(&mut client), [LinkEvent::Ended(closed(4401, "no"))]);
    assert!(client.is_finished());
}

#[test]
fn a_burst_over_tls_is_given_back() {
    let (mut client, mut server) = pair();
    client.send_text("x".repeat(1 << 20));
    carry(&mut client, &mut server, usize::MAX);
    assert!(client.buffered() > 1 << 20);
    client.ping();
    assert!(client.buffered() < 8 << 10, "{}", client.buffered());
    carry(&mut client, &mut server, usize::MAX);
    client.shrink();
    assert_eq!(client.buffered(), 0);
}

mod chaos {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Flipped bits in real records, at any moment.
        #[test]
        fn damaged_records_end_the_link(at in 0..4000_usize, flip in 1..=255_u8, chunk in 1..5000_usize) {
            let (client, server) = configs();
            let (mut client, mut server) = (dial("wss://localhost", client), accepting(server));
            let mut carried = 0;
            while !client.transmit().is_empty() || !server.transmit().is_empty() {
                let bytes = client.transmit().to_vec();
                client.consume(bytes.len());
                for piece in bytes.chunks(chunk) {
                    server.handle_bytes(piece);
                }
                while server.poll_event().is_some() {}
                server.accept();
                let mut bytes = server.transmit().to_vec();
                server.consume(bytes.len());
                if let Some(byte) = at.checked_sub(carried).and_then(|at| bytes.get_mut(at)) {
                    *byte ^= flip;
                }
                carried += bytes.len();
                for piece in bytes.chunks(chunk) {
                    client.handle_bytes(piece);
                }
            }
            client.handle_eof();
            server.handle_eof();
            let ended = events(&mut client);
            // Whatever was damaged, nothing passes for a message or a close.
            let failed = matches!(ended.last(), Some(LinkEvent::Ended(LinkEnd::Tls { .. } | LinkEnd::Lost { .. })));
            prop_assert!(failed, "{:?}", ended);
            prop_assert!(!ended.iter().any(|event| matches!(event, LinkEvent::Message(_))));
            prop_assert!(!client.is_open() && !server.is_open());
        }
    }
}

#[test]
fn a_post_over_tls_is_the_same() {
    // proves: ENROLL-5
    let (client, server) = configs();
    let options = LinkOptions { plain_post: true, ..LinkOptions::default() };
    let mut server = ServerLink::new(&options, Some(server)).unwrap();
    let mut client = super::rustls::ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
    client.writer().write_all(b"POST /relay/policy HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    let mut events = Vec::new();
    let mut answer = Vec::new();
    while client.wants_write() || !server.transmit().is_empty() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes.chunks(9).for_each(|piece| server.handle_bytes(piece));
        events.extend(server_events(&mut server));
        if let Some(ServerEvent::Post(Ok(request))) = events.last() {
            assert_eq!((request.path(), request.body()), ("/relay/policy", &b"{}"[..]));
            server.respond_json(200, "[]");
        }
        let mut bytes = server.transmit();
        while client.read_tls(&mut bytes).unwrap() > 0 {
            client.process_new_packets().unwrap();
        }
        server.consume(usize::MAX);
        // Nothing may be there yet.
        let _ = client.reader().read_to_end(&mut answer);
    }
    events.extend(server_events(&mut server));
    assert!(matches!(&events[..], [ServerEvent::Post(_), ServerEvent::Ended(LinkEnd::Refused { status: 200, .. })]));
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"\r\n\r\n[]"));
    assert_eq!(client.reader().read(&mut [0]).unwrap(), 0, "the session was ended");
}

/// What a server's host sees of a client that sends this request and ends its half of the session at once, and what is
/// left for the client to read.
fn asked_and_closed(
    version: &'static SupportedProtocolVersion,
    request: &[u8],
    answer: impl Fn(&mut ServerLink, &ServerEvent),
) -> (Vec<ServerEvent>, String) {
    let (client, server) = configs_for(&[version]);
    let options = LinkOptions { plain_get: true, plain_post: true, ..LinkOptions::default() };
    let mut server = ServerLink::new(&options, Some(server)).unwrap();
    let mut client = super::rustls::ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
    let (mut seen, mut read, mut asked) = (Vec::new(), Vec::new(), false);
    while !asked || client.wants_write() || !server.transmit().is_empty() {
        let mut bytes = Vec::new();
        if !client.is_handshaking() && !asked {
            asked = true;
            client.writer().write_all(request).unwrap();
            client.send_close_notify();
        }
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.handle_bytes(&bytes);
        while let Some(event) = server.poll_event() {
            answer(&mut server, &event);
            seen.push(event);
        }
        let mut bytes = server.transmit();
        while client.read_tls(&mut bytes).unwrap() > 0 {
            client.process_new_packets().unwrap();
        }
        server.consume(usize::MAX);
        // Nothing may be there yet.
        let _ = client.reader().read_to_end(&mut read);
    }
    assert!(server.is_finished());
    (seen, String::from_utf8(read).unwrap())
}

#[test]
fn an_upgrade_that_nobody_waits_for_is_none() {
    // proves: LINK-2
    for version in [&version::TLS13, &version::TLS12] {
        let accept = |server: &mut ServerLink, _: &ServerEvent| server.accept();
        let (seen, read) = asked_and_closed(version, REQUEST.as_bytes(), accept);
        assert!(
            matches!(&seen[..], [ServerEvent::Ended(LinkEnd::Lost { detail })] if detail.contains("before the upgrade")),
            "{seen:?}"
        );
        assert_eq!(read, "");
    }
}

#[test]
fn who_has_only_said_all_of_a_request_is_answered() {
    // proves: ENROLL-5
    for version in [&version::TLS13, &version::TLS12] {
        let (seen, read) = asked_and_closed(version, b"GET /healthz HTTP/1.1\r\n\r\n", |server, event| {
            if let ServerEvent::Get(_) = event {
                server.respond(200, "ok");
            }
        });
        assert!(matches!(&seen[..], [ServerEvent::Get(path), ServerEvent::Ended(_)] if path == "/healthz"), "{seen:?}");
        assert!(read.starts_with("HTTP/1.1 200 OK\r\n") && read.ends_with("\r\n\r\nok"), "{read}");

        let post = b"POST /relay/policy HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        let (seen, read) = asked_and_closed(version, post, |server, event| {
            if let ServerEvent::Post(_) = event {
                server.respond_json(200, "[]");
            }
        });
        assert!(matches!(&seen[..], [ServerEvent::Post(Ok(_)), ServerEvent::Ended(_)]), "{seen:?}");
        assert!(read.starts_with("HTTP/1.1 200 OK\r\n") && read.ends_with("\r\n\r\n[]"), "{read}");

        // One that is refused without the host, and one that is not all there.
        let (seen, read) = asked_and_closed(version, b"BREW /relay HTTP/1.1\r\n\r\n", |_, _| {});
        assert!(matches!(&seen[..], [ServerEvent::Ended(LinkEnd::Protocol { .. })]), "{seen:?}");
        assert!(read.starts_with("HTTP/1.1 405 "), "{read}");
        for cut in [&post[..post.len() - 1], b"GET /healthz HTTP/1.1\r\n"] {
            let (seen, read) = asked_and_closed(version, cut, |_, _| {});
            assert!(matches!(&seen[..], [ServerEvent::Ended(LinkEnd::Lost { .. })]), "{seen:?}");
            assert_eq!(read, "");
        }
    }
}
