//! What to do about a call that failed.

use relay_blocking::enroll::{CallError, EnrollError};

use crate::gateway::tls;

/// An error, and what to do about it.
pub(super) fn advised(error: &CallError) -> String {
    let what = match error {
        CallError::Tls { problem, .. } => return tls::advised(*problem, &error.to_string()),
        CallError::Enroll(error) => match about(error) {
            Some(what) => what,
            None => return error.to_string(),
        },
        CallError::TimedOut { .. } => "here: --timeout",
        CallError::Unreachable { .. } => "is the address right, and does the connector run?",
        CallError::Proxy { .. } => "here: --proxy and --no-proxy, HTTPS_PROXY and HTTP_PROXY",
        CallError::Lost { .. } => "try again: if the token is refused then, get a new one",
        _ => return error.to_string(),
    };
    format!("{error} ({what})")
}

fn about(error: &EnrollError) -> Option<&'static str> {
    Some(match error {
        EnrollError::BadRequest { .. } => "is --id right, and does the connector take ids that are chosen?",
        EnrollError::Refused { status: 404 | 405, .. } => "is --url the connector's, and does it enrol gateways?",
        // The error says when.
        EnrollError::Refused { retry_after: Some(_), .. } => return None,
        EnrollError::Refused { status: 408 | 429 | 503, .. } => "try again later",
        EnrollError::Refused { status: 500..=599, .. } => {
            "try again later: if the token is refused then, get a new one"
        }
        EnrollError::RedirectedAway { .. } | EnrollError::TooManyRedirects => {
            "if you trust it, give the connector's final address as --url"
        }
        EnrollError::NotHttp { .. } | EnrollError::NotJson | EnrollError::TooLong { .. } => {
            "is --url the connector's? If so, try again, and if the token is refused then, get a new one"
        }
        EnrollError::NoSecret | EnrollError::UnusableSecret | EnrollError::OtherGateway { .. } => {
            "tell whoever runs the connector, who can take back what it granted; then enrol with a new token"
        }
        _ => return None,
    })
}
