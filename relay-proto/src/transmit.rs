//! What a machine writes to a link.

use alloc::string::String;

/// Something to write to a link, whichever half writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transmit {
    /// A WebSocket text message: one whole frame (FRAME-1).
    Text(String),
    /// A WebSocket ping (LINK-3).
    Ping,
    /// A WebSocket ping with this payload, from a [`Peer`](crate::connector::Peer) alone. Its pong goes to
    /// [`handle_pong`](crate::connector::Peer::handle_pong): it shows that the gateway received what was written before.
    Probe([u8; 8]),
    /// A WebSocket close frame. Nothing follows it.
    Close {
        /// The code.
        code: u16,
        /// The reason.
        reason: &'static str,
    },
}
