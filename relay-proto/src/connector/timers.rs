//! Deadlines. None is stored: each is computed from what it belongs to, and so dies with it.

use core::time::Duration;

use super::link::{Link, Probe};
use super::output::{Deadline, Notice, Output, Reason};
use super::peer::Peer;
use crate::time::Now;

impl Peer {
    /// When to call [`handle_timeout`](Self::handle_timeout) next. `None` when there is no link: a gateway that is away
    /// costs no timer.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let mut next: Option<Deadline> = None;
        let mut at = |time: Option<Duration>, reason: Reason| {
            if let Some(time) = time
                && next.is_none_or(|next| time < next.at)
            {
                next = Some(Deadline { at: time, reason });
            }
        };
        for link in &self.closing {
            at(link.closing_until, Reason::Close);
        }
        if let Some(link) = &self.current {
            at(self.handshake_until(link), Reason::Handshake);
            at(self.keepalive_at(link), Reason::Keepalive);
            at(self.stalled_at(link), Reason::Stalled);
            at(link.outbounds.first_key_value().map(|(_, pending)| pending.deadline), Reason::Outbound);
            at(self.probe_at(link), Reason::Forward);
            at(self.has_handed().then_some(self.now), Reason::AssumedAcked);
        }
        next
    }

    /// While the host does not read because the application does not, silence says nothing, and no hello can come.
    fn handshake_until(&self, link: &Link) -> Option<Duration> {
        let waits = !link.answered && !self.is_queue_full();
        waits.then(|| link.since.saturating_add(self.settings.timing.handshake))
    }

    fn keepalive_at(&self, link: &Link) -> Option<Duration> {
        let lost = link.heard.saturating_add(self.settings.timing.lost_after);
        (!self.is_queue_full()).then(|| link.ping_at.min(lost))
    }

    /// A gateway that reads nothing, however much it says.
    fn stalled_at(&self, link: &Link) -> Option<Duration> {
        self.has_unwritten(link).then(|| link.moved_at.saturating_add(self.settings.timing.lost_after))
    }

    /// When to find out whether the gateway read past a forward that it does not acknowledge.
    fn probe_at(&self, link: &Link) -> Option<Duration> {
        let patience = self.settings.timing.forward_patience?;
        if self.acks_forwards || link.probe != Probe::None {
            return None;
        }
        // They were written in this order.
        let (_, at) = self.buffer.forwards(link.cursor).next()?.carried?;
        Some(at.saturating_add(patience))
    }

    /// Time has passed. Does whatever is due, and nothing when nothing is.
    pub fn handle_timeout(&mut self, now: Now) {
        self.tick(now);
        let now = self.now;
        let outputs = &mut self.outputs;
        self.closing.retain(|link| {
            let over = link.closing_until.is_some_and(|until| until <= now);
            if over {
                outputs.push(Output::Drop(link.id));
            }
            !over
        });
        self.expire_outbounds();
        let Some(link) = &self.current else { return };
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        let handshake = is_due(self.handshake_until(link));
        let stalled = is_due(self.stalled_at(link));
        let keepalive = is_due(self.keepalive_at(link));
        let probe = is_due(self.probe_at(link));
        let silent = now >= link.heard.saturating_add(self.settings.timing.lost_after);
        let greeted = link.hellos > 0;
        if stalled {
            self.drop_current("the gateway does not read");
        } else if keepalive && silent {
            self.drop_current("the gateway is silent");
        } else if handshake && greeted {
            self.close_current(1011, "no descriptor");
        } else if handshake {
            self.close_current(1008, "no hello");
        } else if let Some(link) = &mut self.current
            && (keepalive || probe)
        {
            link.ping_at = now.saturating_add(self.settings.timing.ping_after);
            link.queue_ping();
            if probe {
                // Also a ping that waits already will be written behind the forward, which is.
                link.probe = Probe::Queued(now);
            }
        }
    }

    /// Answers the outbounds that the application left unanswered (CONN-6).
    fn expire_outbounds(&mut self) {
        let Some(mut link) = self.current.take() else { return };
        while let Some(first) = link.outbounds.first_entry()
            && first.get().deadline <= self.now
        {
            let (id, pending) = first.remove_entry();
            self.fail_pending(&mut link, &pending, "the connector did not answer in time");
            self.notice(Notice::OutboundExpired(id));
        }
        self.current = Some(link);
    }
}
