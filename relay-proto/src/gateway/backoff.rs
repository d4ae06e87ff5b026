//! When to dial again (LINK-1, LINK-2).

use core::time::Duration;

use fastrand::Rng;

use super::config::Timing;

/// How soon the next dial may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once, without touching the ladder.
    Now,
    /// The next rung.
    Ladder,
    /// At least the longest rung: whoever else wants this link gets it.
    Slow,
    /// The dormant cadence.
    Dormant,
}

/// The ladder of waits. It starts over after a link was stable, not after one was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    rung: u32,
}

impl Backoff {
    /// The wait before the next dial. `ready_for`: how long the link that ended was ready.
    pub(crate) fn wait(&mut self, pace: Pace, ready_for: Option<Duration>, timing: &Timing, rng: &mut Rng) -> Duration {
        if ready_for.is_some_and(|time| time >= timing.stable) {
            self.rung = 0;
        }
        match pace {
            Pace::Now => Duration::ZERO,
            Pace::Dormant => timing.dormant_redial,
            Pace::Slow => timing.backoff_max.saturating_add(jitter(timing.backoff_max / 2, rng)),
            Pace::Ladder => {
                let factor = 1_u32.checked_shl(self.rung).unwrap_or(u32::MAX);
                let wait = timing.backoff_initial.saturating_mul(factor).min(timing.backoff_max);
                self.rung = self.rung.saturating_add(1).min(31);
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
                let wait = backoff.wait(Pace::Ladder, None, &timing, &mut rng);
                let rung = Duration::from_secs(seconds);
                assert!(rung / 2 <= wait && wait <= rung, "{wait:?} is not in [{:?}, {rung:?}]", rung / 2);
            }
            for _ in 0..100 {
                assert!(backoff.wait(Pace::Ladder, None, &timing, &mut rng) <= Duration::from_secs(30));
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
            backoff.wait(Pace::Ladder, Some(Duration::from_secs(59)), &timing, &mut rng);
        }
        assert!(backoff.wait(Pace::Ladder, Some(Duration::ZERO), &timing, &mut rng) >= Duration::from_secs(15));
        assert!(backoff.wait(Pace::Ladder, Some(Duration::from_secs(60)), &timing, &mut rng) <= Duration::from_secs(1));
    }

    // proves: LINK-2
    #[test]
    fn the_slow_pace_waits_at_least_the_longest_rung() {
        let timing = Timing::default();
        for seed in 0..50 {
            let wait = Backoff::default().wait(Pace::Slow, None, &timing, &mut Rng::with_seed(seed));
            assert!(wait >= Duration::from_secs(30) && wait <= Duration::from_secs(45));
        }
    }
}
