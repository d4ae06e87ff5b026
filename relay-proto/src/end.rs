//! How a link ended, as the transport saw it.

use alloc::string::String;

/// What ended one link, or the dial that should have become one.
///
/// This is the raw observation that the byte level hands to the gateway machine. What it means, and how long to wait
/// before the next dial, is decided there (LINK-2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEnd {
    /// The peer sent a WebSocket close frame. `code` is `None` when the frame carried no status.
    Closed {
        /// The close code.
        code: Option<u16>,
        /// The close reason, possibly empty.
        reason: String,
    },
    /// The upgrade was answered with an HTTP status other than 101.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The response body when it is a short text, else the reason phrase; possibly empty.
        reason: String,
    },
    /// No connection came about: name resolution or TCP connect failed.
    Unreachable {
        /// What the host's network said.
        detail: String,
    },
    /// TLS failed.
    Tls {
        /// What the TLS library said.
        detail: String,
    },
    /// The connection was there and is gone, without a close frame.
    Lost {
        /// What the transport said.
        detail: String,
    },
    /// The peer broke HTTP or WebSocket.
    Protocol {
        /// Which rule it broke.
        detail: String,
    },
    /// The peer sent a WebSocket message over the message limit.
    MessageTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}
