//! The end that accepts: whoever connects, the events are the same however the bytes are cut, within bounded memory.

use relay_proto::wire::{LinkOptions, ServerEvent, ServerLink};

use super::input::{Input, pieces};

/// What the client is asked as soon as it is let in, of some kinds.
const PROBE: [u8; 8] = *b"how far?";

/// A byte for the kind, up to seven for the cuts behind one for their number, and then what the client sends.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let cuts = input.byte() % 8;
    let cuts = input.take(cuts.into());
    let bytes = input.rest();
    let whole = link(bytes, &[], kind);
    assert_eq!(link(bytes, &[1], kind), whole, "byte by byte");
    assert_eq!(link(bytes, cuts, kind), whole, "cut by {cuts:?}");
}

/// The events, and all that was sent; answers of the host's go where the cuts let them, so that they are left out.
fn link(bytes: &[u8], cuts: &[u8], kind: u8) -> (Vec<ServerEvent>, Vec<u8>) {
    let mut options = LinkOptions::default();
    (options.max_message, options.max_frame) = if kind & 1 == 0 { (4096, 2048) } else { (200, 130) };
    (options.plain_get, options.plain_post) = (kind & 2 != 0, kind & 32 != 0);
    let mut link = ServerLink::new(&options, None).unwrap();
    let mut events = Vec::new();
    // Who is asked has not answered yet.
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").filter(|_| kind & 64 != 0);
    let (head, rest) = bytes.split_at(head.map_or(0, |end| end + 4));
    for piece in [pieces(head, cuts), pieces(rest, cuts)].concat() {
        link.handle_bytes(piece);
        // What waits for the host comes from this piece, or came before the upgrade was answered.
        assert!(link.buffered() <= (96 << 10) + piece.len() * 32, "{} bytes held", link.buffered());
        drain(&mut link, kind, &mut events);
        assert!(link.buffered() <= 96 << 10, "{} bytes held", link.buffered());
    }
    if kind & 128 != 0 {
        link.close(1000, "enough");
    }
    link.handle_eof();
    drain(&mut link, kind, &mut events);
    assert_eq!(events.iter().position(is_end), Some(events.len() - 1), "{events:?}");
    let asks =
        |event: &ServerEvent| matches!(event, ServerEvent::Request(_) | ServerEvent::Get(_) | ServerEvent::Post(_));
    assert!(events.iter().skip(1).all(|event| !asks(event)), "asked twice: {events:?}");
    let sent = link.transmit().to_vec();
    assert!(sent.is_empty() || sent.starts_with(b"HTTP/1.1 "), "{:?}", String::from_utf8_lossy(&sent));
    link.handle_bytes(b"after the end");
    link.send_text("after the end".into());
    link.accept();
    assert_eq!((link.poll_event(), link.transmit().len()), (None, sent.len()));
    link.consume(sent.len());
    assert!(link.is_finished());
    // A client is told to go on if it has not done so.
    let sent = sent.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&sent);
    (events, if kind & 16 == 0 { sent.to_vec() } else { Vec::new() })
}

fn drain(link: &mut ServerLink, kind: u8, events: &mut Vec<ServerEvent>) {
    while let Some(event) = link.poll_event() {
        match &event {
            ServerEvent::Request(request) => {
                assert!(request.path().starts_with('/'));
                let bearer = request.bearer().map(|_| "<redacted>");
                let shown = format!("{request:?}");
                assert!(shown.contains(&format!("bearer: {bearer:?}")), "{shown}");
                match kind & 12 {
                    4 => link.refuse(u16::from(kind) << 2, "no"),
                    _ => {
                        link.accept();
                        if kind & 64 != 0 {
                            link.probe(PROBE);
                        }
                    }
                }
            }
            ServerEvent::Get(path) => {
                assert!(path.starts_with('/'));
                link.respond(u16::from(kind) << 1, "ok");
            }
            ServerEvent::Post(asked) => {
                assert!(asked.as_ref().map_or(true, |request| request.path().starts_with("/relay/")), "{asked:?}");
                link.respond_json(asked.as_ref().map_or_else(|bad| bad.status, |_| 200), "{}");
            }
            ServerEvent::Message(message) => {
                assert!(!message.is_empty());
                // So that both directions have to share what memory there is.
                if kind & 16 != 0 {
                    link.send_text("heard".into());
                }
            }
            ServerEvent::Pong(payload) => {
                assert!(kind & 64 != 0 && *payload == PROBE, "{payload:?}");
                assert!(!events.contains(&event), "one answer too many");
            }
            _ => {}
        }
        events.push(event);
    }
}

fn is_end(event: &ServerEvent) -> bool {
    matches!(event, ServerEvent::Ended(_))
}
