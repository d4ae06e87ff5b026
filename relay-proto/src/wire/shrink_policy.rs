//! When a buffer that grew is to be given back.

/// A buffer of this size, in bytes, is never worth giving back while the link is in use.
const KEEP: usize = 64 << 10;
/// How many uses in a row have to be small before a large buffer is given back.
const PATIENCE: u8 = 16;

/// What a buffer was used for since it was made.
///
/// A buffer that is given back after each large use costs fresh pages with the next one, which is ten times the price of
/// filling it; one that is kept for ever lets a single burst weigh on an idle link. So it is given back when a row of
/// uses shows that it is larger than it needs to be. (A link that is not used at all gives everything back with its next
/// ping.)
#[derive(Default)]
pub(super) struct ShrinkPolicy {
    peak: usize,
    small: u8,
}

impl ShrinkPolicy {
    /// The buffer held so much.
    pub(super) fn note(&mut self, bytes: usize) {
        self.peak = self.peak.max(bytes);
        self.small = if bytes > self.peak / 4 { 0 } else { self.small.saturating_add(1) };
    }

    /// Whether the buffer should be given back.
    pub(super) fn should_shrink(&self) -> bool {
        self.peak > KEEP && self.small >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_small_uses_ends_it() {
        let mut policy = ShrinkPolicy::default();
        for _ in 0..100 {
            policy.note(KEEP);
            policy.note(1);
        }
        assert!(!policy.should_shrink());
        policy.note(1 << 20);
        for _ in 0..PATIENCE {
            assert!(!policy.should_shrink());
            policy.note(1000);
        }
        assert!(policy.should_shrink());
        policy.note(1 << 19);
        assert!(!policy.should_shrink());
        let mut small = ShrinkPolicy::default();
        (0..1000).for_each(|_| small.note(1));
        assert!(!small.should_shrink());
    }
}
