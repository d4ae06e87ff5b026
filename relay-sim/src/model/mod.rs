//! A reference model of the gateway half: what the contract says, as plainly as it can be written down.
//!
//! It keeps everything for ever, searches lists from end to end, and knows no bytes, so that it can be read next to
//! `docs/contract.md` and believed. [`run`] does the same to it and to the real machine, for
//! `tests/tests/model.rs` and for the fuzz target `model`. What it leaves out is what needs bytes or bounds: lines, limits,
//! unread events, a socket that has no room.

mod deliveries;
mod pair;
mod requests;
mod sleeping;
mod step;

use relay_proto::end::LinkEnd;

pub use pair::run;
pub use step::{ENDS, Step};

/// Milliseconds of monotonic time.
pub type Millis = u64;

const SECOND: Millis = 1000;
/// The token lifetime that the model's gateway has, in seconds.
pub const TTL: u64 = 300;

/// What can be seen of a gateway, in words that machine and model share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Dials and drops, in order.
    pub links: Vec<&'static str>,
    /// Frames, pings and close frames, in order.
    pub written: Vec<String>,
    /// What the application is told, in order.
    pub told: Vec<String>,
    /// How requests and calls to go idle ended, each with its number. Several that end at once have no order.
    pub ended: Vec<String>,
}

/// Where the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No link. When the next dial is due: `None` until it is known, since it is drawn from a range.
    Waiting,
    /// A dial is under way.
    Dialing,
    /// The upgrade was accepted.
    Handshaking,
    /// A descriptor came.
    Ready,
    /// This side sent a close frame.
    Closing,
    /// The end: the credentials are revoked.
    Revoked,
    /// The end: shut down.
    Closed,
}

/// How soon the next dial comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetryDelay {
    Now,
    Backoff,
    Slow,
    Dormant,
}

/// What the application did with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeliveryState {
    Held,
    Taken,
    Nacked,
}

/// A delivery that was shown.
#[derive(Clone, Debug)]
struct Delivery {
    buffer: Option<String>,
    message: Option<String>,
    payload: String,
    state: DeliveryState,
    /// Nothing recognises it any more: it was given back, and has come again.
    forgotten: bool,
}

/// An acknowledgement that the link owes.
#[derive(Clone, Debug)]
struct Owed {
    buffer: String,
    delivery: usize,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    number: usize,
    deadline: Millis,
    patient: bool,
    written: bool,
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    number: usize,
    deadline: Millis,
    dormant: bool,
    woken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    Idling(Millis),
    Finishing(Millis),
    Closing,
}

/// The gateway.
#[derive(Clone, Debug)]
pub struct Model {
    /// Monotonic time.
    pub now: Millis,
    /// The wall clock, in seconds.
    pub unix: u64,
    /// Where it is.
    pub phase: Phase,
    /// What could be seen of it since somebody took this.
    pub seen: Seen,
    reconnects: bool,
    strict: bool,
    // Between links.
    attempt: u32,
    due: (Millis, Millis),
    hold: bool,
    // This link.
    until: Millis,
    expires: u64,
    ready_at: Option<Millis>,
    ready_for: Option<Millis>,
    lost: Millis,
    ping: Millis,
    owed: Vec<Owed>,
    idling: bool,
    idle: bool,
    again: bool,
    /// Why this side closes: the cause, the code and the delay. `None`: to shut down.
    why: Option<(&'static str, Option<u16>, RetryDelay)>,
    // For ever.
    greeted: bool,
    deciding: bool,
    shutdown: Option<Shutdown>,
    deliveries: Vec<Delivery>,
    requests: Vec<Request>,
    idles: Vec<Idle>,
}

impl Model {
    /// A gateway that wants to dial at once.
    pub fn new(reconnects: bool, strict: bool, now: Millis, unix: u64) -> Self {
        Self {
            now,
            unix,
            phase: Phase::Waiting,
            seen: Seen::default(),
            reconnects,
            strict,
            attempt: 0,
            due: (now, now),
            hold: false,
            until: 0,
            expires: 0,
            ready_at: None,
            ready_for: None,
            lost: 0,
            ping: 0,
            owed: Vec::new(),
            idling: false,
            idle: false,
            again: false,
            why: None,
            greeted: false,
            deciding: false,
            shutdown: None,
            deliveries: Vec::new(),
            requests: Vec::new(),
            idles: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Revoked | Phase::Closed)
    }

    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Handshaking | Phase::Ready)
    }

    fn is_linked(&self) -> bool {
        !self.is_over() && self.phase != Phase::Waiting
    }

    // ── time ─────────────────────────────────────────────────────────────

    /// From when and until when the next dial may come: the backoffs are drawn from a range (LINK-1).
    pub fn redial(&self) -> Option<(Millis, Millis)> {
        let hold = if self.hold { 60 * SECOND } else { 0 };
        (self.phase == Phase::Waiting).then_some((self.due.0 + hold, self.due.1 + hold))
    }

    /// The dial comes at this time, of those that were possible.
    pub fn settle_redial(&mut self, at: Millis) {
        let hold = if self.hold { 60 * SECOND } else { 0 };
        self.due = (at - hold, at - hold);
    }

    /// When something is due, other than a dial.
    pub fn deadline(&self) -> Option<Millis> {
        let mut all: Vec<Millis> = Vec::new();
        match self.phase {
            Phase::Dialing | Phase::Handshaking | Phase::Closing => all.push(self.until),
            _ => {}
        }
        if self.is_open() {
            all.push(self.ping.min(self.lost));
        }
        all.extend(self.requests.iter().map(|request| request.deadline));
        all.extend(self.idles.iter().map(|idle| idle.deadline));
        if let (true, Some(Shutdown::Idling(until) | Shutdown::Finishing(until))) = (self.is_linked(), self.shutdown) {
            all.push(until);
        }
        all.into_iter().min()
    }

    /// The wall clock has gone this many seconds further than the monotonic one (CLOCK-2).
    pub fn slept(&mut self, seconds: u64) {
        self.unix += seconds;
        if seconds < 10 {
            return;
        }
        if self.phase == Phase::Waiting {
            let slept = seconds * SECOND;
            self.due = (self.due.0.saturating_sub(slept), self.due.1.saturating_sub(slept));
        } else if self.is_open() {
            self.ping = self.now;
            self.lost = self.lost.min(self.now + 10 * SECOND);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        let now = self.now;
        for request in self.requests.clone().into_iter().filter(|request| request.deadline <= now) {
            let how = if request.written { "ambiguous" } else { "not sent" };
            self.end_request(request.number, how);
        }
        for idle in self.idles.clone().into_iter().filter(|idle| idle.deadline <= now) {
            self.end_idle(idle.number, "timed out");
        }
        self.advance_shutdown();
        if self.redial().is_some_and(|(_, latest)| latest <= now) {
            return self.dial();
        }
        match self.phase {
            Phase::Dialing | Phase::Handshaking if self.until <= now => self.give_up("timed_out"),
            Phase::Closing if self.until <= now => {
                self.seen.links.push("drop");
                self.link_over(None);
            }
            Phase::Handshaking | Phase::Ready if self.lost <= now => self.give_up("lost"),
            Phase::Handshaking | Phase::Ready if self.ping <= now => {
                self.ping = now + 30 * SECOND;
                self.seen.written.push("ping".into());
            }
            _ => {}
        }
    }

    // ── the life of links (DIAL-5, HELLO-1 to HELLO-3, LINK-1 to LINK-4) ─

    fn dial(&mut self) {
        self.phase = Phase::Dialing;
        self.until = self.now + 10 * SECOND;
        self.expires = self.unix + TTL;
        self.hold = false;
        (self.ready_at, self.ready_for) = (None, None);
        (self.idling, self.idle, self.again) = (false, false, false);
        self.why = None;
        self.owed.clear();
        self.seen.links.push("dial");
    }

    fn hear(&mut self) {
        self.lost = self.now + 90 * SECOND;
        self.ping = self.now + 30 * SECOND;
    }

    /// The upgrade was accepted.
    pub fn opened(&mut self) {
        if self.phase == Phase::Dialing {
            self.phase = Phase::Handshaking;
            self.until = self.now + 30 * SECOND;
            self.hear();
            self.seen.written.push("hello".into());
        }
    }

    /// A descriptor arrives.
    pub fn descriptor(&mut self) {
        self.hear();
        if self.phase != Phase::Handshaking {
            return;
        }
        self.phase = Phase::Ready;
        self.ready_at = Some(self.now);
        self.greeted = true;
        self.seen.told.push("ready".into());
        for request in self.requests.iter_mut().filter(|request| !request.written) {
            request.written = true;
            self.seen.written.push(format!("outbound {}", request.number));
        }
    }

    /// The peer, or the network, ended the link.
    pub fn ended(&mut self, end: &LinkEnd) {
        if self.is_linked() {
            self.link_over(Some(end));
        }
    }

    /// This side ends the link without a word.
    fn give_up(&mut self, cause: &'static str) {
        self.seen.links.push("drop");
        self.why = Some((cause, None, RetryDelay::Backoff));
        self.again = false;
        self.link_over(None);
    }

    /// This side closes: a close frame, and some time for the peer's. Nothing, while there is nothing to close.
    fn close_link(&mut self, code: u16, reason: &str, patience: Millis) {
        if self.is_open() {
            self.ready_for = self.ready_at.map(|at| self.now - at);
            self.phase = Phase::Closing;
            self.until = self.now + patience;
            self.seen.written.push(format!("close {code} {reason}"));
        }
    }

    /// The link is over. `end`: how the peer or the network ended it, if they did.
    fn link_over(&mut self, end: Option<&LinkEnd>) {
        let closing = self.phase == Phase::Closing;
        let in_handshake = self.phase == Phase::Handshaking;
        let ready_for = if closing { self.ready_for } else { self.ready_at.map(|at| self.now - at) };
        self.owed.clear();
        for idle in self.idles.clone() {
            self.end_idle(idle.number, "no link");
        }
        if self.shutdown.is_none() {
            for request in self.requests.clone() {
                match (request.written, request.patient) {
                    (true, _) => self.end_request(request.number, "ambiguous"),
                    (false, true) => {}
                    (false, false) => self.end_request(request.number, "not sent"),
                }
            }
        }
        self.phase = Phase::Waiting;
        let refusal = end.filter(|end| {
            matches!(end, LinkEnd::Closed { code: Some(4401), .. } | LinkEnd::Refused { status: 401, .. })
        });
        // After this side's own close only what must slow or stop the next dial is news.
        let told =
            end.map(classify).filter(|(_, _, delay)| !closing || refusal.is_some() || *delay == RetryDelay::Slow);
        let again = self.again && told.is_none();
        let Some((mut cause, code, mut delay)) = told.or(self.why) else { return self.over(Phase::Closed) };
        if in_handshake && cause == "normal" {
            cause = "no_descriptor";
        }
        if again {
            delay = RetryDelay::Now;
        }
        if ready_for.is_some_and(|time| refusal.is_none() || time >= 60 * SECOND) {
            self.deciding = false;
        }
        if let Some(end) = refusal {
            match self.judge(end, ready_for.is_none() && self.unix > self.expires) {
                "retry" => delay = RetryDelay::Backoff,
                "confirm" => delay = RetryDelay::Now,
                _ => {
                    self.seen.told.push(describe(cause, code));
                    return self.over(Phase::Revoked);
                }
            }
        }
        if self.shutdown.is_some() {
            return self.over(Phase::Closed);
        }
        let commanded = again || delay == RetryDelay::Dormant || cause == "requested";
        self.seen.told.push(describe(cause, code));
        if !self.reconnects && !commanded {
            return self.over(Phase::Closed);
        }
        if ready_for.is_some_and(|time| time >= 60 * SECOND) {
            self.attempt = 0;
        }
        let (now, full) = (self.now, (SECOND << self.attempt.min(5)).min(30 * SECOND));
        self.due = match delay {
            RetryDelay::Now => (now, now),
            RetryDelay::Dormant => (now + SECOND, now + SECOND),
            RetryDelay::Slow => (now + 30 * SECOND, now + 45 * SECOND),
            RetryDelay::Backoff => {
                self.attempt += 1;
                (now + full / 2, now + full)
            }
        };
        if self.redial() == Some((now, now)) {
            self.dial();
        }
    }

    /// What a refusal means (AUTH-1 to AUTH-4).
    fn judge(&mut self, end: &LinkEnd, expired: bool) -> &'static str {
        let (LinkEnd::Closed { reason, .. } | LinkEnd::Refused { reason, .. }) = end else { return "retry" };
        match (self.deciding, expired) {
            _ if !self.greeted || reason == "expired" => "retry",
            (true, true) => "retry",
            (true, false) => "revoke",
            (false, expired) if expired || self.strict => {
                self.deciding = true;
                "confirm"
            }
            (false, _) => "revoke",
        }
    }

    fn over(&mut self, phase: Phase) {
        self.phase = phase;
        for request in self.requests.clone() {
            self.end_request(request.number, if request.written { "ambiguous" } else { "not sent" });
        }
        self.seen.told.push(if phase == Phase::Revoked { "revoked" } else { "closed" }.into());
    }
}

/// The class of an end, its code, and its delay (LINK-2).
fn classify(end: &LinkEnd) -> (&'static str, Option<u16>, RetryDelay) {
    match end {
        LinkEnd::Closed { code, reason } => {
            let (cause, delay) = match (code, reason.as_str()) {
                (Some(1000), "replaced") | (Some(1008), "duplicate session") => ("replaced", RetryDelay::Slow),
                (Some(4000 | 4409), _) => ("replaced", RetryDelay::Slow),
                (Some(1001 | 1012 | 1013), _) => ("going_away", RetryDelay::Backoff),
                (Some(1002 | 1003 | 1007 | 1008), _) => ("protocol", RetryDelay::Slow),
                (Some(1009), _) => ("too_large", RetryDelay::Backoff),
                (Some(4401), _) => ("unauthorized", RetryDelay::Backoff),
                (Some(4403), _) => ("forbidden", RetryDelay::Slow),
                (None | Some(1000), _) => ("normal", RetryDelay::Backoff),
                _ => ("failed", RetryDelay::Backoff),
            };
            (cause, *code, delay)
        }
        LinkEnd::Refused { status: 403, .. } => ("http_status", Some(403), RetryDelay::Slow),
        LinkEnd::Refused { status, .. } => ("http_status", Some(*status), RetryDelay::Backoff),
        LinkEnd::Unreachable { .. } => ("unreachable", None, RetryDelay::Backoff),
        _ => ("lost", None, RetryDelay::Backoff),
    }
}

fn describe(cause: &str, code: Option<u16>) -> String {
    code.map_or_else(|| format!("disconnected {cause}"), |code| format!("disconnected {cause} {code}"))
}
