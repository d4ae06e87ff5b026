//! One gateway: its machine, the host around it, its application, and what must be true of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use relay_proto::end::LinkEnd;
use relay_proto::frame::{RawJson, Verdict as ResultVerdict};
use relay_proto::gateway::{
    Ambiguous, Config, DeliveryId, Dial, Event, IdleId, IdleOutcome, Limits, LinkId, Machine, NotSent, Notice, Outcome,
    Output, RequestId, RequestOptions, Settings, State, Timing, Transmit,
};
use relay_proto::target::Target;
use relay_proto::time::Now;
use relay_proto::token::Secret;

use super::clock::Clock;
use super::codec::{End, Heard};
use super::coverage::Hard;
use super::judge::{Dials, Pace, Refusals, Verdict, pace};
use super::ledger::{Fate, Kind};
use super::network::{Conn, Pipe, Tail, TokenFacts, Way};
use super::plan::{GatewayShape, Shape, mix};
use super::world::{Ev, Read, World};
use super::{Check, Nanos, SECOND, violated};

const URL: &str = "ws://127.0.0.1:9";
/// What may be unread beyond the limit: what one link brings before it is closed.
const OVERHEAD: u64 = 256;

/// One gateway.
pub(super) struct Gateway {
    pub(super) index: usize,
    seed: u64,
    pub(super) shape: GatewayShape,
    target: Target,
    wire: bool,
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
    ended: BTreeSet<RequestId>,
    idles: BTreeMap<IdleId, bool>,
    refusals: Refusals,
    pub(super) dials: Dials,
    /// What the machine was seen doing last, and since when.
    state: State,
    since: Nanos,
    links: u64,
    /// The link in hand is to be followed by another at once; it is closed to go dormant.
    again: bool,
    dormant: bool,
    popped: u64,
    /// It is being shut down.
    closing: bool,
    /// Dials of all its processes.
    dialed: u64,
    rng: Rng,
}

/// The application: what it holds, and what it remembers.
#[derive(Default)]
pub(super) struct App {
    pub(super) held: BTreeMap<DeliveryId, Held>,
    /// Kept over crashes, by applications that do.
    stored: BTreeSet<usize>,
    ended: Vec<DeliveryId>,
}

/// A delivery in the application's hands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) event: usize,
    buffered: bool,
    conn: Option<usize>,
    manner: Manner,
}

/// What the application is going to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Take,
    TakeTwice,
    GiveBack,
    Drop,
}

/// A request that has not ended.
#[derive(Debug)]
pub(super) struct Request {
    patient: bool,
    deadline: Nanos,
    /// The connection that it was written to, and where it ended there.
    written: Option<(usize, u64)>,
    /// A link went while it waited.
    waited: bool,
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
            refusals: Refusals::default(),
            dials: Dials::new(0),
            state: State::Disconnected,
            since: 0,
            links: 0,
            again: false,
            dormant: false,
            popped: 0,
            closing: false,
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

    fn settings(&self) -> Settings {
        let mut config = Config::new(URL).identity("discord", "b1");
        if self.shape.two_identities {
            config = config.identity("telegram", "b2");
        }
        let mut timing = Timing::default();
        timing.token_ttl = Duration::from_secs(self.shape.ttl);
        let mut limits = Limits::default();
        if self.shape.small_limits {
            (limits.queue, limits.queue_hard, limits.replay_memory) = (1024, 2500, 64);
        }
        let config = config.credentials(self.name(), self.secret_text(self.secret)).limits(limits);
        let config = config.reconnect(self.shape.reconnect).confirm_refusals(self.shape.confirm_refusals);
        config.timing(timing).build().expect("a valid configuration")
    }

    fn now(&self, at: Nanos) -> Now {
        self.clock.now(at)
    }

    fn link(&self, conns: &[Conn]) -> Option<LinkId> {
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
        gateway.dials = Dials::new(gateway.clock.monotonic(at));
        gateway.refusals = Refusals::default();
        (gateway.state, gateway.since) = (State::Disconnected, gateway.clock.monotonic(at));
        (gateway.links, gateway.popped) = (0, 0);
        (gateway.again, gateway.dormant, gateway.closing) = (false, false, false);
        gateway.reading = true;
        gateway.conn = None;
        gateway.suspended = None;
        gateway.requests.clear();
        gateway.ended.clear();
        gateway.idles.clear();
        gateway.app.held.clear();
        gateway.app.ended.clear();
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

    pub(super) fn resume_gateway(&mut self, index: usize) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        let Some(since) = gateway.suspended.take() else { return Ok(()) };
        gateway.clock.suspended(at - since);
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
        self.observe(index);
        Ok(result)
    }

    fn observe(&mut self, index: usize) {
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

/// The host: what `wire::Dialer` and a runtime are, over the world's connections.
impl World {
    /// Lets a gateway do everything that it can do now.
    pub(super) fn run_gateway(&mut self, index: usize) -> Check {
        self.run_gateway_late(index)?;
        if self.gateways[index].is_awake() { self.check_gateway(index) } else { Ok(()) }
    }

    /// The same for a gateway whose deadlines may have passed while it slept.
    fn run_gateway_late(&mut self, index: usize) -> Check {
        while self.gateways[index].is_awake() {
            self.settle_gateway(index)?;
            if !self.gateways[index].is_awake() || !self.read_gateway(index)? {
                break;
            }
        }
        Ok(())
    }

    fn settle_gateway(&mut self, index: usize) -> Check {
        loop {
            let mut moved = false;
            while let Some(output) = self.gateways[index].machine.as_mut().and_then(Machine::poll_output) {
                moved = true;
                self.gateway_output(index, output)?;
            }
            if let Some(conn) = self.gateways[index].conn {
                moved |= self.send_frames(index, conn)?;
                moved |= self.write(conn, Way::Up);
            }
            moved |= self.read_events(index)?;
            if !moved {
                return Ok(());
            }
        }
    }

    /// Takes frames from the machine while little waits for the socket.
    fn send_frames(&mut self, index: usize, conn: usize) -> Result<bool, super::Violation> {
        let mut moved = false;
        loop {
            let gateway = &mut self.gateways[index];
            let (Some(machine), Some(client)) = (&mut gateway.machine, &self.conns[conn].client) else { break };
            if self.conns[conn].up.fails(self.now) || client.transmit().len() >= gateway.shape.enough {
                break;
            }
            let Some(transmit) = machine.poll_transmit(self.conns[conn].link) else { break };
            moved = true;
            self.gateway_transmit(index, conn, transmit)?;
        }
        Ok(moved)
    }

    /// Reads one piece of what has arrived. Whether there was one.
    fn read_gateway(&mut self, index: usize) -> Result<bool, super::Violation> {
        let gateway = &self.gateways[index];
        let (Some(conn), Some(machine)) = (gateway.conn, &gateway.machine) else { return Ok(false) };
        if self.conns[conn].client.is_none() {
            return Ok(false);
        }
        if !machine.wants_read() {
            if machine.state() == State::Ready {
                self.coverage.hit(Hard::ReadingPaused);
            }
            return Ok(false);
        }
        let Some(read) = self.read(conn, Way::Down) else { return Ok(false) };
        match read {
            Read::Bytes(bytes) => {
                let link = self.conns[conn].link;
                self.command(index, |machine, now| machine.handle_traffic(link, now))?;
                self.on_client(index, conn, |client| client.receive(&bytes))?;
            }
            Read::Tail(Tail::Eof) => self.on_client(index, conn, End::receive_eof)?,
            Read::Tail(Tail::Reset) => self.on_client(index, conn, |client| client.receive_failed("reset"))?,
        }
        Ok(true)
    }

    fn on_client(&mut self, index: usize, conn: usize, input: impl FnOnce(&mut End)) -> Check {
        if let Some(client) = &mut self.conns[conn].client {
            input(client);
        }
        while self.gateways[index].conn == Some(conn) {
            let Some(heard) = self.conns[conn].client.as_mut().and_then(End::poll) else { break };
            let link = self.conns[conn].link;
            match heard {
                Heard::Opened => self.command(index, |machine, now| machine.handle_opened(link, now))?,
                Heard::Message(bytes) => {
                    self.command(index, |machine, now| machine.handle_message(link, &bytes, now))?
                }
                Heard::Ended(end) => self.link_ended(index, conn, end)?,
                Heard::Request(_) => return violated("SIMULATION", "a request from a connector"),
            }
            self.drain_gateway(index)?;
        }
        Ok(())
    }

    fn drain_gateway(&mut self, index: usize) -> Check {
        while let Some(output) = self.gateways[index].machine.as_mut().and_then(Machine::poll_output) {
            self.gateway_output(index, output)?;
        }
        Ok(())
    }

    pub(super) fn tcp_connected(&mut self, conn: usize) -> Check {
        let index = self.conns[conn].gateway;
        let gateway = &self.gateways[index];
        if gateway.conn != Some(conn) || self.conns[conn].client.is_some() {
            return Ok(());
        }
        if !self.connector.up {
            return self.tcp_unreachable(conn);
        }
        if gateway.suspended.is_some() {
            // Nobody is there yet to send the request.
            self.after(SECOND, Ev::Connected(conn));
            return Ok(());
        }
        let token = self.conns[conn].token.as_ref().map(|token| token.text.clone());
        self.conns[conn].client = Some(End::client(gateway.wire, &gateway.target, token.as_deref()));
        self.note("connected", index, conn as u64, String::new);
        self.accept_connection(conn);
        self.write(conn, Way::Up);
        self.run_gateway(index)
    }

    pub(super) fn tcp_unreachable(&mut self, conn: usize) -> Check {
        let index = self.conns[conn].gateway;
        if self.gateways[index].conn != Some(conn) {
            return Ok(());
        }
        if self.gateways[index].suspended.is_some() {
            // The news waits for the machine to wake up.
            self.after(SECOND, Ev::Unreachable(conn));
            return Ok(());
        }
        self.coverage.hit(Hard::Unreachable);
        self.link_ended(index, conn, LinkEnd::Unreachable { detail: "refused".into() })?;
        self.run_gateway(index)
    }

    /// The gateway's end of a connection is closed, after one attempt to write what it has to say.
    fn close_client(&mut self, conn: usize) {
        self.write(conn, Way::Up);
        let now = self.now;
        if self.conns[conn].client.take().is_some() {
            self.conns[conn].up.close(now);
            self.conns[conn].down.abandon(now);
            if let Some(at) = self.conns[conn].up.next() {
                self.at(at, Ev::Arrive(conn, Way::Up));
            }
        }
    }

    fn gateway_output(&mut self, index: usize, output: Output) -> Check {
        match output {
            Output::Dial(dial) => self.dial(index, dial),
            Output::Drop(link) => self.drop_link(index, link),
            Output::RequestEnded { request, outcome } => self.request_ended(index, request, &outcome),
            Output::IdleEnded { idle, outcome } => self.idle_ended(index, idle, outcome),
            Output::Notice(notice) => {
                match &notice {
                    Notice::Skipped(_) => self.coverage.hit(Hard::Junk),
                    Notice::UnmatchedResult => self.coverage.hit(Hard::LateResult),
                    Notice::ReplaySuppressed(id) => self.replay_suppressed(index, id.as_str()),
                    _ => {}
                }
                self.note("notice", index, 0, || format!("{notice}"));
                Ok(())
            }
            other => violated("SIMULATION", format!("an output that nobody knows: {other:?}")),
        }
    }

    fn dial(&mut self, index: usize, dial: Dial) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if let Some(conn) = gateway.conn {
            return violated("DIAL-5", format!("a dial while connection {conn} is in hand"));
        }
        if gateway.dials.hold_expired(gateway.clock.monotonic(at)) {
            self.coverage.hit(Hard::HoldExpired);
        }
        gateway.dials.on_dial(gateway.clock.monotonic(at))?;
        gateway.since = gateway.clock.monotonic(at);
        let Some(token) = &dial.token else { return violated("DIAL-2", "a dial without a token") };
        let expires = token.expires_at().unwrap_or(u64::MAX);
        if expires != gateway.clock.unix(at) + gateway.shape.ttl {
            return violated(
                "DIAL-3",
                format!("a token that expires at {expires}, minted at {}", gateway.clock.unix(at)),
            );
        }
        let facts = TokenFacts { text: token.as_str().into(), secret: gateway.secret, expires };
        let (conn, process) = (self.conns.len(), gateway.process);
        (gateway.again, gateway.dormant) = (false, false);
        gateway.conn = Some(conn);
        gateway.dialed += 1;
        let seed = |way: u64| mix(&[gateway.seed, 5, index as u64, gateway.dialed, way]);
        let (up, down) = (Pipe::new(seed(0), self.plan.calm), Pipe::new(seed(1), self.plan.calm));
        let latency = up.latency();
        let freeze = gateway.freezes.pop();
        self.conns.push(Conn::new(index, process, dial.link, facts, (up, down)));
        self.note("dial", index, conn as u64, || format!("process {process}"));
        let reachable = self.reachable(index);
        match reachable {
            Some(true) => self.after(latency, Ev::Connected(conn)),
            Some(false) => self.after(latency, Ev::Unreachable(conn)),
            None => {}
        }
        if let Some((delay, time)) = freeze {
            self.coverage.hit(Hard::FrozenDial);
            self.after(latency * delay / 2, Ev::Freeze(index, time));
        }
        Ok(())
    }

    /// The machine drops its link, for a reason of its own.
    fn drop_link(&mut self, index: usize, link: LinkId) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if gateway.link(&self.conns) != Some(link) {
            return violated("DIAL-5", "a link is dropped that is not in hand");
        }
        let Some(conn) = gateway.conn.take() else { return Ok(()) };
        let now = gateway.clock.monotonic(at);
        let commanded = if gateway.again {
            Pace::Now
        } else if gateway.dormant {
            Pace::Dormant
        } else {
            Pace::Ladder
        };
        let opened = self.conns[conn].ends_down.len() > 1;
        match (self.conns[conn].was_ready, opened) {
            _ if gateway.closing => {}
            (true, _) if !self.conns[conn].close_up => self.coverage.hit(Hard::Silent),
            (true, _) => {}
            (false, _) if self.conns[conn].peer_link.is_some() => self.coverage.hit(Hard::HandshakeTimedOut),
            (false, _) => self.coverage.hit(Hard::DialTimedOut),
        }
        self.end_of_link(index, commanded, now);
        self.note("drop", index, conn as u64, || format!("{commanded:?}"));
        if let Some(client) = &mut self.conns[conn].client {
            client.close(1000, "");
        }
        self.close_client(conn);
        Ok(())
    }

    /// The link, or the dial, ended, and the machine is told.
    fn link_ended(&mut self, index: usize, conn: usize, end: LinkEnd) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        let (now, unix) = (gateway.clock.monotonic(at), gateway.clock.unix(at));
        let was_ready = self.conns[conn].was_ready;
        let stale = !was_ready && self.conns[conn].token.as_ref().is_some_and(|token| unix > token.expires);
        let (greeted, deciding) = (gateway.refusals.greeted, gateway.refusals.deciding);
        let verdict = gateway.refusals.judge(&end, stale, gateway.shape.confirm_refusals);
        let is_slow = pace(&end) == Pace::Slow;
        let is_news = verdict.is_some() || is_slow;
        let pace = match verdict {
            Some(Verdict::Provisional) => Pace::Now,
            Some(_) => Pace::Ladder,
            None if is_slow => Pace::Slow,
            None if gateway.again => Pace::Now,
            None if gateway.dormant => Pace::Dormant,
            None => Pace::Ladder,
        };
        match (&end, verdict) {
            (_, Some(Verdict::Retry)) if !greeted => self.coverage.hit(Hard::RefusedCold),
            (_, Some(Verdict::Retry)) if deciding && stale => self.coverage.hit(Hard::ProvisionalExpired),
            (_, Some(Verdict::Retry)) => self.coverage.hit(Hard::RefusedExpired),
            (_, Some(Verdict::Provisional)) => self.coverage.hit(Hard::Provisional),
            (_, Some(Verdict::Revoked)) => {
                self.coverage.hit(Hard::Revoked);
                if deciding {
                    self.coverage.hit(Hard::ProvisionalRevoked);
                }
                if was_ready {
                    self.coverage.hit(Hard::RevokedOpenLink);
                }
            }
            (LinkEnd::Refused { .. }, None) => self.coverage.hit(Hard::Http),
            (LinkEnd::Closed { code: Some(4403), .. }, None) => self.coverage.hit(Hard::Forbidden),
            _ => {}
        }
        self.note("ended", index, conn as u64, || format!("{end:?} {verdict:?} {pace:?} news {is_news}"));
        let gateway = &mut self.gateways[index];
        if gateway.again && pace == Pace::Now {
            self.coverage.hit(Hard::Reconnected);
        }
        gateway.conn = None;
        let link = self.conns[conn].link;
        self.end_of_link(index, pace, now);
        self.command(index, |machine, now| machine.handle_ended(link, end, now))?;
        let revoked = self.gateways[index].state == State::Revoked;
        if revoked != (verdict == Some(Verdict::Revoked)) {
            return violated("AUTH-2", format!("the verdict is {verdict:?}, and revoked is {revoked}"));
        }
        self.close_client(conn);
        Ok(())
    }

    fn end_of_link(&mut self, index: usize, pace: Pace, now: Nanos) {
        let gateway = &mut self.gateways[index];
        let (rung, reset) = gateway.dials.on_end(pace, now);
        let reached = match pace {
            Pace::Ladder if rung == 30 * SECOND => Some(Hard::AtCap),
            Pace::Slow => Some(Hard::SlowPace),
            _ => None,
        };
        if let Some(hard) = reached {
            self.coverage.hit(hard);
        }
        if reset {
            self.coverage.hit(Hard::LadderReset);
        }
    }

    /// A frame leaves the machine.
    fn gateway_transmit(&mut self, index: usize, conn: usize, transmit: Transmit) -> Check {
        let link = &mut self.conns[conn];
        if link.close_up {
            return violated("WIRE", format!("{transmit:?} follows a close frame"));
        }
        let Some(client) = &mut link.client else { return Ok(()) };
        match transmit {
            Transmit::Text(text) => {
                if text.find('\n') != Some(text.len() - 1) {
                    return violated("FRAME-1", format!("not one line: {text:?}"));
                }
                self.trace.bytes(text.as_bytes());
                let slack = client.slack();
                if let Some(id) = text.strip_prefix("{\"type\":\"inbound_ack\",\"bufferId\":\"") {
                    let id = id.trim_end_matches("\"}\n").to_owned();
                    if !self.ack_leaves(index, conn, &id)? {
                        return Ok(());
                    }
                }
                self.note("up", index, conn as u64, || text.trim_end().to_owned());
                let request =
                    text.strip_prefix("{\"type\":\"outbound\",\"requestId\":\"").and_then(|rest| rest.get(..32));
                let request = request.map(ToOwned::to_owned);
                let link = &mut self.conns[conn];
                let Some(client) = &mut link.client else { return Ok(()) };
                client.send_text(text);
                let end = link.up.written + client.transmit().len() as u64;
                link.ends_up.push(end);
                if let Some(request) = request {
                    self.request_leaves(index, conn, &request, end - slack)?;
                }
            }
            Transmit::Ping => {
                client.ping();
                self.coverage.hit(Hard::Pinged);
                self.note("up", index, conn as u64, || "ping".into());
            }
            Transmit::Close { code, reason } => {
                client.close(code, reason);
                link.close_up = true;
                if code == 1013 {
                    self.coverage.hit(Hard::QueueFull);
                }
                self.note("up", index, conn as u64, || format!("close {code} {reason}"));
            }
            other => return violated("SIMULATION", format!("{other:?}")),
        }
        Ok(())
    }
}

/// The application: deliveries.
impl World {
    /// Takes events, when the application reads. Whether there were any.
    fn read_events(&mut self, index: usize) -> Result<bool, super::Violation> {
        let mut any = false;
        while self.gateways[index].reading
            && let Some(event) = self.gateways[index].machine.as_mut().and_then(Machine::next_event)
        {
            any = true;
            self.gateway_event(index, event)?;
            if self.gateways[index].machine.is_none() {
                return Ok(false);
            }
        }
        Ok(any)
    }

    fn gateway_event(&mut self, index: usize, event: Event) -> Check {
        let (id, kind, buffered, number) = match &event {
            Event::Message(message) => {
                (message.id, Kind::Message, message.buffer_id.is_some(), number(index, message.payload.raw()))
            }
            Event::Passthrough(forward) => {
                (forward.id, Kind::Forward, forward.buffer_id.is_some(), number(index, forward.payload.raw.as_str()))
            }
            Event::Undecodable(other) => {
                let raw = other.payload.raw.as_ref().map_or("", RawJson::as_str);
                (other.id, Kind::Poison, other.buffer_id.is_some(), number(index, raw))
            }
            Event::Revoked { .. } | Event::Closed => {
                self.note("event", index, 0, || format!("{event:?}"));
                return self.gateway_finished(index, matches!(event, Event::Revoked { .. }));
            }
            _ => {
                self.note("event", index, 0, || format!("{event:?}"));
                return Ok(());
            }
        };
        self.gateways[index].popped += 1;
        self.shown(index, id, kind, buffered, number?)
    }

    fn shown(&mut self, index: usize, id: DeliveryId, kind: Kind, buffered: bool, number: usize) -> Check {
        let gateway = &mut self.gateways[index];
        let process = gateway.process;
        let before = self.ledgers[index].show(number, process, kind)?;
        let hard = match before {
            Some(same) if same == process => Some(Hard::ShownAgain),
            Some(_) => Some(Hard::ShownToSuccessor),
            None => None,
        };
        if let Some(hard) = hard {
            self.coverage.hit(hard);
        }
        if kind == Kind::Poison {
            self.coverage.hit(Hard::Undecodable);
        }
        // What was processed before needs no thinking about.
        let known = gateway.app.stored.contains(&number);
        if known && before != Some(process) {
            self.coverage.hit(Hard::AppRecognised);
        }
        let times = self.ledgers[index].entries[number].links;
        let mut rng = Rng::with_seed(mix(&[gateway.seed, 6, index as u64, number as u64, u64::from(times)]));
        let odd = !self.healed && !known && rng.u64(..16) < gateway.shape.oddness;
        let manner = match rng.u32(..4) {
            _ if !odd => Manner::Take,
            0 => Manner::GiveBack,
            1 => Manner::Drop,
            _ => Manner::TakeTwice,
        };
        let most = if self.healed || known { 2 } else { gateway.shape.patience };
        let delay = match rng.u32(..6) {
            0 => 0,
            // Never, which is until all is well.
            1 if odd => 100_000,
            _ => rng.u64(..=most),
        };
        gateway.app.held.insert(id, Held { event: number, buffered, conn: gateway.conn, manner });
        self.note("shown", index, number as u64, || {
            format!("{id:?} {kind:?} buffered {buffered}, {manner:?} in {delay} ms")
        });
        if delay == 0 {
            return self.decide_now(index, id);
        }
        self.after(delay * (SECOND / 1000), Ev::Decide { gateway: index, process, delivery: id });
        Ok(())
    }

    pub(super) fn decide(&mut self, index: usize, process: u32, delivery: DeliveryId) -> Check {
        let gateway = &self.gateways[index];
        if gateway.process != process || !gateway.app.held.contains_key(&delivery) {
            return Ok(());
        }
        if gateway.suspended.is_some() {
            self.after(SECOND, Ev::Decide { gateway: index, process, delivery });
            return Ok(());
        }
        self.decide_now(index, delivery)?;
        self.run_gateway(index)
    }

    pub(super) fn decide_now(&mut self, index: usize, id: DeliveryId) -> Check {
        let gateway = &mut self.gateways[index];
        let process = gateway.process;
        let Some(held) = gateway.app.held.remove(&id) else { return Ok(()) };
        let manner = if self.healed { Manner::Take } else { held.manner };
        let fate = match manner {
            Manner::Take | Manner::TakeTwice => Fate::Taken,
            Manner::GiveBack | Manner::Drop => Fate::Back,
        };
        if held.buffered && held.conn != gateway.conn && fate == Fate::Taken {
            self.coverage.hit(Hard::TakenAfterLink);
        }
        if gateway.app.held.values().any(|other| other.event < held.event) && fate == Fate::Taken {
            self.coverage.hit(Hard::OutOfOrder);
        }
        if fate == Fate::Taken {
            gateway.app.stored.insert(held.event);
        }
        gateway.app.ended.push(id);
        // Before the call: the acknowledgement may leave within it.
        self.ledgers[index].end(held.event, process, fate);
        self.note("decide", index, held.event as u64, || format!("{id:?} {manner:?}"));
        let counted = self.command(index, |machine, now| match manner {
            Manner::Take => machine.ack(id, now),
            Manner::TakeTwice => machine.ack(id, now) && !machine.ack(id, now) && !machine.give_back(id, now),
            Manner::GiveBack => machine.give_back(id, now) && !machine.ack(id, now),
            Manner::Drop => {
                machine.drop_delivery(id, now);
                !machine.ack(id, now)
            }
        })?;
        match manner {
            Manner::Take => {}
            Manner::TakeTwice => self.coverage.hit(Hard::TakenTwice),
            Manner::GiveBack => self.coverage.hit(Hard::GivenBack),
            Manner::Drop => self.coverage.hit(Hard::Dropped),
        }
        if counted {
            Ok(())
        } else {
            violated("ACK-6", format!("{manner:?} of {id:?} did not count, or counted twice"))
        }
    }

    fn replay_suppressed(&mut self, index: usize, id: &str) {
        let Some(number) = relay_proto::connector::EntryId::parse(id).and_then(|id| self.ledgers[index].find(id))
        else {
            return;
        };
        let held = self.ledgers[index].entries[number].shown.is_some_and(|(_, fate)| fate == Fate::Held);
        self.coverage.hit(if held { Hard::ReplayHeld } else { Hard::ReplayTaken });
    }

    /// An acknowledgement leaves. Whether it may: some gateways do not acknowledge forwards.
    fn ack_leaves(&mut self, index: usize, conn: usize, id: &str) -> Result<bool, super::Violation> {
        let number = relay_proto::connector::EntryId::parse(id).and_then(|id| self.ledgers[index].find(id));
        let Some(number) = number else {
            return violated("ACK-1", format!("an acknowledgement of {id}, which nobody sent")).map(|()| false);
        };
        let process = self.gateways[index].process;
        let entry = &self.ledgers[index].entries[number];
        if entry.shown != Some((process, Fate::Taken)) {
            return violated("ACK-1", format!("event {number} is acknowledged, and was not taken: {entry:?}"))
                .map(|()| false);
        }
        let kind = entry.kind;
        let link = &mut self.conns[conn];
        let Some(place) = link.carried.iter().position(|carried| carried.event == number) else {
            return violated("ACK-3", format!("event {number} is acknowledged on a link that did not carry it"))
                .map(|()| false);
        };
        if link.carried[place].end > link.down.read {
            return violated("ACK-3", format!("event {number} is acknowledged before it arrived")).map(|()| false);
        }
        if place < link.acked {
            return violated("ACK-2", format!("event {number} is acknowledged out of order, or twice")).map(|()| false);
        }
        link.acked = place + 1;
        Ok(!(kind == Kind::Forward && self.gateways[index].shape.legacy))
    }
}

/// Which event a payload is.
fn number(gateway: usize, raw: &str) -> Result<usize, super::Violation> {
    let mut numbers = raw.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let number = numbers.next().and_then(|digits| digits.parse().ok());
    let whose = numbers.next().and_then(|digits| digits.parse::<usize>().ok());
    match (number, whose) {
        (Some(number), Some(whose)) if gateway == whose => Ok(number),
        _ => Err(super::Violation { rule: "CONN-2", what: format!("gateway {gateway} is shown {raw}") }),
    }
}

/// The application: requests and commands.
impl World {
    pub(super) fn request(&mut self, index: usize, rng: &mut Rng) -> Check {
        let at = self.now;
        let action = RawJson::parse(&format!("{{\"op\":\"send\",\"content\":\"{}\"}}", "y".repeat(rng.usize(..300))));
        let action = action.expect("valid JSON");
        let mut options = RequestOptions::default();
        let seconds = [30, 1, 5, 100][rng.usize(..4)];
        options.timeout = (seconds != 30).then(|| Duration::from_secs(seconds));
        options.wait_for_link = rng.bool();
        let patient = options.wait_for_link;
        let cancel = (rng.u32(..8) == 0).then(|| rng.u64(..SECOND * 2));
        let result = self.command(index, |machine, now| machine.request(&action, &options, now))?;
        self.note("request", index, 0, || format!("{result:?} patient {patient}, {seconds} s"));
        let gateway = &mut self.gateways[index];
        match result {
            Ok(request) => {
                if !self.request_ids.insert(request) {
                    return violated("REQ-1", format!("request id {request} was used before"));
                }
                let deadline = gateway.clock.monotonic(at) + seconds * SECOND;
                gateway.requests.insert(request, Request { patient, deadline, written: None, waited: false });
                let process = gateway.process;
                if let Some(time) = cancel {
                    self.after(time, Ev::Cancel { gateway: index, process, request });
                }
            }
            Err(why) => self.not_sent_because(&why),
        }
        Ok(())
    }

    fn not_sent_because(&mut self, why: &NotSent) {
        let hard = match why {
            NotSent::NoLink => Hard::NotSentNoLink,
            NotSent::TimedOut => Hard::NotSentTimedOut,
            NotSent::Revoked => Hard::NotSentRevoked,
            NotSent::ShutDown => Hard::NotSentShutDown,
            _ => return,
        };
        self.coverage.hit(hard);
    }

    pub(super) fn cancel(&mut self, index: usize, process: u32, request: RequestId) -> Check {
        let gateway = &mut self.gateways[index];
        if gateway.process != process || !gateway.is_awake() {
            return Ok(());
        }
        let Some(known) = gateway.requests.remove(&request) else { return Ok(()) };
        gateway.ended.insert(request);
        let hard = if known.written.is_some() { Hard::CancelWritten } else { Hard::CancelUnwritten };
        self.coverage.hit(hard);
        self.note("cancel", index, 0, || format!("{request}"));
        self.command(index, |machine, now| machine.cancel(request, now))?;
        self.run_gateway(index)
    }

    /// The frame of a request leaves the machine.
    fn request_leaves(&mut self, index: usize, conn: usize, id: &str, end: u64) -> Check {
        let request = self.gateways[index].requests.iter_mut().find(|(request, _)| request.to_string() == id);
        let Some((_, request)) = request else {
            return violated("REQ-3", format!("request {id} leaves, and has ended or was cancelled"));
        };
        if request.written.is_some() {
            return violated("REQ-1", format!("request {id} leaves twice"));
        }
        request.written = Some((conn, end));
        self.conns[conn].asked.push((id.to_owned(), end));
        Ok(())
    }

    fn request_ended(&mut self, index: usize, id: RequestId, outcome: &Outcome) -> Check {
        self.note("request ended", index, 0, || format!("{id} {outcome:?}"));
        let gateway = &mut self.gateways[index];
        let Some(request) = gateway.requests.remove(&id) else {
            let again = gateway.ended.contains(&id);
            return violated("REQ-1", format!("request {id} ended; ended before or cancelled: {again}"));
        };
        gateway.ended.insert(id);
        let text = id.to_string();
        match outcome {
            Outcome::NotSent(why) => {
                if request.written.is_some() {
                    return violated("REQ-1", format!("request {id} was written, and is not sent: {why}"));
                }
                self.not_sent.insert(text);
                self.not_sent_because(why);
            }
            Outcome::Ambiguous(why) => {
                let Some((conn, end)) = request.written else {
                    return violated("REQ-1", format!("request {id} was never written, and is ambiguous"));
                };
                if self.conns[conn].up.read >= end {
                    self.coverage.hit(Hard::ReadUnanswered);
                }
                self.coverage.hit(match why {
                    Ambiguous::TimedOut => Hard::AmbiguousTimedOut,
                    Ambiguous::ShutDown => Hard::AmbiguousShutDown,
                    _ => Hard::AmbiguousLost,
                });
            }
            Outcome::Result(result) => {
                let Some((conn, _)) = request.written else {
                    return violated("REQ-3", format!("request {id} was never written, and has a result"));
                };
                if self.gateways[index].conn != Some(conn) {
                    return violated("REQ-2", format!("request {id} has a result from another link"));
                }
                let raw = result.raw.as_str();
                let by_app = raw.contains("\"r\":\"");
                if by_app != (result.verdict == ResultVerdict::Delivered) || by_app && !raw.contains(&text) {
                    return violated("REQ-6", format!("request {id} has the result {raw}"));
                }
                let done = self.connector.done.contains(&text);
                if by_app && !done || result.verdict == ResultVerdict::Rejected && done {
                    return violated("REQ-1", format!("request {id} has the result {raw}; done: {done}"));
                }
                self.coverage.hit(if by_app { Hard::Result } else { Hard::ConnectorFailed });
                if request.waited {
                    self.coverage.hit(Hard::Patient);
                }
            }
        }
        Ok(())
    }

    pub(super) fn idle(&mut self, index: usize, dormant: bool) -> Check {
        let idle =
            self.command(index, |machine, now| if dormant { machine.go_dormant(now) } else { machine.go_idle(now) })?;
        self.gateways[index].idles.insert(idle, dormant);
        self.note("go idle", index, u64::from(dormant), String::new);
        Ok(())
    }

    fn idle_ended(&mut self, index: usize, idle: IdleId, outcome: IdleOutcome) -> Check {
        self.note("idle ended", index, 0, || format!("{outcome:?}"));
        let gateway = &mut self.gateways[index];
        let Some(dormant) = gateway.idles.remove(&idle) else {
            return violated("IDLE-1", format!("{idle:?} ended twice, or never began"));
        };
        match outcome {
            IdleOutcome::Acknowledged => {
                let conn = gateway.conn.map(|conn| &self.conns[conn]);
                if !conn.is_some_and(|conn| conn.idle || conn.idle_unasked) {
                    return violated("IDLE-1", "acknowledged, and the connector said nothing");
                }
                if dormant && !gateway.closing {
                    gateway.dormant = true;
                    self.coverage.hit(Hard::Dormant);
                }
                self.coverage.hit(Hard::Idle);
            }
            IdleOutcome::TimedOut => self.coverage.hit(Hard::IdleTimedOut),
            IdleOutcome::NoLink => self.coverage.hit(Hard::IdleNoLink),
            other => return violated("IDLE-1", format!("{other:?}")),
        }
        Ok(())
    }

    pub(super) fn wake(&mut self, index: usize) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if !gateway.closing {
            let now = gateway.clock.monotonic(at);
            if gateway.conn.is_none() {
                gateway.dials.demand(now);
            } else {
                gateway.dials.release();
            }
            if gateway.state == State::Closing {
                gateway.again = true;
                self.coverage.hit(Hard::WokenWhileClosing);
            }
        }
        self.note("wake", index, 0, String::new);
        self.command(index, |machine, now| machine.wake(now))
    }

    pub(super) fn reconnect(&mut self, index: usize) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        if !gateway.closing && !gateway.state.is_terminal() {
            let now = gateway.clock.monotonic(at);
            if gateway.conn.is_none() {
                gateway.dials.demand(now);
            } else {
                gateway.dials.release();
                gateway.again |= gateway.state != State::Dialing;
            }
        }
        self.note("reconnect", index, 0, String::new);
        self.command(index, |machine, now| machine.reconnect(now))
    }

    pub(super) fn close_gateway(&mut self, index: usize) -> Check {
        let gateway = &mut self.gateways[index];
        gateway.closing = true;
        if gateway.requests.values().any(|request| request.written.is_some()) {
            self.coverage.hit(Hard::ClosedBusy);
        }
        if gateway.conn.is_none() {
            gateway.dials.over();
        }
        self.note("close", index, 0, String::new);
        self.command(index, |machine, now| machine.close(now))
    }

    /// The machine's last event was read: whoever runs the process starts it anew after a while.
    fn gateway_finished(&mut self, index: usize, revoked: bool) -> Check {
        let gateway = &mut self.gateways[index];
        if gateway.state != (if revoked { State::Revoked } else { State::Closed }) {
            return violated("CLOSE-1", format!("the last event of a gateway that is {:?}", gateway.state));
        }
        // What is left of the last input comes first.
        self.drain_gateway(index)?;
        self.check_terminal(index)?;
        let gateway = &mut self.gateways[index];
        self.coverage.hit(match (revoked, gateway.closing) {
            (true, _) => return self.succeed(index, true),
            (false, true) => Hard::Closed,
            (false, false) => Hard::NoReconnect,
        });
        self.succeed(index, false)
    }

    fn succeed(&mut self, index: usize, revoked: bool) -> Check {
        if self.ending {
            return Ok(());
        }
        self.stop_gateway(index);
        let process = self.gateways[index].process;
        let delay = SECOND / 2 * self.gateways[index].rng.u64(1..30);
        if revoked {
            self.provision(index, true);
        }
        let delay = if self.healed { SECOND } else { delay };
        self.after(delay, Ev::Start { gateway: index, process });
        Ok(())
    }
}

/// What must be true whenever a gateway has nothing more to do for the moment.
impl World {
    fn check_gateway(&mut self, index: usize) -> Check {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        let Some(machine) = &gateway.machine else { return Ok(()) };
        gateway.deadline = machine.poll_timeout().map(|deadline| gateway.clock.when(deadline.at));
        let (state, now) = (machine.state(), gateway.clock.monotonic(at));
        if state.is_terminal() {
            gateway.dials.over();
            return if gateway.reading { self.check_terminal(index) } else { Ok(()) };
        }
        if gateway.conn.is_none() {
            gateway.dials.check(now)?;
        }
        if gateway.deadline.is_none() && (gateway.conn.is_none() || machine.wants_read()) {
            return violated("DEADLOCK", format!("{state:?}, and nothing to wait for"));
        }
        let most = match state {
            State::Dialing => 10,
            State::Handshaking => 30,
            State::Closing => 2,
            _ => u64::MAX / SECOND,
        };
        if gateway.deadline.is_some_and(|deadline| deadline > at) && now - gateway.since > most * SECOND {
            return violated("DIAL-5", format!("{state:?} for more than {most} s"));
        }
        let is_linked = matches!(state, State::Ready | State::Closing);
        let has_room = gateway.conn.is_some_and(|conn| {
            let client = self.conns[conn].client.as_ref();
            let room = client.is_some_and(|client| client.transmit().len() < gateway.shape.enough);
            state == State::Ready && room && !self.conns[conn].up.fails(at)
        });
        for (id, request) in &mut gateway.requests {
            match request.written {
                Some((conn, _)) if gateway.conn != Some(conn) => {
                    return violated("REQ-2", format!("request {id} outlives its link"));
                }
                None if !is_linked && !request.patient => {
                    return violated("REQ-2", format!("request {id} waits, and nobody asked it to"));
                }
                None if !is_linked => request.waited = true,
                None if has_room => return violated("REQ-2", format!("request {id} is not written to a ready link")),
                _ => {}
            }
            if request.deadline < now && gateway.deadline.is_some_and(|deadline| deadline > at) {
                return violated("REQ-1", format!("request {id} outlives its deadline"));
            }
        }
        let limits = machine.settings().limits();
        let unread = machine.stats().deliveries - gateway.popped;
        if unread > limits.queue_hard as u64 / OVERHEAD + 1 + self.script.shape.window as u64 {
            return violated("REQ-7", format!("{unread} deliveries are unread"));
        }
        Ok(())
    }

    fn check_terminal(&self, index: usize) -> Check {
        let gateway = &self.gateways[index];
        let Some(machine) = &gateway.machine else { return Ok(()) };
        if gateway.conn.is_some() || machine.poll_timeout().is_some() {
            return violated("CLOSE-1", "an end with a link or a deadline left over");
        }
        if !gateway.requests.is_empty() || !gateway.idles.is_empty() {
            return violated("CLOSE-1", format!("an end with {:?} {:?}", gateway.requests, gateway.idles));
        }
        Ok(())
    }

    pub(super) fn resume_reading(&mut self, index: usize) -> Check {
        self.gateways[index].reading = true;
        self.run_gateway(index)
    }

    /// All is well from now on.
    pub(super) fn heal_gateway(&mut self, index: usize) -> Check {
        self.gateways[index].freezes.clear();
        self.gateways[index].clock.skew = 0;
        self.gateways[index].reading = true;
        if self.gateways[index].machine.is_none() {
            let process = self.gateways[index].process;
            self.provision(index, false);
            return self.start_gateway(index, process);
        }
        self.provision(index, false);
        self.resume_gateway(index)?;
        let ids: Vec<DeliveryId> = self.gateways[index].app.held.keys().copied().collect();
        for id in ids {
            let process = self.gateways[index].process;
            self.after(SECOND / 100, Ev::Decide { gateway: index, process, delivery: id });
        }
        self.run_gateway(index)
    }

    /// Some time after the last fault there is a link again, without any help. What is left then waits for another link.
    pub(super) fn gateway_recovered(&mut self, index: usize) -> Check {
        let gateway = &self.gateways[index];
        // A window of events at once is more than the smallest limits allow, so that their link is closed time and again.
        if gateway.state != State::Ready && !gateway.shape.small_limits {
            return violated("LINK-1", format!("gateway {index} is {:?} long after the last fault", gateway.state));
        }
        let Some(conn) = gateway.conn.map(|conn| &self.conns[conn]) else { return Ok(()) };
        // What was given back holds up everything behind it, until the next link (ACK-2).
        let entries = &self.ledgers[index].entries;
        let mut unacked = conn.carried[conn.acked..].iter().map(|carried| &entries[carried.event]);
        // And each forward that nobody acknowledges takes its ten seconds.
        let is_held_up = conn.idle
            || gateway.shape.legacy
            || unacked.any(|entry| entry.shown == Some((gateway.process, Fate::Back)));
        if let Some((number, entry)) = self.ledgers[index].kept().next().filter(|_| !is_held_up) {
            return violated("DEADLOCK", format!("event {number} does not get through: {entry:?}"));
        }
        self.reconnect(index)?;
        self.run_gateway(index)
    }

    pub(super) fn end_gateway(&mut self, index: usize) -> Check {
        let seed = self.seed;
        let mut rng = Rng::with_seed(mix(&[seed, 7, index as u64]));
        for _ in 0..rng.usize(..3) {
            self.request(index, &mut rng)?;
        }
        self.close_gateway(index)?;
        self.run_gateway(index)
    }

    pub(super) fn gateway_over(&mut self, index: usize) -> Check {
        let state = self.gateways[index].state;
        if state != State::Closed {
            return violated("CLOSE-1", format!("gateway {index} is {state:?} long after it was shut down"));
        }
        self.check_terminal(index)
    }
}
