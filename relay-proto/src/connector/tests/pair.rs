//! The two halves against each other, cut at every point.

use alloc::collections::VecDeque;

use super::*;
use crate::end::LinkEnd;
use crate::gateway;

/// What is on the wire, in one direction.
enum Wire {
    Text(String),
    Ping([u8; 8]),
    Pong([u8; 8]),
    Close { code: u16, reason: &'static str },
}

/// What happens to the world at one point of its run.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// The connection is cut: what was on the wire is lost.
    Cut,
    /// The gateway goes dormant.
    Dormant,
    /// The gateway makes a new link while the old one is, for the connector, still there.
    Reconnect,
    /// The connector is killed, and starts again on its store.
    Crash,
}

/// Both halves, the network between them, an application that takes its deliveries with some delay, and a store that
/// takes its time.
struct World {
    rig: Rig,
    gateway: gateway::Machine,
    now: Now,
    dialing: Option<gateway::LinkId>,
    link: Option<(gateway::LinkId, LinkId)>,
    up: VecDeque<Wire>,
    down: VecDeque<Wire>,
    shown: Vec<String>,
    held: VecDeque<gateway::DeliveryId>,
    steps: usize,
    epoch: u64,
}

const WINDOW: usize = 3;
const EVENTS: usize = 12;

impl World {
    fn new() -> Self {
        let settings = gateway::Config::new("ws://127.0.0.1:1").identity("discord", "1").build().unwrap();
        let mut rig = Rig::on(Store::default(), Settings::with_window(WINDOW).unwrap(), 0);
        rig.durable = false;
        let now = rig.now;
        Self {
            rig,
            gateway: gateway::Machine::new(settings, 7, now),
            now,
            dialing: None,
            link: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            shown: Vec::new(),
            held: VecDeque::new(),
            steps: 0,
            epoch: 0,
        }
    }

    fn settle(&mut self) {
        self.rig.now = self.now;
        self.rig.settle();
        while let Some(output) = self.gateway.poll_output() {
            match output {
                gateway::Output::Link(gateway::LinkRequest::Dial(dial)) => self.dialing = Some(dial.link),
                gateway::Output::Link(gateway::LinkRequest::Drop(_)) => self.hang_up(false),
                _ => {}
            }
        }
        for output in core::mem::take(&mut self.rig.outputs) {
            if matches!(output, Output::Drop(link) if self.link.is_some_and(|(_, ours)| ours == link)) {
                self.hang_up(true);
            }
        }
        self.rig.events();
    }

    /// The connection is gone. `gateway`: whether the gateway has to be told.
    fn hang_up(&mut self, gateway: bool) {
        self.up.clear();
        self.down.clear();
        let lost = || LinkEnd::Lost { detail: "cut".into() };
        let Some((theirs, ours)) = self.link.take() else { return };
        self.rig.peer.handle_ended(ours, lost(), self.now);
        if gateway {
            self.gateway.handle_ended(theirs, lost(), self.now);
        }
    }

    fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::Cut => self.hang_up(true),
            Blow::Dormant => _ = self.gateway.go_dormant(self.now),
            Blow::Reconnect => self.gateway.reconnect(self.now),
            Blow::Crash => {
                let store = self.rig.store.take().unwrap();
                self.epoch += 1;
                let accepted = core::mem::take(&mut self.rig.accepted);
                self.rig = Rig::on(store, Settings::with_window(WINDOW).unwrap(), self.epoch);
                (self.rig.durable, self.rig.accepted) = (false, accepted);
                let theirs = self.link.take().map(|(theirs, _)| theirs);
                (self.up, self.down) = Default::default();
                if let Some(theirs) = theirs {
                    self.gateway.handle_ended(theirs, LinkEnd::Lost { detail: "crash".into() }, self.now);
                }
            }
        }
        self.settle();
    }

    /// The smallest thing that can happen next, of the kind that is due. Whether there was one.
    fn step(&mut self, kind: usize) -> bool {
        let now = self.now;
        let moved = match (kind, self.link) {
            (0, _) => self.dialing.take().map(|theirs| {
                self.hang_up(false);
                let ours = self.rig.peer.handle_opened(now);
                self.link = Some((theirs, ours));
                self.gateway.handle_opened(theirs, now);
            }),
            (1, Some((theirs, _))) => self.gateway.poll_transmit(theirs).map(|transmit| {
                self.up.push_back(match transmit {
                    gateway::Transmit::Text(text) => Wire::Text(text),
                    gateway::Transmit::Ping => Wire::Ping([0; 8]),
                    gateway::Transmit::Probe(payload) => panic!("a gateway asks {payload:?}"),
                    gateway::Transmit::Close { code, reason } => Wire::Close { code, reason },
                });
            }),
            (2, Some((_, ours))) => self.rig.peer.poll_transmit(ours).map(|transmit| {
                assert!(self.rig.peer.in_flight() <= WINDOW);
                self.down.push_back(match transmit {
                    Transmit::Text(text) => Wire::Text(text),
                    Transmit::Ping => Wire::Ping([0; 8]),
                    Transmit::Probe(payload) => Wire::Ping(payload),
                    Transmit::Close { code, reason } => Wire::Close { code, reason },
                });
            }),
            (3, Some((theirs, ours))) => self.up.pop_front().map(|wire| match wire {
                Wire::Text(text) => self.rig.peer.handle_message(ours, text.as_bytes(), now),
                Wire::Ping(payload) => {
                    self.rig.peer.handle_traffic(ours, now);
                    self.down.push_back(Wire::Pong(payload));
                }
                Wire::Pong(payload) => self.rig.peer.handle_pong(ours, &payload, now),
                Wire::Close { code, reason } => self.closed(theirs, ours, code, reason),
            }),
            (4, Some((theirs, ours))) => self.down.pop_front().map(|wire| match wire {
                Wire::Text(text) => self.gateway.handle_message(theirs, text.as_bytes(), now),
                Wire::Ping(payload) => {
                    self.gateway.handle_traffic(theirs, now);
                    self.up.push_back(Wire::Pong(payload));
                }
                Wire::Pong(_) => self.gateway.handle_traffic(theirs, now),
                Wire::Close { code, reason } => self.closed(theirs, ours, code, reason),
            }),
            (5, _) => self.gateway.poll_event().map(|event| {
                if let gateway::Event::Delivery(delivered) = event {
                    self.shown.push(delivered.content.raw().into());
                    self.held.push_back(delivered.id);
                }
            }),
            (6, _) => self.held.pop_front().map(|delivery| _ = self.gateway.ack(delivery, now)),
            (7, _) => {
                self.rig.now = now;
                let waits = self.rig.store.as_ref().is_some_and(|store| !store.appended.is_empty());
                waits.then(|| self.rig.commit(1))
            }
            _ => None,
        };
        self.settle();
        moved.is_some()
    }

    fn closed(&mut self, theirs: gateway::LinkId, ours: LinkId, code: u16, reason: &'static str) {
        let end = || LinkEnd::Closed { code: Some(code), reason: reason.into() };
        (self.up, self.down, self.link) = Default::default();
        self.gateway.handle_ended(theirs, end(), self.now);
        self.rig.peer.handle_ended(ours, end(), self.now);
    }

    /// Runs until everything that was accepted has been taken. The blow falls after `at` steps. Whether it did.
    fn run(&mut self, at: usize, blow: Blow, pace: &[usize]) -> bool {
        let (mut delivered, mut struck) = (0, false);
        for round in 0..100_000 {
            let mut moved = false;
            if delivered < EVENTS && round % 2 == 0 {
                let json = RawJson::parse(&format!("{{\"text\":\"{delivered}\"}}")).unwrap();
                let entry = match delivered % 5 {
                    4 => self.rig.peer.forward(&json, self.now),
                    _ => self.rig.peer.deliver(&json, self.now),
                };
                entry.unwrap();
                delivered += 1;
                moved = true;
                self.settle();
            }
            for kind in pace {
                moved |= self.step(*kind);
                self.steps += 1;
                if self.steps == at {
                    self.strike(blow);
                    struck = true;
                }
            }
            if moved {
                continue;
            }
            if delivered == EVENTS && self.rig.peer.buffered() == 0 {
                return struck;
            }
            let next =
                [self.gateway.poll_timeout().map(|next| next.at), self.rig.peer.poll_timeout().map(|next| next.at)];
            self.now.monotonic = next.into_iter().flatten().min().expect("something is due").max(self.now.monotonic);
            self.gateway.handle_timeout(self.now);
            self.rig.peer.handle_timeout(self.now);
            self.settle();
        }
        panic!("no end after {blow:?} at {at}: {:?} {:?}", self.gateway, self.rig.peer);
    }
}

/// The orders in which things move: everything at the same speed, a slow application, a slow store.
const PACES: [&[usize]; 3] = [
    &[0, 1, 2, 3, 4, 5, 6, 7],
    &[7, 0, 1, 2, 3, 4, 2, 4, 5, 1, 3, 5, 2, 4, 6],
    &[0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7],
];

/// Everything, in order, exactly once, whatever happened and whenever.
fn every_point(blow: Blow) {
    for pace in PACES {
        for at in 1.. {
            let mut world = World::new();
            let struck = world.run(at, blow, pace);
            let expected: Vec<String> = (0..EVENTS).map(|n| format!("{{\"text\":\"{n}\"}}")).collect();
            assert_eq!(world.shown, expected, "{blow:?} after {at} steps of {pace:?}");
            assert_eq!(world.rig.accepted.len(), EVENTS);
            assert!(world.rig.store.unwrap().durable.is_empty());
            if !struck {
                assert!(at > 100, "the run has more steps than that");
                break;
            }
        }
    }
}

// proves: CONN-3, CONN-7, ACK-4
#[test]
fn a_cut_at_any_point_loses_nothing_and_repeats_nothing() {
    every_point(Blow::Cut);
}

// proves: CONN-4, IDLE-2
#[test]
fn going_dormant_at_any_point_loses_nothing_and_repeats_nothing() {
    every_point(Blow::Dormant);
}

// proves: CONN-5
#[test]
fn a_new_link_at_any_point_loses_nothing_and_repeats_nothing() {
    every_point(Blow::Reconnect);
}

// proves: CONN-7
#[test]
fn a_crash_of_the_connector_at_any_point_loses_nothing_that_was_accepted() {
    for pace in PACES {
        for at in 1.. {
            let mut world = World::new();
            let struck = world.run(at, Blow::Crash, pace);
            let text = |n: usize| format!("{{\"text\":\"{n}\"}}");
            let expected: Vec<String> = (0..EVENTS).map(text).collect();
            // What was not accepted when the crash came may be gone: its caller was not told otherwise.
            assert!(world.shown.len() >= world.rig.accepted.len(), "after {at} steps: {:?}", world.shown);
            let mut rest = expected.iter();
            assert!(world.shown.iter().all(|shown| rest.any(|event| event == shown)), "in order, and once");
            if !struck {
                assert_eq!(world.shown, expected);
                break;
            }
        }
    }
}
