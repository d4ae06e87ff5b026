//! Requests, deliveries, going idle and shutting down.

use std::time::Duration;

use relay_proto::gateway::State;

use super::{Delivery, Fate, Gateway, Idle, Life, LinkWord, Owed, Phase, Request, Shutdown, Stage, Why, Word, s};
use crate::model::step::Step;

impl Gateway {
    pub(super) fn end_request(&mut self, id: usize, how: &str) {
        self.requests[id].stage = Stage::Over;
        self.seen.ends.insert((format!("request: {how}"), id));
    }

    fn is_written(&self, id: usize) -> bool {
        self.requests.get(id).is_some_and(|request| request.stage == Stage::Written)
    }

    pub(super) fn end_idles(&mut self, how: &str, which: impl Fn(&Idle) -> bool) {
        for (id, idle) in self.idles.iter_mut().enumerate() {
            if !idle.over && which(idle) {
                idle.over = true;
                self.seen.ends.insert((format!("idle: {how}"), id));
            }
        }
    }

    pub(super) fn may_ask(&self, patient: bool) -> Result<bool, &'static str> {
        match &self.life {
            Life::Over(State::Revoked) => Err("not sent: revoked"),
            Life::Over(_) => Err("not sent: shut down"),
            _ if self.shutdown.is_some() => Err("not sent: shut down"),
            Life::Linked(link) if link.phase == Phase::Ready => Ok(true),
            _ if patient => Ok(false),
            _ => Err("not sent: no link"),
        }
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        if let Life::Linked(link) = &mut self.life {
            link.unwritten.push_back(Word::Text(text.into()));
        }
    }

    /// What the connection has room for.
    pub(super) fn write(&mut self) {
        let Life::Linked(link) = &mut self.life else { return };
        while self.room
            && let Some(word) = link.unwritten.pop_front()
        {
            match word {
                Word::Text(text) => self.seen.writes.push(text),
                Word::Request(id) if self.requests[id].stage == Stage::Over => {}
                Word::Request(id) => {
                    self.requests[id].stage = Stage::Written;
                    self.seen.writes.push(format!("request {id}"));
                }
            }
        }
    }

    /// ACK-4 and ACK-5.
    pub(super) fn deliver(&mut self, text: u8, named: bool, buffer_id: Option<u8>) {
        let matches = |d: &Delivery| !d.forgotten && d.text == text && d.named == named;
        let seen = buffer_id.and_then(|id| {
            let same = self.deliveries.iter().rposition(|d| matches(d) && d.buffer_id == Some(id));
            same.or_else(|| self.deliveries.iter().rposition(|d| matches(d) && named))
        });
        if let (Some(seen), Some(id)) = (seen, buffer_id)
            && self.deliveries[seen].fate != Fate::Back
        {
            self.deliveries[seen].buffer_id.get_or_insert(id);
            return self.owe(id, seen);
        }
        let new = self.deliveries.len();
        self.deliveries.push(Delivery { text, named, buffer_id, fate: Fate::Held, forgotten: false });
        self.seen.events.push(format!("delivery {new}: {text}"));
        let Some(id) = buffer_id else { return };
        if let Some(old) = seen {
            self.deliveries[old].forgotten = true;
            if let Life::Linked(link) = &mut self.life
                && let Some(place) = link.owed.iter_mut().find(|owed| owed.delivery == old)
                && place.buffer_id == id
            {
                place.delivery = new;
                return;
            }
        }
        self.owe(id, new);
    }

    pub(super) fn owe(&mut self, buffer_id: u8, delivery: usize) {
        if let Life::Linked(link) = &mut self.life
            && !link.owed.iter().any(|owed| owed.delivery == delivery && owed.buffer_id == buffer_id)
        {
            link.owed.push(Owed { buffer_id, delivery });
        }
    }

    /// ACK-1, ACK-2: everything that was taken, up to the first that was not.
    pub(super) fn acknowledge(&mut self) {
        let Life::Linked(link) = &mut self.life else { return };
        if !matches!(link.phase, Phase::Handshaking { .. } | Phase::Ready) {
            return;
        }
        while let Some(first) = link.owed.first()
            && self.deliveries[first.delivery].fate == Fate::Taken
        {
            link.unwritten.push_back(Word::Text(format!("ack {}", link.owed.remove(0).buffer_id)));
        }
    }

    pub(super) fn go_on_shutting_down(&mut self) {
        let Life::Linked(link) = &self.life else { return };
        if let Some(Shutdown::Idling(until)) = self.shutdown
            && (link.idle || until <= self.now)
        {
            self.shutdown = Some(Shutdown::Finishing(self.now + s(5)));
        }
        if let Some(Shutdown::Finishing(until)) = self.shutdown
            && (until <= self.now || self.requests.iter().all(|request| request.stage == Stage::Over))
        {
            self.shutdown = Some(Shutdown::Closing);
            self.close(Why::Shutdown, "");
        }
    }

    pub(super) fn message(&mut self, step: &Step) {
        let Life::Linked(link) = &self.life else { return };
        let phase = link.phase;
        self.hear();
        match (phase, *step) {
            (Phase::Dialing { .. }, _) => return,
            (_, Step::Result(id)) if self.is_written(id) => self.end_request(id, "result"),
            (Phase::Closing { .. }, _) => {}
            (Phase::Handshaking { .. }, Step::Descriptor) => self.ready(),
            (_, Step::Deliver { text, named, buffer_id }) => self.deliver(text, named, buffer_id),
            (_, Step::IdleAck) => self.idle_ack(),
            (_, Step::Stop) => self.seen.events.push("interrupt".into()),
            _ => {}
        }
        self.acknowledge();
        self.go_on_shutting_down();
    }

    pub(super) fn ready(&mut self) {
        (self.ever_ready, self.provisional) = (true, false);
        self.seen.events.push("ready".into());
        let Life::Linked(link) = &mut self.life else { return };
        (link.phase, link.ready_at) = (Phase::Ready, Some(self.now));
        for (id, request) in self.requests.iter_mut().enumerate() {
            if request.stage == Stage::Waiting {
                request.stage = Stage::Queued;
                link.unwritten.push_back(Word::Request(id));
            }
        }
    }

    pub(super) fn idle_ack(&mut self) {
        let Life::Linked(link) = &mut self.life else { return };
        if !std::mem::replace(&mut link.idling, false) {
            return;
        }
        link.idle = true;
        let dormant = self.idles.iter().any(|idle| !idle.over && idle.dormant);
        self.end_idles("acknowledged", |_| true);
        self.seen.events.push("idle".into());
        if dormant && self.shutdown.is_none() {
            self.acknowledge();
            self.close(Why::Dormant, "dormant"); // IDLE-2
        }
    }

    pub(super) fn set_fate(&mut self, id: usize, fate: Fate) -> bool {
        match self.deliveries.get_mut(id) {
            Some(delivery) if delivery.fate == Fate::Held => {
                delivery.fate = fate;
                true
            }
            _ => false,
        }
    }

    pub(super) fn request(&mut self, patient: bool, timeout: Duration) {
        match self.may_ask(patient) {
            Err(why) => self.seen.answer = Some(why),
            Ok(ready) => {
                let stage = if ready { Stage::Queued } else { Stage::Waiting };
                self.requests.push(Request { stage, deadline: self.now + timeout, patient });
                let id = self.requests.len() - 1;
                if let (Life::Linked(link), true) = (&mut self.life, ready) {
                    link.unwritten.push_back(Word::Request(id));
                }
            }
        }
    }

    /// One `going_idle` serves everybody who waits for its ack.
    pub(super) fn send_going_idle(&mut self) {
        let waiting = self.idles.iter().any(|idle| !idle.over);
        let Life::Linked(link) = &mut self.life else { return };
        if !std::mem::replace(&mut link.idling, true) || !waiting {
            link.unwritten.push_back(Word::Text("going_idle".into()));
        }
    }

    pub(super) fn go_idle(&mut self, dormant: bool) {
        let ready = self.state() == State::Ready && self.shutdown.is_none();
        if ready {
            self.send_going_idle();
        }
        self.idles.push(Idle { until: self.now + s(10), dormant, over: false });
        if !ready {
            let id = self.idles.len() - 1;
            self.idles[id].over = true;
            self.seen.ends.insert(("idle: no link".into(), id));
        }
    }

    /// CLOSE-1.
    pub(super) fn shut_down(&mut self) {
        if self.shutdown.is_some() || matches!(self.life, Life::Over(_)) {
            return;
        }
        let now = self.now;
        match &mut self.life {
            Life::Linked(link) if link.phase == Phase::Ready && !link.idle => {
                self.send_going_idle();
                self.shutdown = Some(Shutdown::Idling(now + s(2)));
            }
            Life::Linked(link) if link.phase == Phase::Ready => self.shutdown = Some(Shutdown::Finishing(now + s(5))),
            Life::Linked(link) => {
                self.shutdown = Some(Shutdown::Closing);
                match &mut link.phase {
                    Phase::Closing { why, .. } => *why = Why::Shutdown,
                    _ => self.close(Why::Shutdown, ""),
                }
            }
            Life::Waiting { .. } | Life::Over(_) => {
                self.shutdown = Some(Shutdown::Closing);
                self.finish(State::Closed);
            }
        }
        self.end_idles("no link", |_| true);
        for id in 0..self.requests.len() {
            if self.requests[id].stage == Stage::Waiting {
                self.end_request(id, "not sent: shut down");
            }
        }
        self.go_on_shutting_down();
    }

    pub(super) fn abandon(&mut self) {
        if matches!(self.life, Life::Over(_)) {
            return;
        }
        self.shutdown = Some(Shutdown::Closing);
        self.end_idles("no link", |_| true);
        if matches!(self.life, Life::Linked(_)) {
            self.seen.links.push(LinkWord::Drop);
        }
        self.finish(State::Closed);
    }
}
