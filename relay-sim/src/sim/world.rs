//! The world: its time, what is going to happen, and the loop that lets it happen.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use relay_proto::connector::{HelloId, OutboundId};
use relay_proto::gateway::{DeliveryId, RequestId};

use super::connector::Connector;
use super::coverage::{Coverage, Hard};
use super::gateway::Gateway;
use super::ledger::Ledger;
use super::network::{Conn, Tail, Way};
use super::plan::{Plan, Script};
use super::trace::Trace;
use super::{Check, Life, Nanos, SECOND, nanos, violated};

/// Something that is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ev {
    Op(usize),
    Fault(usize),
    /// A TCP connection comes about, or does not.
    Connected(usize),
    Unreachable(usize),
    Arrive(usize, Way),
    Room(usize, Way),
    /// The application of a gateway ends a delivery.
    Decide {
        gateway: usize,
        process: u32,
        delivery: DeliveryId,
    },
    Cancel {
        gateway: usize,
        process: u32,
        request: RequestId,
    },
    ReadEvents(usize),
    ReadConnector(usize),
    Describe {
        process: u32,
        gateway: usize,
        hello: HelloId,
    },
    Answer {
        process: u32,
        gateway: usize,
        outbound: OutboundId,
        success: bool,
    },
    /// A commit of the store ends.
    Store {
        process: u32,
    },
    Fetched {
        process: u32,
        gateway: usize,
    },
    /// The connector gives up waiting for the answer to a close frame that no peer knows of.
    HangUp(usize),
    Known(usize),
    Freeze(usize, Nanos),
    Wake(usize),
    CrashConnector(Nanos),
    Resume(usize),
    ResumeConnector,
    Start {
        gateway: usize,
        process: u32,
    },
    StartConnector {
        process: u32,
    },
    /// All faults are over.
    Heal,
    /// By now every gateway has found its way back.
    Recovered,
    /// By now every event has got through.
    Settled,
    /// By now everything is shut down.
    Over,
}

/// How long everything may take to find its way back, after the last fault; with the longest of all waits, times
/// [`LONGER`](super::plan::LONGER).
const RECOVERY: Nanos = 280 * SECOND;
/// How long what was given back may take.
const SETTLING: Nanos = 60 * SECOND;
/// How long shutting down may take, as [`RECOVERY`].
const ENDING: Nanos = 15 * SECOND;
/// More than any life needs.
const MAX_STEPS: u64 = 400_000;

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) plan: Plan,
    pub(super) script: Script,
    pub(super) now: Nanos,
    queue: BinaryHeap<Reverse<(Nanos, u64, Ev)>>,
    sequence: u64,
    pub(super) gateways: Vec<Gateway>,
    pub(super) connector: Connector,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) conns: Vec<Conn>,
    pub(super) coverage: Coverage,
    pub(super) trace: Trace,
    /// All is well from now on.
    pub(super) healed: bool,
    pub(super) ending: bool,
    /// Every request id that was ever given out, and those that were reported as not sent.
    pub(super) request_ids: BTreeSet<RequestId>,
    pub(super) not_sent: BTreeSet<String>,
}

impl World {
    pub(super) fn new(plan: &Plan, text: bool) -> Self {
        let seed = plan.seed;
        let mut script = Script::new(seed);
        script.shape.wire &= !plan.plain;
        let shape = &script.shape;
        let gateways = shape.gateways.iter().enumerate();
        let gateways: Vec<_> = gateways.map(|(index, own)| Gateway::new(index, seed, own.clone(), shape)).collect();
        let connector = Connector::new(seed, shape);
        let ledgers = gateways.iter().map(|_| Ledger::default()).collect();
        Self {
            seed,
            plan: plan.clone(),
            now: SECOND,
            queue: BinaryHeap::new(),
            sequence: 0,
            gateways,
            connector,
            ledgers,
            conns: Vec::new(),
            coverage: Coverage::default(),
            trace: Trace::new(text),
            healed: false,
            ending: false,
            request_ids: BTreeSet::new(),
            not_sent: BTreeSet::new(),
            script,
        }
    }

    pub(super) fn into_life(mut self, end: Check) -> Life {
        if let Err(violation) = &end {
            self.trace.note(self.now, "VIOLATION", 0, 0, || violation.to_string());
        }
        let (hash, entries, lasted) = (self.trace.hash(), self.trace.entries(), self.now);
        Life { coverage: self.coverage, hash, entries, lasted, text: self.trace.into_text(), end }
    }

    pub(super) fn at(&mut self, at: Nanos, ev: Ev) {
        self.sequence += 1;
        self.queue.push(Reverse((at.max(self.now), self.sequence, ev)));
    }

    pub(super) fn after(&mut self, time: Nanos, ev: Ev) {
        self.at(self.now + time, ev);
    }

    /// When all faults are over.
    pub(super) fn healed_at(&self) -> Nanos {
        SECOND + self.script.shape.active
    }

    pub(super) fn note(&mut self, what: &str, whom: usize, which: u64, detail: impl FnOnce() -> String) {
        self.trace.note(self.now, what, whom as u64, which, detail);
    }

    pub(super) fn run(&mut self) -> Check {
        let seed = self.seed;
        let shape = self.script.shape.clone();
        self.note("shape", 0, seed, || format!("{shape:#?}"));
        if shape.wire {
            self.coverage.hit(Hard::OverWebSocket);
        }
        if shape.gateways.len() > 1 {
            self.coverage.hit(Hard::Several);
        }
        let ops: Vec<_> = self.script.ops.iter().enumerate().map(|(index, step)| (index, step.at)).collect();
        for (index, at) in ops.into_iter().filter(|(index, _)| self.plan.ops.has(*index)).collect::<Vec<_>>() {
            self.at(SECOND + at, Ev::Op(index));
        }
        let faults: Vec<_> = self.script.faults.iter().enumerate().map(|(index, step)| (index, step.at)).collect();
        for (index, at) in faults.into_iter().filter(|(index, _)| self.plan.faults.has(*index)).collect::<Vec<_>>() {
            self.at(SECOND + at, Ev::Fault(index));
        }
        self.start_connector()?;
        for gateway in 0..self.gateways.len() {
            self.at(SECOND + shape.gateways[gateway].known_from, Ev::Known(gateway));
            self.at(SECOND, Ev::Start { gateway, process: 0 });
        }
        self.at(self.healed_at(), Ev::Heal);
        for _ in 0..MAX_STEPS {
            let deadline = self.next_deadline();
            let queued = self.queue.peek().map(|Reverse((at, ..))| *at);
            let first = match (deadline, queued) {
                (Some((at, _)), Some(queued)) => at < queued || at == queued && shape.deadlines_first,
                (deadline, _) => deadline.is_some(),
            };
            if let Some((at, whose)) = deadline.filter(|_| first) {
                self.now = self.now.max(at);
                match whose {
                    Whose::Gateway(gateway) => self.gateway_timeout(gateway)?,
                    Whose::Peer(gateway) => self.peer_timeout(gateway)?,
                }
                continue;
            }
            let Some(Reverse((at, _, ev))) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            if ev == Ev::Over {
                return self.over();
            }
            self.happen(ev)?;
        }
        violated("LIVELOCK", format!("no end after {MAX_STEPS} steps, at {} s", self.now / SECOND))
    }

    fn next_deadline(&self) -> Option<(Nanos, Whose)> {
        let gateways = self.gateways.iter().filter(|gateway| gateway.is_awake());
        let gateways = gateways.filter_map(|gateway| Some((gateway.deadline?, Whose::Gateway(gateway.index))));
        let peers = self.connector.peers.iter().enumerate().filter(|_| self.connector.is_awake());
        let peers = peers.filter_map(|(index, peer)| Some((peer.deadline?, Whose::Peer(index))));
        gateways.chain(peers).min()
    }

    fn happen(&mut self, ev: Ev) -> Check {
        match ev {
            Ev::Op(index) => self.do_op(index),
            Ev::Fault(index) => self.do_fault(index),
            Ev::Connected(conn) => self.tcp_connected(conn),
            Ev::Unreachable(conn) => self.tcp_unreachable(conn),
            Ev::Arrive(conn, way) => self.arrive(conn, way),
            Ev::Room(conn, way) => self.arrive(conn, way.back()),
            Ev::Decide { gateway, process, delivery } => self.decide(gateway, process, delivery),
            Ev::Cancel { gateway, process, request } => self.cancel(gateway, process, request),
            Ev::ReadEvents(gateway) => self.resume_reading(gateway),
            Ev::ReadConnector(gateway) => self.resume_connector_reading(gateway),
            Ev::Describe { process, gateway, hello } => self.describe(process, gateway, hello),
            Ev::Answer { process, gateway, outbound, success } => self.answer(process, gateway, outbound, success),
            Ev::Store { process } => self.store_works(process),
            Ev::Fetched { process, gateway } => self.store_reads(process, gateway),
            Ev::HangUp(conn) => {
                self.close_server(conn);
                Ok(())
            }
            Ev::Known(gateway) => {
                self.make_known(gateway);
                Ok(())
            }
            Ev::Freeze(gateway, time) => self.suspend_gateway(gateway, time),
            Ev::Wake(gateway) if !self.gateways[gateway].is_awake() => Ok(()),
            Ev::Wake(gateway) => {
                self.wake(gateway)?;
                self.run_gateway(gateway)
            }
            Ev::CrashConnector(delay) => self.crash_connector(delay),
            Ev::Resume(gateway) => self.resume_gateway(gateway),
            Ev::ResumeConnector => self.resume_connector(),
            Ev::Start { gateway, process } => self.start_gateway(gateway, process),
            Ev::StartConnector { process } if process == self.connector.process => self.start_connector(),
            Ev::StartConnector { .. } => Ok(()),
            Ev::Heal => self.heal(),
            Ev::Recovered => self.recovered(),
            Ev::Settled => self.settled(),
            Ev::Over => Ok(()),
        }
    }

    // ── bytes ────────────────────────────────────────────────────────────

    /// Writes what waits at one end of a connection, as far as there is room. Whether any of it was.
    pub(super) fn write(&mut self, index: usize, way: Way) -> bool {
        let now = self.now;
        let (writer, pipe) = self.conns[index].writer(way);
        let Some(end) = writer else { return false };
        if end.transmit().is_empty() {
            return false;
        }
        if pipe.fails(now) {
            end.handle_write_error();
            return false;
        }
        let count = end.transmit().len().min(pipe.room());
        pipe.blocked = count < end.transmit().len();
        let blocked = pipe.blocked;
        if count > 0 {
            let before = pipe.next();
            pipe.write(&end.transmit()[..count], now);
            end.consume(count);
            let next = pipe.next();
            if before.is_none()
                && let Some(at) = next
            {
                self.at(at, Ev::Arrive(index, way));
            }
        }
        if blocked {
            self.coverage.hit(Hard::Blocked);
        }
        count > 0
    }

    /// Something of the network's doing is due on a connection: whoever reads there, reads.
    fn arrive(&mut self, index: usize, way: Way) -> Check {
        match way {
            Way::Up => self.run_connector_conn(index),
            Way::Down => {
                let gateway = self.conns[index].gateway;
                if self.gateways[gateway].conn == Some(index) { self.run_gateway(gateway) } else { Ok(()) }
            }
        }
    }

    /// The next bytes that an end reads, or the end of them.
    pub(super) fn read(&mut self, index: usize, way: Way) -> Option<Read> {
        let now = self.now;
        let pipe = self.conns[index].pipe(way);
        if let Some(bytes) = pipe.take(now) {
            if std::mem::take(&mut pipe.blocked) {
                let latency = pipe.latency();
                self.after(latency, Ev::Room(index, way));
            }
            let conn = &self.conns[index];
            if way == Way::Down && super::network::is_inside(&conn.ends_down, conn.down.read) {
                self.coverage.hit(Hard::InFrame);
            }
            // What arrives later than this was told when it was written, or is told when this is read.
            if let Some(at) = self.conns[index].pipe(way).next().filter(|at| *at > now) {
                self.at(at, Ev::Arrive(index, way));
            }
            return Some(Read::Bytes(bytes));
        }
        pipe.take_tail(now).map(Read::Tail)
    }
}

/// What an end of a connection reads.
pub(super) enum Read {
    Bytes(Vec<u8>),
    Tail(Tail),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Gateway(usize),
    Peer(usize),
}

/// The last part of a life, in which nothing goes wrong any more.
impl World {
    fn heal(&mut self) -> Check {
        self.note("heal", 0, 0, String::new);
        self.healed = true;
        self.heal_connector()?;
        for gateway in 0..self.gateways.len() {
            self.heal_gateway(gateway)?;
        }
        for index in 0..self.conns.len() {
            let now = self.now;
            for way in [Way::Up, Way::Down] {
                let pipe = self.conns[index].pipe(way);
                pipe.resume(now);
                if let Some(at) = pipe.next() {
                    self.at(at, Ev::Arrive(index, way));
                }
            }
        }
        self.after(RECOVERY * self.script.shape.slowness(), Ev::Recovered);
        Ok(())
    }

    fn recovered(&mut self) -> Check {
        self.note("recovered", 0, 0, String::new);
        for gateway in 0..self.gateways.len() {
            self.gateway_recovered(gateway)?;
        }
        let left = self.ledgers.iter().map(|ledger| ledger.kept().count() as u64).max().unwrap_or(0);
        // How long a forward may take that nobody acknowledges.
        let forward = self.script.shape.timing.forward_patience.map_or(0, nanos) + SECOND * 2;
        self.after(SETTLING * self.script.shape.slowness() + left * forward, Ev::Settled);
        Ok(())
    }

    fn settled(&mut self) -> Check {
        self.note("settled", 0, 0, String::new);
        for gateway in 0..self.gateways.len() {
            self.ledgers[gateway].is_settled()?;
            self.peer_settled(gateway)?;
        }
        self.ending = true;
        for gateway in 0..self.gateways.len() {
            self.end_gateway(gateway)?;
        }
        self.after(ENDING * self.script.shape.slowness(), Ev::Over);
        Ok(())
    }

    fn over(&mut self) -> Check {
        self.note("over", 0, 0, String::new);
        for gateway in 0..self.gateways.len() {
            self.gateway_over(gateway)?;
        }
        self.connector_over()
    }
}
