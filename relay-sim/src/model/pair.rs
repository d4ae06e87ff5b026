//! The machine and the model, side by side.

use std::time::Duration;

use relay_proto::frame::RawJson;
use relay_proto::gateway::{
    Config, DeliveryId, Event, IdleId, IdleOutcome, LinkId, LinkRequest, Machine, Outcome, Output, RequestId,
    RequestOptions, State, Transmit,
};
use relay_proto::time::Now;

use super::step::{Step, end};
use super::{Model, Phase, Seen, TTL};

const ORIGIN: u64 = 1_000_000;
const UNIX: u64 = 1_800_000_000;

/// Does the steps to both. After each, everything that can be seen of them has to agree.
///
/// # Panics
/// When it does not, with all that was done until then.
pub fn run(seed: u64, reconnects: bool, strict: bool, steps: &[Step]) {
    let mut pair = Pair::new(seed, reconnects, strict);
    pair.tick();
    steps.iter().for_each(|step| pair.step(step));
}

/// Both of them, and what it takes to compare them.
struct Pair {
    machine: Machine,
    model: Model,
    link: Option<LinkId>,
    /// The machine's names, by the numbers that both use.
    deliveries: Vec<DeliveryId>,
    requests: Vec<RequestId>,
    idles: Vec<IdleId>,
    seen: Seen,
    retry_in: Option<Duration>,
    log: Vec<String>,
}

impl Pair {
    fn new(seed: u64, reconnects: bool, strict: bool) -> Self {
        let config = Config::new("wss://connector.example").identity("discord", "b").credentials("gw", "secret");
        let settings = config.reconnect(reconnects).confirm_refusals(strict).build().unwrap();
        let now = Now { monotonic: Duration::from_millis(ORIGIN), unix: UNIX };
        Self {
            machine: Machine::new(settings, seed, now),
            model: Model::new(reconnects, strict, ORIGIN, UNIX),
            link: None,
            deliveries: Vec::new(),
            requests: Vec::new(),
            idles: Vec::new(),
            seen: Seen::default(),
            retry_in: None,
            log: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: Duration::from_millis(self.model.now), unix: self.model.unix }
    }

    /// Takes all that the machine has to say, in the words of the model.
    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Link(LinkRequest::Dial(dial)) => {
                    assert_eq!(dial.token.unwrap().expires_at(), Some(self.model.unix + TTL));
                    self.link = Some(dial.link);
                    self.seen.links.push("dial");
                }
                Output::Link(LinkRequest::Drop(_)) => self.seen.links.push("drop"),
                Output::RequestEnded { request, outcome } => {
                    let number = self.requests.iter().position(|known| *known == request).unwrap();
                    let how = match outcome {
                        Outcome::Result(_) => "result",
                        Outcome::NotSent(_) => "not sent",
                        Outcome::Ambiguous(_) => "ambiguous",
                    };
                    self.seen.ended.push(format!("request {number} {how}"));
                }
                Output::IdleEnded { idle, outcome } => {
                    let number = self.idles.iter().position(|known| *known == idle).unwrap_or(self.idles.len());
                    let how = match outcome {
                        IdleOutcome::Acknowledged => "acknowledged",
                        IdleOutcome::TimedOut => "timed out",
                        _ => "no link",
                    };
                    self.seen.ended.push(format!("idle {number} {how}"));
                }
                _ => {}
            }
        }
        while let Some(transmit) = self.link.and_then(|link| self.machine.poll_transmit(link)) {
            let text = match transmit {
                Transmit::Text(frame) => self.name(&frame),
                Transmit::Ping => "ping".into(),
                Transmit::Close { code, reason } => format!("close {code} {reason}"),
                other => panic!("{other:?}"),
            };
            self.seen.written.push(text);
        }
        while let Some(event) = self.machine.poll_event() {
            let text = match event {
                Event::Delivery(message) => {
                    self.deliveries.push(message.id);
                    format!("shown {}", self.deliveries.len() - 1)
                }
                Event::Ready { .. } => "ready".into(),
                Event::Interrupt(_) => "interrupt".into(),
                Event::Disconnected { ended, retry_in } => {
                    self.retry_in = retry_in;
                    let code = ended.code.map_or(String::new(), |code| format!(" {code}"));
                    format!("disconnected {}{code}", ended.cause.as_str())
                }
                Event::Idle => "idle".into(),
                Event::Revoked { .. } => "revoked".into(),
                Event::Closed => "closed".into(),
                other => panic!("{other:?}"),
            };
            self.seen.told.push(text);
        }
    }

    fn name(&self, frame: &str) -> String {
        let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
        match frame["type"].as_str().unwrap() {
            "inbound_ack" => format!("ack {}", frame["bufferId"].as_str().unwrap()),
            "outbound" => {
                let id = frame["requestId"].as_str().unwrap();
                // The one that is being made has no number yet.
                let number = self.requests.iter().position(|known| known.to_string() == id);
                format!("outbound {}", number.unwrap_or(self.requests.len()))
            }
            other => other.into(),
        }
    }

    fn say(&mut self, line: &str) {
        if let Some(link) = self.link {
            self.machine.handle_message(link, format!("{line}\n").as_bytes(), self.now());
        }
    }

    /// Whatever is due is done, on both sides.
    fn tick(&mut self) {
        for round in 0.. {
            assert!(round < 8, "a deadline that does not pass: {:?}", self.machine.poll_timeout());
            self.machine.handle_timeout(self.now());
            self.model.tick();
            self.compare();
            let at = Duration::from_millis(self.model.now);
            if self.machine.poll_timeout().is_none_or(|deadline| deadline.at > at) {
                return;
            }
        }
    }

    fn pass(&mut self, time: u64) {
        let until = self.model.now + time;
        while let Some(next) = self.machine.poll_timeout().map(|deadline| millis(deadline.at))
            && next <= until
        {
            let time = next.saturating_sub(self.model.now);
            self.jump(time);
            self.tick();
        }
        self.jump(until - self.model.now);
    }

    fn jump(&mut self, millis: u64) {
        let before = self.model.now / 1000;
        self.model.now += millis;
        self.model.unix += self.model.now / 1000 - before;
    }

    fn step(&mut self, step: &Step) {
        self.log.push(format!("{} {step:?}", self.model.now));
        let now = self.now();
        let linked = self.link.filter(|_| !matches!(self.model.phase, Phase::Waiting | Phase::Revoked | Phase::Closed));
        match *step {
            Step::Pass(millis) => self.pass(millis),
            Step::Jump(millis) => self.jump(millis),
            Step::Wall(seconds) => {
                // What has passed until now is no sleep, and a wait that it began was drawn before the sleep.
                self.tick();
                self.model.slept(seconds);
                self.machine.handle_timeout(self.now());
                self.model.tick();
            }
            Step::Open => {
                if let Some(link) = linked {
                    self.machine.handle_opened(link, now);
                    self.model.opened();
                }
            }
            // Only an open link carries frames.
            Step::Descriptor
            | Step::Deliver { .. }
            | Step::Junk
            | Step::Result(_)
            | Step::IdleAck
            | Step::Interrupted => {
                if linked.is_some() && self.model.phase != Phase::Dialing {
                    self.frame(step);
                }
            }
            Step::End(which) => {
                if let Some(link) = linked {
                    self.machine.handle_ended(link, end(which), now);
                    self.model.ended(&end(which));
                }
            }
            Step::Request { seconds, patient } => {
                let action = RawJson::parse("{\"op\":\"x\"}").unwrap();
                let options = RequestOptions::default().timeout(Duration::from_secs(seconds));
                let options = if patient { options.wait_for_link() } else { options };
                let made = self.machine.request(&action, &options, now);
                let number = self.requests.len();
                assert_eq!(
                    made.is_ok(),
                    self.model.request(number, seconds * 1000, patient),
                    "{}",
                    self.log.join("\n")
                );
                self.requests.extend(made);
            }
            Step::Cancel(which) => {
                if let Some(number) = which.checked_rem(self.requests.len()) {
                    self.machine.cancel(self.requests[number], now);
                    self.model.cancel(number);
                }
            }
            Step::GoIdle(dormant) => {
                let idle = if dormant { self.machine.go_dormant(now) } else { self.machine.go_idle(now) };
                self.model.go_idle(self.idles.len(), dormant);
                self.idles.push(idle);
            }
            Step::Wake => both(self, |machine| machine.wake(now), Model::wake),
            Step::Hold => both(self, |machine| machine.hold_redial(now), Model::hold),
            Step::Release => both(self, |machine| machine.release_redial(now), Model::release),
            Step::Reconnect => both(self, |machine| machine.reconnect(now), Model::reconnect),
            Step::Close => both(self, |machine| machine.close(now), Model::close),
            Step::Decide { which, take } | Step::Recent { which, take } => {
                let number = match step {
                    Step::Decide { .. } => which.checked_rem(self.deliveries.len()),
                    _ => self.deliveries.len().checked_sub(which + 1),
                };
                if let Some(number) = number {
                    let id = self.deliveries[number];
                    let held = if take { self.machine.ack(id, now) } else { self.machine.nack(id, now) };
                    assert_eq!(held, self.model.decide(number, take), "{}", self.log.join("\n"));
                }
            }
        }
        self.compare();
    }

    fn frame(&mut self, step: &Step) {
        match step {
            Step::Descriptor => {
                self.say(r#"{"type":"descriptor","descriptor":{"platform":"discord"}}"#);
                self.model.descriptor();
            }
            Step::Deliver { buffer, message, text } => {
                let buffer = buffer.map(|id| format!("b{id}"));
                let message = message.map(|id| format!("m{id}"));
                let id = message.as_ref().map_or(String::new(), |id| format!("\"message_id\":\"{id}\","));
                let event = format!("{{{id}\"text\":\"{text}\",\"source\":{{\"chat_id\":\"c\"}}}}");
                let tail = buffer.as_ref().map_or(String::new(), |id| format!(",\"bufferId\":\"{id}\""));
                self.say(&format!("{{\"type\":\"inbound\",\"event\":{event}{tail}}}"));
                self.model.delivered(buffer.as_deref(), message.as_deref(), &event);
            }
            Step::Junk => {
                self.say("junk");
                self.model.junk();
            }
            Step::Result(which) => {
                let number = which.checked_rem(self.requests.len()).unwrap_or(0);
                let id = self.requests.get(number).map_or("0".repeat(32), ToString::to_string);
                self.say(&format!(
                    "{{\"type\":\"outbound_result\",\"requestId\":\"{id}\",\"result\":{{\"success\":true}}}}"
                ));
                self.model.result(number);
            }
            Step::IdleAck => {
                self.say(r#"{"type":"going_idle_ack"}"#);
                self.model.idle_acked();
            }
            _ => {
                self.say(r#"{"type":"interrupt_inbound","session_key":"k"}"#);
                self.model.interrupted();
            }
        }
        self.model.frame_handled();
    }

    /// What both did since the last look is the same, and so is what they wait for.
    fn compare(&mut self) {
        self.drain();
        let (mut seen, mut expected) = (std::mem::take(&mut self.seen), std::mem::take(&mut self.model.seen));
        seen.ended.sort();
        expected.ended.sort();
        let log = || self.log.join("\n");
        assert_eq!(seen, expected, "machine and model\n{}", log());
        let phase = match self.machine.state() {
            State::Disconnected | State::Dormant => Phase::Waiting,
            State::Dialing => Phase::Dialing,
            State::Handshaking => Phase::Handshaking,
            State::Ready => Phase::Ready,
            State::Closing => Phase::Closing,
            State::Revoked => Phase::Revoked,
            _ => Phase::Closed,
        };
        assert_eq!(phase, self.model.phase, "{}", log());
        // The wait is drawn from a range: the machine says what it drew.
        let retry_in = self.retry_in.take().filter(|_| self.model.phase == Phase::Waiting);
        if let (Some(time), Some((earliest, latest))) = (retry_in, self.model.redial()) {
            let at = Duration::from_millis(self.model.now) + time;
            let range = Duration::from_millis(earliest)..=Duration::from_millis(latest);
            assert!(range.contains(&at), "{at:?} is not in {range:?}\n{}", log());
            self.model.settle_redial(millis(at));
        }
        let next = self.machine.poll_timeout().map(|deadline| millis(deadline.at));
        let redial = self.model.redial().map(|(earliest, _)| earliest);
        assert_eq!(next, redial.into_iter().chain(self.model.deadline()).min(), "deadlines\n{}", log());
    }
}

/// The first whole millisecond that is not before this time: the model's time has no less.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap()
}

fn both(pair: &mut Pair, machine: impl FnOnce(&mut Machine), model: impl FnOnce(&mut Model)) {
    machine(&mut pair.machine);
    model(&mut pair.model);
}
