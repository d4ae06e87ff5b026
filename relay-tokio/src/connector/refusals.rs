//! What is told about connections that were refused. Anybody can make them, so that there is a line a second at most.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use relay_proto::end::LinkEnd;

/// From one line to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells of the first, and then of one a second, with the number of those between.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// When there may be a line again.
    next: Duration,
    untold: u64,
}

impl Refusals {
    /// There is one more. When it is to be told of, how many before it were not.
    fn count(&self, now: Duration) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now < told.next {
            told.untold = told.untold.saturating_add(1);
            return None;
        }
        told.next = now.saturating_add(PAUSE);
        Some(std::mem::take(&mut told.untold))
    }

    /// A connection of this address has ended before it was a link.
    pub(super) fn tell_end(&self, address: IpAddr, end: &LinkEnd, now: Duration) {
        let (status, reason) = match end {
            LinkEnd::Tls { detail, .. } => (None, format!("TLS: {detail}")),
            LinkEnd::Protocol { detail } => (None, detail.clone()),
            // An answer to a POST has no reason: it is told of with what was posted.
            LinkEnd::Refused { status: status @ 400.., reason } if !reason.is_empty() => {
                (Some(*status), reason.clone())
            }
            // Answered, or gone by itself.
            _ => return,
        };
        if let Some(untold) = self.count(now) {
            tracing::warn!(%address, status, reason, untold, "a connection was refused");
        }
    }

    /// A POST to this path was answered with this status.
    pub(super) fn tell_post(&self, address: IpAddr, path: &str, status: u16, now: Duration) {
        if let Some(untold) = Some(status).filter(|status| *status >= 400).and_then(|_| self.count(now)) {
            // The path is the client's words: not all of them belong in a log.
            let what = match path {
                "/relay/enroll" => "an enrolment",
                "/relay/policy" => "a policy",
                _ => "a request",
            };
            tracing::warn!(%address, status, untold, "{what} was refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_one_a_second_with_the_number_of_the_others() {
        let refusals = Refusals::default();
        let counts = [0, 0, 999, 1000, 1001, 5000, 5001].map(|at| refusals.count(Duration::from_millis(at)));
        assert_eq!(counts, [Some(0), None, None, Some(2), None, Some(1), None]);
    }
}
