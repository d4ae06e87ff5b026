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
    /// The connector says that it does not know what became of it.
    #[error("ambiguous: the connector does not know what became of it{}", says(.0))]
    Unknown(ActionResult),
    /// The connector's policy does not allow it. Trying again does not help.
    #[error("declined by the connector{}", says(.0))]
    Declined(ActionResult),
    /// The connector, or the platform, refused it.
    #[error("rejected{}", says(.0))]
    Rejected(ActionResult),
}

fn says(result: &ActionResult) -> String {
    result.error.as_ref().map_or_else(String::new, |error| format!(": {error}"))
}

impl RequestError {
    /// Whether the request may have been carried out all the same.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Ambiguous(_) | Self::Unknown(_))
    }

    /// Whether sending it again may help, and cannot do it twice.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotSent(NotSent::NoLink | NotSent::TimedOut))
    }

    /// The connector's result, when there is one.
    pub fn result(&self) -> Option<&ActionResult> {
        match self {
            Self::Unknown(result) | Self::Declined(result) | Self::Rejected(result) => Some(result),
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
