//! The life of links: time, dials, ends, refusals.

use std::collections::VecDeque;
use std::time::Duration;

use relay_proto::gateway::State;

use super::{Gateway, Life, Link, LinkWord, Pace, Phase, Stage, Why, Word, s};
use crate::model::step::End;

impl Gateway {
    // ── time ─────────────────────────────────────────────────────────────

    /// CLOCK-2: the wall clock went on by itself.
    pub(super) fn tick(&mut self, now: Duration, unix: u64) {
        let slept = s(unix - self.unix).saturating_sub(now - self.now);
        (self.now, self.unix) = (now, unix);
        if slept < s(10) {
            return;
        }
        match &mut self.life {
            Life::Waiting { due: Some(due), .. } => *due = due.saturating_sub(slept),
            Life::Linked(link) if matches!(link.phase, Phase::Handshaking { .. } | Phase::Ready) => {
                link.ping_at = now;
                link.lost_at = link.lost_at.min(now + s(10));
            }
            _ => {}
        }
    }

    pub(super) fn timeout(&mut self) {
        for id in 0..self.requests.len() {
            if self.requests[id].stage != Stage::Over && self.requests[id].deadline <= self.now {
                let written = self.requests[id].stage == Stage::Written;
                self.end_request(id, if written { "ambiguous: timed out" } else { "not sent: timed out" });
            }
        }
        let now = self.now;
        self.end_idles("timed out", |idle| idle.until <= now);
        self.go_on_shutting_down();
        self.dial_if_due();
        let Life::Linked(link) = &mut self.life else { return };
        match link.phase {
            Phase::Dialing { until } | Phase::Handshaking { until } if until <= now => self.drop_link("timed_out"),
            Phase::Closing { until, .. } if until <= now => {
                self.seen.links.push(LinkWord::Drop);
                self.end_link(None);
            }
            Phase::Handshaking { .. } | Phase::Ready if link.lost_at <= now => self.drop_link("lost"),
            Phase::Handshaking { .. } | Phase::Ready if link.ping_at <= now => {
                link.ping_at = now + s(30); // LINK-3
                link.unwritten.push_back(Word::Text("ping".into()));
            }
            _ => {}
        }
    }

    // ── links ────────────────────────────────────────────────────────────

    pub(super) fn redial_at(&self) -> Option<Duration> {
        match self.life {
            Life::Waiting { due: Some(due), .. } => Some(if self.hold { due + s(60) } else { due }), // IDLE-2
            _ => None,
        }
    }

    pub(super) fn dial_if_due(&mut self) {
        if self.redial_at().is_some_and(|at| at <= self.now) {
            self.dial();
        }
    }

    pub(super) fn dial(&mut self) {
        let expiry = self.setup.credentials.then_some(self.unix + 300); // DIAL-3
        self.seen.links.push(LinkWord::Dial(expiry));
        self.hold = false;
        self.life = Life::Linked(Link {
            phase: Phase::Dialing { until: self.now + s(10) }, // DIAL-5
            expiry,
            ready_at: None,
            ready_for: None,
            ping_at: Duration::ZERO,
            lost_at: Duration::ZERO,
            unwritten: VecDeque::new(),
            owed: Vec::new(),
            idling: false,
            idle: false,
            again: false,
        });
    }

    pub(super) fn hear(&mut self) {
        if let Life::Linked(link) = &mut self.life {
            link.ping_at = self.now + s(30); // LINK-3
            link.lost_at = self.now + s(90);
        }
    }

    /// Closes in order: what is written goes out before. A dial is dropped.
    pub(super) fn close(&mut self, why: Why, reason: &str) {
        let patience = if why == Why::Requested { Duration::from_millis(250) } else { s(2) };
        let (now, until) = (self.now, self.now + patience);
        let Life::Linked(link) = &mut self.life else { return };
        match link.phase {
            Phase::Closing { .. } => {}
            Phase::Dialing { .. } => {
                self.seen.links.push(LinkWord::Drop);
                link.phase = Phase::Closing { until, why };
                self.end_link(None);
            }
            Phase::Handshaking { .. } | Phase::Ready => {
                link.ready_for = link.ready_at.map(|at| now - at);
                link.phase = Phase::Closing { until, why };
                link.unwritten.push_back(Word::Text(format!("close 1000 {reason}")));
            }
        }
    }

    pub(super) fn drop_link(&mut self, cause: &'static str) {
        self.seen.links.push(LinkWord::Drop);
        self.end_link(Some((cause, Pace::Ladder, None)));
    }

    /// The link is gone: why, how soon to dial again, and whether it was a refusal, and one that says "expired".
    pub(super) fn end_link(&mut self, ended: Option<(&'static str, Pace, Option<bool>)>) {
        let life = std::mem::replace(&mut self.life, Life::Waiting { due: None, dormant: false });
        let Life::Linked(link) = life else { unreachable!("only links end") };
        let was_ready = match link.phase {
            Phase::Closing { .. } => link.ready_for,
            _ => link.ready_at.map(|at| self.now - at),
        };
        let commanded = ended.is_none();
        let again = link.again && commanded;
        let (cause, mut pace, refusal) = match (ended, link.phase) {
            (Some(ended), _) => ended,
            (None, Phase::Closing { why: Why::Dormant, .. }) => ("dormant", Pace::Dormant, None),
            (None, Phase::Closing { why: Why::Requested, .. }) => ("requested", Pace::Now, None),
            (None, _) => {
                self.end_idles("no link", |_| true);
                return self.finish(State::Closed);
            }
        };
        if again {
            pace = Pace::Now;
        }
        if self.shutdown.is_none() {
            for id in 0..self.requests.len() {
                let request = &mut self.requests[id];
                match request.stage {
                    Stage::Written => self.end_request(id, "ambiguous: link lost"), // REQ-2
                    Stage::Queued if request.patient => request.stage = Stage::Waiting,
                    Stage::Queued => self.end_request(id, "not sent: no link"),
                    Stage::Waiting if !request.patient => self.end_request(id, "not sent: no link"),
                    Stage::Waiting | Stage::Over => {}
                }
            }
        }
        self.end_idles("no link", |_| true);
        if let Some(says_expired) = refusal {
            let expired = was_ready.is_none() && link.expiry.is_some_and(|at| at < self.unix);
            match self.judge(says_expired, expired) {
                Some(judged) => pace = judged,
                None => {
                    self.seen.events.push(format!("disconnected: {cause}, for ever"));
                    self.seen.events.push("revoked".into());
                    return self.finish(State::Revoked);
                }
            }
        }
        if self.shutdown.is_some() {
            return self.finish(State::Closed);
        }
        if !self.setup.reconnect && !commanded {
            self.seen.events.push(format!("disconnected: {cause}, for ever")); // LINK-4
            return self.finish(State::Closed);
        }
        let wait = self.wait(pace, was_ready);
        self.life = Life::Waiting { due: Some(self.now + wait), dormant: pace == Pace::Dormant };
        self.seen.events.push(format!("disconnected: {cause}"));
        self.dial_if_due();
    }

    /// LINK-1, LINK-2: what the machine chose, if it may choose that.
    pub(super) fn wait(&mut self, pace: Pace, was_ready: Option<Duration>) -> Duration {
        if was_ready.is_some_and(|time| time >= s(60)) {
            self.rung = 0;
        }
        let told = self.told.pop_front().flatten().unwrap_or_default();
        let held = if self.hold { s(60) } else { Duration::ZERO };
        let (least, most) = match pace {
            Pace::Now => (Duration::ZERO, Duration::ZERO),
            Pace::Dormant => (s(1), s(1)),
            Pace::Slow => (s(30), Duration::MAX),
            Pace::Ladder => {
                let rung = s(1 << self.rung).min(s(30));
                self.rung = (self.rung + 1).min(5);
                (rung / 2, rung)
            }
        };
        let wait = told.saturating_sub(held);
        if wait < least || wait > most {
            self.seen.events.push(format!("a wait of {wait:?} that is not in [{least:?}, {most:?}]"));
        }
        wait
    }

    /// AUTH-1 to AUTH-3: how soon to dial again, or never.
    pub(super) fn judge(&mut self, says_expired: bool, expired: bool) -> Option<Pace> {
        if !self.ever_ready || says_expired {
            return Some(Pace::Ladder);
        }
        let first = !std::mem::replace(&mut self.provisional, true);
        match (expired, first) {
            (true, false) => Some(Pace::Ladder),
            (_, true) if expired || self.setup.strict => Some(Pace::Now),
            _ => None,
        }
    }

    pub(super) fn finish(&mut self, state: State) {
        let shut = self.shutdown.is_some();
        self.life = Life::Over(state);
        for id in 0..self.requests.len() {
            match (self.requests[id].stage, state) {
                (Stage::Over, _) => {}
                (Stage::Written, _) if shut => self.end_request(id, "ambiguous: shut down"),
                (Stage::Written, _) => self.end_request(id, "ambiguous: link lost"),
                _ if shut => self.end_request(id, "not sent: shut down"),
                (_, State::Revoked) => self.end_request(id, "not sent: revoked"),
                _ => self.end_request(id, "not sent: no link"),
            }
        }
        if state == State::Closed {
            self.seen.events.push("closed".into());
        }
    }

    pub(super) fn open(&mut self) {
        let Life::Linked(link) = &mut self.life else { return };
        if matches!(link.phase, Phase::Dialing { .. }) {
            link.phase = Phase::Handshaking { until: self.now + s(30) };
            self.hear();
            self.say("hello");
        }
    }

    pub(super) fn ended(&mut self, end: End) {
        let Life::Linked(link) = &self.life else { return };
        let closing = matches!(link.phase, Phase::Closing { .. });
        let ended @ (_, pace, refusal) = classify(end);
        // After this side's close the rest is an echo of it.
        let news = end.has_code() && (refusal.is_some() || pace == Pace::Slow);
        self.end_link(Some(ended).filter(|_| news || !closing));
    }

    pub(super) fn wake(&mut self) {
        self.hold = false;
        match &mut self.life {
            _ if self.shutdown.is_some() => {}
            Life::Waiting { .. } => self.dial(),
            Life::Linked(link) => link.again |= matches!(link.phase, Phase::Closing { .. }),
            Life::Over(_) => {}
        }
    }

    pub(super) fn reconnect(&mut self) {
        if self.shutdown.is_some() {
            return;
        }
        self.hold = false;
        let soon = self.now + Duration::from_millis(250);
        match &mut self.life {
            Life::Waiting { .. } => self.dial(),
            Life::Linked(link) if matches!(link.phase, Phase::Dialing { .. }) => {}
            Life::Linked(link) => {
                link.again = true;
                if let Phase::Closing { until, .. } = &mut link.phase {
                    *until = soon.min(*until);
                }
                self.close(Why::Requested, "reconnect");
            }
            Life::Over(_) => {}
        }
    }
}

/// LINK-2.
fn classify(end: End) -> (&'static str, Pace, Option<bool>) {
    match end {
        End::Lost => ("lost", Pace::Ladder, None),
        End::Unreachable => ("unreachable", Pace::Ladder, None),
        End::Http(401, reason) => ("http_status", Pace::Ladder, Some(reason == "expired")),
        End::Http(403, _) => ("http_status", Pace::Slow, None),
        End::Http(..) => ("http_status", Pace::Ladder, None),
        End::Closed(1000, "replaced") | End::Closed(4000 | 4409, _) => ("replaced", Pace::Slow, None),
        End::Closed(1001 | 1012 | 1013, _) => ("going_away", Pace::Ladder, None),
        End::Closed(1002 | 1003 | 1007 | 1008, _) => ("protocol", Pace::Slow, None),
        End::Closed(1009, _) => ("too_large", Pace::Ladder, None),
        End::Closed(4401, reason) => ("unauthorized", Pace::Ladder, Some(reason == "expired")),
        End::Closed(4403, _) => ("forbidden", Pace::Slow, None),
        End::Closed(..) => ("normal", Pace::Ladder, None),
    }
}
