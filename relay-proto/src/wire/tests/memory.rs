use super::*;

#[test]
fn a_header_cannot_make_us_set_memory_aside() {
    // proves: FRAME-3
    for announced in [(2 << 20) + 1, 16 << 20, 1 << 62, u64::MAX] {
        let header = [&[0x82, 127][..], &announced.to_be_bytes()].concat();
        let mut client = open_client();
        for byte in header {
            client.handle_bytes(&[byte]);
            assert!(client.buffered() < 8 << 10, "{} for {announced}", client.buffered());
        }
        assert_eq!(events(&mut client).len(), 1);
    }
}

#[test]
fn an_idle_link_holds_little() {
    let mut client = open_client();
    client.handle_bytes(&from_server(TEXT, &[b'x'; 500]));
    client.send_text("y".repeat(500));
    client.consume(usize::MAX);
    assert_eq!(events(&mut client).len(), 1);
    assert!(client.buffered() < 8 << 10, "{}", client.buffered());
    client.shrink();
    assert_eq!(client.buffered(), 0);
    client.handle_bytes(&from_server(TEXT, b"still there"));
    client.ping();
    assert_eq!(events(&mut client), [message(b"still there")]);
    assert_eq!(sent(&client).len(), 1);
}

#[test]
fn a_burst_is_given_back_without_being_asked() {
    let (mut client, mut server) = (client(), server());
    carry(&mut client, &mut server, usize::MAX);
    let big = "x".repeat(1 << 20);
    client.send_text(big.clone());
    server.send_text(big.clone());
    let (of_client, of_server) = carry(&mut client, &mut server, 10_000);
    assert_eq!((of_client.len(), of_server.len()), (1, 1));
    for _ in 0..20 {
        client.send_text("small".into());
        server.send_text("small".into());
        carry(&mut client, &mut server, usize::MAX);
    }
    assert!(client.buffered() < 8 << 10, "{}", client.buffered());
    assert!(server.buffered() < 8 << 10, "{}", server.buffered());
    // What waits to be taken is not kept either.
    for _ in 0..10_000 {
        client.handle_bytes(&from_server(TEXT, b"x"));
    }
    assert_eq!(events(&mut client).len(), 10_000);
    assert!(client.buffered() < 8 << 10, "{}", client.buffered());
}

#[test]
fn shrinking_inside_a_message_loses_nothing() {
    let text = from_server(0x01, &[b'a'; 300]);
    let rest = from_server(0x80, &[b'b'; 300]);
    let bytes = [&text[..], &rest[..]].concat();
    for at in 0..bytes.len() {
        let mut client = open_client();
        client.handle_bytes(&bytes[..at]);
        client.shrink();
        client.send_text("meanwhile".into());
        client.handle_bytes(&bytes[at..]);
        assert_eq!(events(&mut client), [message(&[[b'a'; 300], [b'b'; 300]].concat())], "{at}");
    }
}

#[test]
fn shrinking_inside_a_frame_loses_nothing() {
    let bytes = [from_server(TEXT, &[b'a'; 300]), from_server(BINARY, b"next")].concat();
    for at in 0..bytes.len() {
        let mut client = open_client();
        client.handle_bytes(&bytes[..at]);
        client.shrink();
        client.handle_bytes(&bytes[at..]);
        assert_eq!(events(&mut client), [message(&[b'a'; 300]), message(b"next")], "{at}");
    }
}

// proves: FRAME-3
#[test]
fn what_has_come_of_a_frame_is_all_that_is_held_of_it() {
    let mut client = open_client();
    let frame = from_server(TEXT, &vec![b'x'; 1 << 20]);
    for (n, piece) in frame.chunks(1000).enumerate() {
        client.handle_bytes(piece);
        assert!(client.buffered() <= (3000 * (n + 1)).max(8 << 10), "{} after {n}", client.buffered());
    }
    assert_eq!(events(&mut client).len(), 1);
    client.shrink();
    assert_eq!(client.buffered(), 0);
    // A link that is over keeps nothing of a frame that will never be whole.
    client.handle_bytes(&frame[..100_000]);
    client.handle_eof();
    assert!(matches!(events(&mut client)[..], [LinkEvent::Ended(_)]));
    assert!(client.buffered() < 8 << 10, "{}", client.buffered());
}

#[test]
fn what_is_held_is_bounded_by_what_was_received() {
    let mut client = open_client();
    client.handle_bytes(&from_server(0x02, &[0; 100_000]));
    let held = client.buffered();
    assert!((100_000..300_000).contains(&held), "{held}");
    client.handle_bytes(&from_server(0x80, &[0; 100_000]));
    assert!(client.buffered() < 500_000, "{}", client.buffered());
    assert_eq!(events(&mut client).len(), 1);
    client.ping();
    assert!(client.buffered() < 8 << 10, "{}", client.buffered());
}

#[test]
fn a_burst_is_given_back_with_the_next_ping() {
    let (mut client, mut server) = (client(), server());
    carry(&mut client, &mut server, usize::MAX);
    client.send_text("x".repeat(1 << 20));
    carry(&mut client, &mut server, usize::MAX);
    assert!(client.buffered() > 1 << 20);
    client.ping();
    assert!(client.buffered() < 8 << 10, "{}", client.buffered());
    carry(&mut client, &mut server, usize::MAX);
    server.ping();
    assert!(server.buffered() < 8 << 10, "{}", server.buffered());
}
