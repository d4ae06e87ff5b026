//! One link, byte by byte: TLS and WebSocket over memory.
//!
//! [`ClientLink`] is the end that dials, [`ServerLink`] the end that accepts. Both are plain values: they are fed the
//! bytes that a socket yielded, report what those bytes meant, and offer the bytes that the socket should carry. They
//! own no socket, read no clock and start no thread, so any runtime can drive them.
//!
//! The rule for a host is one sentence: *after any call that changes a link, take every event and offer
//! [`transmit`](ClientLink::transmit) to the socket; once [`is_finished`](ClientLink::is_finished), close the socket.*
//! How the two sides of the socket are read and written, and when to give up waiting, is the host's affair:
//!
//! | the socket …            | the host calls …                                                                     |
//! |-------------------------|--------------------------------------------------------------------------------------|
//! | yielded bytes           | [`handle_bytes`](ClientLink::handle_bytes), in chunks of any size                    |
//! | reached its end         | [`handle_eof`](ClientLink::handle_eof)                                               |
//! | failed while reading    | [`handle_read_error`](ClientLink::handle_read_error)                                 |
//! | took `n` bytes          | [`consume`](ClientLink::consume)                                                     |
//! | failed while writing    | [`handle_write_error`](ClientLink::handle_write_error), and goes on *reading*        |
//! | was silent for too long | [`handle_read_error`](ClientLink::handle_read_error), which names the best known end |
//!
//! That a host goes on reading after a failed write is what keeps a close frame that had already arrived from being
//! lost behind the error (LINK-2): it may sit unread in the socket.
//!
//! ```
//! use relay_proto::{target::Target, wire::{ClientLink, LinkEvent, LinkOptions, ServerEvent, ServerLink}};
//!
//! let target = Target::parse("ws://127.0.0.1:8080").unwrap();
//! let mut gateway = ClientLink::new(&target, Some("token"), &LinkOptions::default(), None).unwrap();
//! let mut connector = ServerLink::new(&LinkOptions::default(), None).unwrap();
//!
//! // What a socket would carry, one way and back.
//! connector.handle_bytes(gateway.transmit());
//! gateway.consume(gateway.transmit().len());
//! let Some(ServerEvent::Request(request)) = connector.poll_event() else { panic!() };
//! assert_eq!((request.path(), request.bearer()), ("/relay", Some("token")));
//! connector.accept();
//! connector.send_text("hello\n".into());
//!
//! gateway.handle_bytes(connector.transmit());
//! connector.consume(connector.transmit().len());
//! assert_eq!(gateway.poll_event(), Some(LinkEvent::Opened));
//! assert!(matches!(gateway.poll_event(), Some(LinkEvent::Message(message)) if *message == *b"hello\n"));
//! ```
//!
//! # Text and UTF-8
//!
//! A text message must be UTF-8 on its own: one that is not ends the link with 1007, as RFC 6455 demands and as every
//! other implementation does, so a peer that cuts *text* messages inside a character reaches nobody. FRAME-2 lets a
//! frame be cut anywhere, also inside a character, and that is open to a peer in the two ways the WebSocket has for it:
//! the fragments of one text message, and binary messages, whose bytes are handed over as they are.

mod client;
mod codec;
mod gateway_io;
mod http;
mod link;
mod options;
mod payload;
mod post;
mod request;
mod response;
mod send_buffer;
mod server;
mod session;
mod shrink_policy;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

pub use client::{ClientLink, LinkEvent};
pub use gateway_io::{Attempt, GatewayIo, IoRequest};
pub use options::{ClientTls, LinkOptions, ServerTls};
pub use payload::Payload;
pub use request::UpgradeRequest;
pub use server::{ServerEvent, ServerLink};
#[cfg(feature = "tls")]
pub use {
    rustls,
    tls::{
        ClientTlsBuilder, ClientTlsError, Fingerprint, NotAFingerprint, default_tls_config, encrypted_key, tls_failure,
    },
};
