//! The host and the application of one peer, and the gateway, who know the rules and nothing of how they are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use relay_proto::connector::{
    AckPolicy, EntryId, Event, HelloId, Limits, LinkId, OutboundId, Output, Peer, Settings, Timing, Transmit,
};
use relay_proto::frame::{Descriptor, FromConnector, RawJson, from_connector};
use relay_proto::time::Now;
use relay_proto::wire::ServerEvent;

use super::store::Store;
use super::wire::{MESSAGE, ROOM, Wire};

const LINE: usize = 1024;
const OUTBOUNDS: usize = 3;
/// More connections than this nobody has.
const WIRES: usize = 7;

pub(super) struct World {
    peer: Peer,
    settings: Settings,
    now: Now,
    cuts: Vec<u8>,
    next_cut: usize,
    store: Option<Store>,
    /// Whether the store does everything at once.
    prompt: bool,
    pub(super) writes: bool,
    pub(super) reads: bool,
    epoch: u64,
    /// Oldest first.
    wires: Vec<Wire>,
    hellos: Vec<HelloId>,
    outbounds: Vec<OutboundId>,
    payloads: BTreeMap<EntryId, String>,
    delivered: u64,
    /// Entries that were taken up by this process, or found in the store, less those that the store refused.
    taken_up: u64,
    sent: BTreeSet<EntryId>,
    left: BTreeSet<EntryId>,
    /// Whether what was sent must not be sent again: acks are presumed, and none can have come.
    once: bool,
}

impl World {
    pub(super) fn new(shape: u8, cuts: Vec<u8>) -> Self {
        let mut limits = Limits::default();
        (limits.line, limits.frame, limits.message, limits.queue, limits.transmit) =
            (LINE, MESSAGE, MESSAGE, 2048, 2048);
        (limits.window, limits.outbounds, limits.hellos) = (usize::from(shape % 4) + 1, OUTBOUNDS, 4);
        (limits.buffer, limits.forward_attempts) = (4096, 2);
        let acks = if shape & 4 == 0 { AckPolicy::Required } else { AckPolicy::Assumed };
        let settings = Settings::new(Timing::default(), limits).unwrap().with_acks(acks);
        let now = Now { monotonic: Duration::from_secs(100), unix: 1_800_000_000 };
        let mut store = (shape & 8 != 0).then(Store::default);
        let peer = match &mut store {
            Some(store) => Peer::stored(settings.clone(), 1, store.crash(), now),
            None => Peer::in_memory(settings.clone(), 1, now),
        };
        Self {
            peer,
            settings,
            now,
            cuts,
            next_cut: 0,
            store,
            prompt: true,
            writes: true,
            reads: true,
            epoch: 1,
            wires: Vec::new(),
            hellos: Vec::new(),
            outbounds: Vec::new(),
            payloads: BTreeMap::new(),
            delivered: 0,
            taken_up: 0,
            sent: BTreeSet::new(),
            left: BTreeSet::new(),
            once: acks == AckPolicy::Assumed,
        }
    }

    // ── the host ─────────────────────────────────────────────────────────

    /// Does what the peer asks for, reads, and writes, until there is nothing to do.
    pub(super) fn settle(&mut self) {
        loop {
            self.drain();
            self.transmit();
            if !self.read() {
                return;
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            match output {
                Output::Hello { hello, .. } => self.hellos.push(hello),
                Output::Drop(link) => {
                    assert!(self.wires.iter().any(|wire| wire.link == link), "dropped what was not there");
                    self.remove(link);
                }
                Output::Append { entry, frame } => {
                    self.store.as_mut().expect("a store").appended.push((entry, String::from(&*frame)));
                }
                Output::Discard(entry) => self.store.as_mut().expect("a store").discard(entry),
                Output::Fetch(fetch) => {
                    let before = self.store.as_mut().expect("a store").fetch.replace(fetch);
                    assert_eq!(before, None, "two fetches at a time");
                }
                _ => {}
            }
            if self.prompt {
                self.commit(1);
                self.answer_store();
            }
        }
        while self.reads
            && let Some(event) = self.peer.poll_event()
        {
            self.hear(event);
        }
    }

    fn transmit(&mut self) {
        for at in 0..self.wires.len() {
            let link = self.wires[at].link;
            while self.wires[at].near.transmit().len() < ROOM && !self.wires[at].broken {
                let Some(transmit) = self.peer.poll_transmit(link) else { break };
                self.look(at, &transmit);
                let wire = &mut self.wires[at];
                match transmit {
                    Transmit::Text(frame) => wire.send(frame),
                    Transmit::Ping => wire.near.ping(),
                    Transmit::Probe(payload) => wire.near.probe(payload),
                    Transmit::Close { code, reason } => wire.near.close(code, reason),
                    other => panic!("{other:?} is new"),
                }
            }
            if self.writes && !self.wires[at].broken {
                self.wires[at].write(usize::MAX);
            }
        }
    }

    /// Reads a piece of what came on each link. Whether there was any.
    fn read(&mut self) -> bool {
        let mut any = false;
        let links: Vec<LinkId> = self.wires.iter().map(|wire| wire.link).collect();
        for link in links {
            let wants = self.peer.wants_read(link);
            let cut = self.cuts.get(self.next_cut % self.cuts.len().max(1)).copied().unwrap_or(0);
            let Some(wire) = self.wire(link).filter(|wire| wants && !wire.unread.is_empty()) else { continue };
            any = true;
            let size = if cut == 0 { wire.unread.len() } else { usize::from(cut).min(wire.unread.len()) };
            let bytes: Vec<u8> = wire.unread.drain(..size).collect();
            wire.near.handle_bytes(&bytes);
            assert!(wire.near.buffered() <= (64 << 10) + size * 32, "{} bytes held", wire.near.buffered());
            self.next_cut += 1;
            self.peer.handle_traffic(link, self.now);
            self.events(link);
        }
        any
    }

    fn events(&mut self, link: LinkId) {
        while let Some(wire) = self.wire(link)
            && let Some(event) = wire.near.poll_event()
        {
            match event {
                ServerEvent::Message(message) => {
                    let before = self.peer.stats().outbounds;
                    self.peer.handle_message(link, &message, self.now);
                    let came = self.peer.stats().outbounds - before;
                    self.wire(link).unwrap().owed += i64::try_from(came).unwrap();
                    // It may name an entry of ours in any of many ways.
                    self.once &= !message.windows(8).any(|window| window == b"bufferId" || window.contains(&b'\\'));
                }
                ServerEvent::Ended(end) => {
                    self.peer.handle_ended(link, end, self.now);
                    self.remove(link);
                }
                ServerEvent::Pong(payload) => self.peer.handle_pong(link, &payload, self.now),
                other => panic!("{other:?} on an accepted link"),
            }
        }
    }

    fn wire(&mut self, link: LinkId) -> Option<&mut Wire> {
        self.wires.iter_mut().find(|wire| wire.link == link)
    }

    /// The connection is closed, after one attempt to write.
    fn remove(&mut self, link: LinkId) {
        if let Some(at) = self.wires.iter().position(|wire| wire.link == link) {
            let mut wire = self.wires.remove(at);
            if !wire.broken {
                wire.write(usize::MAX);
            }
        }
    }

    pub(super) fn open(&mut self) {
        if self.wires.len() < WIRES {
            let (near, far) = Wire::upgraded();
            let link = self.peer.handle_opened(self.now);
            self.wires.push(Wire::new(link, near, far));
        }
    }

    fn back(&mut self, back: usize) -> Option<&mut Wire> {
        self.wires.iter_mut().rev().nth(back)
    }

    /// The connection is gone, at its end or with an error.
    pub(super) fn break_wire(&mut self, back: usize, at_end: bool) {
        let Some(wire) = self.back(back) else { return };
        match at_end {
            true => wire.near.handle_eof(),
            false => wire.near.handle_read_error("reset"),
        }
        let link = wire.link;
        self.events(link);
    }

    pub(super) fn fail_writing(&mut self, back: usize) {
        if let Some(wire) = self.back(back) {
            wire.broken = true;
            wire.near.handle_write_error();
        }
    }

    pub(super) fn write(&mut self, back: usize, n: usize) {
        if let Some(wire) = self.back(back).filter(|wire| !wire.broken) {
            wire.write(n);
            wire.answers();
        }
    }

    // ── the store ────────────────────────────────────────────────────────

    pub(super) fn commit(&mut self, most: usize) {
        for _ in 0..most {
            let Some(id) = self.store.as_mut().and_then(Store::commit) else { return };
            self.peer.handle_stored(id, self.now);
        }
    }

    fn answer_store(&mut self) {
        let Some(store) = &mut self.store else { return };
        for id in std::mem::take(&mut store.discarded) {
            self.peer.handle_discarded(id, self.now);
        }
        if let Some(fetch) = store.fetch.take() {
            let entries = store.fetched(&fetch);
            self.peer.handle_fetched(entries, self.now);
        }
    }

    pub(super) fn store_steps(&mut self, kind: u8) {
        match kind / 64 {
            0 => self.prompt = !self.prompt,
            1 => self.answer_store(),
            _ => {
                let last = self.store.as_mut().and_then(|store| store.appended.pop());
                if let Some((id, _)) = last {
                    self.taken_up -= 1;
                    self.peer.handle_not_stored(id, self.now);
                }
            }
        }
    }

    /// A crash: what the store has is what there is.
    pub(super) fn restart(&mut self) {
        let Some(store) = &mut self.store else { return };
        let backlog = store.crash();
        self.epoch += 1;
        self.taken_up = backlog.entries;
        self.peer = Peer::stored(self.settings.clone(), self.epoch, backlog, self.now);
        self.wires.clear();
        self.hellos.clear();
        self.outbounds.clear();
        self.left.clear();
        self.sent.clear();
        self.once = self.settings.acks() == AckPolicy::Assumed;
    }

    // ── the gateway ──────────────────────────────────────────────────────

    pub(super) fn say_bytes(&mut self, back: usize, bytes: &[u8]) {
        if let Some(wire) = self.back(back) {
            wire.answers();
            wire.unread.extend(bytes);
        }
    }

    /// A frame of the WebSocket, as a client writes it, with a mask that changes nothing.
    pub(super) fn say_frame(&mut self, back: usize, first: u8, payload: &[u8]) {
        let mut bytes = vec![first];
        match u16::try_from(payload.len()).unwrap() {
            length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                bytes.push(0xfe);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend_from_slice(payload);
        self.say_bytes(back, &bytes);
    }

    pub(super) fn say_line(&mut self, back: usize, line: &str) {
        self.say_frame(back, 0x81, format!("{line}\n").as_bytes());
    }

    /// Acknowledges one of the entries that this link carried, often the oldest.
    pub(super) fn say_ack(&mut self, back: usize, which: u8) {
        let Some(wire) = self.back(back) else { return };
        let Some(at) = usize::from(which).checked_rem(wire.carried.len()) else { return };
        let id = wire.carried[at];
        if which < 128 {
            wire.carried.remove(at);
        }
        self.say_line(back, &format!(r#"{{"type":"inbound_ack","bufferId":"{id}"}}"#));
    }

    // ── the application ──────────────────────────────────────────────────

    fn hear(&mut self, event: Event) {
        match event {
            Event::Outbound(outbound) => self.outbounds.push(outbound.id),
            Event::Acked(id) | Event::AssumedAcked(id) | Event::GivenUp(id) => {
                assert!(self.left.insert(id), "{id} left twice");
                assert!(self.sent.contains(&id), "{id} left, and was never sent");
            }
            _ => {}
        }
    }

    pub(super) fn deliver(&mut self, forward: bool) {
        self.delivered += 1;
        let payload = format!(r#"{{"text":"{}"}}"#, self.delivered);
        let json = RawJson::parse(&payload).unwrap();
        let id = match forward {
            true => self.peer.forward(&json, self.now),
            false => self.peer.deliver(&json, self.now),
        };
        if let Ok(id) = id {
            assert_eq!(self.payloads.insert(id, payload), None, "an id is used again");
            self.taken_up += 1;
        }
    }

    pub(super) fn answer(&mut self, which: u8) {
        let Some(at) = usize::from(which).checked_rem(self.outbounds.len()) else { return };
        let id = self.outbounds[at];
        let answered = match which / 64 {
            0 => self.peer.fail(id, "no", which & 1 == 0, self.now),
            1 => self.peer.answer(id, &RawJson::parse(&format!(r#""{}""#, "x".repeat(3000))).unwrap(), self.now),
            _ => self.peer.answer(id, &RawJson::parse(r#"{"success": true}"#).unwrap(), self.now),
        };
        if answered.is_err() {
            self.outbounds.remove(at);
        }
    }

    pub(super) fn answer_hello(&mut self, refuse: bool) {
        for hello in std::mem::take(&mut self.hellos) {
            // Its link may be gone.
            let _ = match refuse {
                true => self.peer.refuse(hello, self.now),
                false => self.peer.describe(hello, &Descriptor::new("p"), self.now),
            };
        }
    }

    pub(super) fn command(&mut self, kind: u8) {
        match kind / 32 {
            0 | 1 => drop(self.peer.interrupt("s", "c", self.now)),
            2 => drop(self.peer.revoke(self.now)),
            3 | 4 => self.peer.reinstate(self.now),
            5 | 6 => drop(self.peer.drop_link(self.now)),
            _ => self.peer.shutdown(self.now),
        }
    }

    // ── time ─────────────────────────────────────────────────────────────

    /// Time passes, and whatever is due gets done in a few calls.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now.monotonic += time;
        let most = 40 + self.peer.buffered();
        for round in 0.. {
            self.peer.handle_timeout(self.now);
            self.settle();
            match self.peer.poll_timeout() {
                Some(deadline) if deadline.at <= self.now.monotonic => {
                    assert!(round < most, "a deadline that never passes: {deadline:?}");
                }
                _ => return,
            }
        }
    }

    pub(super) fn wait_for_deadline(&mut self) {
        if let Some(deadline) = self.peer.poll_timeout() {
            self.wait(deadline.at.saturating_sub(self.now.monotonic));
        }
    }

    // ── what must hold ───────────────────────────────────────────────────

    /// Looks at what goes out on a link.
    fn look(&mut self, at: usize, transmit: &Transmit) {
        let current = self.peer.current_link();
        let wire = &mut self.wires[at];
        assert!(!wire.closed, "nothing follows a close");
        let frame = match transmit {
            Transmit::Ping | Transmit::Probe(_) => return,
            Transmit::Close { .. } => {
                wire.closed = true;
                assert_eq!(wire.owed, 0, "every outbound gets its result before the close");
                return;
            }
            Transmit::Text(frame) => frame,
            other => panic!("{other:?} is new"),
        };
        assert_eq!(frame.find('\n'), Some(frame.len() - 1), "one line: {frame:?}");
        assert!(frame.len() <= MESSAGE + 1, "{} bytes", frame.len());
        let (id, payload) = match from_connector(frame.trim_end().as_bytes()).unwrap() {
            FromConnector::OutboundResult { .. } => {
                wire.owed -= 1;
                assert!(wire.owed >= 0, "one result for each outbound");
                return;
            }
            FromConnector::GoingIdleAck => {
                wire.idle = true;
                return;
            }
            FromConnector::Delivery { content, buffer_id } => (buffer_id, content.raw().to_owned()),
            _ => return,
        };
        let id = EntryId::parse(id.expect("every delivery has one").as_str()).unwrap();
        assert!(!wire.idle, "delivered behind the ack of going idle");
        assert_eq!(current, Some(wire.link), "deliveries go out on one link");
        assert!(wire.carried.iter().all(|earlier| *earlier < id), "in order");
        assert_eq!(self.payloads.get(&id), Some(&payload), "what was delivered goes out");
        assert!(!self.left.contains(&id), "{id} left, and is sent again");
        wire.carried.push(id);
        assert!(self.sent.insert(id) || !self.once, "{id} is sent again, to a gateway that acknowledges nothing");
        if let Some(store) = &self.store {
            assert!(store.durable.contains_key(&id.seq()), "durable before it is seen");
        }
    }

    pub(super) fn check(&mut self) {
        assert!(self.peer.in_flight() <= self.settings.limits().window, "a window at most");
        let stats = self.peer.stats();
        let left = stats.acked + stats.assumed_acked + stats.forwards_unacknowledged;
        assert_eq!(self.peer.buffered() + left, self.taken_up, "entries are somewhere");
        if let Some(current) = self.peer.current_link() {
            assert!(self.wires.iter().any(|wire| wire.link == current), "a link without a connection");
            assert!(self.peer.poll_timeout().is_some() || !self.peer.wants_read(current), "nothing will ever happen");
        }
    }

    /// Shutting down comes to its end, whatever the gateway does.
    pub(super) fn finish(mut self) {
        (self.prompt, self.reads) = (true, true);
        self.commit(usize::MAX);
        self.answer_store();
        self.settle();
        self.check();
        self.peer.shutdown(self.now);
        self.wait(Duration::from_secs(2));
        self.commit(usize::MAX);
        self.settle();
        self.check();
        assert!(self.peer.is_finished() && self.wires.is_empty(), "{} links are left", self.wires.len());
        assert_eq!(self.peer.poll_timeout(), None);
        let json = RawJson::parse("{}").unwrap();
        assert!(self.peer.deliver(&json, self.now).is_err(), "nothing is taken up after the end");
        if let Some(store) = &self.store {
            assert_eq!(store.durable.len() as u64, self.peer.buffered(), "what was not acknowledged is in the store");
        }
    }
}
