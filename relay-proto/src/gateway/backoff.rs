//! When to dial again (LINK-1, LINK-2).

use core::time::Duration;

use fastrand::Rng;

use super::config::Timing;

/// How soon the next dial may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryDelay {
    /// At once, without counting an attempt.
    Now,
    /// The next backoff, twice the one before.
    Backoff,
    /// At least the longest backoff, so that another gateway that wants this link gets it.
    Slow,
    /// The dormant cadence.
    Dormant,
}

/// Attempts and the backoff that follows each. The count starts over after a link was stable, not after one was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// The wait before the next dial. `ready_for`: how long the link that ended was ready.
    pub(crate) fn wait(
        &mut self,
        delay: RetryDelay,
        ready_for: Option<Duration>,
        timing: &Timing,
        rng: &mut Rng,
    ) -> Duration {
        if ready_for.is_some_and(|time| time >= timing.stable) {
            self.attempt = 0;
        }
        match delay {
            RetryDelay::Now => Duration::ZERO,
            RetryDelay::Dormant => timing.dormant_redial,
            RetryDelay::Slow => timing.backoff_max.saturating_add(jitter(timing.backoff_max / 2, rng)),
            RetryDelay::Backoff => {
                let factor = 1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
                let wait = timing.backoff_initial.saturating_mul(factor).min(timing.backoff_max);
                self.attempt = self.attempt.saturating_add(1).min(31);
                wait / 2 + jitter(wait - wait / 2, rng)
            }
        }
    }
}

/// A time in `[0, most]`.
fn jitter(most: Duration, rng: &mut Rng) -> Duration {
    Duration::from_nanos(rng.u64(..=u64::try_from(most.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: LINK-1
    #[test]
    fn waits_double_up_to_the_longest_with_jitter_in_the_upper_half() {
        let timing = Timing::default();
        for seed in 0..50 {
            let mut rng = Rng::with_seed(seed);
            let mut backoff = Backoff::default();
            for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
                let wait = backoff.wait(RetryDelay::Backoff, None, &timing, &mut rng);
                let full = Duration::from_secs(seconds);
                assert!(full / 2 <= wait && wait <= full, "{wait:?} is not in [{:?}, {full:?}]", full / 2);
            }
            for _ in 0..100 {
                assert!(backoff.wait(RetryDelay::Backoff, None, &timing, &mut rng) <= Duration::from_secs(30));
            }
        }
    }

    // proves: LINK-1
    #[test]
    fn the_ladder_starts_over_after_a_stable_link_only() {
        let timing = Timing::default();
        let mut rng = Rng::with_seed(7);
        let mut backoff = Backoff::default();
        for _ in 0..6 {
            backoff.wait(RetryDelay::Backoff, Some(Duration::from_secs(59)), &timing, &mut rng);
        }
        assert!(backoff.wait(RetryDelay::Backoff, Some(Duration::ZERO), &timing, &mut rng) >= Duration::from_secs(15));
        assert!(
            backoff.wait(RetryDelay::Backoff, Some(Duration::from_secs(60)), &timing, &mut rng)
                <= Duration::from_secs(1)
        );
    }

    // proves: LINK-2
    #[test]
    fn a_slow_retry_waits_at_least_the_longest_backoff() {
        let timing = Timing::default();
        for seed in 0..50 {
            let wait = Backoff::default().wait(RetryDelay::Slow, None, &timing, &mut Rng::with_seed(seed));
            assert!(wait >= Duration::from_secs(30) && wait <= Duration::from_secs(45));
        }
    }
}
