//! The host, the application and the peer of one gateway, who know the rules and nothing of how they are kept.

use core::net::{Ipv4Addr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use relay_proto::end::LinkEnd;
use relay_proto::frame::{FromConnector, FromGateway, RawJson, from_connector, from_gateway};
use relay_proto::gateway::{
    Config, DeliveryId, Event, Limits, LinkId, Machine, Outcome, Output, RequestId, RequestOptions, State,
};
use relay_proto::ndjson::LineBuffer;
use relay_proto::proxy::Proxy;
use relay_proto::time::Now;
use relay_proto::wire::{Attempt, GatewayIo, IoRequest, LinkOptions, ServerEvent, ServerLink};

use super::super::input::pieces;

/// The longest line that the gateway takes, and the longest frame that it sends.
const LINE: usize = 1024;
/// What may wait to be written: more is not put on the wire, but for a frame and some answers to pings.
const UNWRITTEN: usize = (64 << 10) + LINE + (16 << 10);
const PLATFORMS: [&str; 2] = ["p", "q"];

pub(super) struct World {
    gateway: GatewayIo,
    now: Now,
    cuts: Vec<u8>,
    /// Whether the socket takes what is to be written as soon as it is there.
    pub(super) writes: bool,
    /// The dial or link under way, as the actions tell.
    link: Option<LinkId>,
    /// A name to look up.
    asked: Option<LinkId>,
    attempts: Vec<(LinkId, Attempt)>,
    wire: Option<Wire>,
    requests: BTreeMap<RequestId, Request>,
    /// Requests by their ids on the wire, in the order in which they came.
    seen: Vec<String>,
    held: Vec<Held>,
    /// What the application took: buffer ids with payloads, and payloads.
    taken: BTreeSet<(String, String)>,
    taken_payloads: BTreeSet<String>,
    /// What the application was told.
    log: Vec<String>,
    ends: usize,
}

#[derive(Debug, PartialEq)]
enum Request {
    Open,
    Cancelled,
    NotSent,
    Ended,
}

#[derive(Clone)]
struct Held {
    id: DeliveryId,
    buffer_id: Option<String>,
    payload: String,
}

/// One connection, seen from its far end.
struct Wire {
    link: LinkId,
    far: ServerLink,
    /// A proxy is asked first.
    tunnel: bool,
    heard: LineBuffer,
    said: LineBuffer,
    /// Whether something was said that only the gateway can make sense of.
    garbled: bool,
    hellos: usize,
    /// How often each buffer id was said, and with what.
    delivered: BTreeMap<String, (usize, BTreeSet<String>)>,
    acked: BTreeMap<String, usize>,
}

impl World {
    pub(super) fn new(shape: u8, cuts: Vec<u8>) -> Self {
        let mut limits = Limits::default();
        (limits.line, limits.frame, limits.message) = (LINE, LINE, 2048);
        (limits.queue, limits.queue_hard) = (2048, 6000);
        let host = if shape & 1 == 0 { "connector.example" } else { "10.0.0.1" };
        let mut config = Config::new(format!("ws://{host}"))
            .identity(PLATFORMS[0], "b")
            .identity(PLATFORMS[1], "")
            .limits(limits)
            .allow_plaintext_credentials(true)
            .reconnect(shape & 2 == 0)
            .confirm_refusals(shape & 4 != 0);
        if shape & 8 != 0 {
            config = config.credentials("id", "secret");
        }
        if shape & 16 != 0 {
            config = config.proxy(Proxy::parse("proxy.example:3128").unwrap());
        }
        let now = Now { monotonic: Duration::from_secs(100), unix: 1_800_000_000 };
        Self {
            gateway: GatewayIo::new(config.build().unwrap(), None, 7, now),
            now,
            cuts,
            writes: true,
            link: None,
            asked: None,
            attempts: Vec::new(),
            wire: None,
            requests: BTreeMap::new(),
            seen: Vec::new(),
            held: Vec::new(),
            taken: BTreeSet::new(),
            taken_payloads: BTreeSet::new(),
            log: Vec::new(),
            ends: 0,
        }
    }

    // ── the host ─────────────────────────────────────────────────────────

    /// Does what the gateway asks for, and writes.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some(action) = self.gateway.poll_output(self.now) {
                self.act(action);
            }
            if !self.writes || self.gateway.transmit().is_empty() || self.wire.is_none() {
                return;
            }
            self.write(usize::MAX);
        }
    }

    fn act(&mut self, action: Output<IoRequest>) {
        match action {
            Output::Link(IoRequest::Resolve { link, .. }) => {
                self.begin(link);
                self.asked = Some(link);
            }
            Output::Link(IoRequest::Connect { link, attempt, .. }) => {
                if self.link != Some(link) {
                    self.begin(link);
                }
                assert!(self.wire.is_none(), "connecting while connected");
                self.attempts.push((link, attempt));
            }
            Output::Link(IoRequest::Abort { link, attempt }) => {
                let before = self.attempts.len();
                self.attempts.retain(|other| *other != (link, attempt));
                assert_eq!(self.attempts.len() + 1, before, "aborted what was not under way");
            }
            Output::Link(IoRequest::Disconnect { link, final_bytes }) => {
                assert_eq!(self.link.take(), Some(link), "disconnected what was not there");
                self.asked = None;
                self.attempts.clear();
                if let Some(mut wire) = self.wire.take() {
                    assert_eq!(wire.link, link);
                    if !wire.tunnel {
                        self.hear(&mut wire, &final_bytes);
                    }
                }
            }
            Output::RequestEnded { request, outcome } => self.request_ended(request, &outcome),
            Output::IdleEnded { idle, outcome } => self.log.push(format!("{idle:?} {outcome:?}")),
            // How many there are depends on how much comes at once.
            Output::Notice(_) => {}
            _ => {}
        }
    }

    /// A dial begins.
    fn begin(&mut self, link: LinkId) {
        assert!(self.wire.is_none() && self.attempts.is_empty(), "a dial beside another");
        assert!(self.link.is_none_or(|last| last < link), "a link id is used again");
        assert!(!self.gateway.machine().state().is_terminal(), "a dial after the end");
        self.link = Some(link);
        self.asked = None;
    }

    pub(super) fn resolve(&mut self, how: u8) {
        let Some(link) = self.asked.take() else { return };
        let addresses: Vec<SocketAddr> =
            (0..how % 4).map(|n| SocketAddr::from((Ipv4Addr::new(10, 0, 0, n), 80))).collect();
        match how / 128 {
            0 => self.gateway.handle_resolved(link, &addresses, self.now),
            _ => self.gateway.handle_unresolved(link, "no such host", self.now),
        }
    }

    fn attempt(&mut self, which: u8) -> Option<(LinkId, Attempt)> {
        let at = usize::from(which).checked_rem(self.attempts.len())?;
        Some(self.attempts.remove(at))
    }

    pub(super) fn connect(&mut self, which: u8) {
        let Some((link, attempt)) = self.attempt(which) else { return };
        if self.gateway.handle_connected(link, attempt, self.now) {
            assert!(self.wire.is_none(), "two connections");
            self.wire = Some(Wire {
                link,
                far: ServerLink::new(&LinkOptions::default(), None).unwrap(),
                tunnel: self.gateway.machine().settings().proxy().is_some(),
                heard: LineBuffer::new(),
                said: LineBuffer::new(),
                garbled: false,
                hellos: 0,
                delivered: BTreeMap::new(),
                acked: BTreeMap::new(),
            });
        }
    }

    pub(super) fn fail_to_connect(&mut self, which: u8) {
        if let Some((link, attempt)) = self.attempt(which) {
            self.gateway.handle_unreachable(link, attempt, "refused", self.now);
        }
    }

    /// Whatever is missing to a ready link.
    pub(super) fn establish(&mut self) {
        self.resolve(1);
        self.settle();
        self.connect(0);
        self.settle();
        self.write(usize::MAX);
        if self.wire.as_ref().is_some_and(|wire| wire.tunnel) {
            self.answer();
            self.write(usize::MAX);
        }
        self.answer();
        self.say_line(r#"{"type":"descriptor","descriptor":{}}"#);
    }

    pub(super) fn on_wire(&mut self, input: impl FnOnce(&mut GatewayIo, LinkId, Now)) {
        if let Some(wire) = &self.wire {
            input(&mut self.gateway, wire.link, self.now);
        }
    }

    /// The socket takes up to so many bytes.
    pub(super) fn write(&mut self, n: usize) {
        let Some(mut wire) = self.wire.take() else { return };
        wire.tunnel &= !self.gateway.transmit().starts_with(b"GET ");
        let bytes: Vec<u8> = self.gateway.transmit().iter().copied().take(n).collect();
        // Back before anything can ask for it.
        let tunnel = wire.tunnel;
        self.wire = Some(wire);
        self.gateway.consume(bytes.len(), self.now);
        if !tunnel && let Some(mut wire) = self.wire.take() {
            self.hear(&mut wire, &bytes);
            self.wire = Some(wire);
        }
    }

    pub(super) fn shrink(&mut self) {
        self.gateway.shrink();
    }

    // ── the peer ─────────────────────────────────────────────────────────

    /// What the gateway wrote.
    fn hear(&mut self, wire: &mut Wire, bytes: &[u8]) {
        wire.far.handle_bytes(bytes);
        while let Some(event) = wire.far.poll_event() {
            match event {
                ServerEvent::Request(request) => {
                    let authenticated = self.gateway.machine().settings().is_authenticated();
                    assert_eq!((request.path(), request.bearer().is_some()), ("/relay", authenticated));
                    wire.far.accept();
                }
                ServerEvent::Message(message) => {
                    assert_eq!(message.last(), Some(&b'\n'), "a message is a whole frame");
                    let mut lines = std::mem::take(&mut wire.heard);
                    lines
                        .feed(&message, LINE, from_gateway, |frame| {
                            self.hear_frame(wire, frame.unwrap());
                            true
                        })
                        .unwrap();
                    wire.heard = lines;
                }
                ServerEvent::Ended(LinkEnd::Closed { .. }) => {}
                other => panic!("the gateway broke the protocol: {other:?}"),
            }
        }
    }

    fn hear_frame(&mut self, wire: &mut Wire, frame: FromGateway) {
        match frame {
            FromGateway::Hello { platform, .. } => {
                assert_eq!(PLATFORMS.get(wire.hellos), Some(&platform.as_str()), "one hello each, in order");
                wire.hellos += 1;
                return;
            }
            FromGateway::InboundAck { buffer_id } => {
                let count = wire.acked.entry(buffer_id.clone()).or_default();
                *count += 1;
                if let Some((said, payloads)) = wire.delivered.get(&buffer_id) {
                    assert!(wire.garbled || *count <= *said, "{buffer_id} is acknowledged more often than it was said");
                    let taken = payloads.iter().any(|payload| self.taken_payloads.contains(payload));
                    assert!(wire.garbled || taken, "{buffer_id} is acknowledged, and nobody took it");
                } else {
                    assert!(wire.garbled, "{buffer_id} is acknowledged on a link that did not carry it");
                }
            }
            FromGateway::Outbound { request_id, .. } => {
                assert!(!self.seen.contains(&request_id), "written twice");
                let request = self.requests.iter().find(|(id, _)| id.to_string() == request_id);
                let (_, fate) = request.expect("a request that somebody made");
                assert_ne!(fate, &Request::NotSent, "written, and reported as not sent");
                self.seen.push(request_id);
            }
            _ => {}
        }
        assert_eq!(wire.hellos, PLATFORMS.len(), "hellos come first");
    }

    /// Bytes from the peer.
    pub(super) fn say_bytes(&mut self, bytes: &[u8]) {
        if let Some(wire) = &mut self.wire {
            wire.garbled = true;
        }
        self.say(bytes);
    }

    fn say(&mut self, bytes: &[u8]) {
        let Some(link) = self.wire.as_ref().map(|wire| wire.link) else { return };
        for piece in pieces(bytes, &self.cuts.clone()) {
            self.gateway.handle_bytes(link, piece, self.now);
            self.settle();
        }
    }

    /// A frame of the WebSocket, as a server writes it.
    pub(super) fn say_frame(&mut self, first: u8, payload: &[u8]) {
        if let Some(wire) = &mut self.wire {
            match first {
                0x81 | 0x82 if !wire.garbled => note(wire, payload),
                0x88..=0x8a => {}
                _ => wire.garbled = true,
            }
        }
        let mut bytes = vec![first];
        match u16::try_from(payload.len()).unwrap() {
            length @ 0..=125 => bytes.push(u8::try_from(length).unwrap()),
            length => {
                bytes.push(126);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        self.say(&bytes);
    }

    pub(super) fn say_line(&mut self, line: &str) {
        self.say_frame(0x81, format!("{line}\n").as_bytes());
    }

    pub(super) fn say_close(&mut self, code: u16, reason: &str) {
        self.say_frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat());
    }

    /// The end of a request that came.
    pub(super) fn say_result(&mut self, which: u8) {
        if let Some(at) = usize::from(which).checked_rem(self.seen.len()) {
            let line =
                format!(r#"{{"type":"outbound_result","requestId":"{}","result":{{"success":true}}}}"#, self.seen[at]);
            self.say_line(&line);
        }
    }

    /// What the far end has to answer: the tunnel, the upgrade, pings, a close frame.
    pub(super) fn answer(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        let bytes = if wire.tunnel { b"HTTP/1.1 200 OK\r\n\r\n".to_vec() } else { wire.far.transmit().to_vec() };
        wire.far.consume(usize::MAX);
        self.say(&bytes);
    }

    // ── the application ──────────────────────────────────────────────────

    pub(super) fn read(&mut self, most: usize) {
        for _ in 0..most {
            let Some(event) = self.gateway.machine_mut().poll_event() else { return };
            self.log.push(format!("{event:?}"));
            assert_eq!(self.ends, 0, "an event after the last one: {event:?}");
            match event {
                Event::Delivery(it) => self.hold(it.id, it.buffer_id.as_ref(), it.content.raw()),
                Event::Closed | Event::Revoked { .. } => self.ends += 1,
                _ => {}
            }
        }
    }

    fn hold(&mut self, id: DeliveryId, buffer_id: Option<&relay_proto::frame::BufferId>, payload: &str) {
        let buffer_id = buffer_id.map(ToString::to_string);
        if let Some(buffer_id) = &buffer_id {
            let same = |held: &Held| held.buffer_id.as_ref() == Some(buffer_id) && held.payload == payload;
            assert!(!self.held.iter().any(same), "shown again while it is held");
            assert!(!self.taken.contains(&(buffer_id.clone(), payload.into())), "shown again after it was taken");
        }
        self.held.push(Held { id, buffer_id, payload: payload.into() });
    }

    fn pick(&mut self, which: u8) -> Option<Held> {
        let at = usize::from(which).checked_rem(self.held.len())?;
        Some(self.held.remove(at))
    }

    pub(super) fn take(&mut self, which: u8) {
        let Some(held) = self.pick(which) else { return };
        // Known beforehand, since the ack may leave at once.
        self.taken_payloads.insert(held.payload.clone());
        if let Some(buffer_id) = held.buffer_id {
            self.taken.insert((buffer_id, held.payload));
        }
        assert!(self.gateway.machine_mut().ack(held.id, self.now), "it was held");
        assert!(!self.gateway.machine_mut().ack(held.id, self.now), "and is held no more");
    }

    pub(super) fn nack(&mut self, which: u8, quietly: bool) {
        let Some(held) = self.pick(which) else { return };
        match quietly {
            true => self.gateway.machine_mut().drop_delivery(held.id, self.now),
            false => assert!(self.gateway.machine_mut().nack(held.id, self.now), "it was held"),
        }
    }

    pub(super) fn request(&mut self, action: &RawJson, options: &RequestOptions) {
        match self.gateway.machine_mut().request(action, options, self.now) {
            Ok(id) => assert_eq!(self.requests.insert(id, Request::Open), None, "an id is used again"),
            Err(why) => self.log.push(format!("{why:?}")),
        }
    }

    fn request_ended(&mut self, request: RequestId, outcome: &Outcome) {
        self.log.push(format!("{request} {outcome:?}"));
        let seen = self.seen.contains(&request.to_string());
        let fate = self.requests.get_mut(&request).expect("a request that somebody made");
        assert_eq!(fate, &Request::Open, "{request} ended twice");
        *fate = match outcome {
            Outcome::NotSent(why) => {
                assert!(!seen, "{request} was written: {why}");
                Request::NotSent
            }
            Outcome::Result(_) => {
                assert!(seen, "{request} has a result, and nobody saw it");
                Request::Ended
            }
            Outcome::Ambiguous(_) => Request::Ended,
        };
    }

    pub(super) fn cancel(&mut self, which: u8) {
        let Some(at) = usize::from(which).checked_rem(self.requests.len()) else { return };
        let Some((id, fate)) = self.requests.iter_mut().nth(at) else { return };
        if *fate == Request::Open {
            *fate = Request::Cancelled;
        }
        self.gateway.machine_mut().cancel(*id, self.now);
    }

    pub(super) fn command(&mut self, command: impl FnOnce(&mut Machine, Now)) {
        command(self.gateway.machine_mut(), self.now);
    }

    // ── time ─────────────────────────────────────────────────────────────

    /// Time passes, and whatever is due gets done in a few calls.
    pub(super) fn wait(&mut self, time: Duration) {
        let seconds = (self.now.monotonic + time).as_secs() - self.now.monotonic.as_secs();
        self.now = Now { monotonic: self.now.monotonic + time, unix: self.now.unix + seconds };
        for round in 0.. {
            self.gateway.handle_timeout(self.now);
            self.settle();
            match self.gateway.poll_timeout() {
                Some(deadline) if deadline.at <= self.now.monotonic => {
                    assert!(round < 40, "a deadline that never passes: {deadline:?}");
                }
                _ => return,
            }
        }
    }

    /// Time passes, with a host that wakes at every deadline.
    fn wait_promptly(&mut self, time: Duration) {
        let until = self.now.monotonic + time;
        while let Some(deadline) = self.gateway.poll_timeout().filter(|deadline| deadline.at <= until) {
            self.wait(deadline.at.saturating_sub(self.now.monotonic));
        }
        self.wait(until - self.now.monotonic);
    }

    pub(super) fn wait_for_deadline(&mut self) {
        if let Some(deadline) = self.gateway.poll_timeout() {
            self.wait(deadline.at.saturating_sub(self.now.monotonic));
        }
    }

    /// The machine is suspended, or its clock set.
    pub(super) fn sleep(&mut self, seconds: u64) {
        self.now.unix = if seconds & 1 == 0 { self.now.unix + seconds } else { self.now.unix - seconds };
        self.wait(Duration::ZERO);
    }

    // ── what must hold ───────────────────────────────────────────────────

    pub(super) fn check(&mut self) {
        let state = self.gateway.machine().state();
        let waits = match state {
            State::Revoked | State::Closed => {
                assert!(self.wire.is_none() && self.attempts.is_empty(), "a connection after the end");
                true
            }
            // A link that is not read, because the application does not read, may have nothing to wait for.
            State::Ready | State::Handshaking => self.gateway.poll_timeout().is_some() || !self.gateway.wants_read(),
            _ => self.gateway.poll_timeout().is_some(),
        };
        assert!(waits, "{state:?}, and nothing will ever happen");
        assert!(self.gateway.transmit().len() <= UNWRITTEN, "{} bytes to write", self.gateway.transmit().len());
    }

    /// With a peer that never says anything again, every request ends, and shutting down comes to its end.
    pub(super) fn finish(mut self) -> Vec<String> {
        self.wait(Duration::from_secs(120));
        self.check();
        let open = self.requests.values().filter(|fate| **fate == Request::Open).count();
        assert_eq!(open, 0, "requests that never ended");
        self.command(|machine, now| machine.close(now));
        self.settle();
        self.wait_promptly(Duration::from_secs(9));
        self.check();
        assert!(self.gateway.machine().state().is_terminal(), "{:?}", self.gateway.machine().state());
        self.read(usize::MAX);
        assert_eq!(self.ends, 1, "one last event");
        assert_eq!(self.gateway.poll_timeout(), None);
        self.log
    }
}

/// Notes the deliveries in a message.
fn note(wire: &mut Wire, payload: &[u8]) {
    let delivered = &mut wire.delivered;
    let fed = wire.said.feed(payload, LINE, from_connector, |frame| {
        let (id, payload) = match frame {
            Ok(FromConnector::Delivery { content, buffer_id }) => (buffer_id, content.raw().to_owned()),
            _ => return true,
        };
        if let Some(id) = id {
            let (count, payloads) = delivered.entry(id.to_string()).or_default();
            *count += 1;
            payloads.insert(payload);
        }
        true
    });
    // The gateway closes the link, and so should not be followed any further.
    wire.garbled |= fed.is_err();
}
