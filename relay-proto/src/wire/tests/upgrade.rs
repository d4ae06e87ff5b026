use super::*;

#[test]
fn the_request_is_what_the_contract_asks_for() {
    // proves: DIAL-2
    let request = String::from_utf8(client().transmit().to_vec()).unwrap();
    assert!(request.starts_with("GET /chat/relay HTTP/1.1\r\nHost: example.test:81\r\n"), "{request}");
    assert!(request.contains("\r\nAuthorization: Bearer the-token\r\n"));
    assert!(request.contains("\r\nSec-WebSocket-Version: 13\r\n"));
    assert!(request.ends_with("\r\n\r\n"));
    let without = ClientLink::new(&target(), None, &LinkOptions::default(), None).unwrap();
    assert!(!String::from_utf8(without.transmit().to_vec()).unwrap().contains("Authorization"));
}

#[test]
fn a_token_cannot_smuggle_a_header() {
    for token in ["", "a\r\nX: y", "a\nb", "a b", "a\0", "ä", "a\x7f", &"a".repeat(9000)] {
        let Err(LinkEnd::Unreachable { detail }) =
            ClientLink::new(&target(), Some(token), &LinkOptions::default(), None)
        else {
            panic!("{token:?} was taken")
        };
        // proves: TOKEN-3
        assert!(token.is_empty() || !detail.contains(token), "{detail}");
    }
}

#[test]
fn a_path_cannot_smuggle_a_header() {
    for url in
        ["ws://h/a b", "ws://h/a\r\nX: y", "ws://h/a\nb", "ws://h/ä", "ws://h/?a b", "ws://h\r\nX: y/", "ws://h/\0"]
    {
        let Ok(target) = Target::parse(url) else { continue };
        let Ok(link) = ClientLink::new(&target, None, &LinkOptions::default(), None) else { continue };
        let request = String::from_utf8(link.transmit().to_vec()).unwrap();
        let lines: Vec<_> = request.split("\r\n").collect();
        assert_eq!(lines.len(), 9, "{url:?} {request:?}");
        assert_eq!(lines[0].split(' ').count(), 3, "{request:?}");
        assert!(request.bytes().all(|byte| byte.is_ascii_graphic() || b" \r\n".contains(&byte)));
    }
}

#[test]
fn every_dial_has_its_own_key() {
    assert_ne!(accept_key(&client()), accept_key(&client()));
}

#[test]
fn both_ends_open_and_talk_however_the_bytes_are_cut() {
    for chunk in [1, 2, 7, 100, 100_000] {
        let (mut client, mut server) = (client(), server());
        let (of_client, of_server) = carry(&mut client, &mut server, chunk);
        assert_eq!(of_client, [LinkEvent::Opened]);
        let [ServerEvent::Request(request)] = &of_server[..] else { panic!("{of_server:?}") };
        assert_eq!((request.path(), request.query()), ("/chat/relay", None));
        assert_eq!((request.host(), request.bearer()), ("example.test:81", Some("the-token")));
        assert!(client.is_open() && server.is_open());

        let long = "x".repeat(70_000);
        for text in ["a\n", "ä€😀\n", long.as_str()] {
            client.send_text(text.into());
            server.send_text(text.into());
        }
        let (of_client, of_server) = carry(&mut client, &mut server, chunk);
        assert_eq!(of_client, [message(b"a\n"), message("ä€😀\n".as_bytes()), message(long.as_bytes())]);
        assert_eq!(
            of_server,
            [server_message(b"a\n"), server_message("ä€😀\n".as_bytes()), server_message(long.as_bytes())]
        );
    }
}

#[test]
fn bytes_behind_the_answer_belong_to_the_websocket() {
    let mut client = client();
    let bytes =
        [acceptance(&client), from_server(TEXT, b"one"), from_server(CLOSE, &close_payload(4401, "no"))].concat();
    client.consume(usize::MAX);
    client.handle_bytes(&bytes);
    assert_eq!(events(&mut client), [LinkEvent::Opened, message(b"one"), LinkEvent::Ended(closed(4401, "no"))]);
}

#[test]
fn bytes_before_the_answer_belong_to_the_websocket() {
    let mut server = server();
    server.handle_bytes(&[REQUEST.as_bytes(), &from_client(TEXT, b"ea")].concat());
    server.handle_bytes(&from_client(TEXT, b"ger"));
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
    assert_eq!(server.poll_event(), None);
    server.accept();
    assert_eq!(server_events(&mut server), [server_message(b"ea"), server_message(b"ger")]);

    let mut server = super::server();
    server.handle_bytes(REQUEST.as_bytes());
    server.handle_bytes(&[0; 20_000]);
    assert!(matches!(&server_events(&mut server)[..], [ServerEvent::Ended(LinkEnd::Protocol { .. })]));
}

#[test]
fn an_empty_subprotocol_is_none() {
    // proves: FRAME-2
    for field in ["Sec-WebSocket-Protocol:\r\n", "Sec-WebSocket-Protocol: \r\n", "Sec-WebSocket-Protocol: chat\r\n"] {
        let mut server = super::server();
        server.handle_bytes(REQUEST.replace("\r\n\r\n", &format!("\r\n{field}\r\n")).as_bytes());
        assert!(matches!(&server_events(&mut server)[..], [ServerEvent::Request(_)]), "{field}");
        server.accept();
        let answer = String::from_utf8(server.transmit().to_vec()).unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 ") && !answer.contains("sec-websocket-protocol"), "{answer}");
        server.consume(usize::MAX);
        server.handle_bytes(&from_client(TEXT, b"{}"));
        assert_eq!(server_events(&mut server), [server_message(b"{}")], "{field}");
    }
}

#[test]
fn a_request_whose_client_has_gone_is_not_told() {
    let options = LinkOptions { plain_get: true, ..LinkOptions::default() };
    for request in [REQUEST, "GET /healthz HTTP/1.1\r\n\r\n"] {
        for gone in [ServerLink::handle_eof, |server: &mut ServerLink| server.handle_read_error("reset")] {
            let mut server = ServerLink::new(&options, None).unwrap();
            server.handle_bytes(request.as_bytes());
            gone(&mut server);
            let events = server_events(&mut server);
            assert!(matches!(&events[..], [ServerEvent::Ended(LinkEnd::Lost { .. })]), "a link for nobody: {events:?}");
        }
    }
}

#[test]
fn an_answer_may_spell_its_fields_in_many_ways() {
    for answer in [
        "HTTP/1.1 101 ok\r\nupgrade: WebSocket\r\nconnection: keep-alive, UPGRADE\r\nsec-websocket-accept:  KEY \r\n\r\n",
        "HTTP/1.1 101\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n\r\n",
        "\r\nHTTP/1.1 101 x\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: KEY\nServer: x\n\n",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\nSec-WebSocket-Protocol:\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n\r\n",
    ] {
        let mut client = client();
        let answer = answer.replace("KEY", &accept_key(&client));
        client.handle_bytes(answer.as_bytes());
        assert_eq!(events(&mut client), [LinkEvent::Opened], "{answer}");
    }
}

#[test]
fn an_answer_that_breaks_a_rule_ends_the_link() {
    let fields = ["Upgrade: websocket\r\n", "Connection: Upgrade\r\n", "Sec-WebSocket-Accept: KEY\r\n"];
    let with = |extra: &str| format!("HTTP/1.1 101 x\r\n{}{extra}\r\n", fields.concat());
    let mut answers: Vec<String> = (0..3)
        .map(|left_out| {
            let kept: Vec<_> =
                fields.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, field)| *field).collect();
            format!("HTTP/1.1 101 x\r\n{}\r\n", kept.concat())
        })
        .collect();
    answers.extend([
        with("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        with("Sec-WebSocket-Protocol: chat\r\n"),
        with("Sec-WebSocket-Accept: KEY\r\n"),
        with("").replace("KEY", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        with("").replace("HTTP/1.1", "HTTP/1.0"),
        with("").replace("Upgrade: websocket", "Upgrade: h2c"),
        with("").replace("Connection: Upgrade", "Connection: close"),
        with("").replace(" 101 ", " 99 "),
        with("").replace(" 101 ", " 1010 "),
        with("").replace("HTTP/1.1 101", "HTTP/2 101"),
        with("no colon\r\n"),
        with(&"A: b\r\n".repeat(70)),
        with(&format!("A: {}\r\n", "b".repeat(17_000))),
        "SSH-2.0-x\r\n".into(),
        "\u{15}\u{3}\u{1}".into(),
    ]);
    for answer in answers {
        let mut link = client();
        link.handle_bytes(answer.replace("KEY", &accept_key(&link)).as_bytes());
        let ended = events(&mut link);
        assert!(matches!(&ended[..], [LinkEvent::Ended(LinkEnd::Protocol { .. })]), "{answer:?}: {ended:?}");
    }
}

#[test]
fn an_endless_head_is_given_up() {
    let mut client = client();
    client.handle_bytes(b"HTTP/1.1 200 OK\r\n");
    for i in 0.. {
        assert!(i < 2000);
        client.handle_bytes(b"X-Padding: abc\r\n");
        if let [LinkEvent::Ended(end)] = &events(&mut client)[..] {
            assert!(matches!(end, LinkEnd::Protocol { .. }));
            break;
        }
    }
    let mut client = super::client();
    for i in 0.. {
        assert!(i < 2000);
        client.handle_bytes(b"HTTP/1.1 100 Continue\r\n\r\n");
        if client.poll_event().is_some() {
            break;
        }
    }
}

#[test]
fn nothing_shows_the_token() {
    // proves: TOKEN-3
    let (mut client, mut server) = (client(), server());
    let shown = format!("{client:?}");
    assert!(!shown.contains("token") && shown.contains("to_transmit"), "{shown}");
    server.handle_bytes(client.transmit());
    client.consume(usize::MAX);
    let event = server.poll_event().unwrap();
    let shown = format!("{event:?} {server:?}");
    assert!(!shown.contains("the-token") && shown.contains("redacted"), "{shown}");
}

#[test]
fn a_bearer_is_read_from_one_header_of_that_scheme() {
    let bearer = |field: &str| {
        let mut server = server();
        server.handle_bytes(REQUEST.replace("Authorization: Bearer the-token", field).as_bytes());
        match server.poll_event() {
            Some(ServerEvent::Request(request)) => request.bearer().map(String::from),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(bearer("Authorization: Bearer a.b-c").as_deref(), Some("a.b-c"));
    assert_eq!(bearer("authorization: bEARER   a ").as_deref(), Some("a"));
    for field in
        ["X: y", "Authorization: Basic a", "Authorization: Bearer", "Authorization: Bearer ", "Authorization: a"]
    {
        assert_eq!(bearer(field), None, "{field}");
    }
    assert_eq!(bearer("Authorization: Bearer a\r\nAuthorization: Bearer b"), None);
}

#[test]
fn what_is_sent_before_the_upgrade_is_not_sent() {
    let mut client = client();
    let before = client.transmit().len();
    client.send_text("lost".into());
    client.ping();
    assert_eq!(client.transmit().len(), before);
    let mut server = server();
    server.send_text("lost".into());
    server.accept();
    server.refuse(400, "nothing to refuse");
    assert!(server.transmit().is_empty() && server.poll_event().is_none());
}
