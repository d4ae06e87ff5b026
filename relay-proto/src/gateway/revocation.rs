//! Whether refused credentials are revoked credentials (AUTH-1 to AUTH-3).

use core::time::Duration;

use super::backoff::RetryDelay;

/// What to make of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalVerdict {
    /// Dial again.
    Retry(RetryDelay),
    /// Dial again at once; that dial decides.
    Confirm,
    /// The credentials are revoked.
    Revoke,
}

/// The facts that the verdict rests on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revocation {
    /// A handshake completed once in this machine's life.
    ever_ready: bool,
    /// A refusal is being confirmed: the next one is final (AUTH-4).
    confirming: bool,
}

/// The shortest time for which the link of the deciding dial is ready before a refusal on it is a new one. A shorter
/// [`stable`](super::Timing::stable) does not lower it, so that a peer which accepts and refuses in turns gets few dials.
const LEAST_ACCEPTED: Duration = Duration::from_secs(10);

impl Revocation {
    pub(crate) fn on_ready(&mut self) {
        self.ever_ready = true;
    }

    /// A link ended that was ready for this long. `refused`: because its credentials were refused. A link that ended in
    /// another way, or that was stable before, shows that the connector accepts the credentials again.
    pub(crate) fn on_end(&mut self, ready_for: Option<Duration>, refused: bool, stable: Duration) {
        if ready_for.is_some_and(|time| !refused || time >= stable.max(LEAST_ACCEPTED)) {
            self.confirming = false;
        }
    }

    /// Judges a refusal. `says_expired`: the connector gives that as the reason. `token_expired`: the token of the refused dial had passed its expiry, by the wall clock, when
    /// the refusal came, and its link never became ready. `confirm_all`: the stricter setting.
    pub(crate) fn judge(&mut self, says_expired: bool, token_expired: bool, confirm_all: bool) -> RefusalVerdict {
        if !self.ever_ready || says_expired {
            return RefusalVerdict::Retry(RetryDelay::Backoff);
        }
        match (token_expired || confirm_all && !self.confirming, self.confirming) {
            (true, false) => {
                self.confirming = true;
                RefusalVerdict::Confirm
            }
            // The deciding dial's own token expired on its way: it decides nothing. Waiting keeps a machine that is
            // frozen again and again, or whose tokens live too short, from dialling without a pause.
            (true, true) => RefusalVerdict::Retry(RetryDelay::Backoff),
            (false, _) => RefusalVerdict::Revoke,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: AUTH-1, AUTH-2, AUTH-3
    #[test]
    fn the_table_of_verdicts() {
        use RefusalVerdict::{Confirm, Retry, Revoke};
        let backoff = Retry(RetryDelay::Backoff);
        // ever ready, confirming, reason, token expired, confirm all → verdict
        for (ever, confirming, reason, expired, all, expected) in [
            (false, false, "unauthorized", false, false, backoff),
            (false, false, "unauthorized", true, true, backoff),
            (true, false, "unauthorized", false, false, Revoke),
            (true, false, "expired", false, false, backoff),
            (true, true, "expired", false, true, backoff),
            (true, false, "unauthorized", true, false, Confirm),
            (true, true, "unauthorized", false, false, Revoke),
            (true, true, "unauthorized", true, false, backoff),
            (true, false, "unauthorized", false, true, Confirm),
            (true, true, "unauthorized", false, true, Revoke),
            (true, true, "unauthorized", true, true, backoff),
        ] {
            let mut revocation = Revocation { ever_ready: ever, confirming };
            let got = revocation.judge(reason == "expired", expired, all);
            assert_eq!(got, expected, "ever {ever}, confirming {confirming}, {reason}, expired {expired}, all {all}");
        }
    }

    // proves: AUTH-4
    #[test]
    fn what_ends_the_confirmation() {
        let (stable, none) = (Duration::from_secs(60), Duration::ZERO);
        for (ready_for, refused, stable, ends) in [
            (None, false, stable, false),
            (None, true, stable, false),
            (Some(none), true, stable, false),
            (Some(none), false, stable, true),
            (Some(stable), true, stable, true),
            (Some(Duration::from_secs(59)), true, stable, false),
            (Some(Duration::from_secs(9)), true, none, false),
            (Some(Duration::from_secs(10)), true, none, true),
        ] {
            let mut revocation = Revocation { ever_ready: true, confirming: true };
            revocation.on_ready();
            revocation.on_end(ready_for, refused, stable);
            assert_eq!(revocation.confirming, !ends, "ready for {ready_for:?}, refused {refused}, stable {stable:?}");
        }
    }
}
