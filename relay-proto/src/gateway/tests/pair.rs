//! One machine, its host, and a clock that only the test moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::end::LinkEnd;
use crate::frame::RawJson;
use crate::gateway::{
    Config, Deadline, DeliveryId, Dial, Event, IdleId, IdleOutcome, LinkId, LinkRequest, Machine, NotSent, Notice,
    Outcome, Output, RequestId, RequestOptions, State, Stats, Timing, Transmit,
};
use crate::time::Now;

pub(super) const SECRET: &str = "s3cr3t-of-the-gateway";
pub(super) const UNIX: u64 = 1_800_000_000;
pub(super) const DESCRIPTOR: &str = r#"{"type":"descriptor","descriptor":{"platform":"discord"}}"#;

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A configuration with credentials, as most gateways have.
pub(super) fn config() -> Config {
    Config::new("wss://connector.example").identity("discord", "b1").credentials("gw-1", SECRET)
}

pub(super) fn timing(change: impl FnOnce(&mut Timing)) -> Timing {
    let mut timing = Timing::default();
    change(&mut timing);
    timing
}

pub(super) fn closed(code: u16, reason: &str) -> LinkEnd {
    LinkEnd::Closed { code: Some(code), reason: reason.into() }
}

pub(super) fn lost() -> LinkEnd {
    LinkEnd::Lost { detail: "eof".into() }
}

/// One gateway and its host.
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) now: Now,
    /// The link, or dial, that the host has in hand.
    pub(super) link: Option<LinkId>,
    /// Every dial so far, with the moment it was asked for.
    pub(super) dials: Vec<(Duration, Dial)>,
    /// What was written and not looked at yet.
    pub(super) written: Vec<Transmit>,
    /// Events that were taken and not looked at yet.
    pub(super) events: Vec<Event>,
    pub(super) notices: Vec<Notice>,
    pub(super) idles: BTreeMap<IdleId, IdleOutcome>,
    accepted: BTreeSet<RequestId>,
    outcomes: BTreeMap<RequestId, Outcome>,
    /// Whether the application takes every event at once.
    pub(super) reads: bool,
    /// Whether the socket has room.
    pub(super) writes: bool,
    /// Whether a close frame left on the link in hand.
    close_sent: bool,
    /// All that was observable, in order.
    pub(super) log: Vec<String>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: Config) -> Self {
        Self::seeded(config, 7)
    }

    pub(super) fn seeded(config: Config, seed: u64) -> Self {
        let now = Now { monotonic: secs(1000), unix: UNIX };
        Self {
            machine: Machine::new(config.build().unwrap(), seed, now),
            now,
            link: None,
            dials: Vec::new(),
            written: Vec::new(),
            events: Vec::new(),
            notices: Vec::new(),
            idles: BTreeMap::new(),
            accepted: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            reads: true,
            writes: true,
            close_sent: false,
            log: Vec::new(),
        }
    }

    /// A world whose link is ready; what it took to get there is already looked at.
    pub(super) fn ready() -> Self {
        Self::ready_with(config())
    }

    pub(super) fn ready_with(config: Config) -> Self {
        let mut world = Self::with(config);
        world.tick();
        world.become_ready();
        world
    }

    // ── the host ─────────────────────────────────────────────────────────

    /// Drains the machine, as a host does after every input, and checks what must always hold.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.log.push(format!("{:?} {output:?}", self.now.monotonic));
            match output {
                Output::Link(LinkRequest::Dial(dial)) => {
                    assert_eq!(self.link, None, "DIAL-5: a dial while there is a link or a dial");
                    self.link = Some(dial.link);
                    self.close_sent = false;
                    self.dials.push((self.now.monotonic, dial));
                }
                Output::Link(LinkRequest::Drop(link)) => {
                    assert_eq!(self.link, Some(link), "only the link in hand is dropped");
                    self.link = None;
                }
                Output::RequestEnded { request, outcome } => {
                    assert!(self.accepted.contains(&request), "REQ-1: the end of a request that was never accepted");
                    assert_eq!(self.outcomes.insert(request, outcome), None, "REQ-1: a request ended twice");
                }
                Output::IdleEnded { idle, outcome } => {
                    assert_eq!(self.idles.insert(idle, outcome), None, "IDLE-1: a call ended twice");
                }
                // What the event says, too.
                Output::Notice(Notice::Disconnected { .. }) => {}
                Output::Notice(notice) => self.notices.push(notice),
            }
        }
        if self.writes {
            self.write();
        }
        while self.reads
            && let Some(event) = self.machine.poll_event()
        {
            self.log.push(format!("{event:?}"));
            self.events.push(event);
        }
        let live = self.machine.state().is_terminal() || self.link.is_some() || self.machine.poll_timeout().is_some();
        assert!(live, "a gateway that waits for nothing and is not at its end");
        assert!(!self.machine.state().is_terminal() || self.link.is_none(), "an end with a link left over");
        assert!(!self.machine.state().is_terminal() || self.machine.poll_timeout().is_none(), "an end with a deadline");
    }

    /// Writes all there is to the link in hand.
    pub(super) fn write(&mut self) {
        while let Some(link) = self.link
            && let Some(transmit) = self.machine.poll_transmit(link)
        {
            assert!(!self.close_sent, "nothing follows a close frame");
            self.close_sent = matches!(transmit, Transmit::Close { .. });
            self.log.push(format!("{transmit:?}"));
            self.written.push(transmit);
        }
    }

    /// What must not change when nothing happened.
    pub(super) fn surface(&self) -> (State, Stats, Option<Deadline>, bool) {
        let machine = &self.machine;
        (machine.state(), machine.stats(), machine.poll_timeout(), machine.wants_read())
    }

    // ── time ─────────────────────────────────────────────────────────────

    /// Calls `handle_timeout` now.
    pub(super) fn tick(&mut self) {
        self.machine.handle_timeout(self.now);
        self.drain();
    }

    /// Time passes without the host calling.
    pub(super) fn jump(&mut self, by: Duration) {
        self.now.monotonic = self.now.monotonic.saturating_add(by);
        self.now.unix = self.now.unix.saturating_add(by.as_secs());
    }

    /// Time passes, and every deadline on the way is kept.
    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now.monotonic.saturating_add(by);
        let mut same = 0;
        while let Some(deadline) = self.machine.poll_timeout().filter(|deadline| deadline.at <= end) {
            let step = deadline.at.saturating_sub(self.now.monotonic);
            same = if step.is_zero() { same + 1 } else { 0 };
            assert!(same < 10, "a deadline that never passes: {deadline:?}");
            self.jump(step);
            self.tick();
        }
        // No call at the end: what has no deadline does not happen.
        let rest = end - self.now.monotonic;
        self.jump(rest);
    }

    // ── the link ─────────────────────────────────────────────────────────

    pub(super) fn id(&self) -> LinkId {
        self.link.expect("a link or a dial is under way")
    }

    pub(super) fn open(&mut self) {
        self.machine.handle_opened(self.id(), self.now);
        self.drain();
    }

    /// Answers the dial under way, up to the first descriptor.
    pub(super) fn become_ready(&mut self) {
        self.open();
        self.line(DESCRIPTOR);
        assert_eq!(self.machine.state(), State::Ready);
        self.written.clear();
        self.events.clear();
        self.notices.clear();
    }

    /// Waits for the next dial, and answers it.
    pub(super) fn reconnect(&mut self) {
        self.await_dial();
        self.become_ready();
    }

    /// Waits until a dial is under way, and tells how long that took.
    pub(super) fn await_dial(&mut self) -> Duration {
        let before = self.now.monotonic;
        while self.link.is_none() {
            let deadline = self.machine.poll_timeout().expect("a dial is to come");
            self.advance(deadline.at.saturating_sub(self.now.monotonic));
        }
        self.now.monotonic - before
    }

    /// One message of exactly these bytes.
    pub(super) fn bytes(&mut self, payload: &[u8]) {
        self.machine.handle_message(self.id(), payload, self.now);
        self.drain();
    }

    /// One message of one line.
    pub(super) fn line(&mut self, line: &str) {
        self.bytes(format!("{line}\n").as_bytes());
    }

    /// The link, or the dial, ends.
    pub(super) fn end(&mut self, end: LinkEnd) {
        let link = self.link.take().expect("a link to end");
        self.machine.handle_ended(link, end, self.now);
        self.drain();
    }

    /// A buffered message; its id if it was shown.
    pub(super) fn deliver(&mut self, buffer_id: &str, text: &str) -> Option<DeliveryId> {
        self.line(&inbound(buffer_id, text));
        match self.events.pop() {
            Some(Event::Delivery(delivered)) => {
                let message = delivered.content.message().expect("a message");
                assert_eq!((message.text(), message.is_upstream_trusted()), (text, true));
                Some(delivered.id)
            }
            None => None,
            other => panic!("{other:?}"),
        }
    }

    // ── the application ──────────────────────────────────────────────────

    pub(super) fn ask(&mut self, op: &str, options: &RequestOptions) -> Result<RequestId, NotSent> {
        let asked = self.machine.request(&action(op), options, self.now);
        if let Ok(id) = asked {
            assert!(self.accepted.insert(id), "REQ-1: an id twice");
        }
        self.log.push(format!("{asked:?}"));
        self.drain();
        asked
    }

    pub(super) fn request(&mut self) -> RequestId {
        self.ask("send", &RequestOptions::default()).unwrap()
    }

    pub(super) fn patient_request(&mut self, timeout: Option<Duration>) -> RequestId {
        self.ask("send", &RequestOptions { timeout, ..RequestOptions::default().wait_for_link() }).unwrap()
    }

    pub(super) fn cancel(&mut self, request: RequestId) {
        self.machine.cancel(request, self.now);
        // It has ended for its caller: no output may follow.
        self.accepted.remove(&request);
        self.drain();
    }

    pub(super) fn answer(&mut self, request: RequestId) {
        self.line(&result(request));
    }

    pub(super) fn outcome(&self, request: RequestId) -> Option<&Outcome> {
        self.outcomes.get(&request)
    }

    /// Accepted requests that have not ended.
    pub(super) fn unended(&self) -> usize {
        self.accepted.iter().filter(|id| !self.outcomes.contains_key(id)).count()
    }

    pub(super) fn ack(&mut self, delivery: DeliveryId) {
        assert!(self.machine.ack(delivery, self.now), "an ack of what is held");
        self.drain();
    }

    pub(super) fn call(&mut self, command: impl FnOnce(&mut Machine, Now)) {
        command(&mut self.machine, self.now);
        self.drain();
    }

    pub(super) fn go_idle(&mut self) -> IdleId {
        let id = self.machine.go_idle(self.now);
        self.drain();
        id
    }

    pub(super) fn go_dormant(&mut self) -> IdleId {
        let id = self.machine.go_dormant(self.now);
        self.drain();
        id
    }

    // ── looking ──────────────────────────────────────────────────────────

    /// The frames written since the last look, without their newlines.
    pub(super) fn sent(&mut self) -> Vec<String> {
        std::mem::take(&mut self.written)
            .into_iter()
            .filter_map(|transmit| match transmit {
                Transmit::Text(frame) => Some(frame.strip_suffix('\n').expect("FRAME-1").to_owned()),
                _ => None,
            })
            .collect()
    }

    /// The buffer ids acknowledged since the last look.
    pub(super) fn acked(&mut self) -> Vec<String> {
        let prefix = r#"{"type":"inbound_ack","bufferId":""#;
        let ids = self.sent();
        ids.iter().filter_map(|frame| Some(frame.strip_prefix(prefix)?.strip_suffix("\"}")?.to_owned())).collect()
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// How the last link or dial ended, and when the next dial comes.
    pub(super) fn disconnected(&mut self) -> (crate::gateway::Ended, Option<Duration>) {
        let found = self.take_events().into_iter().rev().find_map(|event| match event {
            Event::Disconnected { ended, retry_in } => Some((ended, retry_in)),
            _ => None,
        });
        found.expect("a report of the end")
    }

    pub(super) fn state(&self) -> State {
        self.machine.state()
    }

    pub(super) fn pings(&mut self) -> usize {
        let pings = self.written.iter().filter(|transmit| **transmit == Transmit::Ping).count();
        self.written.clear();
        pings
    }

    /// The close frame among what was written since the last look.
    pub(super) fn close_frame(&mut self) -> Option<(u16, &'static str)> {
        std::mem::take(&mut self.written).into_iter().find_map(|transmit| match transmit {
            Transmit::Close { code, reason } => Some((code, reason)),
            _ => None,
        })
    }
}

pub(super) fn action(op: &str) -> RawJson {
    RawJson::parse(&format!("{{\"op\":\"{op}\"}}")).unwrap()
}

pub(super) fn result(request: RequestId) -> String {
    format!(r#"{{"type":"outbound_result","requestId":"{request}","result":{{"success":true}}}}"#)
}

pub(super) fn inbound(buffer_id: &str, text: &str) -> String {
    format!(r#"{{"type":"inbound","bufferId":"{buffer_id}","event":{{"text":"{text}"}}}}"#)
}
