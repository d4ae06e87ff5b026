//! The cases of the Autobahn testsuite for WebSockets, as far as they are about framing, against both roles. They are written
//! down here, since the suite itself needs a Python that is no longer made. Its numbers are in the comments. What it expects
//! of an echo is expected here of what is reported; its performance cases (9.*) and its compression (12.*, 13.*) are left out.

use super::*;

/// What came of some frames.
#[derive(Debug, PartialEq)]
struct Seen {
    messages: Vec<Vec<u8>>,
    end: Option<LinkEnd>,
    /// What went out: pongs, and at most one close frame.
    sent: Vec<Message>,
}

/// Sends frames, each an opcode with its flags and a payload, to an end of each role, whole and in pieces.
fn send(frames: &[(u8, Vec<u8>)]) -> Seen {
    let runs = [usize::MAX, 997, 1].map(|chunk| {
        let mut client = open_client();
        let bytes = frames.iter().map(|(first, payload)| from_server(*first, payload)).collect::<Vec<_>>().concat();
        bytes.chunks(chunk).for_each(|piece| client.handle_bytes(piece));
        let mut of_client = Seen { messages: Vec::new(), end: None, sent: sent(&client) };
        for event in events(&mut client) {
            match event {
                LinkEvent::Message(payload) => of_client.messages.push(payload.to_vec()),
                LinkEvent::Ended(end) => of_client.end = Some(end),
                LinkEvent::Opened => panic!("it was open"),
            }
        }
        let mut server = open_server();
        let bytes = frames.iter().map(|(first, payload)| from_client(*first, payload)).collect::<Vec<_>>().concat();
        bytes.chunks(chunk).for_each(|piece| server.handle_bytes(piece));
        let mut of_server = Seen { messages: Vec::new(), end: None, sent: sent_by_server(&server) };
        for event in server_events(&mut server) {
            match event {
                ServerEvent::Message(payload) => of_server.messages.push(payload.to_vec()),
                ServerEvent::Ended(end) => of_server.end = Some(end),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(of_client, of_server, "both roles read alike");
        of_client
    });
    let [whole, pieces, bytes] = runs;
    assert!(whole == pieces && whole == bytes, "however it is cut");
    whole
}

fn reports(frames: &[(u8, Vec<u8>)], messages: &[&[u8]]) {
    let seen = send(frames);
    assert_eq!((seen.messages.iter().map(Vec::as_slice).collect::<Vec<_>>(), seen.end), (messages.to_vec(), None));
}

/// The frames end the link, with this close code to the peer.
fn fails(case: &str, frames: &[(u8, Vec<u8>)], code: u16) {
    let seen = send(frames);
    assert!(matches!(seen.end, Some(LinkEnd::Protocol { .. })), "{case}: {seen:?}");
    assert!(
        matches!(seen.sent.last(), Some(Message::Close(Some(close))) if u16::from(close.code) == code),
        "{case}: {seen:?}"
    );
}

const CONTINUATION: u8 = 0x80;
/// Without the flag for the last fragment.
const FIRST_TEXT: u8 = 0x01;
const MORE: u8 = 0x00;

#[test]
fn messages_of_every_length_arrive() {
    // 1.1.*, 1.2.*; an empty one says nothing (FRAME-2).
    reports(&[(TEXT, vec![]), (BINARY, vec![])], &[]);
    for length in [125, 126, 127, 128, 65535, 65536] {
        reports(&[(TEXT, vec![b'*'; length])], &[&vec![b'*'; length]]);
        reports(&[(BINARY, vec![0xfe; length])], &[&vec![0xfe; length]]);
    }
}

// proves: LINK-3
#[test]
fn pings_are_answered_and_pongs_are_not() {
    // 2.1 to 2.4, 2.6, 2.10, 2.11
    for payload in [vec![], b"Hello, world!".to_vec(), vec![0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0, 0xff], vec![0xfe; 125]]
    {
        let seen = send(&[(PING, payload.clone())]);
        assert_eq!((seen.sent, seen.end), (vec![Message::Pong(payload.into())], None));
    }
    let seen = send(&(0..10).map(|n| (PING, format!("payload-{n}").into_bytes())).collect::<Vec<_>>());
    assert_eq!(seen.sent.len(), 10);
    // 2.5
    fails("a long ping", &[(PING, vec![0xfe; 126])], 1002);
    // 2.7 to 2.9
    let seen = send(&[(PONG, vec![]), (PONG, b"unsolicited".to_vec()), (PING, b"p".to_vec())]);
    assert_eq!(seen, Seen { messages: vec![], end: None, sent: vec![Message::Pong("p".into())] });
}

// proves: LINK-2
#[test]
fn reserved_bits_and_opcodes_end_the_link() {
    // 3.1 to 3.7: also on control frames, and behind a message that counts.
    for bits in 1..8_u8 {
        for first in [TEXT, PING, CLOSE] {
            fails("reserved bits", &[(first | bits << 4, vec![])], 1002);
        }
    }
    let seen = send(&[(TEXT, b"Hello".to_vec()), (TEXT | 0x20, b"Hello".to_vec()), (PING, vec![])]);
    assert_eq!((seen.messages.len(), seen.sent.len()), (1, 1));
    // 4.1.*, 4.2.*
    for opcode in (3..8).chain(11..16) {
        fails("a reserved opcode", &[(0x80 | opcode, vec![])], 1002);
        fails("a reserved opcode", &[(TEXT, b"Hello".to_vec()), (0x80 | opcode, b"x".to_vec()), (PING, vec![])], 1002);
    }
}

#[test]
fn fragments_make_one_message_and_control_frames_come_between() {
    // 5.1, 5.2
    for first in [PING, PONG] {
        fails("a fragmented control frame", &[(first & 0x0f, b"a".to_vec()), (CONTINUATION, b"b".to_vec())], 1002);
    }
    // 5.3 to 5.8
    let [one, two] = [(FIRST_TEXT, b"fragment1".to_vec()), (CONTINUATION, b"fragment2".to_vec())];
    reports(&[one.clone(), two.clone()], &[b"fragment1fragment2"]);
    let seen = send(&[one.clone(), (PING, b"between".to_vec()), two.clone()]);
    assert_eq!(seen.sent, [Message::Pong("between".into())]);
    assert_eq!(seen.messages, [b"fragment1fragment2"]);
    // 5.9 to 5.14
    for first in [CONTINUATION, MORE] {
        fails("a continuation of nothing", &[(first, b"x".to_vec()), (TEXT, b"Hello".to_vec())], 1002);
    }
    // 5.15 to 5.17
    fails(
        "a continuation of what is whole",
        &[one.clone(), two.clone(), (MORE, b"x".to_vec()), (TEXT, b"y".to_vec())],
        1002,
    );
    // 5.18
    fails("a message inside a message", &[one, (TEXT, b"fragment2".to_vec())], 1002);
    // 5.19, 5.20
    let parts = [(FIRST_TEXT, b"1".to_vec()), (MORE, b"2".to_vec()), (PING, b"a".to_vec()), (MORE, b"3".to_vec())];
    let rest = [(MORE, b"4".to_vec()), (PING, b"b".to_vec()), (CONTINUATION, b"5".to_vec())];
    let seen = send(&[&parts[..], &rest].concat());
    assert_eq!((seen.messages, seen.sent.len(), seen.end), (vec![b"12345".to_vec()], 2, None));
}

#[test]
fn text_is_utf8_wherever_it_is_cut() {
    // 6.1.*: fragments that are empty.
    reports(&[(FIRST_TEXT, vec![]), (MORE, vec![]), (CONTINUATION, vec![])], &[]);
    reports(&[(FIRST_TEXT, vec![]), (MORE, b"middle".to_vec()), (CONTINUATION, vec![])], &[b"middle"]);
    // 6.2.*, 6.5.*, 6.6.*, 6.7.*, 6.9.*, 6.11.*, 6.22.*, 6.23.*: also what is no character, but a code point.
    let valid = [
        "Hello-µ@ßöäüàá-UTF-8!!",
        "κόσμε",
        "\u{0}",
        "\u{80}",
        "\u{800}",
        "\u{10000}",
        "\u{7f}",
        "\u{7ff}",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        "\u{fffe}",
        "\u{1fffe}",
        "\u{fdd0}",
        "\u{2028}",
    ];
    for text in valid {
        let bytes = text.as_bytes();
        reports(&[(TEXT, bytes.to_vec())], &[bytes]);
        for at in 0..=bytes.len() {
            let (one, two) = bytes.split_at(at);
            reports(&[(FIRST_TEXT, one.to_vec()), (CONTINUATION, two.to_vec())], &[bytes]);
        }
        let each: Vec<_> = bytes.iter().map(|byte| (MORE, vec![*byte])).collect();
        let all = [&[(FIRST_TEXT, vec![])], &each[..], &[(CONTINUATION, vec![])]].concat();
        reports(&all, &[bytes]);
    }
    // 6.3.*, 6.4.*, 6.8.*, 6.10.*, 6.12.* to 6.21.*
    let invalid: [&[u8]; 24] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64\x69\x74\x65\x64",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xfb\xbf\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc0\x20\xc1\x20",
        b"\xe0\x20",
        b"\xf0\x20",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xed\xbf\xbf",
    ];
    for bytes in invalid {
        fails("a text that is not UTF-8", &[(TEXT, bytes.to_vec())], 1007);
        for at in 0..=bytes.len() {
            let (one, two) = bytes.split_at(at);
            fails("fragments that are not UTF-8", &[(FIRST_TEXT, one.to_vec()), (CONTINUATION, two.to_vec())], 1007);
        }
        reports(&[(BINARY, bytes.to_vec())], &[bytes]);
    }
}

// proves: LINK-2
#[test]
fn a_close_is_answered_once_and_is_the_last_word() {
    // 7.1.1 to 7.1.6
    let behind = [(CLOSE, close_payload(1000, "")), (TEXT, b"x".to_vec()), (CLOSE, vec![]), (PING, vec![])];
    let seen = send(&[&[(TEXT, b"Hello World!".to_vec())], &behind[..]].concat());
    assert_eq!((seen.messages.len(), seen.sent.len()), (1, 1));
    assert_eq!(seen.end, Some(closed(1000, "")));
    // 7.3.1 to 7.3.6
    assert_eq!(send(&[(CLOSE, vec![])]).end, Some(LinkEnd::Closed { code: None, reason: String::new() }));
    fails("a close frame of one byte", &[(CLOSE, b"a".to_vec())], 1002);
    assert_eq!(send(&[(CLOSE, close_payload(1000, &"*".repeat(123)))]).end, Some(closed(1000, &"*".repeat(123))));
    fails("a close frame that is too long", &[(CLOSE, close_payload(1000, &"*".repeat(124)))], 1002);
    // 7.5.1
    fails("a reason that is not UTF-8", &[(CLOSE, [&[3, 232][..], b"\xce\xba\xed\xa0\x80"].concat())], 1007);
    // 7.7.*
    // (1014 is younger than the WebSocket that reads here what was sent.)
    for code in (1000..=1003).chain(1007..=1013).chain([3000, 3999, 4000, 4999]) {
        let seen = send(&[(CLOSE, close_payload(code, "x"))]);
        assert_eq!((seen.end, only_close(&seen.sent).0), (Some(closed(code, "x")), code));
    }
    // 7.9.*, 7.13.*: they are told as they came, and not repeated.
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        let seen = send(&[(CLOSE, close_payload(code, "x"))]);
        assert_eq!((seen.end, only_close(&seen.sent).0), (Some(closed(code, "x")), 1002));
    }
}

#[test]
fn long_messages_arrive_in_one_frame_and_in_many() {
    // 9.1 to 9.4, within the limit of a message; 10.1.1
    let text = "*".repeat((2 << 20) - 1).into_bytes();
    let mut client = open_client();
    client.handle_bytes(&from_server(TEXT, &text));
    let mut frames: Vec<Vec<u8>> = text.chunks(1300).map(|part| from_server(MORE, part)).collect();
    frames[0][0] = FIRST_TEXT;
    frames.push(from_server(CONTINUATION, b""));
    client.handle_bytes(&frames.concat());
    assert!(events(&mut client) == [message(&text), message(&text)]);
}
