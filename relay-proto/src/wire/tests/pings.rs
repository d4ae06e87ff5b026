use super::*;
use tungstenite::Message;

#[test]
fn a_ping_is_answered_at_once_and_not_reported() {
    // proves: LINK-3
    let mut client = open_client();
    client.handle_bytes(&from_server(PING, b"are you there"));
    assert_eq!(sent(&client), [Message::Pong("are you there".into())]);
    client.handle_bytes(&from_server(PONG, b"unasked"));
    assert_eq!(client.poll_event(), None);

    let mut server = open_server();
    server.handle_bytes(&from_client(PING, b""));
    assert_eq!(sent_by_server(&server), [Message::Pong("".into())]);
    assert_eq!(server.poll_event(), None);
}

#[test]
fn our_ping_goes_out_and_its_answer_is_not_reported() {
    // proves: LINK-3
    let (mut client, mut server) = (client(), server());
    carry(&mut client, &mut server, 1000);
    client.ping();
    assert_eq!(sent(&client), [Message::Ping("".into())]);
    let (of_client, of_server) = carry(&mut client, &mut server, 1000);
    assert!(of_client.is_empty() && of_server.is_empty());
}

// proves: CONN-3, LINK-3
#[test]
fn an_answer_to_a_probe_is_reported_in_its_place_and_once() {
    let (mut client, mut server) = (client(), server());
    carry(&mut client, &mut server, 1000);
    server.probe(*b"asked: 1");
    server.probe(*b"asked: 2");
    server.ping();
    client.send_text("before".into());
    let (of_client, of_server) = carry(&mut client, &mut server, 1);
    assert!(of_client.is_empty(), "{of_client:?}");
    assert!(
        matches!(&of_server[..], [ServerEvent::Message(text), ServerEvent::Pong(payload)]
            if **text == *b"before" && payload == b"asked: 2"),
        "{of_server:?}"
    );
    // Other pongs, however many and whatever is in them, and the answer once more.
    for payload in [&b""[..], b"asked: 2", b"asked: 1", b"\0\0\0\0\0\0\0\0"] {
        server.handle_bytes(&from_client(PONG, payload).repeat(1000));
        assert_eq!(server.poll_event(), None);
    }
    server.probe(*b"asked: 3");
    server.handle_bytes(&[from_client(PONG, b"asked: 2"), from_client(PONG, b"asked: 3").repeat(2)].concat());
    assert_eq!((server.poll_event(), server.poll_event()), (Some(ServerEvent::Pong(*b"asked: 3")), None));
}

#[test]
fn pings_without_reading_do_not_pile_up_answers() {
    let mut client = open_client();
    let mut last = 0;
    for _ in 0..50 {
        let burst: Vec<u8> = (0..1000).flat_map(|i: u32| from_server(PING, &(last + i).to_be_bytes())).collect();
        client.handle_bytes(&burst);
        last += 1000;
        assert!(client.transmit().len() < 8 << 10 && client.buffered() < 32 << 10, "{}", client.buffered());
    }
    client.send_text("between".into());
    // Once there is room, the latest is answered.
    let waiting = client.transmit().len();
    client.consume(waiting - 1);
    let answer = client.transmit()[1..].to_vec();
    assert_eq!(
        decode(tungstenite::protocol::Role::Client, &answer),
        [Message::Pong((last - 1).to_be_bytes().to_vec().into())]
    );
    client.consume(usize::MAX);
    assert!(client.transmit().is_empty());
}

#[test]
fn a_ping_behind_a_long_write_is_answered_in_its_turn() {
    let mut client = open_client();
    client.send_text("x".repeat(100_000));
    client.handle_bytes(&from_server(PING, b"late"));
    let mut wire = Vec::new();
    while !client.transmit().is_empty() {
        wire.extend_from_slice(&client.transmit()[..client.transmit().len().min(1000)]);
        client.consume(1000);
    }
    let sent = decode(tungstenite::protocol::Role::Client, &wire);
    assert!(matches!(&sent[..], [text, pong] if text.len() == 100_000 && *pong == Message::Pong("late".into())));
}

#[test]
fn frames_gather_in_one_write() {
    let mut client = open_client();
    for i in 0..10 {
        client.send_text(i.to_string());
    }
    assert_eq!(sent(&client).len(), 10);
}
