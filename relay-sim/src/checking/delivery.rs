//! The delivery protocol in a small world: one gateway, one connector with a store, and a network.
//!
//! Both machines are the real ones. The world holds what lies between and around them: frames under way, entries that
//! the store has and has not confirmed, what the application holds. Each move is one thing that can happen next;
//! everything that follows from it without a choice happens at once. Time passes only when a deadline fires.

mod bounds;
mod hosts;
mod moves;
mod network;
mod storage;

use std::collections::VecDeque;
use std::time::Duration;

use relay_proto::connector::{self, Backlog, EntryId, Peer, Settings};
use relay_proto::gateway::{self, Config, DeliveryId, Machine, State};
use relay_proto::time::Now;

pub use bounds::{Bounds, Move, Side};

use super::ledger::{DeliveryState, Ledger, Number};

/// Something under way.
#[derive(Clone, Debug)]
enum Item {
    /// The upgrade is accepted.
    Opened,
    Text(String),
    /// With a payload, of the connector's alone.
    Ping(Option<[u8; 8]>),
    /// With the payload of its ping.
    Pong(Option<[u8; 8]>),
    Close(u16, &'static str),
    /// The answer to a close frame.
    CloseEcho,
}

/// One link, or dial. A side that knows nothing of it, or nothing any more, has no id.
#[derive(Clone, Debug)]
struct Link {
    gateway: Option<gateway::LinkId>,
    connector: Option<connector::LinkId>,
    accepted: bool,
    to_gateway: VecDeque<Item>,
    to_connector: VecDeque<Item>,
    /// What the connector wrote to it, in order.
    sent: Vec<Number>,
    /// What the gateway received on it, in order.
    arrived: Vec<Number>,
    /// How many of those it acknowledged on it.
    acked: usize,
    /// Whether the gateway is idle on it.
    idle: bool,
    /// Whether the connector said that it delivers nothing more on it.
    stopped: bool,
}

/// What the store was asked to do, and has not.
#[derive(Clone, Debug)]
enum Task {
    Append(EntryId, String),
    Discard(EntryId),
}

/// The world.
#[derive(Clone, Debug)]
pub struct Delivery {
    bounds: Bounds,
    now: Now,
    gateway: Option<Machine>,
    connector: Option<Peer>,
    /// How many processes the connector had.
    epoch: u64,
    links: Vec<Link>,
    durable: Vec<(EntryId, String)>,
    tasks: VecDeque<Task>,
    held: Vec<(DeliveryId, Number)>,
    ledger: Ledger,
}

impl Delivery {
    /// A world in which both processes have just started.
    pub fn new(bounds: Bounds) -> Self {
        let mut world = Self {
            bounds,
            now: Now { monotonic: Duration::ZERO, unix: 1_800_000_000 },
            gateway: None,
            connector: None,
            epoch: 0,
            links: Vec::new(),
            durable: Vec::new(),
            tasks: VecDeque::new(),
            held: Vec::new(),
            ledger: Ledger::default(),
        };
        world.start_gateway();
        world.start_connector();
        world
    }

    fn start_gateway(&mut self) {
        let mut timing = gateway::Timing::default();
        // Whoever is silent for so long is cut off, and cuts are moves of their own.
        timing.ping_after = FOREVER - Duration::from_nanos(1);
        timing.lost_after = FOREVER;
        let config = Config::new("ws://127.0.0.1:1").identity("discord", "b").timing(timing);
        self.gateway = Some(Machine::new(config.build().unwrap(), 7, self.now));
    }

    fn start_connector(&mut self) {
        let mut timing = connector::Timing::default();
        timing.ping_after = FOREVER - Duration::from_nanos(1);
        timing.lost_after = FOREVER;
        timing.handshake = FOREVER;
        let mut limits = connector::Limits::default();
        limits.window = self.bounds.window;
        if !self.bounds.assumes_forwards_acked {
            timing.forward_patience = None;
            limits.forward_attempts = u32::MAX;
        }
        let settings = Settings::new(timing, limits).unwrap();
        self.epoch += 1;
        let first = self.durable.first().map_or(0, |(id, _)| id.seq());
        let next = self.durable.last().map_or(0, |(id, _)| id.seq() + 1);
        let backlog = Backlog::new(first..next, self.durable.len() as u64);
        self.connector = Some(Peer::stored(settings, self.epoch, backlog, self.now));
    }

    /// The next deadline of a side, if it is one that fires in this world.
    fn deadline(&self, side: Side) -> Option<Duration> {
        let near = self.now.monotonic + FOREVER / 2;
        let at = match side {
            Side::Gateway => {
                let slow = [gateway::Reason::Dial, gateway::Reason::Handshake];
                self.gateway.as_ref()?.poll_timeout().filter(|deadline| !slow.contains(&deadline.reason))?.at
            }
            Side::Connector => self.connector.as_ref()?.poll_timeout()?.at,
        };
        Some(at).filter(|at| *at < near)
    }

    fn fire(&mut self, side: Side) {
        let Some(at) = self.deadline(side) else { return };
        self.now.monotonic = self.now.monotonic.max(at);
        match (side, &mut self.gateway, &mut self.connector) {
            (Side::Gateway, Some(gateway), _) => gateway.handle_timeout(self.now),
            (Side::Connector, _, Some(connector)) => connector.handle_timeout(self.now),
            _ => {}
        }
    }

    /// Whether only another link can bring what is missing: something was given back, or the gateway is idle, and
    /// nothing else is left to happen (ACK-2, IDLE-1).
    fn needs_another_link(&self) -> bool {
        let quiet = self.links.iter().all(|link| link.to_gateway.is_empty() && link.to_connector.is_empty());
        let returned = self.ledger.lines.iter().any(|line| line.state == DeliveryState::Nacked);
        let idle = self.links.iter().any(|link| link.idle);
        quiet && self.held.is_empty() && self.tasks.is_empty() && (returned || idle) && self.is_ready()
    }

    fn is_ready(&self) -> bool {
        self.gateway.as_ref().is_some_and(|gateway| gateway.state() == State::Ready)
    }
}

const FOREVER: Duration = Duration::from_secs(1_000_000_000);

/// The number of the event that a payload or a frame is about.
fn named(text: &str) -> Option<Number> {
    let digits = text.split_once('~')?.1;
    digits.split_once('"')?.0.parse().ok()
}

/// A frame, for whoever reads a story.
fn short(frame: &str) -> String {
    let frame = frame.trim();
    frame.char_indices().nth(110).map_or_else(|| frame.to_owned(), |(at, _)| format!("{}…", &frame[..at]))
}
