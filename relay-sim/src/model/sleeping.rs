//! Going idle, sleeping, waking, and the end (IDLE-1, IDLE-2, CLOSE-1).

use super::{Idle, Model, Phase, RetryDelay, SECOND, Shutdown};

impl Model {
    /// A call to go idle, or dormant.
    pub fn go_idle(&mut self, number: usize, dormant: bool) {
        if self.phase != Phase::Ready || self.shutdown.is_some() {
            return self.seen.ended.push(format!("idle {number} no link"));
        }
        self.say_going_idle(!self.idles.is_empty());
        self.idles.push(Idle { number, deadline: self.now + 10 * SECOND, dormant, woken: false });
    }

    /// One frame serves all who wait.
    pub(super) fn say_going_idle(&mut self, waiting: bool) {
        if !self.idling || !waiting {
            self.seen.written.push("going_idle".into());
        }
        self.idling = true;
    }

    pub(super) fn end_idle(&mut self, number: usize, how: &str) {
        self.idles.retain(|idle| idle.number != number);
        self.seen.ended.push(format!("idle {number} {how}"));
    }

    /// The ack of going idle arrives.
    pub fn idle_acked(&mut self) {
        self.hear_if_open();
        if !self.is_open() || !self.idling {
            return;
        }
        (self.idling, self.idle) = (false, true);
        let dormant = self.idles.iter().any(|idle| idle.dormant);
        self.again = dormant && self.idles.iter().all(|idle| idle.woken || !idle.dormant);
        for idle in self.idles.clone() {
            self.end_idle(idle.number, "acknowledged");
        }
        self.seen.told.push("idle".into());
        if dormant && self.shutdown.is_none() {
            self.why = Some(("dormant", None, RetryDelay::Dormant));
            self.close_link(1000, "dormant", 2 * SECOND);
        }
    }

    /// A line that is no frame.
    pub fn junk(&mut self) {
        self.hear_if_open();
    }

    /// An interrupt arrives.
    pub fn interrupted(&mut self) {
        self.hear_if_open();
        if self.is_open() {
            self.seen.told.push("interrupt".into());
        }
    }

    /// Dials now, or as soon as the link that is being closed is over.
    pub fn wake(&mut self) {
        self.hold = false;
        match self.phase {
            _ if self.shutdown.is_some() => {}
            Phase::Waiting => self.dial(),
            Phase::Closing => self.again = true,
            _ => self.idles.iter_mut().for_each(|idle| idle.woken = true),
        }
    }

    /// Parks the next dial.
    pub fn hold(&mut self) {
        self.hold = true;
    }

    /// Ends a hold.
    pub fn release(&mut self) {
        self.hold = false;
        if self.redial().is_some_and(|(_, latest)| latest <= self.now) {
            self.dial();
        }
    }

    /// Makes a new link at once.
    pub fn reconnect(&mut self) {
        if self.shutdown.is_some() {
            return;
        }
        self.hold = false;
        match self.phase {
            Phase::Waiting => self.dial(),
            Phase::Handshaking | Phase::Ready => {
                self.again = true;
                self.why = Some(("requested", None, RetryDelay::Now));
                self.close_link(1000, "reconnect", SECOND / 4);
            }
            Phase::Closing => {
                self.again = true;
                self.until = self.until.min(self.now + SECOND / 4);
            }
            _ => {}
        }
    }

    /// Shuts down.
    pub fn close(&mut self) {
        if self.shutdown.is_some() || self.is_over() {
            return;
        }
        let waiting = !self.idles.is_empty();
        for idle in self.idles.clone() {
            self.end_idle(idle.number, "no link");
        }
        match self.phase {
            Phase::Ready if !self.idle => {
                self.say_going_idle(waiting);
                self.shutdown = Some(Shutdown::Idling(self.now + 2 * SECOND));
            }
            Phase::Ready => self.shutdown = Some(Shutdown::Finishing(self.now + 5 * SECOND)),
            phase => {
                self.shutdown = Some(Shutdown::Closing);
                self.why = None;
                match phase {
                    Phase::Handshaking => self.close_link(1000, "", 2 * SECOND),
                    Phase::Dialing => {
                        self.seen.links.push("drop");
                        self.link_over(None);
                    }
                    Phase::Waiting => self.over(Phase::Closed),
                    _ => {}
                }
            }
        }
        for request in self.requests.clone().into_iter().filter(|request| !request.written) {
            self.end_request(request.number, "not sent");
        }
        self.advance_shutdown();
    }

    pub(super) fn advance_shutdown(&mut self) {
        if !self.is_linked() {
            return;
        }
        if let Some(Shutdown::Idling(until)) = self.shutdown
            && (self.idle || until <= self.now)
        {
            self.shutdown = Some(Shutdown::Finishing(self.now + 5 * SECOND));
        }
        if let Some(Shutdown::Finishing(until)) = self.shutdown
            && (self.requests.is_empty() || until <= self.now)
        {
            self.shutdown = Some(Shutdown::Closing);
            self.why = None;
            self.close_link(1000, "", 2 * SECOND);
        }
    }
}
