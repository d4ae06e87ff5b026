//! The connector: its process, one peer for each gateway, their stores, its application, and what must be true of them.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use relay_proto::connector::{
    Ended, EntryId, Event, HelloId, Limits, LinkId, Notice, OutboundId, Output, Peer, Refusal, Settings, Timing,
    Transmit, authenticate,
};
use relay_proto::end::LinkEnd;
use relay_proto::frame::{Descriptor, RawJson};
use relay_proto::time::Now;
use relay_proto::token::{Secret, TokenRefused};

use super::clock::Clock;
use super::codec::{End, Heard};
use super::coverage::Hard;
use super::ledger::{Kind, Stage};
use super::network::{Carried, Tail, Way};
use super::plan::{Shape, mix};
use super::store::{Job, Store};
use super::world::{Ev, Read, World};
use super::{Check, Nanos, SECOND, violated};

/// The connector's process and its machine.
pub(super) struct Connector {
    seed: u64,
    pub(super) process: u32,
    pub(super) up: bool,
    pub(super) suspended: Option<Nanos>,
    pub(super) clock: Clock,
    pub(super) peers: Vec<PeerHost>,
    pub(super) reading: bool,
    /// Crashes as soon as its store is busy, for so long.
    pub(super) crash_in_store: Option<Nanos>,
    /// Being shut down in order.
    leaving: bool,
    pub(super) rng: Rng,
    /// Requests that the application carried out.
    pub(super) done: BTreeSet<String>,
}

/// What the connector's host has for one gateway.
pub(super) struct PeerHost {
    pub(super) peer: Option<Peer>,
    pub(super) store: Store,
    /// Open connections whose other end is this gateway's.
    pub(super) conns: Vec<usize>,
    pub(super) deadline: Option<Nanos>,
    /// The numbers of the secrets that are valid.
    pub(super) secrets: BTreeSet<u32>,
    pub(super) outage: Option<(Nanos, Outage)>,
    pub(super) mute_until: Nanos,
    pub(super) forbid_until: Nanos,
    pub(super) slow_until: Nanos,
    /// The gateway acknowledged a forward in this life of the connector: it is held to that.
    acks_forwards: bool,
    outbounds: BTreeMap<OutboundId, String>,
}

/// Why no connection comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    Refused,
    /// No answer to the connection.
    Silent,
    /// A connection, and no answer to the upgrade.
    Deaf,
    Http(u16),
    /// The same, for one upgrade.
    Once(u16),
}

impl Connector {
    pub(super) fn new(seed: u64, shape: &Shape) -> Self {
        let mut rng = Rng::with_seed(mix(&[seed, 8]));
        let peer = || PeerHost {
            peer: None,
            store: Store::default(),
            conns: Vec::new(),
            deadline: None,
            secrets: BTreeSet::new(),
            outage: None,
            mute_until: 0,
            forbid_until: 0,
            slow_until: 0,
            acks_forwards: false,
            outbounds: BTreeMap::new(),
        };
        Self {
            seed,
            process: 0,
            up: false,
            suspended: None,
            clock: Clock::new(rng.u64(..SECOND * 1000), shape.counts_suspend),
            peers: shape.gateways.iter().map(|_| peer()).collect(),
            reading: true,
            crash_in_store: None,
            leaving: false,
            rng,
            done: BTreeSet::new(),
        }
    }

    pub(super) fn is_awake(&self) -> bool {
        self.up && self.suspended.is_none()
    }
}

/// The process.
impl World {
    pub(super) fn start_connector(&mut self) -> Check {
        let (at, durable) = (self.now, self.script.shape.durable);
        let mut limits = Limits::default();
        limits.window = self.script.shape.window;
        let settings = Settings::new(Timing::default(), limits).expect("valid settings");
        let connector = &mut self.connector;
        if connector.up {
            return Ok(());
        }
        (connector.up, connector.leaving, connector.reading) = (true, false, true);
        let now = connector.clock.now(at);
        for (index, host) in connector.peers.iter_mut().enumerate() {
            let epoch = mix(&[connector.seed, 9, index as u64, u64::from(connector.process)]);
            host.peer = Some(match durable {
                true => Peer::stored(settings.clone(), epoch, host.store.backlog(), now),
                false => Peer::in_memory(settings.clone(), epoch, now),
            });
            host.outbounds.clear();
            host.acks_forwards = false;
        }
        let process = connector.process;
        self.note("start connector", 0, u64::from(process), || format!("durable {durable}"));
        Ok(())
    }

    /// The process is gone. Its sockets are closed by its system; its store may or may not have done what was under way.
    pub(super) fn stop_connector(&mut self) -> Check {
        let connector = &mut self.connector;
        connector.up = false;
        connector.suspended = None;
        connector.process += 1;
        let process = connector.process;
        self.note("stop connector", 0, u64::from(process), String::new);
        for index in 0..self.connector.peers.len() {
            for conn in self.connector.peers[index].conns.clone() {
                self.close_server(conn);
            }
            let connector = &mut self.connector;
            let host = &mut connector.peers[index];
            (host.peer, host.deadline) = (None, None);
            if host.store.jobs.iter().any(|job| matches!(job, Job::Discard(_))) {
                self.coverage.hit(Hard::CrashInDiscard);
            }
            if host.store.jobs.iter().any(|job| matches!(job, Job::Append(..))) {
                self.coverage.hit(Hard::CrashInAppend);
            }
            host.store.crash(&mut connector.rng);
            let durable = self.script.shape.durable;
            let store = &self.connector.peers[index].store;
            let crash = self.ledgers[index].crash(|entry| durable && store.has(entry));
            if durable && crash.lost > 0 {
                return violated("CONN-7", format!("{} accepted events are not in the store", crash.lost));
            }
            (0..crash.unconfirmed).for_each(|_| self.coverage.hit(Hard::CrashUnconfirmed));
            (0..crash.lost).for_each(|_| self.coverage.hit(Hard::Amnesia));
            self.note("after the crash", index, 0, || format!("{crash:?}"));
        }
        Ok(())
    }

    pub(super) fn restart_connector(&mut self, delay: Nanos) {
        let (process, healed_at) = (self.connector.process, self.healed_at());
        let at = (self.now + delay).min(healed_at.max(self.now));
        self.at(at, Ev::StartConnector { process });
    }

    pub(super) fn resume_connector(&mut self) -> Check {
        let at = self.now;
        let Some(since) = self.connector.suspended.take() else { return Ok(()) };
        self.connector.clock.suspended(at - since);
        self.note("resume connector", 0, 0, String::new);
        for index in 0..self.connector.peers.len() {
            self.run_peer(index)?;
            self.peer_timeout(index)?;
        }
        Ok(())
    }

    pub(super) fn heal_connector(&mut self) -> Check {
        self.connector.clock.skew = 0;
        self.start_connector()?;
        self.resume_connector()?;
        self.connector.reading = true;
        for index in 0..self.connector.peers.len() {
            let now = self.now;
            let host = &mut self.connector.peers[index];
            host.outage = None;
            (host.mute_until, host.forbid_until, host.slow_until) = (now, now, now);
            host.store.full = false;
            self.run_peer(index)?;
        }
        Ok(())
    }

    /// Makes sure that a gateway can come in again. `fresh`: with a new secret, which its next process is given.
    pub(super) fn provision(&mut self, index: usize, fresh: bool) {
        let at = self.now;
        let gateway = &mut self.gateways[index];
        gateway.next_secret += u32::from(fresh);
        let (current, next) = (gateway.secret, gateway.next_secret);
        let connector = &mut self.connector;
        let now = connector.clock.now(at);
        let host = &mut connector.peers[index];
        host.secrets = if fresh { [next].into() } else { [current, next].into() };
        if let Some(peer) = &mut host.peer {
            peer.reinstate(now);
        }
        self.note("provision", index, u64::from(next), String::new);
    }

    /// An operator tells the connector the secret of a gateway that has been trying for a while.
    pub(super) fn make_known(&mut self, index: usize) {
        let secret = self.gateways[index].next_secret;
        self.connector.peers[index].secrets.insert(secret);
        self.note("known", index, u64::from(secret), String::new);
    }

    /// Whether a TCP connection comes about. `None`: nobody answers.
    pub(super) fn reachable(&mut self, index: usize) -> Option<bool> {
        let (now, up) = (self.now, self.connector.up);
        match self.outage(index, now) {
            Some(Outage::Silent) => None,
            Some(Outage::Refused) => Some(false),
            _ => Some(up),
        }
    }

    fn outage(&self, index: usize, now: Nanos) -> Option<Outage> {
        self.connector.peers[index].outage.filter(|(until, _)| *until > now).map(|(_, outage)| outage)
    }

    /// A shutdown in order is over when every peer says so.
    fn maybe_leave(&mut self) -> Check {
        let finished = self.connector.peers.iter().all(|host| host.peer.as_ref().is_none_or(Peer::is_finished));
        if !self.connector.leaving || !finished {
            return Ok(());
        }
        self.connector.leaving = false;
        self.coverage.hit(Hard::ConnectorShutdown);
        if self.ending {
            return Ok(());
        }
        self.stop_connector()?;
        self.restart_connector(SECOND * 2);
        Ok(())
    }

    pub(super) fn shut_down_connector(&mut self) -> Check {
        self.connector.leaving = true;
        self.note("shut down connector", 0, 0, String::new);
        for index in 0..self.connector.peers.len() {
            if self.connector.is_awake() {
                self.peer_command(index, |peer, now| peer.shutdown(now));
                self.run_peer(index)?;
            }
        }
        Ok(())
    }

    pub(super) fn connector_over(&mut self) -> Check {
        for index in 0..self.connector.peers.len() {
            self.peer_command(index, |peer, now| peer.shutdown(now));
            self.run_peer(index)?;
            self.peer_command(index, |peer, now| {
                peer.handle_timeout(Now { monotonic: now.monotonic + std::time::Duration::from_secs(3), ..now });
            });
            self.run_peer(index)?;
            let peer = self.connector.peers[index].peer.as_ref();
            if !peer.is_some_and(Peer::is_finished) {
                return violated("DEADLOCK", format!("the connector does not come to its end: {peer:?}"));
            }
        }
        Ok(())
    }
}

/// The host of the peers.
impl World {
    pub(super) fn peer_command<T>(&mut self, index: usize, call: impl FnOnce(&mut Peer, Now) -> T) -> Option<T> {
        let now = self.connector.clock.now(self.now);
        Some(call(self.connector.peers[index].peer.as_mut()?, now))
    }

    pub(super) fn peer_timeout(&mut self, index: usize) -> Check {
        let before = self.connector.peers[index].deadline.filter(|deadline| *deadline <= self.now);
        self.peer_command(index, |peer, now| peer.handle_timeout(now));
        self.run_peer(index)?;
        if before.is_some() && self.connector.is_awake() {
            let is_due =
                |world: &Self| world.connector.peers[index].deadline.is_some_and(|deadline| deadline <= world.now);
            if is_due(self) {
                self.peer_command(index, |peer, now| (0..8).for_each(|_| peer.handle_timeout(now)));
                self.run_peer(index)?;
            }
            if self.connector.is_awake() && is_due(self) {
                return violated("CLOCK-1", "a deadline of the connector that does not pass");
            }
        }
        Ok(())
    }

    /// The connector's end of a new connection.
    pub(super) fn accept_connection(&mut self, conn: usize) {
        let index = self.conns[conn].gateway;
        self.conns[conn].server = Some(End::server(self.script.shape.wire));
        self.connector.peers[index].conns.push(conn);
    }

    pub(super) fn run_connector_conn(&mut self, conn: usize) -> Check {
        self.run_peer(self.conns[conn].gateway)
    }

    /// Lets a peer do everything that it can do now.
    pub(super) fn run_peer(&mut self, index: usize) -> Check {
        if !self.connector.is_awake() {
            return Ok(());
        }
        loop {
            self.settle_peer(index)?;
            if !self.connector.is_awake() || !self.read_peer(index)? {
                break;
            }
        }
        if self.connector.is_awake() {
            self.check_peer(index)?;
        }
        self.maybe_leave()
    }

    fn settle_peer(&mut self, index: usize) -> Check {
        loop {
            let mut moved = false;
            while let Some(output) = self.connector.peers[index].peer.as_mut().and_then(Peer::poll_output) {
                moved = true;
                self.peer_output(index, output)?;
            }
            while self.connector.reading
                && let Some(event) = self.connector.peers[index].peer.as_mut().and_then(Peer::next_event)
            {
                moved = true;
                self.peer_event(index, event)?;
            }
            for conn in self.connector.peers[index].conns.clone() {
                moved |= self.send_to_gateway(index, conn)?;
                moved |= self.write(conn, Way::Down);
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn send_to_gateway(&mut self, index: usize, conn: usize) -> Result<bool, super::Violation> {
        let mut moved = false;
        while let Some(link) = self.conns[conn].peer_link {
            let enough = self.script.shape.gateways[index].enough;
            let (Some(peer), Some(server)) = (&mut self.connector.peers[index].peer, &self.conns[conn].server) else {
                break;
            };
            if self.conns[conn].down.fails(self.now) || server.transmit().len() >= enough {
                break;
            }
            let Some(transmit) = peer.poll_transmit(link) else { break };
            moved = true;
            self.peer_transmit(index, conn, transmit)?;
        }
        Ok(moved)
    }

    /// Reads one piece of what has arrived on any connection of this gateway. Whether there was one.
    fn read_peer(&mut self, index: usize) -> Result<bool, super::Violation> {
        let now = self.now;
        let deaf = self.outage(index, now) == Some(Outage::Deaf);
        for conn in self.connector.peers[index].conns.clone() {
            let Some(peer) = &self.connector.peers[index].peer else { return Ok(false) };
            let link = self.conns[conn].peer_link;
            let wants = link.map_or(!deaf, |link| peer.wants_read(link));
            if !wants {
                continue;
            }
            let Some(read) = self.read(conn, Way::Up) else { continue };
            match read {
                Read::Bytes(bytes) => {
                    if let Some(link) = link {
                        self.peer_command(index, |peer, now| peer.handle_traffic(link, now));
                    }
                    let current = link.is_some() && peer_is_current(self, index, link);
                    self.on_server(index, conn, |server| server.receive(&bytes))?;
                    if current {
                        self.conns[conn].read_while_current = self.conns[conn].up.read;
                    }
                }
                Read::Tail(Tail::Eof) => self.on_server(index, conn, End::receive_eof)?,
                Read::Tail(Tail::Reset) => self.on_server(index, conn, |server| server.receive_failed("reset"))?,
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// A link that this side closes has answered everything that came while it spoke for the gateway.
    fn check_answered(&self, conn: usize) -> Check {
        let link = &self.conns[conn];
        let read = link.asked.iter().filter(|(_, end)| *end <= link.read_while_current);
        match read.map(|(id, _)| id).find(|id| !link.results.contains_key(*id)) {
            Some(id) => violated("CONN-6", format!("request {id} was read and is not answered")),
            None => Ok(()),
        }
    }

    fn on_server(&mut self, index: usize, conn: usize, input: impl FnOnce(&mut End)) -> Check {
        if let Some(server) = &mut self.conns[conn].server {
            input(server);
        }
        while let Some(heard) = self.conns[conn].server.as_mut().and_then(End::poll) {
            match heard {
                Heard::Request(bearer) => self.upgrade(index, conn, bearer.as_deref())?,
                Heard::Message(bytes) => {
                    if let Some(link) = self.conns[conn].peer_link {
                        self.peer_command(index, |peer, now| peer.handle_message(link, &bytes, now));
                        self.drain_peer(index)?;
                    }
                }
                Heard::Ended(end) => {
                    self.note("server ended", index, conn as u64, || format!("{end:?}"));
                    if let Some(link) = self.conns[conn].peer_link {
                        self.peer_command(index, |peer, now| peer.handle_ended(link, end, now));
                    }
                    self.close_server(conn);
                }
                Heard::Opened => return violated("SIMULATION", "an opened link at the connector"),
            }
        }
        Ok(())
    }

    fn drain_peer(&mut self, index: usize) -> Check {
        while let Some(output) = self.connector.peers[index].peer.as_mut().and_then(Peer::poll_output) {
            self.peer_output(index, output)?;
        }
        Ok(())
    }

    /// An upgrade: who is it, and may it come in?
    fn upgrade(&mut self, index: usize, conn: usize, bearer: Option<&str>) -> Check {
        let at = self.now;
        let outage = self.outage(index, at);
        self.note("upgrade", index, conn as u64, || format!("{outage:?}"));
        let now = self.connector.clock.now(at);
        let host = &self.connector.peers[index];
        let Some(server) = &mut self.conns[conn].server else { return Ok(()) };
        if let Some(Outage::Http(status) | Outage::Once(status)) = outage {
            server.refuse(status, "try later");
            if matches!(outage, Some(Outage::Once(_))) {
                self.connector.peers[index].outage = None;
            }
            return Ok(());
        }
        let secrets: Vec<Secret> =
            host.secrets.iter().map(|number| self.gateways[index].secret_text(*number)).collect();
        let name = self.gateways[index].name();
        let verdict = authenticate(bearer, |id| (id == name).then_some(secrets), now);
        let Some(token) = &self.conns[conn].token else { return violated("DIAL-2", "a request without a token") };
        if bearer != Some(token.text.as_str()) {
            return violated("DIAL-3", format!("the token of another dial: {bearer:?}"));
        }
        let expected = match (host.secrets.contains(&token.secret), now.unix > token.expires) {
            (true, false) => Ok(()),
            (true, true) => Err(Refusal::Token(TokenRefused::Expired)),
            (false, _) => Err(Refusal::Token(TokenRefused::BadSignature)),
        };
        if expected != verdict.as_ref().map(|_| ()).map_err(|refusal| *refusal) {
            return violated("CONN-1", format!("{verdict:?}, and should be {expected:?}"));
        }
        let Some(server) = &mut self.conns[conn].server else { return Ok(()) };
        match (verdict, self.script.shape.hides_expiry) {
            (Ok(_), _) => {
                server.accept();
                let link = self.peer_command(index, |peer, now| peer.handle_opened(now));
                self.conns[conn].peer_link = link;
            }
            (Err(_), Some(true)) => server.refuse(401, ""),
            (Err(refusal), hides) => {
                server.accept();
                let reason = if hides == Some(false) { "unauthorized" } else { refusal.close_reason() };
                server.close(Refusal::CLOSE_CODE, reason);
                self.after(SECOND * 2, Ev::HangUp(conn));
            }
        }
        Ok(())
    }

    /// The connector's end of a connection is closed, after one attempt to write what it has to say.
    pub(super) fn close_server(&mut self, conn: usize) {
        if self.connector.up || self.connector.rng.bool() {
            self.write(conn, Way::Down);
        }
        let now = self.now;
        if self.conns[conn].server.take().is_some() {
            let index = self.conns[conn].gateway;
            self.connector.peers[index].conns.retain(|other| *other != conn);
            self.conns[conn].down.close(now);
            self.conns[conn].up.abandon(now);
            if let Some(at) = self.conns[conn].down.next() {
                self.at(at, Ev::Arrive(conn, Way::Down));
            }
        }
    }

    fn peer_output(&mut self, index: usize, output: Output) -> Check {
        let at = self.now;
        match output {
            Output::Hello { hello, .. } => {
                let process = self.connector.process;
                let mute_until = self.connector.peers[index].mute_until;
                if self.connector.peers[index].forbid_until > at {
                    self.peer_command(index, |peer, now| peer.refuse(hello, now));
                } else if mute_until > at || self.connector.rng.u32(..16) == 0 {
                    let at = mute_until.max(at + SECOND / 50);
                    self.at(at, Ev::Describe { process, gateway: index, hello });
                } else {
                    self.describe_now(index, hello);
                }
            }
            Output::Accepted(entry) => {
                if let Some(number) = self.ledgers[index].find(entry) {
                    self.ledgers[index].entries[number].stage = Stage::Kept;
                }
            }
            Output::Drop(link) => {
                let conns = &self.connector.peers[index].conns;
                let conn = conns.iter().copied().find(|conn| self.conns[*conn].peer_link == Some(link));
                let Some(conn) = conn else { return violated("SIMULATION", "a link is dropped that is gone") };
                self.note("server drops", index, conn as u64, String::new);
                self.close_server(conn);
            }
            Output::Append { entry, frame } => self.store_job(index, Job::Append(entry, frame)),
            Output::Discard(entry) => {
                self.gone(index, entry, false)?;
                self.store_job(index, Job::Discard(entry));
            }
            Output::Fetch(fetch) => {
                self.connector.peers[index].store.fetch = Some(fetch);
                self.wake_store(index);
            }
            Output::Notice(notice) => {
                self.note("server notice", index, 0, || notice.to_string());
                match notice {
                    Notice::StrayAck => self.coverage.hit(Hard::StrayAck),
                    Notice::ForwardPresumed(entry) => {
                        self.coverage.hit(Hard::Presumed);
                        self.leave(index, entry)?;
                    }
                    Notice::ForwardGivenUp(entry) => {
                        self.coverage.hit(Hard::GivenUp);
                        self.leave(index, entry)?;
                    }
                    _ => {}
                }
            }
            other => return violated("SIMULATION", format!("an output that nobody knows: {other:?}")),
        }
        Ok(())
    }

    /// An entry left the buffer by its acknowledgement.
    fn gone(&mut self, index: usize, entry: EntryId, durably: bool) -> Check {
        let Some(number) = self.ledgers[index].find(entry) else {
            return violated("SIMULATION", format!("an entry that nobody delivered: {entry}"));
        };
        let known = &self.ledgers[index].entries[number];
        let unasked = known.kind == Kind::Forward && !known.taken;
        if !matches!(known.stage, Stage::Gone { .. }) {
            // A forward may leave without an acknowledgement; that this one did is told right after.
            self.ledgers[index].go(number, !unasked, durably)?;
        }
        Ok(())
    }

    /// A forward left the buffer without an acknowledgement.
    fn leave(&mut self, index: usize, entry: EntryId) -> Check {
        let Some(number) = self.ledgers[index].find(entry) else { return Ok(()) };
        if self.ledgers[index].entries[number].kind != Kind::Forward || self.connector.peers[index].acks_forwards {
            return violated("CONN-3", format!("event {number} left without an acknowledgement"));
        }
        let durably = !self.script.shape.durable;
        self.ledgers[index].entries[number].presumed = true;
        self.ledgers[index].go(number, false, durably)
    }

    fn peer_transmit(&mut self, index: usize, conn: usize, transmit: Transmit) -> Check {
        if self.conns[conn].close_down {
            return violated("WIRE", format!("{transmit:?} follows a close frame"));
        }
        match transmit {
            Transmit::Text(text) => {
                if text.find('\n') != Some(text.len() - 1) {
                    return violated("FRAME-1", format!("not one line: {text:?}"));
                }
                self.trace.bytes(text.as_bytes());
                let id = text
                    .rsplit_once("\"bufferId\":\"")
                    .and_then(|(_, id)| EntryId::parse(id.trim_end_matches("\"}\n")));
                match id {
                    Some(entry) => return self.delivery_leaves(index, conn, entry, text),
                    None if text.contains("\"going_idle_ack\"") => {
                        self.conns[conn].idle = true;
                        if self.conns[conn].acked < self.conns[conn].carried.len() {
                            self.coverage.hit(Hard::IdleInFlight);
                        }
                    }
                    None => self.result_leaves(conn, &text)?,
                }
                self.send_down(index, conn, text);
            }
            Transmit::Ping => {
                self.coverage.hit(Hard::Pinged);
                self.conns[conn].server.as_mut().into_iter().for_each(End::ping);
            }
            Transmit::Close { code, reason } => {
                self.note("down", index, conn as u64, || format!("close {code} {reason}"));
                if reason == "replaced" {
                    self.coverage.hit(Hard::Replaced);
                }
                self.conns[conn].close_down = true;
                self.check_answered(conn)?;
                self.conns[conn].server.as_mut().into_iter().for_each(|server| server.close(code, reason));
            }
            other => return violated("SIMULATION", format!("{other:?}")),
        }
        Ok(())
    }

    /// Puts a frame on the wire. Where it ends in the stream of bytes.
    pub(super) fn send_down(&mut self, index: usize, conn: usize, text: String) -> u64 {
        self.note("down", index, conn as u64, || text.trim_end().to_owned());
        let link = &mut self.conns[conn];
        let Some(server) = &mut link.server else { return u64::MAX };
        server.send_text(text);
        let end = link.down.written + server.transmit().len() as u64;
        link.ends_down.push(end);
        end - server.slack()
    }

    fn delivery_leaves(&mut self, index: usize, conn: usize, entry: EntryId, text: String) -> Check {
        let Some(number) = self.ledgers[index].find(entry) else {
            return violated("CONN-7", format!("{entry} goes out, and nobody delivered it"));
        };
        let link = &self.conns[conn];
        if link.idle {
            return violated("CONN-4", format!("event {number} goes out behind the ack of going idle"));
        }
        let process = link.process;
        self.ledgers[index].carry(number, process, &self.conns[conn].carried)?;
        let known = &mut self.ledgers[index].entries[number];
        if known.links > 1 {
            self.coverage.hit(Hard::Redelivered);
        }
        let live =
            self.script.shape.live_copies && known.kind == Kind::Message && number % 5 % 2 == 1 && !known.live_copy;
        known.live_copy |= live;
        let kind = known.kind;
        let text = match kind {
            Kind::Poison => {
                let id = text.rsplit_once(",\"bufferId\"").map_or("", |(_, id)| id);
                format!("{{\"type\":\"inbound\",\"event\":[{number},{index}],\"bufferId\"{id}")
            }
            _ => text,
        };
        if live {
            let event = text.rsplit_once(",\"bufferId\"").map_or("", |(event, _)| event);
            self.send_down(index, conn, format!("{event}}}\n"));
            self.coverage.hit(Hard::LiveCopy);
        }
        let end = self.send_down(index, conn, text);
        self.conns[conn].carried.push(Carried { event: number, end });
        Ok(())
    }

    fn result_leaves(&mut self, conn: usize, text: &str) -> Check {
        if let Some(id) =
            text.strip_prefix("{\"type\":\"outbound_result\",\"requestId\":\"").and_then(|rest| rest.get(..32))
        {
            let count = self.conns[conn].results.entry(id.to_owned()).or_default();
            *count += 1;
            if *count > 1 {
                return violated("CONN-6", format!("request {id} gets two results"));
            }
        }
        Ok(())
    }

    fn check_peer(&mut self, index: usize) -> Check {
        let window = self.script.shape.window;
        let host = &mut self.connector.peers[index];
        let Some(peer) = &host.peer else { return Ok(()) };
        host.deadline = peer.poll_timeout().map(|deadline| self.connector.clock.when(deadline.at));
        if peer.in_flight() > window {
            return violated("CONN-3", format!("{} entries are in flight", peer.in_flight()));
        }
        if peer.in_flight() == window && peer.buffered() > window as u64 {
            self.coverage.hit(Hard::WindowFull);
        }
        if peer.current_link().is_some() && host.deadline.is_none() && self.connector.reading {
            return violated("DEADLOCK", "a link of the connector without a deadline");
        }
        Ok(())
    }

    pub(super) fn peer_settled(&self, index: usize) -> Check {
        let host = &self.connector.peers[index];
        let Some(peer) = &host.peer else { return violated("SIMULATION", "the connector is down") };
        if peer.buffered() != 0 || !host.store.is_empty() {
            return violated("CONN-7", format!("{} entries are left, store {:?}", peer.buffered(), host.store));
        }
        if let Some(conn) = self.gateways[index].conn {
            self.check_answered(conn)?;
        }
        if !host.outbounds.is_empty() {
            return violated("CONN-6", format!("requests without an end: {:?}", host.outbounds));
        }
        Ok(())
    }
}

/// The application and the store.
impl World {
    pub(super) fn deliver(&mut self, index: usize, rng: &mut Rng) -> Check {
        let number = self.ledgers[index].entries.len();
        let kind = match rng.u32(..10) {
            0 => Kind::Poison,
            1 | 2 => Kind::Forward,
            _ => Kind::Message,
        };
        let pad = "x".repeat(if rng.u32(..4) == 0 { rng.usize(..900) } else { rng.usize(..40) });
        let id = if number % 5 == 0 { String::new() } else { format!("\"message_id\":\"m{number}\",") };
        let json = match kind {
            Kind::Forward => format!("{{\"n\":{number},\"g\":{index},\"method\":\"POST\",\"path\":\"/{pad}\"}}"),
            _ => format!(
                "{{\"n\":{number},\"g\":{index},{id}\"text\":\"{pad}\",\"source\":{{\"platform\":\"discord\",\"chat_id\":\"c\"}}}}"
            ),
        };
        let json = RawJson::parse(&json).expect("valid JSON");
        if !self.connector.is_awake() {
            return Ok(());
        }
        let result = self.peer_command(index, |peer, now| match kind {
            Kind::Forward => peer.forward(&json, now),
            _ => peer.deliver(&json, now),
        });
        match result {
            Some(Ok(entry)) => {
                // Before the outputs, which may say what became of it.
                self.ledgers[index].add(entry, kind, Stage::Storing);
                self.note("deliver", index, number as u64, || format!("{entry} {kind:?}"));
            }
            other => self.note("deliver", index, number as u64, || format!("{other:?}")),
        }
        self.run_peer(index)
    }

    fn peer_event(&mut self, index: usize, event: Event) -> Check {
        self.note("server event", index, 0, || format!("{event:?}"));
        match event {
            Event::Outbound(outbound) => {
                if self.not_sent.contains(&outbound.request_id) {
                    return violated("REQ-1", format!("request {} arrived, and is not sent", outbound.request_id));
                }
                let process = self.connector.process;
                let mut rng = Rng::with_seed(mix(&[self.seed, 10, self.connector.rng.u64(..)]));
                let success = rng.u32(..5) > 0;
                if success {
                    self.connector.done.insert(outbound.request_id.clone());
                }
                let delay = match rng.u32(..10) {
                    _ if self.healed => SECOND / 10,
                    0 => 100 * SECOND,
                    1 => rng.u64(..40) * SECOND,
                    2 | 3 => 0,
                    _ => rng.u64(..SECOND),
                };
                self.connector.peers[index].outbounds.insert(outbound.id, outbound.request_id);
                self.after(delay, Ev::Answer { process, gateway: index, outbound: outbound.id, success });
            }
            Event::Acked(entry) => {
                let number = self.ledgers[index].find(entry);
                let kind = number.map(|number| self.ledgers[index].entries[number].kind);
                self.connector.peers[index].acks_forwards |= kind == Some(Kind::Forward);
                let durably = !self.script.shape.durable;
                self.gone(index, entry, durably)?;
            }
            Event::LinkEnded { ended, .. } => {
                if let Ended::Remote(LinkEnd::Protocol { detail }) = ended {
                    return violated("WIRE", format!("the gateway's end broke the protocol: {detail}"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, process: u32, index: usize, outbound: OutboundId, success: bool) -> Check {
        if self.connector.process != process || !self.connector.up {
            return Ok(());
        }
        if self.connector.suspended.is_some() {
            self.after(SECOND, Ev::Answer { process, gateway: index, outbound, success });
            return Ok(());
        }
        let Some(id) = self.connector.peers[index].outbounds.remove(&outbound) else { return Ok(()) };
        let result = self.peer_command(index, |peer, now| {
            if !success {
                return peer.fail(outbound, "no such chat", false, now);
            }
            let result = RawJson::parse(&format!("{{\"success\":true,\"r\":\"{id}\"}}")).expect("valid JSON");
            peer.answer(outbound, &result, now)
        });
        self.note("answer", index, 0, || format!("{id} {result:?}"));
        self.run_peer(index)
    }

    pub(super) fn describe(&mut self, process: u32, index: usize, hello: HelloId) -> Check {
        if self.connector.process == process && self.connector.is_awake() {
            self.describe_now(index, hello);
            return self.run_peer(index);
        }
        Ok(())
    }

    fn describe_now(&mut self, index: usize, hello: HelloId) {
        // A hello whose link is gone needs no answer.
        self.peer_command(index, |peer, now| peer.describe(hello, &Descriptor::new("discord"), now).is_ok());
    }

    pub(super) fn resume_connector_reading(&mut self, _: usize) -> Check {
        self.connector.reading = true;
        (0..self.connector.peers.len()).try_for_each(|index| self.run_peer(index))
    }

    fn store_job(&mut self, index: usize, job: Job) {
        self.connector.peers[index].store.jobs.push_back(job);
        if let Some(delay) = self.connector.crash_in_store.take() {
            let soon = self.connector.rng.u64(..SECOND / 4000);
            self.after(soon, Ev::CrashConnector(delay));
        }
        self.wake_store(index);
    }

    fn wake_store(&mut self, index: usize) {
        let (now, process) = (self.now, self.connector.process);
        let connector = &mut self.connector;
        let host = &mut connector.peers[index];
        if std::mem::replace(&mut host.store.busy, true) {
            return;
        }
        let time = [SECOND / 5000, SECOND / 100, SECOND / 5][connector.rng.usize(..3)];
        let at = (now + time).max(host.slow_until);
        self.at(at, Ev::Store { process, gateway: index });
    }

    /// The store does what it was asked to: all of it in one group, or some.
    pub(super) fn store_works(&mut self, process: u32, index: usize) -> Check {
        if self.connector.process != process || !self.connector.up {
            return Ok(());
        }
        if self.connector.suspended.is_some() {
            self.after(SECOND, Ev::Store { process, gateway: index });
            return Ok(());
        }
        let connector = &mut self.connector;
        let store = &mut connector.peers[index].store;
        store.busy = false;
        let count = if connector.rng.bool() { store.jobs.len() } else { store.jobs.len().min(1) };
        let mut group: Vec<Job> = store.jobs.drain(..count).collect();
        let full = store.full;
        for job in &group {
            if !(full && matches!(job, Job::Append(..))) {
                store.commit(job.clone());
            }
        }
        // They are durable together, and told in any order.
        connector.rng.shuffle(&mut group);
        let fetch = store.fetch.take();
        let entries = fetch.as_ref().map(|fetch| store.read(fetch));
        for job in group {
            self.store_did(index, job, full);
            self.drain_peer(index)?;
        }
        if let Some(entries) = entries {
            self.coverage.hit(Hard::Fetched);
            self.peer_command(index, |peer, now| peer.handle_fetched(entries, now));
        }
        if !self.connector.peers[index].store.jobs.is_empty() {
            self.wake_store(index);
        }
        self.run_peer(index)
    }

    fn store_did(&mut self, index: usize, job: Job, full: bool) {
        match job {
            Job::Append(entry, _) if full => {
                if let Some(number) = self.ledgers[index].find(entry) {
                    self.ledgers[index].entries[number].stage = Stage::Refused;
                }
                self.coverage.hit(Hard::AppendFailed);
                self.peer_command(index, |peer, now| peer.handle_not_stored(entry, now));
            }
            Job::Append(entry, _) => {
                self.peer_command(index, |peer, now| peer.handle_stored(entry, now));
            }
            Job::Discard(entry) => {
                if let Some(number) = self.ledgers[index].find(entry) {
                    self.ledgers[index].discarded(number);
                }
                self.peer_command(index, |peer, now| peer.handle_discarded(entry, now));
            }
        }
    }
}

fn peer_is_current(world: &World, index: usize, link: Option<LinkId>) -> bool {
    world.connector.peers[index].peer.as_ref().is_some_and(|peer| peer.current_link() == link)
}
