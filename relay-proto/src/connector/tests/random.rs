//! Anything, in any order.

use alloc::collections::BTreeSet;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::connector::buffer::Entry;
use crate::connector::{AckPolicy, Limits, OutboundId, Timing};
use crate::end::LinkEnd;
use crate::frame::{FromConnector, from_connector};

#[derive(Clone, Debug)]
enum Op {
    Open,
    Say(Vec<u8>),
    /// A frame on a link: the current one, or an older one.
    Frame(usize, usize),
    /// Acknowledges one of the entries that were ever sent, on some link.
    Ack(usize, usize),
    End,
    Deliver,
    Forward,
    Transmit(usize),
    Commit,
    FailStore,
    Answer(usize),
    Describe,
    Wait(u64),
    Timeout,
    Command(usize),
    /// Answers the last probe of the current link.
    Pong,
    Events,
}

const FRAMES: [&str; 10] = [
    r#"{"type":"hello","platform":"p","botId":"b"}"#,
    r#"{"type":"outbound","requestId":"r","action":{"op":"x"}}"#,
    r#"{"type":"outbound","requestId":"r","action":[]}"#,
    r#"{"type":"interrupt","session_key":"s"}"#,
    r#"{"type":"going_idle"}"#,
    r#"{"type":"inbound_ack","bufferId":"0000000000000001-0"}"#,
    r#"{"type":"inbound_ack","bufferId":7}"#,
    r#"{"type":"hello","#,
    r#"{"type":"ping"}"#,
    "x",
];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        2 => Just(Op::Open),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Op::Say),
        6 => (0..3usize, 0..FRAMES.len()).prop_map(|(link, frame)| Op::Frame(link, frame)),
        8 => (0..3usize, 0..12usize).prop_map(|(link, entry)| Op::Ack(link, entry)),
        1 => Just(Op::End),
        8 => Just(Op::Deliver),
        3 => Just(Op::Forward),
        8 => (1..6usize).prop_map(Op::Transmit),
        6 => Just(Op::Commit),
        1 => Just(Op::FailStore),
        3 => (0..4usize).prop_map(Op::Answer),
        4 => Just(Op::Describe),
        2 => (0..40u64).prop_map(Op::Wait),
        2 => Just(Op::Timeout),
        1 => (0..5usize).prop_map(Op::Command),
        2 => Just(Op::Pong),
        2 => Just(Op::Events),
    ];
    proptest::collection::vec(op, 0..200)
}

/// What an onlooker knows of the rules, and nothing of how they are kept.
struct Onlooker {
    rig: Rig,
    stored: bool,
    window: usize,
    /// Whether what was sent must not be sent again: acks are presumed, and none came.
    once: bool,
    links: Vec<LinkId>,
    /// Everything that was ever sent.
    sent: Vec<EntryId>,
    /// What was sent on the current link, and not acknowledged there.
    in_flight: BTreeSet<EntryId>,
    /// The last entry of each link.
    last: BTreeMap<LinkId, EntryId>,
    closed: BTreeSet<LinkId>,
    idle: BTreeSet<LinkId>,
    outbounds: Vec<OutboundId>,
    /// Outbounds said on a link, less the results on it.
    owed: BTreeMap<LinkId, i64>,
    /// The last probe of each link.
    asked: BTreeMap<LinkId, [u8; 8]>,
}

impl Onlooker {
    fn new(stored: bool, window: usize, acks: AckPolicy) -> Self {
        let limits = Limits { window, outbounds: 3, hellos: 4, forward_attempts: 2, buffer: 4096, ..Limits::default() };
        let settings = Settings::new(Timing::default(), limits).unwrap().with_acks(acks);
        let once = acks == AckPolicy::Assumed;
        let mut rig = if stored { Rig::on(Store::default(), settings, 1) } else { Rig::with(settings) };
        rig.describe = false;
        rig.durable = false;
        let (links, sent, outbounds) = (vec![], vec![], vec![]);
        let (in_flight, last, closed, idle, owed, asked) = Default::default();
        Self { rig, stored, window, once, links, sent, in_flight, last, closed, idle, outbounds, owed, asked }
    }

    fn link(&self, back: usize) -> Option<LinkId> {
        self.links.iter().rev().nth(back).copied()
    }

    fn apply(&mut self, op: &Op) {
        let now = self.rig.now;
        let current = self.rig.peer.current_link();
        match op {
            Op::Open => {
                self.links.push(self.rig.peer.handle_opened(now));
                self.in_flight.clear();
            }
            Op::Say(bytes) => {
                if let Some(link) = current {
                    self.rig.peer.handle_message(link, bytes, now);
                    self.rig.peer.handle_message(link, b"\n", now);
                }
            }
            Op::Frame(back, frame) => {
                let Some(link) = self.link(*back) else { return };
                if current == Some(link) && FRAMES[*frame].contains("\"outbound\"") {
                    *self.owed.entry(link).or_default() += 1;
                }
                self.once &= !FRAMES[*frame].contains("inbound_ack");
                self.rig.say(link, FRAMES[*frame]);
                self.rig.say(link, "");
            }
            Op::Ack(back, entry) => {
                let Some(link) = self.link(*back) else { return };
                let Some(entry) = self.sent.iter().rev().nth(*entry).copied() else { return };
                self.once = false;
                if current == Some(link) {
                    self.in_flight.remove(&entry);
                }
                self.rig.ack(link, entry);
            }
            Op::End => {
                if let Some(link) = current {
                    self.rig.peer.handle_ended(link, LinkEnd::Lost { detail: String::new() }, now);
                    self.owed.remove(&link);
                }
            }
            Op::Deliver | Op::Forward => {
                let json = RawJson::parse("{\"text\": 1}").unwrap();
                // Refused when the buffer in memory is full.
                let _ = match op {
                    Op::Deliver => self.rig.peer.deliver(&json, now),
                    _ => self.rig.peer.forward(&json, now),
                };
            }
            Op::Transmit(count) => {
                for link in self.links.clone().into_iter().rev().take(3) {
                    for _ in 0..*count {
                        let Some(transmit) = self.rig.peer.poll_transmit(link) else { break };
                        self.look(link, &transmit);
                    }
                }
            }
            Op::Commit => self.rig.commit(2),
            Op::FailStore => {
                if let Some((entry, _)) = self.rig.store.as_mut().and_then(|store| store.appended.pop()) {
                    self.rig.peer.handle_not_stored(entry, now);
                }
            }
            Op::Answer(which) => {
                if let Some(id) = self.outbounds.get(*which).copied() {
                    let result = RawJson::parse("{\"success\": true}").unwrap();
                    if self.rig.peer.answer(id, &result, now).is_err() {
                        self.outbounds.retain(|waiting| *waiting != id);
                    }
                }
            }
            Op::Describe => {
                for hello in core::mem::take(&mut self.rig.hellos) {
                    _ = self.rig.peer.describe(hello, &Descriptor::new("p"), now);
                }
            }
            Op::Wait(seconds) => self.rig.wait_secs(*seconds),
            Op::Timeout => {
                if let Some(deadline) = self.rig.peer.poll_timeout() {
                    self.rig.now.monotonic = self.rig.now.monotonic.max(deadline.at);
                    self.rig.peer.handle_timeout(self.rig.now);
                    let next = self.rig.peer.poll_timeout();
                    assert_ne!(next, Some(deadline), "what was due was done");
                }
            }
            Op::Command(0) => _ = self.rig.peer.revoke(now),
            Op::Command(1) => self.rig.peer.reinstate(now),
            Op::Command(2) => _ = self.rig.peer.drop_link(now),
            Op::Command(3) => _ = self.rig.peer.interrupt("s", "c", now),
            Op::Command(_) => {
                if let Some(link) = current {
                    self.rig.peer.handle_traffic(link, now);
                }
            }
            Op::Pong => {
                if let Some((link, payload)) = current.and_then(|link| self.asked.get_key_value(&link)) {
                    self.rig.peer.handle_pong(*link, payload, now);
                }
            }
            Op::Events => {
                for event in self.rig.events() {
                    if let Event::Outbound(outbound) = event {
                        self.outbounds.push(outbound.id);
                    }
                }
            }
        }
        self.rig.settle();
        for output in core::mem::take(&mut self.rig.outputs) {
            if let Output::Drop(link) = output {
                self.owed.remove(&link);
            }
        }
        assert!(self.rig.peer.in_flight() <= self.window);
        check_what_is_kept(&self.rig.peer);
    }

    fn look(&mut self, link: LinkId, transmit: &Transmit) {
        assert!(!self.closed.contains(&link), "nothing follows a close");
        match transmit {
            Transmit::Close { .. } => {
                self.closed.insert(link);
                assert_eq!(self.owed.remove(&link).unwrap_or(0), 0, "every outbound got its result before the close");
            }
            Transmit::Ping => {}
            Transmit::Probe(payload) => _ = self.asked.insert(link, *payload),
            Transmit::Text(frame) => {
                assert_eq!(frame.find('\n'), Some(frame.len() - 1), "one line: {frame:?}");
                if let Ok(FromConnector::OutboundResult { .. }) = from_connector(frame.trim_end().as_bytes()) {
                    let owed = self.owed.entry(link).or_default();
                    *owed -= 1;
                    assert!(*owed >= 0, "one result each");
                }
                if frame.contains("\"going_idle_ack\"") {
                    self.idle.insert(link);
                }
                if let Some(entry) = entry_of(frame) {
                    assert!(!self.idle.contains(&link), "nothing is delivered behind the ack of going idle");
                    self.look_at_entry(link, entry);
                }
            }
        }
    }

    fn look_at_entry(&mut self, link: LinkId, entry: EntryId) {
        assert_eq!(self.rig.peer.current_link(), Some(link), "deliveries go out on one link");
        assert!(self.last.insert(link, entry).is_none_or(|last| last < entry), "in order");
        if let Some(store) = &self.rig.store {
            assert!(store.durable.contains_key(&entry.seq()), "durable before it is seen");
            let first = store.durable.keys().find(|seq| self.in_flight.iter().all(|id| id.seq() != **seq)).copied();
            assert_eq!(first, Some(entry.seq()), "nothing is passed over");
        }
        assert_eq!(self.stored, self.rig.store.is_some());
        assert!(!self.once || !self.sent.contains(&entry), "at most once");
        self.sent.push(entry);
        self.in_flight.insert(entry);
        if let Some(store) = &self.rig.store {
            // A forward may leave without an ack.
            self.in_flight.retain(|id| store.durable.contains_key(&id.seq()));
            assert!(self.in_flight.len() <= self.window, "a window at most");
        }
    }
}

/// What is counted and sorted as it comes and goes is what a walk through the buffer finds.
fn check_what_is_kept(peer: &Peer) {
    let Some(link) = &peer.current else { return };
    let in_flight = || peer.buffer.in_flight(link.cursor);
    assert_eq!(peer.in_flight(), in_flight().count());
    let places = |entries: &mut dyn Iterator<Item = &Entry>| entries.map(|entry| entry.id).collect::<Vec<_>>();
    let forwards = places(&mut in_flight().filter(|entry| entry.is_forward));
    assert_eq!(places(&mut peer.buffer.forwards(link.cursor)), forwards);
    let carried: Vec<_> = in_flight().map(|entry| entry.carried.expect("by the link")).collect();
    assert!(carried.is_sorted() && carried.iter().all(|(by, _)| *by == link.id), "{carried:?}");
}

proptest! {
    // proves: CONN-3, CONN-4, CONN-5, CONN-6, CONN-7
    #[test]
    fn whatever_happens_the_rules_hold(stored: bool, assumed_acked: bool, window in 1..5usize, ops in ops()) {
        let acks = if assumed_acked { AckPolicy::Assumed } else { AckPolicy::Required };
        let mut onlooker = Onlooker::new(stored, window, acks);
        for op in &ops {
            onlooker.apply(op);
        }
    }

    // proves: FRAME-4
    #[test]
    fn no_bytes_end_anything(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut rig = Rig::new();
        let link = rig.link();
        for message in &messages {
            rig.peer.handle_message(link, message, rig.now);
            rig.settle();
        }
        rig.peer.handle_message(link, b"\n", rig.now);
        rig.say(link, r#"{"type":"going_idle"}"#);
        prop_assert!(rig.events().contains(&Event::Idle));
    }
}
