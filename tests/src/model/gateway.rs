//! The gateway half once more: small, slow and obvious, written from `docs/contract.md` and not from the machine.
//!
//! It has one list where the machine has tables, and says what a host and an application get to see. Left out are sizes
//! and their limits, what frames hold beyond their names, and what is counted. Where the contract leaves a choice, which
//! is how long exactly the next dial waits, the model is told what the machine chose, and checks it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use relay_proto::gateway::State;

use super::step::{End, Step};

/// What can be seen of a gateway after one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Dials, with the expiry of their tokens, and drops.
    pub links: Vec<LinkWord>,
    /// What is written, in order.
    pub writes: Vec<String>,
    /// What the application is told, in order.
    pub events: Vec<String>,
    /// Ends of requests and of calls to go idle.
    pub ends: BTreeSet<(String, usize)>,
    /// What a command returned.
    pub answer: Option<&'static str>,
}

/// What the host is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkWord {
    /// Dial, with a token of this expiry.
    Dial(Option<u64>),
    /// Drop the link, or the dial.
    Drop,
}

/// What is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// DIAL-2.
    pub credentials: bool,
    /// LINK-4.
    pub reconnect: bool,
    /// AUTH-3.
    pub strict: bool,
}

#[derive(Clone, Debug)]
enum Life {
    Waiting { due: Option<Duration>, dormant: bool },
    Linked(Link),
    Over(State),
}

#[derive(Clone, Debug)]
struct Link {
    phase: Phase,
    expiry: Option<u64>,
    ready_at: Option<Duration>,
    ready_for: Option<Duration>,
    ping_at: Duration,
    lost_at: Duration,
    unwritten: VecDeque<Word>,
    /// ACK-2: in the order of arrival.
    owed: Vec<Owed>,
    idling: bool,
    idle: bool,
    again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dialing { until: Duration },
    Handshaking { until: Duration },
    Ready,
    Closing { until: Duration, why: Why },
}

/// What becomes of the link that this side closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Dormant,
    Requested,
    Shutdown,
}

#[derive(Clone, Debug)]
enum Word {
    Text(String),
    Request(usize),
}

#[derive(Clone, Debug)]
struct Owed {
    buffer_id: u8,
    delivery: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Held,
    Taken,
    Back,
}

#[derive(Clone, Debug)]
struct Delivery {
    text: u8,
    named: bool,
    buffer_id: Option<u8>,
    fate: Fate,
    /// Another delivery took its place.
    forgotten: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Queued,
    Written,
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    stage: Stage,
    deadline: Duration,
    patient: bool,
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    until: Duration,
    dormant: bool,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    Idling(Duration),
    Finishing(Duration),
    Closing,
}

/// How soon the next dial comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Now,
    Ladder,
    Slow,
    Dormant,
}

/// The specification.
#[derive(Clone, Debug)]
pub struct Gateway {
    setup: Setup,
    now: Duration,
    unix: u64,
    life: Life,
    rung: u32,
    hold: bool,
    shutdown: Option<Shutdown>,
    ever_ready: bool,
    provisional: bool,
    requests: Vec<Request>,
    deliveries: Vec<Delivery>,
    idles: Vec<Idle>,
    seen: Seen,
    /// What the machine told of its waits.
    told: VecDeque<Option<Duration>>,
    /// Whether the connection has room.
    room: bool,
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Gateway {
    /// One that wants to dial at once.
    pub fn new(setup: Setup, now: Duration, unix: u64) -> Self {
        Self {
            setup,
            now,
            unix,
            life: Life::Waiting { due: Some(now), dormant: false },
            rung: 0,
            hold: false,
            shutdown: None,
            ever_ready: false,
            provisional: false,
            requests: Vec::new(),
            deliveries: Vec::new(),
            idles: Vec::new(),
            seen: Seen::default(),
            told: VecDeque::new(),
            room: true,
        }
    }

    /// The state.
    pub fn state(&self) -> State {
        match &self.life {
            Life::Waiting { dormant: true, .. } => State::Dormant,
            Life::Waiting { .. } => State::Disconnected,
            Life::Over(state) => *state,
            Life::Linked(link) => match link.phase {
                Phase::Dialing { .. } => State::Dialing,
                Phase::Handshaking { .. } => State::Handshaking,
                Phase::Ready => State::Ready,
                Phase::Closing { .. } => State::Closing,
            },
        }
    }

    /// The next deadline.
    pub fn deadline(&self) -> Option<Duration> {
        let mut at: Vec<Duration> = self.redial_at().into_iter().collect();
        at.extend(self.requests.iter().filter(|r| r.stage != Stage::Over).map(|r| r.deadline));
        at.extend(self.idles.iter().filter(|idle| !idle.over).map(|idle| idle.until));
        if let Life::Linked(link) = &self.life {
            match link.phase {
                Phase::Dialing { until } | Phase::Closing { until, .. } => at.push(until),
                Phase::Handshaking { until } => at.extend([until, link.ping_at, link.lost_at]),
                Phase::Ready => at.extend([link.ping_at, link.lost_at]),
            }
            if let Some(Shutdown::Idling(until) | Shutdown::Finishing(until)) = self.shutdown {
                at.push(until);
            }
        }
        at.into_iter().min()
    }

    /// One step at this time. `told`: what the machine said about its waits, in order.
    pub fn step(&mut self, step: &Step, now: Duration, unix: u64, told: VecDeque<Option<Duration>>) -> Seen {
        self.told = told;
        if !step.is_of_the_host() {
            self.tick(now, unix);
        }
        self.take(step);
        self.write();
        std::mem::take(&mut self.seen)
    }

    // ── time ─────────────────────────────────────────────────────────────

    /// CLOCK-2: the wall clock went on by itself.
    fn tick(&mut self, now: Duration, unix: u64) {
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

    fn timeout(&mut self) {
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

    fn redial_at(&self) -> Option<Duration> {
        match self.life {
            Life::Waiting { due: Some(due), .. } => Some(if self.hold { due + s(60) } else { due }), // IDLE-2
            _ => None,
        }
    }

    fn dial_if_due(&mut self) {
        if self.redial_at().is_some_and(|at| at <= self.now) {
            self.dial();
        }
    }

    fn dial(&mut self) {
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

    fn hear(&mut self) {
        if let Life::Linked(link) = &mut self.life {
            link.ping_at = self.now + s(30); // LINK-3
            link.lost_at = self.now + s(90);
        }
    }

    /// Closes in order: what is written goes out before. A dial is dropped.
    fn close(&mut self, why: Why, reason: &str) {
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

    fn drop_link(&mut self, cause: &'static str) {
        self.seen.links.push(LinkWord::Drop);
        self.end_link(Some((cause, Pace::Ladder, None)));
    }

    /// The link is gone: why, how soon to dial again, and whether it was a refusal, and one that says "expired".
    fn end_link(&mut self, ended: Option<(&'static str, Pace, Option<bool>)>) {
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
    fn wait(&mut self, pace: Pace, was_ready: Option<Duration>) -> Duration {
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
    fn judge(&mut self, says_expired: bool, expired: bool) -> Option<Pace> {
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

    fn finish(&mut self, state: State) {
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

    // ── the parts ────────────────────────────────────────────────────────

    fn end_request(&mut self, id: usize, how: &str) {
        self.requests[id].stage = Stage::Over;
        self.seen.ends.insert((format!("request: {how}"), id));
    }

    fn end_idles(&mut self, how: &str, which: impl Fn(&Idle) -> bool) {
        for (id, idle) in self.idles.iter_mut().enumerate() {
            if !idle.over && which(idle) {
                idle.over = true;
                self.seen.ends.insert((format!("idle: {how}"), id));
            }
        }
    }

    fn may_ask(&self, patient: bool) -> Result<bool, &'static str> {
        match &self.life {
            Life::Over(State::Revoked) => Err("not sent: revoked"),
            Life::Over(_) => Err("not sent: shut down"),
            _ if self.shutdown.is_some() => Err("not sent: shut down"),
            Life::Linked(link) if link.phase == Phase::Ready => Ok(true),
            _ if patient => Ok(false),
            _ => Err("not sent: no link"),
        }
    }

    fn say(&mut self, text: impl Into<String>) {
        if let Life::Linked(link) = &mut self.life {
            link.unwritten.push_back(Word::Text(text.into()));
        }
    }

    /// What the connection has room for.
    fn write(&mut self) {
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
    fn deliver(&mut self, text: u8, named: bool, buffer_id: Option<u8>) {
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

    fn owe(&mut self, buffer_id: u8, delivery: usize) {
        if let Life::Linked(link) = &mut self.life
            && !link.owed.iter().any(|owed| owed.delivery == delivery && owed.buffer_id == buffer_id)
        {
            link.owed.push(Owed { buffer_id, delivery });
        }
    }

    /// ACK-1, ACK-2: everything that was taken, up to the first that was not.
    fn acknowledge(&mut self) {
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

    fn go_on_shutting_down(&mut self) {
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

    // ── what happens ─────────────────────────────────────────────────────

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Pass(_) | Step::Freeze(_) => {}
            Step::Room(room) => self.room = room,
            Step::Timeout | Step::Deadline => self.timeout(),
            Step::Open => self.open(),
            Step::End(end) => self.ended(end),
            Step::Traffic => self.hear(),
            Step::Descriptor
            | Step::Deliver { .. }
            | Step::Result(_)
            | Step::StrayResult
            | Step::IdleAck
            | Step::Stop => {
                self.message(step);
            }
            Step::Ack(id) => {
                let held = self.set_fate(id, Fate::Taken);
                self.seen.answer = Some(if held { "held" } else { "not held" });
                self.acknowledge();
            }
            Step::GiveBack(id) => {
                let held = self.set_fate(id, Fate::Back);
                self.seen.answer = Some(if held { "held" } else { "not held" });
            }
            Step::Drop(id) => {
                self.set_fate(id, Fate::Back);
            }
            Step::Request { patient, timeout } => self.request(patient, s(timeout)),
            Step::Cancel(id) => {
                if let Some(request) = self.requests.get_mut(id) {
                    request.stage = Stage::Over;
                }
                self.go_on_shutting_down();
            }
            Step::Interrupt => match self.may_ask(false) {
                Ok(_) => self.say("interrupt"),
                Err(why) => self.seen.answer = Some(why),
            },
            Step::GoIdle { dormant } => self.go_idle(dormant),
            Step::Hold => self.hold = true,
            Step::Release => {
                self.hold = false;
                self.dial_if_due();
            }
            Step::Wake => self.wake(),
            Step::Reconnect => self.reconnect(),
            Step::Close => self.shut_down(),
            Step::Abandon => self.abandon(),
        }
    }

    fn open(&mut self) {
        let Life::Linked(link) = &mut self.life else { return };
        if matches!(link.phase, Phase::Dialing { .. }) {
            link.phase = Phase::Handshaking { until: self.now + s(30) };
            self.hear();
            self.say("hello");
        }
    }

    fn ended(&mut self, end: End) {
        let Life::Linked(link) = &self.life else { return };
        let closing = matches!(link.phase, Phase::Closing { .. });
        let ended @ (_, pace, refusal) = classify(end);
        // After this side's close the rest is an echo of it.
        let news = end.has_code() && (refusal.is_some() || pace == Pace::Slow);
        self.end_link(Some(ended).filter(|_| news || !closing));
    }

    fn message(&mut self, step: &Step) {
        let Life::Linked(link) = &self.life else { return };
        let phase = link.phase;
        self.hear();
        match (phase, *step) {
            (Phase::Dialing { .. }, _) => return,
            (_, Step::Result(id)) => {
                if self.requests.get(id).is_some_and(|request| request.stage == Stage::Written) {
                    self.end_request(id, "result");
                }
            }
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

    fn ready(&mut self) {
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

    fn idle_ack(&mut self) {
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

    fn set_fate(&mut self, id: usize, fate: Fate) -> bool {
        match self.deliveries.get_mut(id) {
            Some(delivery) if delivery.fate == Fate::Held => {
                delivery.fate = fate;
                true
            }
            _ => false,
        }
    }

    fn request(&mut self, patient: bool, timeout: Duration) {
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
    fn send_going_idle(&mut self) {
        let waiting = self.idles.iter().any(|idle| !idle.over);
        let Life::Linked(link) = &mut self.life else { return };
        if !std::mem::replace(&mut link.idling, true) || !waiting {
            link.unwritten.push_back(Word::Text("going_idle".into()));
        }
    }

    fn go_idle(&mut self, dormant: bool) {
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

    fn wake(&mut self) {
        self.hold = false;
        match &mut self.life {
            _ if self.shutdown.is_some() => {}
            Life::Waiting { .. } => self.dial(),
            Life::Linked(link) => link.again |= matches!(link.phase, Phase::Closing { .. }),
            Life::Over(_) => {}
        }
    }

    fn reconnect(&mut self) {
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

    /// CLOSE-1.
    fn shut_down(&mut self) {
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

    fn abandon(&mut self) {
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
