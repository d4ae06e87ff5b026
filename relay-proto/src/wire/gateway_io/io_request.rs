//! What a gateway that speaks in bytes asks of its host.

use core::net::SocketAddr;
use std::string::String;
use std::vec::Vec;

use super::Attempt;
#[cfg(doc)]
use super::GatewayIo;
use crate::gateway::LinkId;

/// What a host has to do about sockets. Answer with the method of [`GatewayIo`] or
/// [`Driver`](crate::client::Driver) that each names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoRequest {
    /// Look a name up, and answer with [`GatewayIo::handle_resolved`] or [`GatewayIo::handle_unresolved`].
    Resolve {
        /// The link that it is for.
        link: LinkId,
        /// The name; never an address.
        host: String,
        /// The port of the addresses.
        port: u16,
    },
    /// Open a TCP connection, beside those that are already being opened, and answer with [`GatewayIo::handle_connected`] or
    /// [`GatewayIo::handle_unreachable`]. Turn Nagle's algorithm off: frames are small and somebody waits for each.
    Connect {
        /// The link that it is for.
        link: LinkId,
        /// Which of the link's attempts this is.
        attempt: Attempt,
        /// Where to.
        address: SocketAddr,
    },
    /// Stop this attempt to connect, or close what has become of it: another one was faster.
    Abort {
        /// The link that it was for.
        link: LinkId,
        /// The attempt.
        attempt: Attempt,
    },
    /// Close this link's connection, or stop looking up and connecting: at once, after at most one attempt to write
    /// `final_bytes`, which may be an answer to the peer's close frame. Inputs for the link are ignored from now on.
    Disconnect {
        /// The link.
        link: LinkId,
        /// What it still had to say; possibly empty.
        final_bytes: Vec<u8>,
    },
}
