//! A client and a server in memory, and hand-written bytes against each of them.

mod autobahn;
mod chaos;
mod closing;
mod cuts;
mod gateway_io;
mod memory;
mod pings;
mod posts;
mod refusals;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_builder;
mod upgrade;
mod violations;

use tungstenite::{
    Message,
    handshake::derive_accept_key,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use super::*;
use crate::{end::LinkEnd, target::Target};

/// Bytes of a frame: `first` is the opcode with its flags. With a mask it is a client's.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let flag = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        n @ ..126 => bytes.push(flag | n as u8),
        n @ ..65536 => {
            bytes.push(flag | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(flag | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask.map_or(0, |mask| mask[i % 4])));
    bytes
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A frame as a server sends it.
fn from_server(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, None, payload)
}

/// A frame as a client sends it.
fn from_client(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, Some([1, 20, 30, 255]), payload)
}

fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

fn target() -> Target {
    Target::parse("ws://example.test:81/chat").unwrap()
}

fn client() -> ClientLink {
    ClientLink::new(&target(), Some("the-token"), &LinkOptions::default(), None).unwrap()
}

fn server() -> ServerLink {
    ServerLink::new(&LinkOptions::default(), None).unwrap()
}

/// The accept key for the request that waits in `client`.
fn accept_key(client: &ClientLink) -> String {
    let request = String::from_utf8(client.transmit().to_vec()).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    derive_accept_key(key.as_bytes())
}

/// The bytes that open `client`.
fn acceptance(client: &ClientLink) -> Vec<u8> {
    let accept = accept_key(client);
    format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
        .into_bytes()
}

const REQUEST: &str = "GET /relay?x=1 HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer the-token\r\n\r\n";

/// A client whose upgrade is through, with nothing to transmit.
fn open_client() -> ClientLink {
    open_client_with(&LinkOptions::default())
}

fn open_client_with(options: &LinkOptions) -> ClientLink {
    let mut client = ClientLink::new(&target(), None, options, None).unwrap();
    let bytes = acceptance(&client);
    client.consume(usize::MAX);
    client.handle_bytes(&bytes);
    assert_eq!(client.poll_event(), Some(LinkEvent::Opened));
    assert!(client.is_open());
    client
}

/// A server whose upgrade is through, with nothing to transmit.
fn open_server() -> ServerLink {
    let mut server = server();
    server.handle_bytes(REQUEST.as_bytes());
    assert!(matches!(server.poll_event(), Some(ServerEvent::Request(_))));
    server.accept();
    server.consume(usize::MAX);
    server
}

fn events(client: &mut ClientLink) -> Vec<LinkEvent> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

fn server_events(server: &mut ServerLink) -> Vec<ServerEvent> {
    std::iter::from_fn(|| server.poll_event()).collect()
}

fn message(bytes: &[u8]) -> LinkEvent {
    LinkEvent::Message(bytes.to_vec().into())
}

fn server_message(bytes: &[u8]) -> ServerEvent {
    ServerEvent::Message(bytes.to_vec().into())
}

fn closed(code: u16, reason: &str) -> LinkEnd {
    LinkEnd::Closed { code: Some(code), reason: reason.into() }
}

/// What an end of role `sender` has written, as an independent WebSocket reads it.
fn decode(sender: Role, bytes: &[u8]) -> Vec<Message> {
    struct Input<'a>(&'a [u8]);
    impl std::io::Read for Input<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl std::io::Write for Input<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let reader = if sender == Role::Client { Role::Server } else { Role::Client };
    let mut websocket = WebSocketContext::new(reader, Some(WebSocketConfig::default()));
    let mut input = Input(bytes);
    std::iter::from_fn(|| websocket.read(&mut input).ok()).collect()
}

fn sent(client: &ClientLink) -> Vec<Message> {
    decode(Role::Client, client.transmit())
}

fn sent_by_server(server: &ServerLink) -> Vec<Message> {
    decode(Role::Server, server.transmit())
}

/// The code and reason of the only frame sent, a close frame.
fn only_close(messages: &[Message]) -> (u16, String) {
    match messages {
        [Message::Close(Some(frame))] => (frame.code.into(), frame.reason.as_str().into()),
        other => panic!("not one close frame: {other:?}"),
    }
}

/// Carries bytes both ways, `chunk` at a time, until both ends are quiet; the server accepts what it is asked.
fn carry(client: &mut ClientLink, server: &mut ServerLink, chunk: usize) -> (Vec<LinkEvent>, Vec<ServerEvent>) {
    let (mut of_client, mut of_server) = (Vec::new(), Vec::new());
    while !client.transmit().is_empty() || !server.transmit().is_empty() {
        let n = client.transmit().len().min(chunk);
        let bytes = client.transmit()[..n].to_vec();
        client.consume(n);
        server.handle_bytes(&bytes);
        while let Some(event) = server.poll_event() {
            if matches!(event, ServerEvent::Request(_)) {
                server.accept();
            }
            of_server.push(event);
        }
        let n = server.transmit().len().min(chunk);
        let bytes = server.transmit()[..n].to_vec();
        server.consume(n);
        client.handle_bytes(&bytes);
        of_client.extend(events(client));
    }
    (of_client, of_server)
}
