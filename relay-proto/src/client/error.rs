//! How a request fails.

use crate::frame::{ActionResult, Verdict};
use crate::gateway::{Ambiguous, NotSent, Outcome};

/// Why a request was not carried out, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It was never sent. Sending it again cannot do it twice.
    #[error(transparent)]
    NotSent(#[from] NotSent),
    /// It was sent, and what became of it is not known.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// The connector answered, and does not say whether it was carried out.
    #[error("ambiguous: the connector does not say whether it was carried out{}", says(.0))]
    Unknown(ActionResult),
    /// The connector's policy does not allow it. Trying again does not help.
    #[error("declined by the connector{}", says(.0))]
    Declined(ActionResult),
    /// The connector, or the platform, refused it.
    #[error("rejected{}", says(.0))]
    Rejected(ActionResult),
    /// A text took several messages (CHAT-2), and one of them failed. Those before it are there; those behind it were not
    /// sent.
    #[error("message {} of {of}: {error}", .sent.len() + 1)]
    Partial {
        /// The results of the messages before it.
        sent: Vec<ActionResult>,
        /// How many messages the text takes.
        of: usize,
        /// Why it failed.
        error: Box<RequestError>,
    },
}

fn says(result: &ActionResult) -> String {
    result.error.as_ref().map_or_else(String::new, |error| format!(": {error}"))
}

impl RequestError {
    /// Whether the request may have been carried out all the same. Of several messages: that which failed.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Partial { error, .. } => error.is_ambiguous(),
            _ => matches!(self, Self::Ambiguous(_) | Self::Unknown(_)),
        }
    }

    /// Whether sending it again, on this gateway, may help and cannot do it twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Partial { sent, error, .. } => sent.is_empty() && error.is_retryable(),
            _ => matches!(self, Self::NotSent(NotSent::NoLink | NotSent::TimedOut)),
        }
    }

    /// Whether nothing of it was sent, and a later link or the next process may do better: what the delivery that it answers
    /// should be given back for. So it is when it [is retryable](Self::is_retryable), and when this gateway was shut down or
    /// revoked.
    pub fn may_succeed_later(&self) -> bool {
        match self {
            Self::Partial { sent, error, .. } => sent.is_empty() && error.may_succeed_later(),
            Self::NotSent(NotSent::ShutDown | NotSent::Revoked) => true,
            _ => self.is_retryable(),
        }
    }

    /// The connector's result, when there is one.
    pub fn result(&self) -> Option<&ActionResult> {
        match self {
            Self::Unknown(result) | Self::Declined(result) | Self::Rejected(result) => Some(result),
            Self::Partial { error, .. } => error.result(),
            Self::NotSent(_) | Self::Ambiguous(_) => None,
        }
    }
}

/// Sorts an outcome: carried out, or not.
pub(super) fn sort(outcome: Outcome) -> Result<ActionResult, RequestError> {
    match outcome {
        Outcome::Result(result) => match result.verdict {
            Verdict::Delivered => Ok(result),
            Verdict::Declined => Err(RequestError::Declined(result)),
            Verdict::Ambiguous => Err(RequestError::Unknown(result)),
            Verdict::Rejected => Err(RequestError::Rejected(result)),
        },
        Outcome::NotSent(why) => Err(RequestError::NotSent(why)),
        Outcome::Ambiguous(why) => Err(RequestError::Ambiguous(why)),
    }
}
