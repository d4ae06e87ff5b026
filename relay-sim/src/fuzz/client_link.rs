//! The end that dials: whatever answers, the events are the same however the bytes are cut, within bounded memory.

use core::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use relay_proto::end::LinkEnd;
use relay_proto::gateway::{Config, Event, Output, Settings};
use relay_proto::proxy::Proxy;
use relay_proto::target::Target;
use relay_proto::time::Now;
use relay_proto::wire::{ClientLink, GatewayIo, IoRequest, LinkEvent, LinkOptions, ServerEvent, ServerLink};

use super::input::{Input, pieces};

/// Stands in the input for the accept key of the link that is answered.
const ACCEPT: &[u8] = b"<accept>";

/// A byte for the kind, up to seven for the cuts behind one for their number, and then what the peer sends.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let cuts = input.byte() % 8;
    let cuts = input.take(cuts.into());
    let bytes = input.rest();
    if kind & 1 == 0 {
        let whole = link(bytes, &[], kind);
        assert_eq!(link(bytes, &[1], kind), whole, "byte by byte");
        assert_eq!(link(bytes, cuts, kind), whole, "cut by {cuts:?}");
    } else {
        let whole = tunnel(bytes, &[]);
        assert_eq!(tunnel(bytes, &[1]), whole, "byte by byte");
        assert_eq!(tunnel(bytes, cuts), whole, "cut by {cuts:?}");
    }
}

/// The events, and how many bytes there were to send: masks are random, lengths are not.
fn link(bytes: &[u8], cuts: &[u8], kind: u8) -> (Vec<String>, usize) {
    let mut options = LinkOptions::default();
    (options.max_message, options.max_frame) = if kind & 2 == 0 { (4096, 2048) } else { (200, 130) };
    let mut link = ClientLink::new(&target(), Some("token"), &options, None).unwrap();
    let accept = accept_key(link.transmit());
    let bytes = with_key(bytes, &accept);
    let mut events = Vec::new();
    for piece in pieces(&bytes, cuts) {
        link.handle_bytes(piece);
        // What waits for the host comes from this piece: a message of a byte has a header of two.
        assert!(link.buffered() <= (64 << 10) + piece.len() * 32, "{} bytes held", link.buffered());
        events.extend(std::iter::from_fn(|| link.poll_event()));
        assert!(link.buffered() <= 64 << 10, "{} bytes held", link.buffered());
    }
    let open = events.iter().position(|event| *event == LinkEvent::Opened);
    assert!(open.is_none_or(|at| at == 0));
    assert_eq!(open.is_some() && !events.iter().any(is_end), link.is_open());
    link.handle_eof();
    events.extend(std::iter::from_fn(|| link.poll_event()));
    assert_eq!(events.iter().position(is_end), Some(events.len() - 1), "{events:?}");
    let sent = link.transmit().len();
    link.handle_bytes(b"after the end");
    link.send_text("after the end".into());
    assert_eq!((link.poll_event(), link.transmit().len()), (None, sent));
    link.consume(sent);
    assert!(link.is_finished());
    (events.iter().map(show).collect(), sent)
}

fn show(event: &LinkEvent) -> String {
    match event {
        LinkEvent::Message(message) => message.escape_ascii().to_string(),
        // It may hold a part of the key, which is another one each time.
        LinkEvent::Ended(LinkEnd::Refused { status, reason } | LinkEnd::RefusedForNow { status, reason, .. }) => {
            format!("{status} and {} bytes", reason.len())
        }
        event => format!("{event:?}"),
    }
}

fn is_end(event: &LinkEvent) -> bool {
    matches!(event, LinkEvent::Ended(_))
}

/// The key that the answer to this request has to hold.
fn accept_key(request: &[u8]) -> String {
    let mut connector = ServerLink::new(&LinkOptions::default(), None).unwrap();
    connector.handle_bytes(request);
    assert!(matches!(connector.poll_event(), Some(ServerEvent::Request(_))));
    connector.accept();
    let answer = std::str::from_utf8(connector.transmit()).unwrap();
    let mut fields = answer.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept")).unwrap().1.into()
}

/// The input with that key for the first stand-in: without it there is nothing but HTTP.
fn with_key(bytes: &[u8], key: &str) -> Vec<u8> {
    match bytes.windows(ACCEPT.len()).position(|window| window == ACCEPT) {
        Some(at) => [&bytes[..at], key.as_bytes(), &bytes[at + ACCEPT.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

fn target() -> Target {
    Target::parse("ws://connector.example").unwrap()
}

/// A gateway behind a proxy: the tunnel and, through it, the upgrade. The events, and what it still does.
fn tunnel(bytes: &[u8], cuts: &[u8]) -> (Vec<Event>, Vec<Output<IoRequest>>) {
    let now = Now { monotonic: Duration::ZERO, unix: 1_800_000_000 };
    let mut gateway = GatewayIo::new(settings(), None, 7, now);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 3128));
    let Some(Output::Link(IoRequest::Resolve { link, .. })) = gateway.poll_output(now) else {
        panic!("a dial begins with a name")
    };
    gateway.handle_resolved(link, &[address], now);
    let Some(Output::Link(IoRequest::Connect { attempt, .. })) = gateway.poll_output(now) else {
        panic!("then comes its address")
    };
    assert!(gateway.handle_connected(link, attempt, now));
    assert!(gateway.transmit().starts_with(b"CONNECT connector.example:80 HTTP/1.1\r\n"));
    gateway.consume(usize::MAX, now);
    let mut actions = Vec::new();
    for piece in pieces(bytes, cuts) {
        gateway.handle_bytes(link, piece, now);
        actions.extend(std::iter::from_fn(|| gateway.poll_output(now)));
    }
    assert!(gateway.transmit().is_empty() || gateway.transmit().starts_with(b"GET /relay HTTP/1.1\r\n"));
    gateway.handle_eof(link, now);
    actions.extend(std::iter::from_fn(|| gateway.poll_output(now)));
    for action in &mut actions {
        // The request, with its random key.
        if let Output::Link(IoRequest::Disconnect { final_bytes, .. }) = action {
            *final_bytes = vec![0; final_bytes.len()];
        }
    }
    let events: Vec<Event> = std::iter::from_fn(|| gateway.machine_mut().poll_event()).collect();
    assert!(!events.is_empty(), "the dial came to an end");
    assert!(!format!("{events:?}{actions:?}").contains("s3cr3t"));
    (events, actions)
}

fn settings() -> Settings {
    let proxy = Proxy::parse("http://user:s3cr3t@proxy.example:3128").unwrap();
    Config::new("ws://connector.example").identity("p", "b").proxy(proxy).build().unwrap()
}
