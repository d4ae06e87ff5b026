//! Why a connector does not start, and why it does not take something up.

use std::fmt;

use relay_proto::connector::Refused;

use super::store::StoreError;

/// Why no connector was started.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The caller is not within a tokio runtime, the listener has no address, an enrolment token is too short, or no thread
    /// could be started.
    Io(std::io::Error),
    /// The store does not say what it holds.
    Store(StoreError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<std::io::Error> for ServeError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why an event or a forward was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliverError {
    /// It was not taken up.
    Refused(Refused),
    /// The store failed. The entry will not be delivered, unless the process ends before the store works again: what the
    /// store has of it is deleted then. Later deliveries may succeed.
    NotStored(StoreError),
}

impl fmt::Display for DeliverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::NotStored(error) => write!(f, "not stored: {error}"),
        }
    }
}

impl std::error::Error for DeliverError {}

impl From<Refused> for DeliverError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
