use super::*;

/// What the client makes of an answer, before and after the end of the connection.
fn answered(answer: &[u8]) -> (Option<LinkEnd>, LinkEnd) {
    let mut client = client();
    client.consume(usize::MAX);
    client.handle_bytes(answer);
    let at_once = match &events(&mut client)[..] {
        [] => None,
        [LinkEvent::Ended(end)] => Some(end.clone()),
        other => panic!("{other:?}"),
    };
    client.handle_eof();
    assert!(client.is_finished());
    let later = match &events(&mut client)[..] {
        [] => at_once.clone().unwrap(),
        [LinkEvent::Ended(end)] => end.clone(),
        other => panic!("{other:?}"),
    };
    (at_once, later)
}

fn refused(status: u16, reason: &str) -> LinkEnd {
    LinkEnd::Refused { status, reason: reason.into() }
}

#[test]
fn a_refusal_carries_its_status() {
    // proves: DIAL-4
    for (answer, end) in [
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\nexpired", refused(401, "expired")),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", refused(403, "Forbidden")),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", refused(503, "Service Unavailable")),
        ("HTTP/1.0 500 Oops\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nbad", refused(500, "bad")),
        ("HTTP/1.1 200 OK\r\nContent-Type: TEXT/HTML\r\nContent-Length: 12\r\n\r\n<html>hello ", refused(200, "OK")),
        ("HTTP/1.1 500\r\n\r\n", refused(500, "")),
        ("HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\n\r\n\t", refused(400, "Bad")),
        ("HTTP/1.1 400 Bad\r\nContent-Length: 5\r\n\r\na\x1b[\0b", refused(400, "a [ b")),
        ("HTTP/1.1 400 Bad\r\nContent-Length: 1025\r\n\r\n", refused(400, "Bad")),
        ("HTTP/1.1 400 Bad\r\nContent-Length: -1\r\n\r\n", refused(400, "Bad")),
        ("HTTP/1.1 400 Bad\r\nContent-Length: 99999999999999999999\r\n\r\n", refused(400, "Bad")),
        ("HTTP/1.1 400 Bad\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", refused(400, "Bad")),
        ("HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", refused(400, "Bad")),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Slow\r\nContent-Length: 2\r\n\r\nno", refused(429, "no")),
        ("HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\n", refused(304, "Same")),
    ] {
        let (at_once, _) = answered(answer.as_bytes());
        assert_eq!(at_once, Some(end), "{answer:?}");
    }
}

#[test]
fn a_redirect_is_a_refusal() {
    // proves: DIAL-4
    for status in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {status} Moved\r\nLocation: ws://elsewhere/relay\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(answered(answer.as_bytes()).0, Some(refused(status, "Moved")));
    }
}

#[test]
fn a_refusal_waits_for_its_body_until_the_connection_ends() {
    let (at_once, later) = answered(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\nexp");
    assert_eq!((at_once, later), (None, refused(401, "Unauthorized")));
    let (at_once, later) = answered(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n");
    assert_eq!((at_once, later), (None, refused(401, "Unauthorized")));
    let (at_once, _) = answered(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n\xff\xff");
    assert_eq!(at_once, Some(refused(401, "Unauthorized")));
}

#[test]
fn a_connection_that_ends_without_an_answer_is_lost() {
    for answer in ["", "HTTP/1.1 10", "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (at_once, later) = answered(answer.as_bytes());
        assert_eq!(at_once, None);
        assert!(matches!(&later, LinkEnd::Lost { detail } if detail.contains("before the upgrade")), "{later:?}");
    }
    let mut server = server();
    server.handle_bytes(b"GET / HT");
    server.handle_eof();
    assert!(matches!(&server_events(&mut server)[..], [ServerEvent::Ended(LinkEnd::Lost { .. })]));
    assert!(server.is_finished());
}

#[test]
fn the_server_refuses_with_status_and_body() {
    // proves: CONN-1
    for (status, sent, phrase) in [
        (400, 400, "Bad Request"),
        (404, 404, "Not Found"),
        (599, 599, "Refused"),
        (101, 400, "Bad Request"),
        (7, 400, "Bad Request"),
    ] {
        let (mut client, mut server) = (client(), server());
        server.handle_bytes(client.transmit());
        client.consume(usize::MAX);
        assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
        server.refuse(status, "no\r\nX: y");
        let answer = String::from_utf8(server.transmit().to_vec()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {sent} {phrase}\r\n")), "{answer}");
        assert!(answer.ends_with("\r\n\r\nno\r\nX: y"), "{answer}");
        assert_eq!(server_events(&mut server), [ServerEvent::Ended(refused(sent, "no\r\nX: y"))]);
        assert!(!server.is_finished());
        client.handle_bytes(server.transmit());
        server.consume(usize::MAX);
        assert!(server.is_finished());
        assert_eq!(events(&mut client), [LinkEvent::Ended(refused(sent, "no  X: y"))]);
        assert!(client.is_finished());
    }
}

#[test]
fn the_server_answers_what_is_no_upgrade_itself() {
    for (request, status) in [
        (REQUEST.replace("GET", "POST"), 405),
        (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), 426),
        (REQUEST.replace("HTTP/1.1", "HTTP/2"), 400),
        (REQUEST.replace("Upgrade: websocket\r\n", ""), 426),
        (REQUEST.replace("Connection: Upgrade", "Connection: close"), 426),
        (REQUEST.replace("Version: 13", "Version: 8"), 426),
        (REQUEST.replace("Host: example.test\r\n", ""), 400),
        (REQUEST.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400),
        (REQUEST.replace("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all, it is"), 400),
        (REQUEST.replace("/relay?x=1", "*"), 400),
        (REQUEST.replace("/relay?x=1", ""), 400),
        (REQUEST.replace("/relay?x=1", "/a b"), 400),
        (REQUEST.replace("Host:", "Host"), 400),
        (REQUEST.replace("Host:", &format!("A: {}\r\nHost:", "b".repeat(17_000))), 431),
        ("\u{16}\u{3}\u{1}\u{2}".into(), 400),
        ("hello".into(), 400),
    ] {
        let mut server = server();
        server.handle_bytes(request.as_bytes());
        let answer = String::from_utf8(server.transmit().to_vec()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert_eq!(answer.contains("\r\nAllow: GET, HEAD\r\n"), status == 405, "{answer}");
        assert!(matches!(&server_events(&mut server)[..], [ServerEvent::Ended(LinkEnd::Protocol { .. })]));
        server.consume(usize::MAX);
        assert!(server.is_finished());
    }
}

#[test]
fn a_request_may_name_the_whole_address() {
    let mut server = server();
    server.handle_bytes(REQUEST.replace("/relay?x=1", "http://example.test/relay?x=1").as_bytes());
    let Some(ServerEvent::Request(request)) = server.poll_event() else { panic!() };
    assert_eq!((request.path(), request.query()), ("/relay", Some("x=1")));
}

#[test]
fn a_client_that_gives_up_names_the_best_known_end() {
    let mut client = client();
    client.handle_read_error("no answer for 10 s");
    let ended = events(&mut client);
    assert!(
        matches!(&ended[..], [LinkEvent::Ended(LinkEnd::Lost { detail })] if detail.starts_with("no answer for 10 s"))
    );
    let mut client = super::client();
    client.handle_bytes(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n");
    client.close(1000, "");
    assert_eq!(events(&mut client), [LinkEvent::Ended(refused(503, "Busy"))]);
}

/// A server whose host answers what asks for no upgrade.
fn plain_server() -> ServerLink {
    let options = LinkOptions { plain_get: true, ..LinkOptions::default() };
    ServerLink::new(&options, None).unwrap()
}

#[test]
fn a_get_that_asks_for_no_upgrade_is_the_hosts_if_it_wants() {
    for (request, path) in [
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "/healthz"),
        ("GET /healthz?x=1 HTTP/1.0\r\n\r\n", "/healthz"),
        ("GET /relay HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n", "/relay"),
    ] {
        for (status, sent, phrase) in [(200, 200, "OK"), (400, 400, "Bad Request"), (101, 500, "Internal Server Error")]
        {
            let mut server = plain_server();
            server.handle_bytes(request.as_bytes());
            assert_eq!(server.poll_event(), Some(ServerEvent::Get(path.into())));
            assert_eq!(server.poll_event(), None);
            server.accept();
            server.refuse(400, "no upgrade to refuse");
            server.handle_bytes(b"more");
            assert!(server.transmit().is_empty() && !server.is_finished());
            server.respond(status, "ok");
            server.respond(status, "twice");
            let answer = String::from_utf8(server.transmit().to_vec()).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {sent} {phrase}\r\nConnection: close\r\n")), "{answer}");
            assert!(answer.ends_with("Content-Length: 2\r\n\r\nok"), "{answer}");
            assert_eq!(server_events(&mut server), [ServerEvent::Ended(refused(sent, "ok"))]);
            server.consume(usize::MAX);
            assert!(server.is_finished());
        }
    }
}

#[test]
fn what_asks_for_an_upgrade_badly_is_never_the_hosts() {
    for (request, status) in [
        (REQUEST.replace("Version: 13", "Version: 8"), 426),
        (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), 426),
        (REQUEST.replace("GET", "HEAD"), 405),
        (REQUEST.replace("/relay?x=1", "*"), 400),
    ] {
        let mut server = plain_server();
        server.handle_bytes(request.as_bytes());
        let answer = String::from_utf8(server.transmit().to_vec()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert!(matches!(&server_events(&mut server)[..], [ServerEvent::Ended(LinkEnd::Protocol { .. })]));
    }
    let mut server = plain_server();
    server.handle_bytes(REQUEST.as_bytes());
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
    server.respond(200, "not for an upgrade");
    assert!(server.transmit().is_empty());
}

// proves: LINK-1
#[test]
fn a_refusal_says_when_to_come_again() {
    let end = |head: &str| {
        let mut client = client();
        client.handle_bytes(format!("HTTP/1.1 {head}\r\nContent-Length: 4\r\n\r\nbusy").as_bytes());
        events(&mut client)
    };
    let for_now = |status, seconds| {
        let retry_after = core::time::Duration::from_secs(seconds);
        [LinkEvent::Ended(LinkEnd::RefusedForNow { status, reason: "busy".into(), retry_after })]
    };
    assert_eq!(end("503 Busy\r\nRetry-After: 12"), for_now(503, 12));
    assert_eq!(end("429 Slow\r\nretry-after:  0 "), for_now(429, 0));
    assert_eq!(end("503 Busy\r\nRetry-After: 99999999999999999999999"), for_now(503, u64::MAX));
    for head in [
        "500 Broken\r\nRetry-After: 12",
        "503 Busy\r\nRetry-After: Mon, 30 Nov 2026 22:00:00 GMT",
        "503 Busy\r\nRetry-After: -1",
        "503 Busy\r\nRetry-After:",
        "503 Busy\r\nRetry-After: 1\r\nRetry-After: 2",
    ] {
        assert!(matches!(&end(head)[..], [LinkEvent::Ended(LinkEnd::Refused { .. })]), "{head}");
    }
}
