//! The delivery protocol in a small world: one gateway, one connector with a store, and a network.
//!
//! Both machines are the real ones. The world holds what lies between and around them: frames under way, entries that
//! the store has and has not confirmed, what the application holds. Each move is one thing that can happen next;
//! everything that follows from it without a choice happens at once. Time passes only when a deadline fires.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use relay_proto::connector::{self, Backlog, EntryId, Fetch, Peer, Settings};
use relay_proto::end::LinkEnd;
use relay_proto::frame::{Descriptor, RawJson};
use relay_proto::gateway::{self, Config, DeliveryId, Machine, State};
use relay_proto::time::Now;

use super::checker::{Notes, World};
use super::fingerprint;
use super::ledger::{Fate, Ledger, Number, rule};

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events: a message, a passthrough forward, a message, and so on.
    pub events: usize,
    /// The connector's window.
    pub window: usize,
    /// How often a link is cut, or a dial fails.
    pub cuts: u8,
    /// How often the gateway's process crashes.
    pub gateway_crashes: u8,
    /// How often the connector's process crashes.
    pub connector_crashes: u8,
    /// How often the application gives back or drops what it holds.
    pub returns: u8,
    /// How often the store refuses an entry.
    pub refusals: u8,
    /// How often the gateway goes idle, or dormant.
    pub idles: u8,
    /// How often the gateway shuts down in order.
    pub closes: u8,
    /// Whether forwards that are not acknowledged for long are presumed taken: the default of the connector.
    pub presumes_forwards: bool,
}

impl Bounds {
    /// No fault at all.
    pub fn peaceful(events: usize, window: usize) -> Self {
        Self {
            events,
            window,
            cuts: 0,
            gateway_crashes: 0,
            connector_crashes: 0,
            returns: 0,
            refusals: 0,
            idles: 0,
            closes: 0,
            presumes_forwards: false,
        }
    }
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Gateway,
    /// The server.
    Connector,
}

/// One thing that can happen. Links are named by their place among those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The connector's application gives the next event.
    Give,
    /// The store has done the oldest of what it was asked, durably, and says so.
    Store,
    /// The store refuses to take an entry.
    RefuseEntry,
    /// The connector accepts the upgrade of the dial.
    Accept(usize),
    /// The oldest thing under way to this side arrives.
    Arrive(usize, Side),
    /// This side finds the link lost, with everything that was under way to it.
    Lose(usize, Side),
    /// The application takes a delivery that it holds.
    Take(usize),
    /// It gives one back.
    GiveBack(usize),
    /// It drops one.
    Drop(usize),
    /// It calls for another link.
    Reconnect,
    /// It goes idle.
    GoIdle,
    /// It goes dormant.
    GoDormant,
    /// It shuts down.
    Close,
    /// The next deadline of this side passes.
    Deadline(Side),
    /// The process of this side is gone.
    Crash(Side),
    /// The connector's process is gone, and the store had just done the oldest of what it was asked.
    CrashBehindStore,
    /// The process of this side starts anew.
    Start(Side),
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Something under way.
#[derive(Clone, Debug)]
enum Item {
    /// The upgrade is accepted.
    Opened,
    Text(String),
    Ping,
    Pong,
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

/// What stays as it is, or only counts.
const WITHOUT: [&str; 3] = ["settings", "stats", "descriptors"];

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
        timing.ping_after = FOREVER;
        timing.lost_after = FOREVER;
        let config = Config::new("ws://127.0.0.1:1").identity("discord", "b").timing(timing);
        self.gateway = Some(Machine::new(config.build().unwrap(), 7, self.now));
    }

    fn start_connector(&mut self) {
        let mut timing = connector::Timing::default();
        timing.ping_after = FOREVER;
        timing.lost_after = FOREVER;
        timing.handshake = FOREVER;
        let mut limits = connector::Limits::default();
        limits.window = self.bounds.window;
        if !self.bounds.presumes_forwards {
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

    // ── what follows by itself ───────────────────────────────────────────

    /// Both hosts do what their machines say, until neither says anything.
    fn settle(&mut self, notes: &mut Notes) -> Result<(), String> {
        while self.run_gateway(notes)? || self.run_connector(notes)? {}
        self.links.retain(|link| link.gateway.is_some() || link.connector.is_some());
        for link in &mut self.links {
            if link.gateway.is_none() {
                link.to_gateway.clear();
            }
            if link.connector.is_none() && (link.accepted || link.gateway.is_none()) {
                link.to_connector.clear();
            }
        }
        self.check_window()
    }

    /// CONN-3, counted from outside: what a crash would repeat.
    fn check_window(&self) -> Result<(), String> {
        let carried = self.ledger.lines.iter().filter(|line| line.carried && self.is_durable(line.entry)).count();
        rule(carried <= self.bounds.window, "CONN-3: more than a window is unacknowledged")
    }

    fn is_durable(&self, entry: EntryId) -> bool {
        self.durable.iter().any(|(id, _)| *id == entry)
    }

    fn run_gateway(&mut self, notes: &mut Notes) -> Result<bool, String> {
        let Some(gateway) = &mut self.gateway else { return Ok(false) };
        let mut busy = false;
        while let Some(output) = gateway.poll_output() {
            busy = true;
            match output {
                gateway::Output::Dial(dial) => {
                    notes.tell(|| "     gateway dials".to_owned());
                    rule(self.links.iter().all(|link| link.gateway.is_none()), "DIAL-5: a second link or dial")?;
                    self.links.push(Link {
                        gateway: Some(dial.link),
                        connector: None,
                        accepted: false,
                        to_gateway: VecDeque::new(),
                        to_connector: VecDeque::new(),
                        sent: Vec::new(),
                        arrived: Vec::new(),
                        acked: 0,
                        idle: false,
                        stopped: false,
                    });
                }
                gateway::Output::Drop(id) => {
                    notes.tell(|| "     gateway drops the link".to_owned());
                    self.links.iter_mut().filter(|l| l.gateway == Some(id)).for_each(|l| l.gateway = None);
                }
                _ => {}
            }
        }
        while let Some(event) = gateway.next_event() {
            busy = true;
            let (delivery, raw) = match &event {
                gateway::Event::Message(message) => (message.id, message.payload.raw()),
                gateway::Event::Passthrough(forward) => (forward.id, forward.payload.raw.as_str()),
                gateway::Event::Idle => {
                    self.links.iter_mut().filter(|link| link.gateway.is_some()).for_each(|link| link.idle = true);
                    continue;
                }
                _ => continue,
            };
            let number = named(raw).ok_or("a delivery out of nowhere")?;
            let first = self.ledger.show(number)?;
            notes.tell(|| format!("     application is shown event {number}"));
            notes.mark(if first { "event shown" } else { "event shown again, after it was given back" });
            self.held.push((delivery, number));
        }
        let Some(link) = self.links.iter_mut().find(|link| link.gateway.is_some()) else { return Ok(busy) };
        while let Some(id) = link.gateway
            && let Some(transmit) = gateway.poll_transmit(id)
        {
            busy = true;
            let item = match transmit {
                gateway::Transmit::Text(frame) => {
                    if let Some(entry) = acked(&frame) {
                        let number = self.ledger.number(entry)?;
                        let due = link.arrived.get(link.acked) == Some(&number);
                        rule(due, "ACK-1 to ACK-3: an ack that is not the next that this link owes")?;
                        rule(self.ledger.lines[number].fate == Fate::Taken, "ACK-1: an ack of what was not taken")?;
                        link.acked += 1;
                    }
                    notes.tell(|| format!("     gateway writes {}", short(&frame)));
                    Item::Text(frame)
                }
                gateway::Transmit::Ping => Item::Ping,
                gateway::Transmit::Close { code, reason } => {
                    notes.tell(|| format!("     gateway closes with {code} {reason}"));
                    Item::Close(code, reason)
                }
                other => return Err(format!("unknown: {other:?}")),
            };
            if link.connector.is_some() {
                link.to_connector.push_back(item);
            }
        }
        Ok(busy)
    }

    fn run_connector(&mut self, notes: &mut Notes) -> Result<bool, String> {
        let Some(connector) = &mut self.connector else { return Ok(false) };
        let mut busy = false;
        let now = self.now;
        while let Some(output) = connector.poll_output() {
            busy = true;
            match output {
                connector::Output::Hello { hello, identity } => {
                    // Refused only when the link went meanwhile.
                    let _ = connector.describe(hello, &Descriptor::new(identity.platform), now);
                }
                connector::Output::Accepted(entry) => {
                    let durable = self.durable.iter().any(|(id, _)| *id == entry);
                    self.ledger.accept(entry, durable)?;
                }
                connector::Output::Drop(id) => {
                    notes.tell(|| "     connector drops the link".to_owned());
                    self.links.iter_mut().filter(|l| l.connector == Some(id)).for_each(|l| l.connector = None);
                }
                connector::Output::Append { entry, frame } => {
                    self.tasks.push_back(Task::Append(entry, frame.to_string()));
                }
                connector::Output::Discard(entry) => self.tasks.push_back(Task::Discard(entry)),
                connector::Output::Fetch(fetch) => {
                    notes.mark("entries fetched from the store");
                    connector.handle_fetched(read(&self.durable, fetch), now);
                }
                _ => {}
            }
        }
        while let Some(event) = connector.next_event() {
            busy = true;
            match event {
                connector::Event::Acked(entry) => {
                    self.ledger.leave(entry)?;
                    notes.mark("entry acknowledged");
                }
                connector::Event::Presumed(entry) | connector::Event::GivenUp(entry) => {
                    self.ledger.presume(entry)?;
                    notes.mark("forward presumed taken, or given up");
                }
                _ => {}
            }
        }
        for link in &mut self.links {
            let Some(id) = link.connector else { continue };
            while let Some(transmit) = connector.poll_transmit(id) {
                busy = true;
                let item = match transmit {
                    connector::Transmit::Text(frame) => {
                        link.stopped |= frame.contains(r#""type":"going_idle_ack""#);
                        if let Some(number) = named(&frame) {
                            rule(!link.stopped, "CONN-4: a delivery behind the ack of going idle")?;
                            let durable = self.durable.iter().any(|(_, stored)| *stored == frame);
                            if self.ledger.lines[number].taken {
                                notes.mark("taken event sent again");
                            }
                            self.ledger.carry(number, durable)?;
                            rule(link.sent.last().is_none_or(|last| *last < number), "CONN-3: sent out of order")?;
                            link.sent.push(number);
                        }
                        notes.tell(|| format!("     connector writes {}", short(&frame)));
                        Item::Text(frame)
                    }
                    connector::Transmit::Ping => Item::Ping,
                    connector::Transmit::Close { code, reason } => {
                        notes.tell(|| format!("     connector closes with {code} {reason}"));
                        Item::Close(code, reason)
                    }
                    other => return Err(format!("unknown: {other:?}")),
                };
                if link.gateway.is_some() {
                    link.to_gateway.push_back(item);
                }
            }
        }
        Ok(busy)
    }

    // ── what arrives ─────────────────────────────────────────────────────

    fn arrive_at_gateway(&mut self, at: usize, notes: &mut Notes) {
        let now = self.now;
        let link = &mut self.links[at];
        let (Some(item), Some(gateway)) = (link.to_gateway.pop_front(), &mut self.gateway) else { return };
        let Some(id) = link.gateway else { return };
        match item {
            Item::Opened => gateway.handle_opened(id, now),
            Item::Text(frame) => {
                if let Some(number) = named(&frame) {
                    link.arrived.push(number);
                }
                notes.tell(|| format!("     arrives: {}", short(&frame)));
                gateway.handle_message(id, frame.as_bytes(), now);
            }
            Item::Ping => {
                gateway.handle_traffic(id, now);
                link.to_connector.push_back(Item::Pong);
            }
            Item::Pong => gateway.handle_traffic(id, now),
            Item::Close(code, reason) => {
                link.gateway = None;
                link.to_connector.push_back(Item::CloseEcho);
                gateway.handle_ended(id, LinkEnd::Closed { code: Some(code), reason: reason.into() }, now);
            }
            Item::CloseEcho => {
                link.gateway = None;
                gateway.handle_ended(id, LinkEnd::Closed { code: Some(1000), reason: String::new() }, now);
            }
        }
    }

    fn arrive_at_connector(&mut self, at: usize, notes: &mut Notes) {
        let now = self.now;
        let link = &mut self.links[at];
        let (Some(item), Some(connector)) = (link.to_connector.pop_front(), &mut self.connector) else { return };
        let Some(id) = link.connector else { return };
        match item {
            Item::Opened => {}
            Item::Text(frame) => {
                notes.tell(|| format!("     arrives: {}", short(&frame)));
                connector.handle_message(id, frame.as_bytes(), now);
            }
            Item::Ping => {
                connector.handle_traffic(id, now);
                link.to_gateway.push_back(Item::Pong);
            }
            Item::Pong => connector.handle_traffic(id, now),
            Item::Close(code, reason) => {
                link.connector = None;
                link.to_gateway.push_back(Item::CloseEcho);
                connector.handle_ended(id, LinkEnd::Closed { code: Some(code), reason: reason.into() }, now);
            }
            Item::CloseEcho => {
                link.connector = None;
                connector.handle_ended(id, LinkEnd::Closed { code: Some(1000), reason: String::new() }, now);
            }
        }
    }

    fn lose(&mut self, at: usize, side: Side) {
        let now = self.now;
        let lost = || LinkEnd::Lost { detail: String::new() };
        let link = &mut self.links[at];
        match side {
            Side::Gateway => {
                if let (Some(id), Some(gateway)) = (link.gateway.take(), &mut self.gateway) {
                    gateway.handle_ended(id, lost(), now);
                }
            }
            Side::Connector => {
                if let (Some(id), Some(connector)) = (link.connector.take(), &mut self.connector) {
                    connector.handle_ended(id, lost(), now);
                }
            }
        }
    }

    // ── processes and the store ──────────────────────────────────────────

    fn end_gateway(&mut self) {
        self.gateway = None;
        self.held.clear();
        self.ledger.gateway_ended();
        self.links.iter_mut().for_each(|link| link.gateway = None);
    }

    fn end_connector(&mut self) {
        self.connector = None;
        self.tasks.clear();
        let durable = &self.durable;
        self.ledger.connector_ended(|entry| durable.iter().any(|(id, _)| *id == entry));
        self.links.iter_mut().for_each(|link| link.connector = None);
    }

    fn do_task(&mut self) -> Option<Task> {
        let task = self.tasks.pop_front()?;
        match &task {
            Task::Append(entry, frame) => self.durable.push((*entry, frame.clone())),
            Task::Discard(entry) => self.durable.retain(|(id, _)| id != entry),
        }
        Some(task)
    }

    fn store(&mut self) {
        let now = self.now;
        match (self.do_task(), &mut self.connector) {
            (Some(Task::Append(entry, _)), Some(connector)) => connector.handle_stored(entry, now),
            (Some(Task::Discard(entry)), Some(connector)) => connector.handle_discarded(entry, now),
            _ => {}
        }
    }

    fn refuse_entry(&mut self) -> Result<(), String> {
        let now = self.now;
        if let (Some(Task::Append(entry, _)), Some(connector)) = (self.tasks.pop_front(), &mut self.connector) {
            let number = self.ledger.number(entry)?;
            self.ledger.lines[number].void = true;
            connector.handle_not_stored(entry, now);
        }
        Ok(())
    }

    fn give(&mut self) -> Result<(), String> {
        let number = self.ledger.lines.len();
        let Some(connector) = &mut self.connector else { return Ok(()) };
        let event = if number % 2 == 1 {
            connector.forward(&raw(&format!(r#"{{"method":"POST","path":"~{number}"}}"#)), self.now)
        } else {
            let source = r#"{"platform":"discord","chat_id":"c"}"#;
            let event = format!(r#"{{"text":"~{number}","message_id":"m{number}","source":{source}}}"#);
            connector.deliver(&raw(&event), self.now)
        };
        self.ledger.given(event.map_err(|refused| format!("refused: {refused}"))?);
        Ok(())
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
        let returned = self.ledger.lines.iter().any(|line| line.fate == Fate::Returned);
        let idle = self.links.iter().any(|link| link.idle);
        quiet && self.held.is_empty() && self.tasks.is_empty() && (returned || idle) && self.is_ready()
    }

    fn is_ready(&self) -> bool {
        self.gateway.as_ref().is_some_and(|gateway| gateway.state() == State::Ready)
    }
}

const FOREVER: Duration = Duration::from_secs(1_000_000_000);

fn raw(text: &str) -> RawJson {
    RawJson::parse(text).unwrap()
}

/// The number of the event that a payload or a frame is about.
fn named(text: &str) -> Option<Number> {
    let digits = text.split_once('~')?.1;
    digits.split_once('"')?.0.parse().ok()
}

/// The entry that a frame acknowledges.
fn acked(frame: &str) -> Option<EntryId> {
    let id = frame.trim().strip_prefix(r#"{"type":"inbound_ack","bufferId":""#)?.strip_suffix("\"}")?;
    EntryId::parse(id)
}

/// What a store answers.
fn read(durable: &[(EntryId, String)], fetch: Fetch) -> Vec<(EntryId, String)> {
    let range = fetch.from..fetch.until;
    durable.iter().filter(|(id, _)| range.contains(&id.seq())).take(fetch.count).cloned().collect()
}

/// A frame, for whoever reads a story.
fn short(frame: &str) -> String {
    let frame = frame.trim();
    frame.char_indices().nth(110).map_or_else(|| frame.to_owned(), |(at, _)| format!("{}…", &frame[..at]))
}

fn take_one(budget: &mut u8) {
    *budget -= 1;
}

impl World for Delivery {
    type Move = Move;

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut add = |possible: bool, step: Move| {
            if possible {
                moves.push(step);
            }
        };
        let bounds = &self.bounds;
        let gateway = self.gateway.as_ref().map(Machine::state);
        add(self.connector.is_some() && self.ledger.lines.len() < bounds.events, Move::Give);
        add(!self.tasks.is_empty(), Move::Store);
        add(bounds.refusals > 0 && matches!(self.tasks.front(), Some(Task::Append(..))), Move::RefuseEntry);
        for (at, link) in self.links.iter().enumerate() {
            let dialled = !link.accepted && link.gateway.is_some();
            add(dialled && self.connector.is_some(), Move::Accept(at));
            add(link.gateway.is_some() && !link.to_gateway.is_empty(), Move::Arrive(at, Side::Gateway));
            add(link.connector.is_some() && !link.to_connector.is_empty(), Move::Arrive(at, Side::Connector));
            let whole = link.gateway.is_some() && (link.connector.is_some() || dialled);
            add(link.gateway.is_some() && (!whole || bounds.cuts > 0), Move::Lose(at, Side::Gateway));
            add(link.connector.is_some() && (!whole || bounds.cuts > 0), Move::Lose(at, Side::Connector));
        }
        for at in 0..self.held.len() {
            add(true, Move::Take(at));
            add(bounds.returns > 0, Move::GiveBack(at));
            add(bounds.returns > 0, Move::Drop(at));
        }
        add(self.needs_another_link(), Move::Reconnect);
        add(bounds.idles > 0 && self.is_ready(), Move::GoIdle);
        add(bounds.idles > 0 && self.is_ready(), Move::GoDormant);
        add(bounds.closes > 0 && gateway.is_some(), Move::Close);
        add(self.deadline(Side::Gateway).is_some(), Move::Deadline(Side::Gateway));
        add(self.deadline(Side::Connector).is_some(), Move::Deadline(Side::Connector));
        add(bounds.gateway_crashes > 0 && gateway.is_some(), Move::Crash(Side::Gateway));
        add(bounds.connector_crashes > 0 && self.connector.is_some(), Move::Crash(Side::Connector));
        let storing = self.connector.is_some() && !self.tasks.is_empty();
        add(bounds.connector_crashes > 0 && storing, Move::CrashBehindStore);
        add(gateway.is_none_or(State::is_terminal), Move::Start(Side::Gateway));
        add(self.connector.is_none(), Move::Start(Side::Connector));
        moves
    }

    fn apply(&mut self, step: Move, notes: &mut Notes) -> Result<(), String> {
        let now = self.now;
        match step {
            Move::Give => self.give()?,
            Move::Store => self.store(),
            Move::RefuseEntry => {
                take_one(&mut self.bounds.refusals);
                self.refuse_entry()?;
            }
            Move::Accept(at) => {
                let link = &mut self.links[at];
                link.accepted = true;
                link.connector = self.connector.as_mut().map(|connector| connector.handle_opened(now));
                link.to_gateway.push_back(Item::Opened);
            }
            Move::Arrive(at, Side::Gateway) => self.arrive_at_gateway(at, notes),
            Move::Arrive(at, Side::Connector) => self.arrive_at_connector(at, notes),
            Move::Lose(at, side) => {
                if self.is_fault(step) {
                    take_one(&mut self.bounds.cuts);
                }
                self.lose(at, side);
            }
            Move::Take(at) | Move::GiveBack(at) | Move::Drop(at) => {
                let (delivery, number) = self.held.remove(at);
                let Some(gateway) = &mut self.gateway else { return Ok(()) };
                let held = match step {
                    Move::Take(_) => {
                        self.ledger.take(number);
                        gateway.ack(delivery, now)
                    }
                    Move::GiveBack(_) => gateway.give_back(delivery, now),
                    _ => {
                        gateway.drop_delivery(delivery, now);
                        true
                    }
                };
                rule(held, "ACK-6: the machine does not know what the application holds")?;
                if !matches!(step, Move::Take(_)) {
                    take_one(&mut self.bounds.returns);
                    self.ledger.lines[number].fate = Fate::Returned;
                }
            }
            Move::Reconnect => self.gateway.iter_mut().for_each(|gateway| gateway.reconnect(now)),
            Move::GoIdle | Move::GoDormant => {
                take_one(&mut self.bounds.idles);
                if let Some(gateway) = &mut self.gateway {
                    let _ = if step == Move::GoIdle { gateway.go_idle(now) } else { gateway.go_dormant(now) };
                }
            }
            Move::Close => {
                take_one(&mut self.bounds.closes);
                self.gateway.iter_mut().for_each(|gateway| gateway.close(now));
            }
            Move::Deadline(side) => self.fire(side),
            Move::Crash(Side::Gateway) => {
                take_one(&mut self.bounds.gateway_crashes);
                self.end_gateway();
            }
            Move::Crash(Side::Connector) => {
                take_one(&mut self.bounds.connector_crashes);
                self.end_connector();
            }
            Move::CrashBehindStore => {
                take_one(&mut self.bounds.connector_crashes);
                self.do_task();
                self.end_connector();
            }
            Move::Start(Side::Gateway) => {
                self.end_gateway();
                self.start_gateway();
            }
            Move::Start(Side::Connector) => self.start_connector(),
        }
        self.settle(notes)
    }

    fn fingerprint(&self) -> u128 {
        fingerprint::of(self, &WITHOUT)
    }

    fn is_fault(&self, step: Move) -> bool {
        match step {
            Move::Lose(at, _) => {
                let link = &self.links[at];
                link.gateway.is_some() && (link.connector.is_some() || !link.accepted)
            }
            Move::RefuseEntry
            | Move::GiveBack(_)
            | Move::Drop(_)
            | Move::GoIdle
            | Move::GoDormant
            | Move::Close
            | Move::Crash(_)
            | Move::CrashBehindStore => true,
            _ => false,
        }
    }

    fn is_settled(&self) -> bool {
        let given = self.ledger.lines.len() == self.bounds.events;
        let empty = self.durable.is_empty() && self.tasks.is_empty() && self.held.is_empty();
        let buffered = self.connector.as_ref().is_none_or(|connector| connector.buffered() > 0);
        given && empty && !buffered && self.ledger.is_kept() && self.is_ready()
    }
}
