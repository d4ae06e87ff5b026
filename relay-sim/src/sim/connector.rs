//! The connector: its process, one peer for each gateway, their stores, its application, and what must be true of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use relay_proto::connector::{OutboundId, Peer, Settings};
use relay_proto::time::Now;

use super::clock::Clock;
use super::coverage::Hard;
use super::plan::{Shape, mix};
use super::store::{Job, Store};
use super::world::{Ev, World};
use super::{Check, Nanos, SECOND, violated};

/// The connector's process and its machine.
pub(super) struct Connector {
    pub(super) seed: u64,
    pub(super) process: u32,
    pub(super) up: bool,
    pub(super) suspended: Option<Nanos>,
    pub(super) clock: Clock,
    pub(super) peers: Vec<PeerHost>,
    pub(super) store: Store,
    /// Until when the store takes its time.
    pub(super) slow_until: Nanos,
    pub(super) reading: bool,
    /// Crashes as soon as its store is busy, for so long.
    pub(super) crash_in_store: Option<Nanos>,
    /// Being shut down in order.
    pub(super) leaving: bool,
    pub(super) rng: Rng,
    /// Requests that the application carried out.
    pub(super) done: BTreeSet<String>,
}

/// What the connector's host has for one gateway.
pub(super) struct PeerHost {
    pub(super) peer: Option<Peer>,
    /// Open connections whose other end is this gateway's.
    pub(super) conns: Vec<usize>,
    pub(super) deadline: Option<Nanos>,
    /// The numbers of the secrets that are valid.
    pub(super) secrets: BTreeSet<u32>,
    pub(super) outage: Option<(Nanos, Outage)>,
    pub(super) mute_until: Nanos,
    pub(super) forbid_until: Nanos,
    /// The gateway acknowledged a forward in this life of the connector: it is held to that.
    pub(super) acks_forwards: bool,
    pub(super) outbounds: BTreeMap<OutboundId, String>,
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
            conns: Vec::new(),
            deadline: None,
            secrets: BTreeSet::new(),
            outage: None,
            mute_until: 0,
            forbid_until: 0,
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
            store: Store::new(shape.gateways.len()),
            slow_until: 0,
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
        let shape = &self.script.shape;
        let mut limits = shape.limits.clone();
        limits.window = shape.window;
        let settings = Settings::new(shape.timing.clone(), limits).expect("valid settings");
        let connector = &mut self.connector;
        if connector.up {
            return Ok(());
        }
        (connector.up, connector.leaving, connector.reading) = (true, false, true);
        let now = connector.clock.now(at);
        for (index, host) in connector.peers.iter_mut().enumerate() {
            let epoch = mix(&[connector.seed, 9, index as u64, u64::from(connector.process)]);
            host.peer = Some(match durable {
                true => Peer::stored(settings.clone(), epoch, connector.store.shelves[index].backlog(), now),
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
        }
        let connector = &mut self.connector;
        if connector.store.pending().any(|job| matches!(job, Job::Discard(_))) {
            self.coverage.hit(Hard::CrashInDiscard);
        }
        if connector.store.pending().any(|job| matches!(job, Job::Append(..))) {
            self.coverage.hit(Hard::CrashInAppend);
        }
        if connector.store.crash(&mut connector.rng) {
            self.coverage.hit(Hard::RolledBack);
        }
        for index in 0..self.connector.peers.len() {
            let durable = self.script.shape.durable;
            let shelf = &self.connector.store.shelves[index];
            let crash = self.ledgers[index].crash(|entry| durable && shelf.has(entry));
            if durable && crash.lost > 0 {
                return violated("CONN-7", format!("{} accepted events are not in the store", crash.lost));
            }
            (0..crash.unconfirmed).for_each(|_| self.coverage.hit(Hard::CrashUnconfirmed));
            (0..crash.lost).for_each(|_| self.coverage.hit(Hard::Amnesia));
            (0..crash.unrefused).for_each(|_| self.coverage.hit(Hard::RefusedAndKept));
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
        self.connector.slow_until = self.now;
        self.connector.store.heal();
        for index in 0..self.connector.peers.len() {
            let now = self.now;
            let host = &mut self.connector.peers[index];
            host.outage = None;
            (host.mute_until, host.forbid_until) = (now, now);
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

    pub(super) fn outage(&self, index: usize, now: Nanos) -> Option<Outage> {
        self.connector.peers[index].outage.filter(|(until, _)| *until > now).map(|(_, outage)| outage)
    }

    /// A shutdown in order is over when every peer says so.
    pub(super) fn maybe_leave(&mut self) -> Check {
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
                let late = peer.settings().timing().close + Duration::from_secs(1);
                peer.handle_timeout(Now { monotonic: now.monotonic + late, ..now });
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
