//! One gateway: what the world knows of it, and the life of its process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use relay_proto::gateway::{Config, DeliveryId, IdleId, LinkId, Machine, RequestId, Settings, State};
use relay_proto::target::Target;
use relay_proto::time::Now;
use relay_proto::token::Secret;

use super::clock::Clock;
use super::coverage::Hard;
use super::judge::{Dials, Refusals, Waits};
use super::network::Conn;
use super::plan::{GatewayShape, Shape, mix};
use super::world::{Ev, World};
use super::{Check, Nanos, SECOND, violated};

const URL: &str = "ws://127.0.0.1:9";

/// One gateway.
pub(super) struct Gateway {
    pub(super) index: usize,
    pub(super) seed: u64,
    pub(super) shape: GatewayShape,
    pub(super) target: Target,
    pub(super) wire: bool,
    /// `None` while its process is down.
    pub(super) machine: Option<Machine>,
    pub(super) process: u32,
    pub(super) clock: Clock,
    pub(super) suspended: Option<Nanos>,
    /// The number of the secret that the process was started with, and of the next one's.
    pub(super) secret: u32,
    pub(super) next_secret: u32,
    pub(super) conn: Option<usize>,
    /// When the machine wants to be called next, in the world's time.
    pub(super) deadline: Option<Nanos>,
    /// The machine freezes during its next dials: how late, and for how long.
    pub(super) freezes: Vec<(Nanos, Nanos)>,
    pub(super) reading: bool,
    pub(super) app: App,
    pub(super) requests: BTreeMap<RequestId, Request>,
    pub(super) ended: BTreeSet<RequestId>,
    /// Calls to go idle that have not ended.
    pub(super) idles: BTreeMap<IdleId, IdleCall>,
    pub(super) refusals: Refusals,
    pub(super) dials: Dials,
    /// What the machine was seen doing last, since when, and how many links had been ready by then.
    pub(super) state: State,
    pub(super) since: Nanos,
    pub(super) links: u64,
    pub(super) silence: Silence,
    /// The link in hand is to be followed by another at once; it is closed to go dormant.
    pub(super) again: bool,
    pub(super) dormant: bool,
    /// Deliveries that the application has taken from the queue.
    pub(super) popped: u64,
    /// Deliveries that were unread when the link in hand was dialed.
    pub(super) unread: u64,
    /// It is being shut down.
    pub(super) closing: bool,
    pub(super) closing_since: Nanos,
    /// Dials of all its processes.
    pub(super) dialed: u64,
    pub(super) rng: Rng,
}

/// The application: what it holds, and what it remembers.
#[derive(Default)]
pub(super) struct App {
    pub(super) held: BTreeMap<DeliveryId, Held>,
    /// Kept over crashes, by applications that do.
    pub(super) stored: BTreeSet<usize>,
}

/// For how long nothing has come from the peer of a link while it was read (LINK-3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    pub(super) lasted: Nanos,
    /// When somebody looked last, and whether the link was read from then on.
    looked: Nanos,
    reads: bool,
    /// When an event was taken last. That may have the link read on, and does not tell the machine how late it is.
    taken: Option<Nanos>,
    /// For how long the machine did not know that the link was read on.
    unknown: Nanos,
}

impl Silence {
    pub(super) fn broken(&mut self, now: Nanos) {
        (self.lasted, self.unknown, self.looked) = (0, 0, now);
    }

    /// The application takes an event.
    pub(super) fn event_taken(&mut self, now: Nanos) {
        self.taken.get_or_insert(now);
    }

    /// The machine is told how late it is.
    pub(super) fn told(&mut self, now: Nanos) {
        if let Some(taken) = self.taken.take_if(|taken| now > *taken) {
            self.unknown += now - taken;
        }
    }

    /// It is this late, and from now on the link is read, or not.
    pub(super) fn goes_on(&mut self, now: Nanos, reads: bool) {
        if self.reads {
            self.lasted += now.saturating_sub(self.looked);
        }
        (self.looked, self.reads) = (now, reads);
    }

    /// Whether it has lasted for longer than a link may be silent.
    pub(super) fn is_too_long(&self, lost_after: Nanos, now: Nanos) -> bool {
        let unknown = self.unknown + self.taken.map_or(0, |taken| now.saturating_sub(taken));
        self.lasted > lost_after + unknown
    }
}

/// A delivery in the application's hands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) event: usize,
    pub(super) buffered: bool,
    pub(super) conn: Option<usize>,
    pub(super) manner: Manner,
}

/// What the application is going to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Take,
    TakeTwice,
    Nack,
    Drop,
}

/// A call to go idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleCall {
    pub(super) dormant: bool,
    /// Somebody has called for a wake-up since.
    pub(super) woken: bool,
    pub(super) since: Nanos,
}

/// A request that has not ended.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) patient: bool,
    pub(super) deadline: Nanos,
    /// The connection that it was written to, and where it ended there.
    pub(super) written: Option<(usize, u64)>,
    /// A link went while it waited.
    pub(super) waited: bool,
}

impl Request {
    /// Whether it was written to this connection.
    pub(super) fn is_on(&self, conn: usize) -> bool {
        self.written.is_some_and(|(written, _)| written == conn)
    }
}

impl Gateway {
    pub(super) fn new(index: usize, seed: u64, own: GatewayShape, shape: &Shape) -> Self {
        let mut rng = Rng::with_seed(mix(&[seed, 3, index as u64]));
        let timing = own.timing.clone();
        Self {
            index,
            seed,
            shape: own,
            target: Target::parse(URL).expect("a valid address"),
            wire: shape.wire,
            machine: None,
            process: 0,
            clock: Clock::new(rng.u64(..SECOND * 1000), shape.counts_suspend),
            suspended: None,
            secret: 0,
            next_secret: 0,
            conn: None,
            deadline: None,
            freezes: Vec::new(),
            reading: true,
            app: App::default(),
            requests: BTreeMap::new(),
            ended: BTreeSet::new(),
            idles: BTreeMap::new(),
            refusals: Refusals::new(Waits::new(&timing)),
            dials: Dials::new(Waits::new(&timing), 0),
            state: State::Disconnected,
            since: 0,
            links: 0,
            silence: Silence::default(),
            again: false,
            dormant: false,
            popped: 0,
            unread: 0,
            closing: false,
            closing_since: 0,
            dialed: 0,
            rng,
        }
    }

    pub(super) fn is_awake(&self) -> bool {
        self.machine.is_some() && self.suspended.is_none()
    }

    pub(super) fn name(&self) -> String {
        format!("gw-{}", self.index)
    }

    pub(super) fn secret_text(&self, number: u32) -> Secret {
        secret(self.index, number)
    }

    pub(super) fn settings(&self) -> Settings {
        let mut config = Config::new(URL).identity("discord", "b1");
        if self.shape.two_identities {
            config = config.identity("telegram", "b2");
        }
        let mut timing = self.shape.timing.clone();
        timing.token_ttl = Duration::from_secs(self.shape.ttl);
        let mut limits = self.shape.limits.clone();
        if self.shape.small_limits {
            // All that a life delivers is remembered: what is not may be shown again.
            (limits.queue, limits.queue_hard, limits.replay_memory) = (1024, 2500, 256);
        }
        let config = config.credentials(self.name(), self.secret_text(self.secret)).limits(limits);
        let config = config.reconnect(self.shape.reconnect).confirm_refusals(self.shape.confirm_refusals);
        config.timing(timing).build().expect("a valid configuration")
    }

    pub(super) fn now(&self, at: Nanos) -> Now {
        self.clock.now(at)
    }

    pub(super) fn link(&self, conns: &[Conn]) -> Option<LinkId> {
        self.conn.map(|index| conns[index].link)
    }
}

pub(super) fn secret(gateway: usize, number: u32) -> Secret {
    Secret::new(format!("secret {number} of {gateway}"))
}

/// The process, and its machine's clock.
impl World {
    pub(super) fn start_gateway(&mut self, index: usize, process: u32) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if gateway.machine.is_some() || gateway.process != process {
            return Ok(());
        }
        gateway.secret = gateway.next_secret;
        let now = gateway.now(at);
        let seed = mix(&[gateway.seed, 4, index as u64, u64::from(process)]);
        gateway.machine = Some(Machine::new(gateway.settings(), seed, now));
        gateway.dials = Dials::new(Waits::new(&gateway.shape.timing), gateway.clock.monotonic(at));
        gateway.refusals = Refusals::new(Waits::new(&gateway.shape.timing));
        (gateway.state, gateway.since) = (State::Disconnected, gateway.clock.monotonic(at));
        (gateway.links, gateway.popped, gateway.unread) = (0, 0, 0);
        (gateway.again, gateway.dormant, gateway.closing) = (false, false, false);
        gateway.reading = true;
        gateway.conn = None;
        gateway.suspended = None;
        gateway.requests.clear();
        gateway.ended.clear();
        gateway.idles.clear();
        gateway.app.held.clear();
        if !gateway.shape.remembers {
            gateway.app.stored.clear();
        }
        let secret = gateway.secret;
        self.note("start gateway", index, u64::from(process), || format!("secret {secret}"));
        self.gateway_timeout(index)
    }

    /// The process is gone, with everything in its memory.
    pub(super) fn stop_gateway(&mut self, index: usize) {
        let gateway = &mut self.gateways[index];
        gateway.machine = None;
        gateway.deadline = None;
        gateway.app.held.clear();
        gateway.requests.clear();
        gateway.idles.clear();
        gateway.suspended = None;
        gateway.process += 1;
        let process = gateway.process;
        if !gateway.shape.remembers {
            self.ledgers[index].forget();
        }
        if let Some(conn) = gateway.conn.take() {
            self.close_client(conn);
        }
        self.note("stop gateway", index, u64::from(process), String::new);
    }

    pub(super) fn suspend_gateway(&mut self, index: usize, time: Nanos) -> Check {
        let (at, healed_at) = (self.now, self.healed_at());
        let gateway = &mut self.gateways[index];
        if !gateway.is_awake() || self.healed {
            return Ok(());
        }
        let until = (at + time).min(healed_at);
        gateway.suspended = Some(at);
        if gateway.deadline.is_some_and(|deadline| deadline < until) {
            self.coverage.hit(Hard::SuspendedOverDeadline);
        }
        self.coverage.hit(Hard::Suspended);
        self.note("suspend gateway", index, (until - at) / SECOND, String::new);
        self.at(until, Ev::Resume(index));
        Ok(())
    }

    /// Somebody sets the wall clock: it is this many seconds ahead now.
    pub(super) fn set_gateway_clock(&mut self, index: usize, skew: i64) {
        let gateway = &mut self.gateways[index];
        let ahead = u64::try_from(skew - gateway.clock.skew).unwrap_or(0);
        gateway.clock.skew = skew;
        gateway.dials.on_wall_ahead(ahead * SECOND);
    }

    pub(super) fn resume_gateway(&mut self, index: usize) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        let Some(since) = gateway.suspended.take() else { return Ok(()) };
        let before = gateway.clock.monotonic(at);
        gateway.clock.suspended(at - since);
        gateway.dials.on_sleep();
        gateway.dials.on_wall_ahead(before - gateway.clock.monotonic(at));
        gateway.closing_since = gateway.clock.monotonic(at);
        // What comes first after a sleep is a matter of luck: bytes or timers.
        let bytes_first = gateway.rng.bool();
        self.note("resume gateway", index, 0, String::new);
        if bytes_first {
            self.run_gateway_late(index)?;
        }
        self.gateway_timeout(index)
    }

    pub(super) fn gateway_timeout(&mut self, index: usize) -> Check {
        if !self.gateways[index].is_awake() {
            return Ok(());
        }
        let before = self.gateways[index].deadline.filter(|deadline| *deadline <= self.now);
        self.command(index, |machine, now| machine.handle_timeout(now))?;
        self.run_gateway(index)?;
        let gateway = &self.gateways[index];
        if before.is_some() && gateway.is_awake() && gateway.deadline.is_some_and(|deadline| deadline <= self.now) {
            // Something else may be due in the same moment, but not for ever.
            self.command(index, |machine, now| (0..8).for_each(|_| machine.handle_timeout(now)))?;
            self.run_gateway(index)?;
            let gateway = &self.gateways[index];
            if gateway.is_awake() && gateway.deadline.is_some_and(|deadline| deadline <= self.now) {
                return violated("CLOCK-1", "a deadline that does not pass");
            }
        }
        Ok(())
    }

    /// Calls the machine, and looks at what it is doing afterwards.
    pub(super) fn command<T>(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Machine, Now) -> T,
    ) -> Result<T, super::Violation> {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        let now = gateway.now(at);
        let Some(machine) = gateway.machine.as_mut() else {
            return Err(super::Violation { rule: "SIMULATION", what: "a call of a process that is down".into() });
        };
        let result = call(machine, now);
        gateway.silence.told(gateway.clock.monotonic(at));
        self.observe(index);
        Ok(result)
    }

    pub(super) fn observe(&mut self, index: usize) {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        let Some(machine) = &gateway.machine else { return };
        let now = gateway.clock.monotonic(at);
        let (state, links) = (machine.state(), machine.stats().links);
        if links > gateway.links {
            gateway.links = links;
            gateway.dials.on_ready(now);
            if gateway.refusals.deciding {
                self.coverage.hit(Hard::ProvisionalReady);
            }
            gateway.refusals.on_ready();
            if let Some(conn) = gateway.conn {
                self.conns[conn].was_ready = true;
            }
        }
        if state == State::Closing && gateway.state != State::Closing {
            gateway.dials.on_closing(now);
        }
        if state != gateway.state {
            (gateway.state, gateway.since) = (state, now);
            self.trace.note(at, "state", index as u64, 0, || format!("{state:?}"));
        }
    }
}
