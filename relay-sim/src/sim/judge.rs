//! What the contract says about refusals (AUTH-1 to AUTH-4) and about when to dial again (LINK-1, LINK-2), written down a
//! second time: from the rules, for one process of a gateway, without a look at how the machine does it.

use relay_proto::end::LinkEnd;
use relay_proto::gateway::Timing;

use super::{Check, Nanos, SECOND, nanos, violated};

/// What has to become of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Dial again, with backoff.
    Retry,
    /// Dial again at once; that dial decides.
    Provisional,
    Revoked,
}

/// Whether a refusal revokes.
#[derive(Debug)]
pub struct Refusals {
    /// How long a link has to be ready before a refusal of it is a first one again.
    stable: Nanos,
    /// A handshake was completed.
    pub greeted: bool,
    /// A refusal was provisional, and the connector has not shown since that it accepts the credentials (AUTH-4).
    pub deciding: bool,
}

impl Refusals {
    pub fn new(waits: Waits) -> Self {
        Self { stable: waits.stable.max(10 * SECOND), greeted: false, deciding: false }
    }

    pub fn on_ready(&mut self) {
        self.greeted = true;
    }

    /// A link that was ready has ended without a refusal, or was stable.
    fn accepted(&mut self, ready_for: Option<Nanos>, is_refusal: bool) {
        if ready_for.is_some_and(|time| !is_refusal || time >= self.stable) {
            self.deciding = false;
        }
    }

    /// The link was dropped by this side.
    pub fn on_drop(&mut self, ready_for: Option<Nanos>) {
        self.accepted(ready_for, false);
    }

    /// `stale`: the token had expired by the gateway's own wall clock, and its link was never ready.
    pub fn judge(&mut self, end: &LinkEnd, ready_for: Option<Nanos>, stale: bool, strict: bool) -> Option<Verdict> {
        let reason = match end {
            LinkEnd::Closed { code: Some(4401), reason } => Some(reason),
            LinkEnd::Refused { status: 401, reason } => Some(reason),
            _ => None,
        };
        self.accepted(ready_for, reason.is_some());
        let reason = reason?;
        if !self.greeted || reason.eq_ignore_ascii_case("expired") {
            return Some(Verdict::Retry);
        }
        if self.deciding {
            return Some(if stale { Verdict::Retry } else { Verdict::Revoked });
        }
        self.deciding = stale || strict;
        Some(if self.deciding { Verdict::Provisional } else { Verdict::Revoked })
    }
}

/// How soon the next dial has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDelay {
    Now,
    Backoff,
    Slow,
    Dormant,
}

/// The delay of an end that the peer, or the network, made.
pub fn retry_delay(end: &LinkEnd) -> RetryDelay {
    match end {
        LinkEnd::Closed { code: Some(1000), reason } if reason == "replaced" => RetryDelay::Slow,
        LinkEnd::Closed { code: Some(1002 | 1003 | 1007 | 1008 | 4000 | 4403 | 4409), .. } => RetryDelay::Slow,
        LinkEnd::Refused { status: 403, .. } | LinkEnd::Protocol { .. } => RetryDelay::Slow,
        _ => RetryDelay::Backoff,
    }
}

/// The waits that a gateway was set up with.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    first: Nanos,
    longest: Nanos,
    stable: Nanos,
    hold: Nanos,
    dormant: Nanos,
}

impl Waits {
    pub fn new(timing: &Timing) -> Self {
        Self {
            first: nanos(timing.backoff_initial),
            longest: nanos(timing.backoff_max),
            stable: nanos(timing.stable),
            hold: nanos(timing.hold_max),
            dormant: nanos(timing.dormant_redial),
        }
    }
}

/// When the next dial has to come. Times are on the gateway's monotonic clock.
#[derive(Debug)]
pub struct Dials {
    waits: Waits,
    attempt: u32,
    /// Since when the link is ready, and since when it is not open any more.
    ready: Option<Nanos>,
    closing: Option<Nanos>,
    /// While there is neither link nor dial: the earliest and the latest time for the next.
    window: Option<(Nanos, Nanos)>,
    held: bool,
    /// The machine was suspended since: it cannot be blamed for being late.
    slept: bool,
    /// When the last dials came that follow each other without a command or a sleep (LINK-5).
    unasked: Vec<Nanos>,
}

impl Dials {
    /// A gateway that has to dial at once.
    pub fn new(waits: Waits, now: Nanos) -> Self {
        Self {
            waits,
            attempt: 0,
            ready: None,
            closing: None,
            window: Some((now, now)),
            held: false,
            slept: false,
            unasked: Vec::new(),
        }
    }

    /// For how long the link has been ready that ends now.
    pub fn ready_for(&self, now: Nanos) -> Option<Nanos> {
        self.ready.map(|since| self.closing.unwrap_or(now) - since)
    }

    pub fn on_ready(&mut self, now: Nanos) {
        self.ready = Some(now);
    }

    pub fn on_closing(&mut self, now: Nanos) {
        self.closing = Some(now);
    }

    pub fn hold(&mut self) {
        self.held = true;
    }

    pub fn release(&mut self, now: Nanos) {
        self.held = false;
        self.unasked.clear();
        if let Some((_, latest)) = &mut self.window {
            *latest = now.max(*latest);
        }
    }

    /// The machine was suspended.
    pub fn on_sleep(&mut self) {
        self.slept = true;
        self.unasked.clear();
    }

    /// The wall clock went this much further than the monotonic one: that counts towards the wait (CLOCK-2). The wall
    /// clock shows whole seconds.
    pub fn on_wall_ahead(&mut self, by: Nanos) {
        let by = by + SECOND;
        if by >= 10 * SECOND {
            self.unasked.clear();
        }
        if let Some((earliest, _)) = self.window.as_mut().filter(|_| by >= 10 * SECOND) {
            *earliest = earliest.saturating_sub(by);
            self.slept = true;
        }
    }

    /// A command that dials now if there is no link.
    pub fn demand(&mut self, now: Nanos) {
        self.held = false;
        self.unasked.clear();
        if let Some(window) = &mut self.window {
            *window = (now, now);
        }
    }

    /// The link, or the dial, ended. Whether the wait that follows at the backoff is the longest, and whether the
    /// backoff started over.
    pub fn on_end(&mut self, delay: RetryDelay, now: Nanos) -> (bool, bool) {
        let Waits { first, longest, stable, dormant, .. } = self.waits;
        let ready = self.ready_for(now);
        self.ready = None;
        self.closing = None;
        let reset = ready.is_some_and(|time| time >= stable) && self.attempt > 0;
        if ready.is_some_and(|time| time >= stable) {
            self.attempt = 0;
        }
        let full = (first << self.attempt.min(12)).min(longest);
        let (least, most) = match delay {
            RetryDelay::Now => (0, 0),
            RetryDelay::Dormant => (dormant, dormant),
            RetryDelay::Slow => (longest, 2 * longest),
            RetryDelay::Backoff => (full / 2, full),
        };
        if delay == RetryDelay::Backoff {
            self.attempt += 1;
        }
        self.window = Some((now + least, now + most));
        self.slept = false;
        (full == longest, reset)
    }

    /// There will be no dial any more.
    pub fn over(&mut self) {
        self.window = None;
    }

    /// A dial comes now.
    pub fn on_dial(&mut self, now: Nanos) -> Check {
        self.check(now)?;
        let Some((earliest, _)) = self.window.take() else {
            return violated("DIAL-5", "a dial while there is a link, or after the end");
        };
        if now < earliest {
            return violated("LINK-1", format!("a dial {} ms too early", (earliest - now) / 1_000_000));
        }
        self.held = false;
        if let [.., before, _] = self.unasked[..]
            && now - before < self.waits.first.min(2 * self.waits.dormant) / 2
        {
            return violated("LINK-5", format!("three dials within {} ms", (now - before) / 1_000_000));
        }
        self.unasked.push(now);
        Ok(())
    }

    /// Whether the dial is overdue.
    pub fn check(&self, now: Nanos) -> Check {
        let latest = self.window.map(|(_, latest)| if self.held { latest + self.waits.hold } else { latest });
        if !self.slept && latest.is_some_and(|latest| latest < now) {
            return violated("LINK-1", format!("no dial by {latest:?}, and it is {now}"));
        }
        Ok(())
    }

    /// Whether a hold made this dial late by all of its 60 seconds.
    pub fn hold_expired(&self, now: Nanos) -> bool {
        self.held && self.window.is_some_and(|(earliest, _)| now >= earliest + self.waits.hold)
    }
}
