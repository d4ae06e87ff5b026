//! What the end of a link means (LINK-2).

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::backoff::RetryDelay;
use crate::end::{LinkEnd, TlsProblem};

/// The class of a link's end, or of a failed dial's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Closed in order.
    Normal,
    /// Closed with a code that says that something went wrong, or that no other class claims.
    Failed,
    /// Closed in order, before the first descriptor.
    NoDescriptor,
    /// Another link took this one's place.
    Replaced,
    /// The connector restarts, or is overloaded.
    GoingAway,
    /// One side broke the protocol, or says so of the other.
    Protocol,
    /// A message or line was over a limit.
    TooLarge,
    /// The connector does not accept the credentials.
    Unauthorized,
    /// The connector knows the gateway and does not let it in.
    Forbidden,
    /// The connection is gone without a close frame, or has been silent for too long.
    Lost,
    /// The upgrade was refused with an HTTP status.
    HttpStatus,
    /// No connection came about.
    Unreachable,
    /// The proxy opened no tunnel.
    Proxy,
    /// TLS failed.
    Tls(TlsProblem),
    /// A dial or a handshake took too long.
    TimedOut,
    /// The application left too many events unread, or too many deliveries unacknowledged.
    QueueFull,
    /// The gateway went to sleep.
    Dormant,
    /// The application asked for another link.
    Requested,
    /// What drives the gateway panicked, and the gateway has ended with it.
    Panicked,
}

impl Cause {
    /// The class as a word, as the command line prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Failed => "failed",
            Self::NoDescriptor => "no_descriptor",
            Self::Replaced => "replaced",
            Self::GoingAway => "going_away",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Lost => "lost",
            Self::HttpStatus => "http_status",
            Self::Unreachable => "unreachable",
            Self::Proxy => "proxy",
            Self::Tls(_) => "tls",
            Self::TimedOut => "timed_out",
            Self::QueueFull => "queue_full",
            Self::Dormant => "dormant",
            Self::Requested => "requested",
            Self::Panicked => "panicked",
        }
    }
}

/// How a link, or a dial, ended. As an error it has the [`TlsProblem`] for its source, if TLS failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// The class.
    pub cause: Cause,
    /// The close code, or the HTTP status of the connector or the proxy.
    pub code: Option<u16>,
    /// What the peer, or the transport, said; possibly empty.
    pub reason: String,
}

impl core::fmt::Display for Ended {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.cause.as_str())?;
        if let Cause::Tls(problem) = self.cause {
            write!(f, " ({})", problem.as_str())?;
        }
        if let Some(code) = self.code {
            write!(f, " ({code})")?;
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

impl core::error::Error for Ended {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        if let Cause::Tls(problem) = &self.cause { Some(problem) } else { None }
    }
}

impl Ended {
    pub(crate) fn local(cause: Cause, reason: impl Into<String>) -> Self {
        Self { cause, code: None, reason: reason.into() }
    }

    pub(crate) fn silent_for(time: Duration) -> Self {
        Self::local(Cause::Lost, format!("nothing from the peer for {} s", time.as_secs()))
    }

    /// The same, of a link that never had a descriptor. `said`: what the connector said last in an `error` frame.
    pub(crate) fn in_handshake(mut self, said: Option<&str>) -> Self {
        if self.cause == Cause::Normal {
            self.cause = Cause::NoDescriptor;
        }
        if matches!(self.cause, Cause::NoDescriptor | Cause::Failed | Cause::GoingAway | Cause::Lost) {
            let between = if self.reason.is_empty() { "" } else { ": " };
            self.reason = format!("ended before the first descriptor{between}{}", self.reason);
        }
        if let Some(said) = said {
            let between = if self.reason.is_empty() { "" } else { "; " };
            self.reason = format!("{}{between}the connector said: {said}", self.reason);
        }
        self
    }

    /// Whether the connector refused the credentials (AUTH-1 to AUTH-3).
    pub(crate) fn is_refusal(&self) -> bool {
        self.cause == Cause::Unauthorized || (self.cause == Cause::HttpStatus && self.code == Some(401))
    }

    /// Whether the connector says that the token had expired, which never revokes (AUTH-2).
    pub(crate) fn says_expired(&self) -> bool {
        self.reason.trim().eq_ignore_ascii_case("expired")
    }

    /// How soon to dial again, as far as the end alone decides it.
    pub(crate) fn retry_delay(&self) -> RetryDelay {
        match (self.cause, self.code) {
            (Cause::Replaced | Cause::Protocol | Cause::Forbidden, _) | (Cause::HttpStatus, Some(403)) => {
                RetryDelay::Slow
            }
            (Cause::Dormant, _) => RetryDelay::Dormant,
            (Cause::Requested, _) => RetryDelay::Now,
            _ => RetryDelay::Backoff,
        }
    }
}

/// How many characters of an `error` frame are shown.
const SHOWN: usize = 200;

/// The words of an `error` frame as they may be shown in a log or a terminal, but for our secrets: without control
/// characters and what changes the direction of text, and cut. Empty when nothing is left.
pub(crate) fn shown(words: &str) -> String {
    let is_hidden = |c: char| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let mut chars = words.trim().chars().filter(|c| !is_hidden(*c));
    let mut shown: String = chars.by_ref().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

impl From<LinkEnd> for Ended {
    fn from(end: LinkEnd) -> Self {
        match end {
            LinkEnd::Closed { code, reason } => Self { cause: classify(code, &reason), code, reason },
            LinkEnd::Refused { status, reason } | LinkEnd::RefusedForNow { status, reason, .. } => {
                Self { cause: Cause::HttpStatus, code: Some(status), reason }
            }
            LinkEnd::Unreachable { detail } => Self::local(Cause::Unreachable, detail),
            LinkEnd::Proxy { status, detail } => Self { cause: Cause::Proxy, code: status, reason: detail },
            LinkEnd::Tls { problem, detail } => Self::local(Cause::Tls(problem), detail),
            LinkEnd::Lost { detail } => Self::local(Cause::Lost, detail),
            LinkEnd::Protocol { detail } => Self::local(Cause::Protocol, detail),
            // As it is with a line that is too long: 1009 is what the peer was told.
            LinkEnd::MessageTooLarge { limit } => Self {
                cause: Cause::TooLarge,
                code: Some(1009),
                reason: format!("a message is over the limit of {limit} bytes"),
            },
        }
    }
}

fn classify(code: Option<u16>, reason: &str) -> Cause {
    match code {
        None | Some(1000) if reason == "replaced" => Cause::Replaced,
        None | Some(1000 | 1005) => Cause::Normal,
        Some(1008) if reason == "duplicate session" => Cause::Replaced,
        Some(4000 | 4409) => Cause::Replaced,
        Some(1001 | 1012 | 1013) => Cause::GoingAway,
        Some(1002 | 1003 | 1007 | 1008) => Cause::Protocol,
        Some(1009) => Cause::TooLarge,
        Some(4401) => Cause::Unauthorized,
        Some(4403) => Cause::Forbidden,
        Some(1006) => Cause::Lost,
        Some(_) => Cause::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16, reason: &str) -> Ended {
        LinkEnd::Closed { code: Some(code), reason: reason.into() }.into()
    }

    // proves: LINK-2
    #[test]
    fn every_end_has_its_class() {
        for (code, reason, cause) in [
            (1000, "", Cause::Normal),
            (1000, "replaced", Cause::Replaced),
            (1008, "duplicate session", Cause::Replaced),
            (4000, "", Cause::Replaced),
            (4409, "", Cause::Replaced),
            (1001, "", Cause::GoingAway),
            (1012, "", Cause::GoingAway),
            (1013, "", Cause::GoingAway),
            (1002, "", Cause::Protocol),
            (1003, "", Cause::Protocol),
            (1007, "", Cause::Protocol),
            (1008, "", Cause::Protocol),
            (1009, "", Cause::TooLarge),
            (4401, "", Cause::Unauthorized),
            (4403, "", Cause::Forbidden),
            (1011, "", Cause::Failed),
            (4999, "", Cause::Failed),
        ] {
            let ended = closed(code, reason);
            assert_eq!((ended.cause, ended.code), (cause, Some(code)), "{code} {reason}");
        }
        assert_eq!(Ended::from(LinkEnd::Closed { code: None, reason: String::new() }).cause, Cause::Normal);
        assert_eq!(Ended::from(LinkEnd::Lost { detail: "eof".into() }).cause, Cause::Lost);
        let refused = Ended::from(LinkEnd::Refused { status: 503, reason: "busy".into() });
        assert_eq!((refused.cause, refused.code), (Cause::HttpStatus, Some(503)));
    }

    // proves: LINK-2, AUTH-3
    #[test]
    fn replaced_protocol_and_forbidden_ends_are_slow() {
        for slow in [closed(1000, "replaced"), closed(1002, ""), closed(1008, ""), closed(4403, ""), closed(4409, "")] {
            assert_eq!(slow.retry_delay(), RetryDelay::Slow, "{slow}");
        }
        assert_eq!(
            Ended::from(LinkEnd::Refused { status: 403, reason: String::new() }).retry_delay(),
            RetryDelay::Slow
        );
        for other in [closed(1000, ""), closed(1001, ""), closed(1009, ""), closed(4401, ""), closed(1011, "")] {
            assert_eq!(other.retry_delay(), RetryDelay::Backoff, "{other}");
        }
    }

    #[test]
    fn an_end_is_told_in_a_line() {
        assert_eq!(closed(4403, "").to_string(), "forbidden (4403)");
        assert_eq!(closed(1001, "bye").to_string(), "going_away (1001): bye");
        assert_eq!(Ended::from(LinkEnd::Lost { detail: "eof".into() }).to_string(), "lost: eof");
        let problem = crate::end::TlsProblem::Expired;
        let tls = Ended::from(LinkEnd::Tls { problem, detail: "in May".into() });
        assert_eq!(tls.to_string(), format!("tls ({}): in May", problem.as_str()));
        assert_eq!(Ended::local(Cause::Requested, "").retry_delay(), RetryDelay::Now);
    }

    // proves: FRAME-5
    #[test]
    fn what_an_error_frame_says_is_shown_cut_and_harmless() {
        assert_eq!(shown("  no\tsuch\u{1b}[31m bot\u{202e}\u{85}: x\n"), "no such [31m bot : x");
        assert_eq!(shown(&"é".repeat(SHOWN)), "é".repeat(SHOWN));
        assert_eq!(shown(&"é".repeat(SHOWN + 1)), "é".repeat(SHOWN) + "…");
        assert_eq!(shown(" \u{feff}"), "");
    }

    // proves: AUTH-3
    #[test]
    fn http_401_is_a_refusal_like_4401() {
        assert!(closed(4401, "unauthorized").is_refusal());
        assert!(Ended::from(LinkEnd::Refused { status: 401, reason: String::new() }).is_refusal());
        assert!(!Ended::from(LinkEnd::Refused { status: 403, reason: String::new() }).is_refusal());
        assert!(!closed(4403, "").is_refusal());
    }
}
