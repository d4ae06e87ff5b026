//! Time as the host passes it in (CLOCK-1).

use core::time::Duration;

/// What the host's clocks say at the moment of a call.
///
/// The protocol reads no clock of its own. Every input carries one of these, so a run can be repeated exactly, and a
/// simulation owns its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic time since an origin that the host chooses once and keeps. All deadlines are on this scale. A value
    /// smaller than an earlier one counts as "no time has passed".
    pub monotonic: Duration,
    /// Wall-clock time in seconds since the Unix epoch. Only token expiry looks at it (TOKEN-1, AUTH-3).
    pub unix: u64,
}
