//! How a link ended, as the transport saw it.

use alloc::string::String;
use core::time::Duration;

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
    /// The same for a reason that passes (status 429 or 503), with a time after which to try again (`Retry-After`).
    RefusedForNow {
        /// The HTTP status.
        status: u16,
        /// As of [`Refused`](Self::Refused).
        reason: String,
        /// How long to wait at least.
        retry_after: Duration,
    },
    /// No connection came about: name resolution or TCP connect failed.
    Unreachable {
        /// What the host's network said.
        detail: String,
    },
    /// The proxy opened no tunnel to the connector (DIAL-6).
    Proxy {
        /// The HTTP status that it answered with, if it was one.
        status: Option<u16>,
        /// What it said, or what is wrong with what it said.
        detail: String,
    },
    /// TLS failed.
    Tls {
        /// What failed.
        problem: TlsProblem,
        /// The same in a sentence, and what can be done about it.
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

/// What failed about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The certificate is for another name.
    WrongName,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet. Perhaps this machine's clock is wrong.
    NotYetValid,
    /// The certificate is signed by an unknown authority.
    UnknownIssuer,
    /// The certificate has been revoked.
    Revoked,
    /// Something else is wrong with the certificate.
    BadCertificate,
    /// The peer does not accept the certificate of this end, or there is none and it wants one.
    ClientCertificate,
    /// This end's configuration cannot be used.
    Configuration,
    /// The handshake or a record went wrong: the two ends have no version or cipher in common, or the peer does not
    /// speak TLS.
    Handshake,
}

impl core::fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let said = |f: &mut core::fmt::Formatter<'_>, text: &str| {
            if text.is_empty() { Ok(()) } else { write!(f, ": {text}") }
        };
        match self {
            Self::Closed { code: Some(code), reason } => write!(f, "closed with {code}").and_then(|()| said(f, reason)),
            Self::Closed { code: None, reason } => f.write_str("closed").and_then(|()| said(f, reason)),
            Self::Refused { status, reason } | Self::RefusedForNow { status, reason, .. } => {
                write!(f, "the upgrade was answered with HTTP status {status}").and_then(|()| said(f, reason))
            }
            Self::Unreachable { detail } => f.write_str("no connection").and_then(|()| said(f, detail)),
            Self::Proxy { status: Some(status), detail } => {
                write!(f, "the proxy answered with HTTP status {status}").and_then(|()| said(f, detail))
            }
            Self::Proxy { status: None, detail } => {
                f.write_str("the proxy opened no tunnel").and_then(|()| said(f, detail))
            }
            Self::Tls { problem, detail } => {
                write!(f, "TLS failed ({})", problem.as_str()).and_then(|()| said(f, detail))
            }
            Self::Lost { detail } => f.write_str("the connection was lost").and_then(|()| said(f, detail)),
            Self::Protocol { detail } => f.write_str("the peer broke the protocol").and_then(|()| said(f, detail)),
            Self::MessageTooLarge { limit } => write!(f, "a message is over the limit of {limit} bytes"),
        }
    }
}

/// Its source is the [`TlsProblem`], if it is one.
impl core::error::Error for LinkEnd {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        if let Self::Tls { problem, .. } = self { Some(problem) } else { None }
    }
}

impl core::fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::WrongName => "the certificate is for another name",
            Self::Expired => "the certificate has expired",
            Self::NotYetValid => "the certificate is not valid yet",
            Self::UnknownIssuer => "the certificate is signed by an unknown authority",
            Self::Revoked => "the certificate has been revoked",
            Self::BadCertificate => "the certificate cannot be used",
            Self::ClientCertificate => "the client certificate was not accepted",
            Self::Configuration => "the TLS configuration cannot be used",
            Self::Handshake => "the TLS handshake failed",
        })
    }
}

impl core::error::Error for TlsProblem {}

impl TlsProblem {
    /// As a word, as the command line prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongName => "wrong_name",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Revoked => "revoked",
            Self::BadCertificate => "bad_certificate",
            Self::ClientCertificate => "client_certificate",
            Self::Configuration => "configuration",
            Self::Handshake => "handshake",
        }
    }
}
