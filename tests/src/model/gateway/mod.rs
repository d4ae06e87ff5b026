//! The gateway half once more: small, slow and obvious, written from `docs/contract.md` and not from the machine.
//!
//! It has one list where the machine has tables, and says what a host and an application get to see. Left out are sizes
//! and their limits, what frames hold beyond their names, and what is counted. Where the contract leaves a choice, which
//! is how long exactly the next dial waits, the model is told what the machine chose, and checks it.

mod application;
mod links;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use relay_proto::gateway::State;

use super::step::Step;

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
}
