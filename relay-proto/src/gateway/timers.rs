//! Deadlines. None is stored: each is computed from what it belongs to, and so dies with it.

use core::time::Duration;

use super::commands::Shutdown;
use super::ending::{Cause, Ended};
use super::link::{Closing, Phase};
use super::machine::{Life, Machine};
use super::output::{Deadline, IdleOutcome, LinkRequest, Output, Reason};
use crate::time::Now;

impl Machine {
    /// When to call [`handle_timeout`](Self::handle_timeout) next. `None` in a terminal state, and when reconnecting is
    /// a matter of commands.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let mut next: Option<Deadline> = None;
        let mut at = |time: Option<Duration>, reason: Reason| {
            if let Some(time) = time
                && next.is_none_or(|next| time < next.at)
            {
                next = Some(Deadline { at: time, reason });
            }
        };
        at(self.redial_at(), Reason::Redial);
        if let Life::Linked(link) = &self.life {
            match link.phase {
                Phase::Dialing { until } => at(Some(until), Reason::Dial),
                Phase::Handshaking { until } => at(Some(until), Reason::Handshake),
                Phase::Ready { .. } => {}
                Phase::Closing { until, .. } => at(Some(until), Reason::Close),
            }
        }
        at(self.keepalive_at(), Reason::Keepalive);
        at(self.stalled_at(), Reason::Stalled);
        at(self.requests.next_deadline(), Reason::Request);
        at(self.idle_calls.iter().map(|call| call.until).min(), Reason::Idle);
        if let Some(Shutdown::Idling { until } | Shutdown::Finishing { until }) = self.shutdown
            && matches!(self.life, Life::Linked(_))
        {
            at(Some(until), Reason::Shutdown);
        }
        next
    }

    /// When the peer's silence matters next. While the host does not read because the application does not, silence says
    /// nothing.
    fn keepalive_at(&self) -> Option<Duration> {
        match &self.life {
            Life::Linked(link) if link.is_open() && !self.is_reading_paused() => Some(link.ping_at.min(link.lost_at)),
            _ => None,
        }
    }

    /// When the link is lost because what is to be written could not be, whatever the peer says meanwhile (LINK-3).
    fn stalled_at(&self) -> Option<Duration> {
        match &self.life {
            Life::Linked(link) if link.is_open() && link.has_unwritten() => {
                let since = if link.moved { self.now } else { link.moved_at };
                Some(since.saturating_add(self.settings.timing.lost_after))
            }
            _ => None,
        }
    }

    /// Time has passed. Does whatever is due, and nothing when nothing is.
    pub fn handle_timeout(&mut self, now: Now) {
        self.tick(now);
        let now = self.now;
        while let Some((request, outcome)) = self.requests.pop_expired(now) {
            self.outputs.push(Output::RequestEnded { request, outcome });
        }
        self.forget_ended_requests();
        if self.idle_calls.iter().any(|call| call.until <= now) {
            self.end_idle_calls(|call| call.until <= now, IdleOutcome::TimedOut);
        }
        self.advance_shutdown();
        self.dial_if_due();
        let (keepalive, stalled) = (self.keepalive_at(), self.stalled_at());
        let timing = &self.settings.timing;
        let Life::Linked(link) = &mut self.life else { return };
        match link.phase {
            Phase::Dialing { until } if until <= now => {
                let ended = Ended::local(Cause::TimedOut, alloc::format!("no link after {:?}", timing.dial));
                self.drop_link(Closing::End(ended));
            }
            Phase::Handshaking { until } if until <= now => {
                let ended = Ended::local(Cause::TimedOut, alloc::format!("no descriptor after {:?}", timing.handshake));
                // What the connector said meanwhile is added where the link ends.
                self.drop_link(Closing::End(ended));
            }
            Phase::Closing { until, .. } if until <= now => {
                self.outputs.push(Output::Link(LinkRequest::Drop(link.id)));
                self.end_link(None);
            }
            _ if stalled.is_some_and(|at| at <= now) => {
                let reason = alloc::format!("the peer has read nothing for {:?}", timing.lost_after);
                self.drop_link(Closing::End(Ended::local(Cause::Lost, reason)));
            }
            _ if keepalive.is_some_and(|at| at <= now) => {
                if now >= link.lost_at {
                    let ended = Ended::silent_for(now.saturating_sub(link.heard));
                    self.drop_link(Closing::End(ended));
                } else {
                    link.ping_at = now.saturating_add(timing.ping_after);
                    link.queue_ping();
                }
            }
            _ => {}
        }
    }
}
