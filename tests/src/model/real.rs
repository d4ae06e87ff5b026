//! The real machine, driven by the steps of the [reference model](super::gateway) and seen through the same eyes.

use std::collections::VecDeque;
use std::time::Duration;

use relay_proto::end::LinkEnd;
use relay_proto::frame::RawJson;
use relay_proto::gateway::{
    Ambiguous, Config, DeliveryId, Event, IdleId, IdleOutcome, LinkId, Machine, NotSent, Outcome, Output, RequestId,
    RequestOptions, State, Transmit,
};
use relay_proto::time::Now;

use super::gateway::{LinkWord, Seen, Setup};
use super::step::{End, Step};

/// A machine and its host.
#[derive(Debug)]
pub struct Real {
    machine: Machine,
    /// The clocks.
    pub now: Now,
    link: Option<LinkId>,
    room: bool,
    requests: Vec<RequestId>,
    deliveries: Vec<DeliveryId>,
    idles: Vec<IdleId>,
    seen: Seen,
    /// What it said about its waits in this step.
    pub told: VecDeque<Option<Duration>>,
}

impl Real {
    /// A gateway that wants to dial at once.
    pub fn new(setup: Setup, seed: u64, now: Now) -> Self {
        let mut config = Config::new("ws://127.0.0.1:1").identity("discord", "b");
        if setup.credentials {
            config = config.credentials("gw", "secret");
        }
        let settings = config.reconnect(setup.reconnect).confirm_refusals(setup.strict).build().unwrap();
        Self {
            machine: Machine::new(settings, seed, now),
            now,
            link: None,
            room: true,
            requests: Vec::new(),
            deliveries: Vec::new(),
            idles: Vec::new(),
            seen: Seen::default(),
            told: VecDeque::new(),
        }
    }

    /// The step with the numbers of what there is, counted from the newest; `None` when it is about nothing.
    pub fn resolve(&self, step: Step) -> Option<Step> {
        let pick = |back: usize, count: usize| (count > 0).then(|| count - 1 - back % count);
        match step {
            Step::Ack(back) => pick(back, self.deliveries.len()).map(Step::Ack),
            Step::GiveBack(back) => pick(back, self.deliveries.len()).map(Step::GiveBack),
            Step::Drop(back) => pick(back, self.deliveries.len()).map(Step::Drop),
            Step::Result(back) => pick(back, self.requests.len()).map(Step::Result),
            Step::Cancel(back) => pick(back, self.requests.len()).map(Step::Cancel),
            other => Some(other),
        }
        .filter(|step| self.link.is_some() || !step.is_of_a_link())
    }

    /// The state.
    pub fn state(&self) -> State {
        self.machine.state()
    }

    /// The next deadline.
    pub fn deadline(&self) -> Option<Duration> {
        self.machine.poll_timeout().map(|deadline| deadline.at)
    }

    /// One step, and all that the host does behind it.
    pub fn step(&mut self, step: &Step) -> Seen {
        self.told.clear();
        self.take(step);
        while let Some(output) = self.machine.poll_output() {
            self.output(output);
        }
        while self.room
            && let Some(link) = self.link
            && let Some(transmit) = self.machine.poll_transmit(link)
        {
            let word = self.word(&transmit);
            self.seen.writes.push(word);
        }
        while let Some(event) = self.machine.next_event() {
            self.event(&event);
        }
        std::mem::take(&mut self.seen)
    }

    fn take(&mut self, step: &Step) {
        let now = self.now;
        let machine = &mut self.machine;
        match *step {
            Step::Pass(millis) => {
                let whole = |now: Now| now.monotonic.as_secs();
                let before = whole(self.now);
                self.now.monotonic += Duration::from_millis(millis);
                self.now.unix += whole(self.now) - before;
            }
            Step::Freeze(seconds) => self.now.unix += seconds,
            Step::Room(room) => self.room = room,
            Step::Timeout => machine.handle_timeout(now),
            Step::Deadline => {
                if let Some(deadline) = machine.poll_timeout() {
                    let before = self.now.monotonic.as_secs();
                    self.now.monotonic = self.now.monotonic.max(deadline.at);
                    self.now.unix += self.now.monotonic.as_secs() - before;
                }
                self.machine.handle_timeout(self.now);
            }
            Step::Open => self.with_link(Machine::handle_opened),
            Step::Traffic => self.with_link(Machine::handle_traffic),
            Step::End(end) => {
                if let Some(link) = self.link.take() {
                    self.machine.handle_ended(link, link_end(end), now);
                }
            }
            Step::Descriptor => self.line(r#"{"type":"descriptor","descriptor":{"platform":"discord"}}"#.into()),
            Step::Deliver { text, named, buffer_id } => self.line(message(text, named, buffer_id)),
            Step::Result(id) => {
                let id = self.requests.get(id).map_or_else(|| "none".into(), RequestId::to_string);
                self.line(result(&id));
            }
            Step::StrayResult => self.line(result("ffffffffffffffffffffffffffffffff")),
            Step::IdleAck => self.line(r#"{"type":"going_idle_ack"}"#.into()),
            Step::Stop => self.line(r#"{"type":"interrupt_inbound","session_key":"s","chat_id":"c"}"#.into()),
            Step::Ack(_) | Step::GiveBack(_) | Step::Drop(_) => self.end_delivery(step),
            Step::Request { patient, timeout } => self.request(patient, timeout),
            Step::Cancel(id) => {
                if let Some(id) = self.requests.get(id) {
                    machine.cancel(*id, now);
                }
            }
            Step::Interrupt => {
                self.seen.answer = machine.interrupt("s", None, now).err().as_ref().map(not_sent);
            }
            Step::GoIdle { dormant: true } => self.idles.push(machine.go_dormant(now)),
            Step::GoIdle { dormant: false } => self.idles.push(machine.go_idle(now)),
            Step::Hold => machine.hold_redial(now),
            Step::Release => machine.release_redial(now),
            Step::Wake => machine.wake(now),
            Step::Reconnect => machine.reconnect(now),
            Step::Close => machine.close(now),
            Step::Abandon => machine.abandon(now),
        }
    }

    fn with_link(&mut self, call: impl FnOnce(&mut Machine, LinkId, Now)) {
        if let Some(link) = self.link {
            call(&mut self.machine, link, self.now);
        }
    }

    fn line(&mut self, line: String) {
        self.with_link(|machine, link, now| machine.handle_message(link, line.as_bytes(), now));
    }

    fn end_delivery(&mut self, step: &Step) {
        let (Step::Ack(id) | Step::GiveBack(id) | Step::Drop(id)) = *step else { return };
        let Some(delivery) = self.deliveries.get(id).copied() else { return };
        let held = match step {
            Step::Ack(_) => self.machine.ack(delivery, self.now),
            Step::GiveBack(_) => self.machine.give_back(delivery, self.now),
            _ => return self.machine.drop_delivery(delivery, self.now),
        };
        self.seen.answer = Some(if held { "held" } else { "not held" });
    }

    fn request(&mut self, patient: bool, timeout: u64) {
        let mut options = RequestOptions::default().timeout(Duration::from_secs(timeout));
        options.wait_for_link = patient;
        match self.machine.request(&RawJson::parse(r#"{"op":"send"}"#).unwrap(), &options, self.now) {
            Ok(id) => self.requests.push(id),
            Err(why) => self.seen.answer = Some(not_sent(&why)),
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Dial(dial) => {
                let expiry = dial.token.and_then(|token| token.expires_at());
                self.seen.links.push(LinkWord::Dial(expiry));
                self.link = Some(dial.link);
            }
            Output::Drop(link) => {
                self.seen.links.push(LinkWord::Drop);
                self.link = self.link.filter(|current| *current != link);
            }
            Output::RequestEnded { request, outcome } => {
                let id = self.requests.iter().position(|known| *known == request).unwrap_or(usize::MAX);
                let how = match &outcome {
                    Outcome::Result(_) => "result",
                    Outcome::NotSent(why) => not_sent(why),
                    Outcome::Ambiguous(Ambiguous::TimedOut) => "ambiguous: timed out",
                    Outcome::Ambiguous(Ambiguous::LinkLost) => "ambiguous: link lost",
                    Outcome::Ambiguous(Ambiguous::ShutDown) => "ambiguous: shut down",
                    Outcome::Ambiguous(_) => "ambiguous",
                };
                let new = self.seen.ends.insert((format!("request: {how}"), id));
                assert!(new, "REQ-1: a request ended twice");
            }
            Output::IdleEnded { idle, outcome } => {
                let id = self.idles.iter().position(|known| *known == idle).unwrap_or(usize::MAX);
                let how = match outcome {
                    IdleOutcome::Acknowledged => "acknowledged",
                    IdleOutcome::TimedOut => "timed out",
                    IdleOutcome::NoLink => "no link",
                    _ => "unknown",
                };
                let new = self.seen.ends.insert((format!("idle: {how}"), id));
                assert!(new, "IDLE-1: a call ended twice");
            }
            _ => {}
        }
    }

    fn word(&self, transmit: &Transmit) -> String {
        match transmit {
            Transmit::Ping => "ping".into(),
            Transmit::Close { code, reason } => format!("close {code} {reason}"),
            Transmit::Text(frame) => {
                let value: serde_json::Value = serde_json::from_str(frame).unwrap();
                let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                match text("type").as_str() {
                    "outbound" => {
                        let id = text("requestId");
                        let number = self.requests.iter().position(|known| known.to_string() == id);
                        format!("request {}", number.unwrap_or(usize::MAX))
                    }
                    "inbound_ack" => format!("ack {}", text("bufferId")),
                    other => other.to_owned(),
                }
            }
            other => format!("{other:?}"),
        }
    }

    fn event(&mut self, event: &Event) {
        let word = match event {
            Event::Ready { .. } => "ready".into(),
            Event::Message(message) => {
                self.deliveries.push(message.id);
                format!("delivery {}: {}", self.deliveries.len() - 1, message.payload.text())
            }
            Event::Interrupt(_) => "interrupt".into(),
            Event::Disconnected { ended, retry_in: None } => {
                format!("disconnected: {}, for ever", ended.cause.as_str())
            }
            Event::Disconnected { ended, retry_in } => {
                self.told.push_back(*retry_in);
                format!("disconnected: {}", ended.cause.as_str())
            }
            Event::Idle => "idle".into(),
            Event::Revoked { .. } => "revoked".into(),
            Event::Closed => "closed".into(),
            other => format!("{other:?}"),
        };
        self.seen.events.push(word);
    }
}

fn not_sent(why: &NotSent) -> &'static str {
    match why {
        NotSent::NoLink => "not sent: no link",
        NotSent::TimedOut => "not sent: timed out",
        NotSent::ShutDown => "not sent: shut down",
        NotSent::Revoked => "not sent: revoked",
        _ => "not sent",
    }
}

fn link_end(end: End) -> LinkEnd {
    match end {
        End::Lost => LinkEnd::Lost { detail: "lost".into() },
        End::Unreachable => LinkEnd::Unreachable { detail: "nobody".into() },
        End::Http(status, reason) => LinkEnd::Refused { status, reason: reason.into() },
        End::Closed(code, reason) => LinkEnd::Closed { code: Some(code), reason: reason.into() },
    }
}

fn message(text: u8, named: bool, buffer_id: Option<u8>) -> String {
    let source = r#"{"platform":"discord","chat_id":"c"}"#;
    let names = if named { format!(r#","message_id":"m","source":{source}"#) } else { String::new() };
    let buffer_id = buffer_id.map_or_else(String::new, |id| format!(r#","bufferId":"{id}""#));
    format!(r#"{{"type":"inbound","event":{{"text":"{text}"{names}}}{buffer_id}}}"#)
}

fn result(id: &str) -> String {
    format!(r#"{{"type":"outbound_result","requestId":"{id}","result":{{"success":true}}}}"#)
}
