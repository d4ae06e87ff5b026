use super::*;
use proptest::prelude::*;

/// Feeds `bytes` in the pieces that `cuts` makes of them; the events, and what was sent, as messages.
fn client_run(
    bytes: impl Fn(&ClientLink) -> Vec<u8>,
    cuts: &[usize],
    eof: bool,
) -> (Vec<LinkEvent>, Vec<tungstenite::Message>) {
    let mut client = client();
    let bytes = bytes(&client);
    client.consume(usize::MAX);
    let mut observed = Vec::new();
    for piece in pieces(&bytes, cuts) {
        client.handle_bytes(piece);
        observed.extend(events(&mut client));
    }
    if eof {
        client.handle_eof();
        observed.extend(events(&mut client));
    }
    (observed, sent(&client))
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if rest.is_empty() || cuts.iter().all(|cut| *cut == 0) {
            break;
        }
        let (piece, tail) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

#[test]
fn whole_and_byte_by_byte_are_the_same() {
    let conversations: [&[Vec<u8>]; 6] = [
        &[
            from_server(TEXT, b"a"),
            from_server(PING, b"p"),
            from_server(BINARY, &[0; 300]),
            from_server(CLOSE, &close_payload(4401, "no")),
        ],
        &[from_server(0x01, b"a"), from_server(PING, b"p"), from_server(0x80, &[b'b'; 70_000]), from_server(0x83, b"")],
        &[from_server(TEXT, &[b'x'; 130]), [&[0x82, 127][..], &(1_u64 << 40).to_be_bytes()].concat()],
        &[from_server(TEXT, b"good"), from_server(TEXT, b"\xff"), from_server(TEXT, b"never seen")],
        // A fragment is looked at when it is complete, not when the next one comes.
        &[from_server(BINARY, &[0; 2000]), from_server(0x01, b"\xff")],
        &[from_server(CLOSE, b""), from_server(TEXT, b"never seen")],
    ];
    for conversation in conversations {
        let bytes = |client: &ClientLink| [acceptance(client), conversation.concat()].concat();
        let whole = client_run(bytes, &[usize::MAX], true);
        assert_eq!(client_run(bytes, &[1], true), whole);
        assert_eq!(client_run(bytes, &[3, 50, 1], true), whole);
    }
    for answer in [
        "HTTP/1.1 401 No\r\nContent-Length: 7\r\n\r\nexpiredX",
        "HTTP/1.1 500 No\r\n\r\n",
        "HTTP/1.1 1",
        "nonsense\r\n\r\n",
    ] {
        let bytes = |_: &ClientLink| answer.as_bytes().to_vec();
        let whole = client_run(bytes, &[usize::MAX], true);
        assert_eq!(client_run(bytes, &[1], true), whole, "{answer}");
    }
}

#[test]
fn the_server_is_the_same_whole_and_byte_by_byte() {
    let frames =
        [from_client(TEXT, b"a"), from_client(PING, b"p"), from_client(BINARY, &[9; 3000]), from_client(CLOSE, b"")]
            .concat();
    let bytes = [REQUEST.as_bytes(), &frames].concat();
    let run = |cuts: &[usize]| {
        let mut server = server();
        let mut observed = Vec::new();
        for piece in pieces(&bytes, cuts) {
            server.handle_bytes(piece);
            while let Some(event) = server.poll_event() {
                if matches!(event, ServerEvent::Request(_)) {
                    server.accept();
                }
                observed.push(event);
            }
        }
        (observed, server.transmit().to_vec())
    };
    let whole = run(&[usize::MAX]);
    assert_eq!(whole.0.len(), 4);
    assert_eq!(run(&[1]), whole);
}

/// A frame, mostly a valid one.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => Just(TEXT), 4 => Just(BINARY), 2 => Just(0x01), 2 => Just(0x80), 2 => Just(PING), 1 => Just(CLOSE), 1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        6 => "[a-zä€]{0,60}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (1000..70_000_usize).prop_map(|n| vec![b'x'; n]),
    ];
    (first, payload).prop_map(|(first, payload)| from_server(first, &payload))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_cut_gives_the_same_events(
        frames in prop::collection::vec(any_frame(), 0..12),
        cuts in prop::collection::vec(1..2000_usize, 1..8),
        cut_off in 0..20_usize,
        eof in any::<bool>(),
    ) {
        let bytes = |client: &ClientLink| {
            let mut bytes = [acceptance(client), frames.concat()].concat();
            bytes.truncate(bytes.len() - cut_off.min(bytes.len()));
            bytes
        };
        let whole = client_run(bytes, &[usize::MAX], eof);
        prop_assert_eq!(client_run(bytes, &cuts, eof), whole);
    }
}
