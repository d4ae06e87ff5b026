use super::*;

const REQUEST: &str = "POST /relay/enroll?x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\nContent-Length: 9\r\n\r\n\
                       {\"a\":\"b\"}";

/// A link whose host answers POSTs.
fn posted() -> ServerLink {
    let options = LinkOptions { plain_post: true, ..LinkOptions::default() };
    ServerLink::new(&options, None).unwrap()
}

fn feed(server: &mut ServerLink, bytes: &[u8], chunk: usize) -> Vec<ServerEvent> {
    bytes.chunks(chunk).for_each(|piece| server.handle_bytes(piece));
    server_events(server)
}

fn sent(server: &ServerLink) -> &str {
    str::from_utf8(server.transmit()).unwrap()
}

fn answered(status: u16) -> ServerEvent {
    ServerEvent::Ended(LinkEnd::Refused { status, reason: String::new() })
}

#[test]
fn a_post_is_the_hosts_however_it_is_cut() {
    // proves: ENROLL-5
    for chunk in [1, 7, usize::MAX] {
        let mut server = posted();
        let events = feed(&mut server, REQUEST.as_bytes(), chunk);
        let [ServerEvent::Post(Ok(request))] = &events[..] else { panic!("{events:?}") };
        assert_eq!((request.path(), request.body()), ("/relay/enroll", &b"{\"a\":\"b\"}"[..]));
        assert_eq!(request.bearer().unwrap().expose(), "s3cret");
        assert!(!format!("{events:?}").contains("s3cret"));

        // It is the only one, and nobody else answers it.
        server.handle_bytes(REQUEST.as_bytes());
        server.accept();
        server.refuse(403, "no");
        server.respond(200, "no");
        assert!(server_events(&mut server).is_empty() && server.transmit().is_empty());
        server.respond_json(201, "{\"secret\":\"x\"}");
        server.respond_json(400, "{}");
        assert!(sent(&server).starts_with("HTTP/1.1 201 ") && sent(&server).ends_with("\r\n\r\n{\"secret\":\"x\"}"));
        assert_eq!(server_events(&mut server), [answered(201)]);
        server.consume(usize::MAX);
        assert!(server.is_finished());
    }
}

#[test]
fn a_post_is_refused_where_the_host_wants_none() {
    let mut server = server();
    server.handle_bytes(REQUEST.as_bytes());
    assert!(matches!(&server_events(&mut server)[..], [ServerEvent::Ended(LinkEnd::Protocol { .. })]));
    assert!(sent(&server).starts_with("HTTP/1.1 405 "));
}

#[test]
fn what_begins_like_a_post_and_is_none_is_what_it_was() {
    for chunk in [1, 5, usize::MAX] {
        let mut server = posted();
        let request = client().transmit().to_vec();
        assert!(matches!(&feed(&mut server, &request, chunk)[..], [ServerEvent::Request(_)]));
        for (bytes, status) in [
            ("POST /relay HTTP/1.1\r\n\r\n", "405"),
            ("POST /relayx HTTP/1.1\r\n\r\n", "405"),
            ("PUT /relay/enroll HTTP/1.1\r\n\r\n", "405"),
            ("\r\nPOST /relay/enroll HTTP/1.1\r\n\r\n", "405"),
            ("POST\n\n", "400"),
            ("\u{16}\u{3}\u{1}", "400"),
        ] {
            let mut server = posted();
            let events = feed(&mut server, bytes.as_bytes(), chunk);
            assert!(matches!(&events[..], [ServerEvent::Ended(LinkEnd::Protocol { .. })]), "{bytes:?}: {events:?}");
            assert!(sent(&server).starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {}", sent(&server));
        }
    }
}

#[test]
fn a_post_is_bounded() {
    // proves: ENROLL-5
    let long = "x".repeat(70_000);
    for (request, status) in [
        (format!("POST /relay/{long}"), 431),
        (format!("POST /relay/enroll HTTP/1.1\r\nA: {long}"), 431),
        (format!("POST /relay/enroll HTTP/1.1\r\nContent-Length: 65537\r\n\r\n{long}"), 413),
        (format!("POST /relay/enroll HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{long}"), 411),
        (format!("POST /relay/\0 HTTP/1.1\r\nContent-Length: 1\r\n\r\n{long}"), 400),
    ] {
        for chunk in [1, 1000, usize::MAX] {
            let mut server = posted();
            let mut events = Vec::new();
            for piece in request.as_bytes().chunks(chunk) {
                server.handle_bytes(piece);
                assert!(server.buffered() < 90_000, "{} bytes held", server.buffered());
                events.extend(server_events(&mut server));
            }
            let [ServerEvent::Post(Err(refused))] = &events[..] else { panic!("{status}: {events:?}") };
            assert_eq!(refused.status, status);
            server.respond_json(refused.status, "{}");
            assert_eq!(server_events(&mut server), [answered(status)]);
        }
    }
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    // proves: ENROLL-5
    let request = REQUEST.replace("Host: x", "Expect: 100-continue");
    let (head, body) = request.split_at(request.len() - 9);
    let mut server = posted();
    assert!(feed(&mut server, head.as_bytes(), 10).is_empty());
    assert_eq!(sent(&server), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(matches!(&feed(&mut server, body.as_bytes(), 1)[..], [ServerEvent::Post(Ok(_))]));
    server.respond_json(7, "{}");
    let answers: Vec<&str> = sent(&server).split_inclusive("\r\n\r\n").collect();
    assert!(matches!(answers[..], [_, answer, "{}"] if answer.starts_with("HTTP/1.1 500 ")), "{answers:?}");
}

#[test]
fn a_post_that_does_not_come_in_time_is_answered() {
    // proves: ENROLL-5
    for (start, is_post) in [("", false), ("POST /rel", false), ("GET /relay", false), (&REQUEST[..20], true)] {
        let mut server = posted();
        assert!(feed(&mut server, start.as_bytes(), usize::MAX).is_empty());
        server.request_timed_out();
        let events = server_events(&mut server);
        if is_post {
            assert!(matches!(&events[..], [ServerEvent::Post(Err(late))] if late.status == 408), "{events:?}");
            server.handle_bytes(&REQUEST.as_bytes()[20..]);
            server.respond_json(408, "{}");
            assert_eq!(server_events(&mut server), [answered(408)]);
        } else {
            assert!(matches!(&events[..], [ServerEvent::Ended(LinkEnd::Lost { .. })]), "{start}: {events:?}");
            assert!(server.is_finished(), "nothing is said");
        }
    }
}

#[test]
fn a_post_that_is_cut_short_is_lost() {
    for end in [9, 20, REQUEST.len() - 1] {
        let mut server = posted();
        assert!(feed(&mut server, &REQUEST.as_bytes()[..end], usize::MAX).is_empty());
        server.handle_eof();
        let events = server_events(&mut server);
        assert!(
            matches!(&events[..], [ServerEvent::Ended(LinkEnd::Lost { detail })] if detail.contains("before the upgrade"))
        );
        server.respond_json(200, "{}");
        assert!(server.is_finished());
    }
}

// proves: ENROLL-5
#[test]
fn a_post_whose_client_has_gone_is_not_the_hosts() {
    for gone in [ServerLink::handle_eof, |server: &mut ServerLink| server.handle_read_error("reset")] {
        let mut server = posted();
        server.handle_bytes(REQUEST.as_bytes());
        gone(&mut server);
        let events = server_events(&mut server);
        assert!(matches!(&events[..], [ServerEvent::Ended(LinkEnd::Lost { .. })]), "redeemed for nobody: {events:?}");
    }
}

#[test]
fn what_follows_a_post_on_its_connection_is_nothing() {
    // proves: ENROLL-5
    let upgrade = client().transmit().to_vec();
    for behind in [REQUEST.as_bytes(), &upgrade, b"\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n", &[b'x'; 200_000]] {
        for chunk in [13, usize::MAX] {
            let mut server = posted();
            let events = feed(&mut server, &[REQUEST.as_bytes(), behind].concat(), chunk);
            assert!(matches!(&events[..], [ServerEvent::Post(Ok(_))]), "{events:?}");
            assert!(server.buffered() < 10_000, "{} bytes held", server.buffered());
            server.respond_json(200, "{}");
            assert!(sent(&server).contains("\r\nConnection: close\r\n"));
            assert_eq!(sent(&server).matches("HTTP/1.1").count(), 1);
            server.handle_bytes(behind);
            assert_eq!(server_events(&mut server), [answered(200)]);
        }
    }
}

#[test]
fn a_post_that_waits_for_its_body_holds_no_more_than_that() {
    // proves: ENROLL-5
    let mut server = posted();
    let head = format!("POST /relay/enroll HTTP/1.1\r\nA: {}\r\nContent-Length: 9\r\n\r\n", "x".repeat(15_000));
    assert!(feed(&mut server, head.as_bytes(), 100).is_empty());
    assert!(server.buffered() < 5000, "{} bytes held", server.buffered());
}
