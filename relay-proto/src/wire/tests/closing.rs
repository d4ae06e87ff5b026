use super::*;

#[test]
fn a_close_is_observed_and_answered_at_once() {
    // proves: LINK-2
    for (code, reason) in [(4401, "expired"), (1000, "replaced"), (4403, ""), (1012, "ä")] {
        let mut client = open_client();
        client.handle_bytes(&from_server(CLOSE, &close_payload(code, reason)));
        assert_eq!(only_close(&sent(&client)), (code, reason.into()));
        assert!(!client.is_open() && !client.is_finished());
        assert_eq!(events(&mut client), [LinkEvent::Ended(closed(code, reason))]);
        client.consume(usize::MAX);
        assert!(client.is_finished());

        let mut server = open_server();
        server.handle_bytes(&from_client(CLOSE, &close_payload(code, reason)));
        assert_eq!(only_close(&sent_by_server(&server)), (code, reason.into()));
        assert_eq!(server_events(&mut server), [ServerEvent::Ended(closed(code, reason))]);
    }
}

#[test]
fn a_close_is_not_lost_behind_what_comes_with_it() {
    // proves: LINK-2
    let bytes = [from_server(TEXT, b"last"), from_server(CLOSE, &close_payload(4401, "no"))].concat();
    let expected = [message(b"last"), LinkEvent::Ended(closed(4401, "no"))];
    let after: [fn(&mut ClientLink); 4] = [
        ClientLink::handle_eof,
        |link| link.handle_read_error("connection reset"),
        |link| link.handle_bytes(b"\xff\xff\xff garbage"),
        ClientLink::handle_write_error,
    ];
    for after in after {
        let mut client = open_client();
        client.handle_bytes(&bytes);
        after(&mut client);
        assert_eq!(events(&mut client), expected);
        client.handle_eof();
        assert_eq!(client.poll_event(), None);
    }
    // The write fails first, and the close is still in the socket.
    let mut client = open_client();
    client.send_text("unsent".into());
    client.handle_write_error();
    assert!(client.transmit().is_empty() && client.poll_event().is_none() && !client.is_finished());
    client.send_text("unsent".into());
    client.handle_bytes(&bytes);
    assert!(client.is_finished());
    assert_eq!(events(&mut client), expected);
    // All in one read with garbage behind it.
    let mut client = open_client();
    client.handle_bytes(&[bytes, vec![0xff; 20]].concat());
    assert_eq!(events(&mut client), expected);
}

#[test]
fn a_close_without_a_status_has_none() {
    let mut client = open_client();
    client.handle_bytes(&from_server(CLOSE, b""));
    let end = LinkEnd::Closed { code: None, reason: String::new() };
    assert_eq!(events(&mut client), [LinkEvent::Ended(end)]);
    assert!(matches!(&sent(&client)[..], [tungstenite::Message::Close(None)]));
}

#[test]
fn odd_close_codes_are_reported_as_they_came() {
    for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 2999, 5000, 65535] {
        let mut client = open_client();
        client.handle_bytes(&from_server(CLOSE, &close_payload(code, "odd")));
        assert_eq!(events(&mut client), [LinkEvent::Ended(closed(code, "odd"))]);
        assert!(!sent(&client).is_empty());
        let mut server = open_server();
        for byte in from_client(CLOSE, &close_payload(code, "odd")) {
            server.handle_bytes(&[byte]);
        }
        assert_eq!(server_events(&mut server), [ServerEvent::Ended(closed(code, "odd"))]);
    }
}

#[test]
fn our_close_waits_for_the_peers() {
    let mut client = open_client();
    client.close(1000, "done");
    assert_eq!(only_close(&sent(&client)), (1000, "done".into()));
    client.consume(usize::MAX);
    client.close(1001, "again");
    client.send_text("too late".into());
    client.ping();
    assert!(client.transmit().is_empty() && !client.is_open() && !client.is_finished());
    assert_eq!(client.poll_event(), None);
    // What was under way still arrives.
    client.handle_bytes(&from_server(TEXT, b"late"));
    assert_eq!(events(&mut client), [message(b"late")]);
    client.handle_bytes(&from_server(CLOSE, &close_payload(1000, "done")));
    assert!(client.transmit().is_empty());
    assert_eq!(events(&mut client), [LinkEvent::Ended(closed(1000, "done"))]);
    assert!(client.is_finished());
}

#[test]
fn both_ends_finish_whoever_closes_first() {
    type Close = fn(&mut ClientLink, &mut ServerLink);
    let closes: [(Close, u16, u16); 3] = [
        (|client, _| client.close(1000, "x"), 1000, 1000),
        (|_, server| server.close(4401, "x"), 4401, 4401),
        (
            |client, server| {
                client.close(1000, "x");
                server.close(4401, "x");
            },
            4401,
            1000,
        ),
    ];
    for (close, of_client, of_server) in closes {
        for chunk in [1, 1000] {
            let (mut client, mut server) = (client(), server());
            carry(&mut client, &mut server, chunk);
            close(&mut client, &mut server);
            let (client_events, server_events) = carry(&mut client, &mut server, chunk);
            assert_eq!(client_events, [LinkEvent::Ended(closed(of_client, "x"))]);
            assert_eq!(server_events, [ServerEvent::Ended(closed(of_server, "x"))]);
            assert!(client.is_finished() && server.is_finished());
        }
    }
}

#[test]
fn a_refused_token_is_accepted_and_closed_with_4401() {
    // proves: CONN-1
    let (mut client, mut server) = (client(), server());
    server.handle_bytes(client.transmit());
    client.consume(usize::MAX);
    server.accept();
    server.close(4401, "expired");
    client.handle_bytes(server.transmit());
    assert_eq!(events(&mut client), [LinkEvent::Opened, LinkEvent::Ended(closed(4401, "expired"))]);
}

#[test]
fn a_connection_that_ends_without_a_close_is_lost() {
    // proves: LINK-2
    let mut client = open_client();
    client.handle_bytes(&from_server(TEXT, b"one"));
    client.handle_bytes(&from_server(TEXT, b"cut off")[..5]);
    client.handle_eof();
    let ended = events(&mut client);
    assert!(matches!(&ended[..], [m, LinkEvent::Ended(LinkEnd::Lost { .. })] if *m == message(b"one")), "{ended:?}");

    let mut client = open_client();
    client.close(1000, "");
    client.handle_read_error("reset");
    let ended = events(&mut client);
    assert!(
        matches!(&ended[..], [LinkEvent::Ended(LinkEnd::Lost { detail })] if detail.contains("our close")),
        "{ended:?}"
    );
}

#[test]
fn a_close_reason_is_cut_at_a_character_and_bad_codes_are_left_out() {
    let mut client = open_client();
    client.close(1008, &"€".repeat(100));
    assert_eq!(only_close(&sent(&client)), (1008, "€".repeat(41)));
    for code in [0, 999, 1004, 1005, 1006, 1015, 2000, 5000] {
        let mut client = open_client();
        client.close(code, "x");
        assert!(matches!(&sent(&client)[..], [tungstenite::Message::Close(None)]), "{code}");
    }
}

#[test]
fn a_close_follows_what_was_sent_before() {
    let mut client = open_client();
    client.send_text("a".into());
    client.send_text("b".into());
    client.close(1000, "");
    let sent = sent(&client);
    assert!(matches!(&sent[..], [a, b, c] if a.is_text() && b.is_text() && c.is_close()), "{sent:?}");
}
