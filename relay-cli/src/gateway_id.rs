//! The ids that gateways can have.

use relay_proto::enroll::EnrollError;

/// The longest id, in bytes: the longest that can be enrolled.
const MAX: usize = 1 << 10;

/// Checks an id as enrolment does, so that one that is good in one place is good in all.
///
/// # Errors
/// What is wrong with it; it is not repeated.
pub(crate) fn check(id: &str) -> Result<(), String> {
    let good = !id.is_empty() && id.trim() == id && id.len() <= MAX && !id.chars().any(char::is_control);
    if good { Ok(()) } else { Err(EnrollError::BadGatewayId.to_string()) }
}
