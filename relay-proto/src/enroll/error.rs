//! What can go wrong.

use alloc::string::String;
use core::time::Duration;

/// Why nothing came of a call.
///
/// No message and no field holds a credential (TOKEN-3): what a connector says is shown without the credentials of the
/// call, without control characters, and cut short.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    // ── the caller's: nothing was sent ───────────────────────────────────
    /// The address is plain `http`, it or the proxy on the way is not this machine, and nobody allowed that (ENROLL-2).
    #[error("the credentials would go in plaintext to `{host}`: use an https address, or allow it explicitly")]
    PlaintextCredentials {
        /// The host that is not this machine: the connector's, or the proxy's.
        host: String,
    },
    /// The token that goes into the header is blank, too long, or holds what no header can carry.
    #[error("the identity token cannot be sent: it is blank, over 8 KiB, or not visible ASCII")]
    UnsendableIdentity,
    /// The enrolment token is blank, too long or holds control characters.
    #[error("the enrolment token cannot be sent: it is blank, over 8 KiB, or holds control characters")]
    UnsendableToken,
    /// The gateway's id is blank, too long or holds control characters.
    #[error(
        "the gateway's id cannot be used: it is blank, over 1 KiB, or holds control characters or white space around it"
    )]
    BadGatewayId,

    // ── the connector's refusals ─────────────────────────────────────────
    /// 400: the connector does not understand the request.
    #[error("the connector says that the request is wrong (400){}", said(.detail))]
    BadRequest {
        /// In the connector's words; may be empty.
        detail: String,
    },
    /// 401: the connector does not know the caller.
    #[error("the connector does not accept the caller's token (401): get a new one{}", said(.detail))]
    Unauthorized {
        /// In the connector's words; may be empty.
        detail: String,
    },
    /// 403: the caller is known, and may not do this. An enrolment token may be invalid, expired, used already, or another
    /// tenant's.
    #[error("the connector forbids it (403): the enrolment token may be wrong, expired or used already{}", said(.detail))]
    Forbidden {
        /// In the connector's words; may be empty.
        detail: String,
    },
    /// Any other status that is no success.
    #[error("the connector answered with HTTP {status}{}{}", said(.detail), again(*.retry_after))]
    Refused {
        /// The status.
        status: u16,
        /// In the connector's words; may be empty.
        detail: String,
        /// How long to wait before another call, if the status is 429 or 503 and the connector says it (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// A redirect to another host, port or scheme, or one that would change the request. Nothing was sent there.
    #[error("the connector redirects (HTTP {status}) to {to}, where no credentials are sent")]
    RedirectedAway {
        /// The status.
        status: u16,
        /// The origin, without the path; or why there is none to name.
        to: String,
    },
    /// More redirects than anybody needs.
    #[error("the connector redirects again and again")]
    TooManyRedirects,

    // ── answers that are none: something may have been granted ───────────
    /// What came back is not HTTP, or was cut short.
    #[error("the answer cannot be read: {detail}")]
    NotHttp {
        /// What is wrong.
        detail: &'static str,
    },
    /// The answer is longer than it may be.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The most that is read.
        limit: usize,
    },
    /// The answer is no JSON object.
    #[error("the answer is not a JSON object")]
    NotJson,
    /// The answer holds no secret.
    #[error("the answer holds no secret")]
    NoSecret,
    /// The answer holds a secret that no environment variable can keep.
    #[error("the answer holds a secret or a name that cannot be kept: it is over 8 KiB, or holds control characters")]
    UnusableSecret,
    /// The answer is for another gateway than the one that asked.
    #[error("the answer is for another gateway, `{gateway}`")]
    OtherGateway {
        /// The one that it names.
        gateway: String,
    },
}

impl EnrollError {
    /// Whether the connector may have redeemed the enrolment token: it is no use to try again with that one.
    ///
    /// So does a connector that failed (500, or a proxy's 502 and 504): nobody knows how far it came. 503 says that it did
    /// not begin.
    pub fn may_have_granted(&self) -> bool {
        if let Self::Refused { status, .. } = self {
            return (500..=599).contains(status) && *status != 503;
        }
        matches!(
            self,
            Self::NotHttp { .. }
                | Self::TooLong { .. }
                | Self::NotJson
                | Self::NoSecret
                | Self::UnusableSecret
                | Self::OtherGateway { .. }
        )
    }

    /// How long the connector wants to be left alone, if it said so (`Retry-After` of a 429 or 503).
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// In one word, for logs and command lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PlaintextCredentials { .. } => "plaintext_credentials",
            Self::UnsendableIdentity => "unsendable_identity",
            Self::UnsendableToken => "unsendable_token",
            Self::BadGatewayId => "bad_gateway_id",
            Self::BadRequest { .. } => "bad_request",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::Refused { .. } => "refused",
            Self::RedirectedAway { .. } => "redirected_away",
            Self::TooManyRedirects => "too_many_redirects",
            Self::NotHttp { .. } => "not_http",
            Self::TooLong { .. } => "too_long",
            Self::NotJson => "not_json",
            Self::NoSecret => "no_secret",
            Self::UnusableSecret => "unusable_secret",
            Self::OtherGateway { .. } => "other_gateway",
        }
    }
}

/// When to try again.
fn again(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| alloc::format!("; try again in {} s", wait.as_secs()))
}

/// The connector's own words, behind ours.
fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { alloc::format!("; it says: {detail}") }
}
