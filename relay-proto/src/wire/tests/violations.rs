use super::*;

/// A client's end, and the code of the close frame it sent.
fn client_end(options: &LinkOptions, bytes: &[u8]) -> (LinkEnd, u16) {
    let mut client = open_client_with(options);
    client.handle_bytes(bytes);
    let code = only_close(&sent(&client)).0;
    assert!(!client.is_open());
    client.consume(usize::MAX);
    assert!(client.is_finished());
    match &events(&mut client)[..] {
        [LinkEvent::Ended(end)] => (end.clone(), code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broken_frame_ends_the_link_with_its_code() {
    // proves: LINK-2
    for (what, bytes, code) in [
        ("reserved opcode 3", from_server(0x83, b"x"), 1002),
        ("reserved opcode 11", from_server(0x8b, b""), 1002),
        ("reserved bit 1", from_server(0xc1, b"x"), 1002),
        ("reserved bit 3", from_server(0x91, b"x"), 1002),
        ("masked by a server", from_client(TEXT, b"x"), 1002),
        ("fragmented ping", from_server(0x09, b"x"), 1002),
        ("long ping", from_server(PING, &[0; 126]), 1002),
        ("long close", from_server(CLOSE, &close_payload(1000, &"x".repeat(124))), 1002),
        ("close of one byte", from_server(CLOSE, b"\x03"), 1002),
        ("close that is not UTF-8", from_server(CLOSE, b"\x03\xe8\xff"), 1007),
        ("continuation of nothing", from_server(0x80, b"x"), 1002),
        ("message in a message", [from_server(0x01, b"a"), from_server(TEXT, b"b")].concat(), 1002),
        ("text that is not UTF-8", from_server(TEXT, b"a\xff"), 1007),
        ("text cut inside a character", from_server(TEXT, &"€".as_bytes()[..2]), 1007),
        ("fragments that are not UTF-8", [from_server(0x01, b"\xe2"), from_server(0x80, b"a")].concat(), 1007),
        ("length with its highest bit set", [&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat(), 1002),
    ] {
        let (end, sent) = client_end(&LinkOptions::default(), &bytes);
        assert!(matches!(&end, LinkEnd::Protocol { detail } if !detail.is_empty()), "{what}: {end:?}");
        assert_eq!(sent, code, "{what}");
    }
}

#[test]
fn a_client_that_does_not_mask_is_told_so() {
    let mut server = open_server();
    server.handle_bytes(&from_server(TEXT, b"x"));
    assert_eq!(only_close(&sent_by_server(&server)).0, 1002);
    assert!(matches!(&server_events(&mut server)[..], [ServerEvent::Ended(LinkEnd::Protocol { .. })]));
}

#[test]
fn what_came_before_a_broken_frame_is_kept() {
    let mut client = open_client();
    client.handle_bytes(&[from_server(TEXT, b"good"), from_server(0x83, b"bad"), from_server(TEXT, b"after")].concat());
    assert!(
        matches!(&events(&mut client)[..], [m, LinkEvent::Ended(LinkEnd::Protocol { .. })] if *m == message(b"good"))
    );
}

#[test]
fn after_our_close_a_broken_frame_ends_the_link_without_a_second_close() {
    let mut client = open_client();
    client.close(1000, "");
    client.consume(usize::MAX);
    client.handle_bytes(&from_server(0x83, b""));
    assert!(client.transmit().is_empty());
    assert!(matches!(&events(&mut client)[..], [LinkEvent::Ended(LinkEnd::Protocol { .. })]));
}

#[test]
fn a_message_over_the_limit_ends_the_link_when_its_header_is_there() {
    // proves: FRAME-3
    let options = LinkOptions { max_message: 1000, max_frame: 600, ..LinkOptions::default() };
    for (what, bytes, limit) in [
        ("frame", from_server(BINARY, &[0; 601]), 600),
        ("header of a frame", from_server(BINARY, &[0; 601])[..4].to_vec(), 600),
        ("second fragment", [from_server(0x02, &[0; 600]), from_server(0x80, &[0; 401])].concat(), 1000),
        ("header of 16 MiB", [&[0x82, 127][..], &(16_u64 << 20).to_be_bytes()].concat(), 600),
        ("header of 2^62", [&[0x82, 127][..], &(1_u64 << 62).to_be_bytes()].concat(), 600),
    ] {
        let (end, code) = client_end(&options, &bytes);
        assert_eq!((end, code), (LinkEnd::MessageTooLarge { limit }, 1009), "{what}");
    }
    let mut client = open_client_with(&options);
    client.handle_bytes(
        &[from_server(0x02, &[0; 600]), from_server(0x80, &[0; 400]), from_server(TEXT, &[b'x'; 600])].concat(),
    );
    assert_eq!(events(&mut client), [message(&[0; 1000]), message(&[b'x'; 600])]);
}

#[test]
fn a_frame_limit_above_the_message_limit_has_no_effect() {
    // proves: FRAME-3
    let options = LinkOptions { max_message: 600, max_frame: 1000, ..LinkOptions::default() };
    let long = from_server(BINARY, &[0; 601]);
    for (what, bytes) in [
        ("frame", long.clone()),
        ("header of a frame", long[..4].to_vec()),
        ("fragment", from_server(0x02, &[0; 601])),
        ("second fragment", [from_server(0x02, &[0; 600]), from_server(0x80, &[0])].concat()),
    ] {
        let (end, code) = client_end(&options, &bytes);
        assert_eq!((end, code), (LinkEnd::MessageTooLarge { limit: 600 }, 1009), "{what}");
    }
    let mut client = open_client_with(&options);
    client.handle_bytes(&from_server(BINARY, &[0; 600]));
    assert_eq!(events(&mut client), [message(&[0; 600])]);
}

#[test]
fn frames_may_be_cut_inside_a_character_in_fragments_and_in_binary() {
    // proves: FRAME-2
    let (first, second) = "€".as_bytes().split_at(2);
    let mut client = open_client();
    client.handle_bytes(&[from_server(0x01, first), from_server(PING, b"between"), from_server(0x80, second)].concat());
    assert_eq!(events(&mut client), [message("€".as_bytes())]);
    client.handle_bytes(&[from_server(BINARY, first), from_server(BINARY, second)].concat());
    assert_eq!(events(&mut client), [message(first), message(second)]);
}

#[test]
fn empty_messages_are_not_reported() {
    let mut client = open_client();
    client.handle_bytes(
        &[from_server(TEXT, b""), from_server(BINARY, b""), from_server(0x01, b""), from_server(0x80, b"")].concat(),
    );
    assert_eq!(client.poll_event(), None);
    assert!(client.is_open());
}

#[test]
fn a_close_reason_that_is_too_long_is_cut_at_a_character() {
    // proves: LINK-2
    for (reason, sent) in [
        ("x".repeat(123), "x".repeat(123)),
        ("x".repeat(124), "x".repeat(123)),
        ("é".repeat(62), "é".repeat(61)),
        (format!("x{}", "é".repeat(62)), format!("x{}", "é".repeat(61))),
        ("🔌".repeat(1000), "🔌".repeat(30)),
    ] {
        let mut client = open_client();
        client.close(4000, &reason);
        assert_eq!(only_close(&self::sent(&client)), (4000, sent.clone()), "the end that dialled");
        let mut server = open_server();
        server.close(4000, &reason);
        assert_eq!(only_close(&sent_by_server(&server)), (4000, sent), "the end that accepted");
    }
}
