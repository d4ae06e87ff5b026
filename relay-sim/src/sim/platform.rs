//! The connector's application, and the work of its store.

use std::collections::BTreeSet;

use fastrand::Rng;
use relay_proto::connector::{Ended, Event, HelloId, OutboundId};
use relay_proto::end::LinkEnd;
use relay_proto::frame::{Descriptor, RawJson};

use super::coverage::Hard;
use super::ledger::{Kind, Stage};
use super::plan::mix;
use super::store::Job;
use super::world::{Ev, World};
use super::{Check, Nanos, SECOND, violated};

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
        let id = if number.is_multiple_of(5) { String::new() } else { format!("\"message_id\":\"m{number}\",") };
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

    pub(super) fn peer_event(&mut self, index: usize, event: Event) -> Check {
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
            Event::LinkEnded { ended: Ended::Remote(LinkEnd::Protocol { detail }), .. } => {
                return violated("WIRE", format!("the gateway's end broke the protocol: {detail}"));
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

    pub(super) fn describe_now(&mut self, index: usize, hello: HelloId) {
        // A hello whose link is gone needs no answer.
        self.peer_command(index, |peer, now| peer.describe(hello, &Descriptor::new("discord"), now).is_ok());
    }

    pub(super) fn resume_connector_reading(&mut self, _: usize) -> Check {
        self.connector.reading = true;
        (0..self.connector.peers.len()).try_for_each(|index| self.run_peer(index))
    }

    pub(super) fn store_job(&mut self, index: usize, job: Job) {
        self.connector.store.ask(index, job);
        if let Some(delay) = self.connector.crash_in_store.take() {
            let soon = self.connector.rng.u64(..SECOND / 4000);
            self.after(soon, Ev::CrashConnector(delay));
        }
        self.wake_keeper();
    }

    /// Starts a commit, if there is something to commit and none is under way.
    fn wake_keeper(&mut self) {
        let (now, process) = (self.now, self.connector.process);
        let connector = &mut self.connector;
        // What failed is tried again after a while.
        let pause = if connector.store.is_failing() { SECOND / 5 } else { 0 };
        if connector.store.begin() {
            let at = (now + pause + store_takes(&mut connector.rng)).max(connector.slow_until);
            self.at(at, Ev::Store { process });
        }
    }

    pub(super) fn wake_reader(&mut self, index: usize) {
        let (now, process) = (self.now, self.connector.process);
        let connector = &mut self.connector;
        let at = (now + store_takes(&mut connector.rng)).max(connector.slow_until);
        self.at(at, Ev::Fetched { process, gateway: index });
    }

    /// A commit of the store ends.
    pub(super) fn store_works(&mut self, process: u32) -> Check {
        if self.connector.process != process || !self.connector.up {
            return Ok(());
        }
        if self.connector.suspended.is_some() {
            self.after(SECOND, Ev::Store { process });
            return Ok(());
        }
        let connector = &mut self.connector;
        let mut committed = connector.store.finish(&mut connector.rng);
        // They are durable together, and told in any order.
        connector.rng.shuffle(&mut committed.done);
        let touched: BTreeSet<usize> = committed
            .done
            .iter()
            .map(|(index, _)| *index)
            .chain(committed.refused.iter().map(|(index, _)| *index))
            .collect();
        (0..committed.in_doubt).for_each(|_| self.coverage.hit(Hard::RefusedInDoubt));
        for (index, job) in committed.done {
            self.store_did(index, job);
            self.drain_peer(index)?;
        }
        for (index, entry) in committed.refused {
            if let Some(number) = self.ledgers[index].find(entry) {
                self.ledgers[index].entries[number].stage = Stage::Refused;
            }
            self.coverage.hit(Hard::AppendFailed);
            self.peer_command(index, |peer, now| peer.handle_not_stored(entry, now));
            self.drain_peer(index)?;
        }
        self.wake_keeper();
        touched.into_iter().try_for_each(|index| self.run_peer(index))
    }

    fn store_did(&mut self, index: usize, job: Job) {
        match job {
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

    /// The store's reader has read what a gateway is to be sent next.
    pub(super) fn store_reads(&mut self, process: u32, index: usize) -> Check {
        if self.connector.process != process || !self.connector.up {
            return Ok(());
        }
        if self.connector.suspended.is_some() {
            self.after(SECOND, Ev::Fetched { process, gateway: index });
            return Ok(());
        }
        if let Some(entries) = self.connector.store.read(index) {
            self.coverage.hit(Hard::Fetched);
            self.peer_command(index, |peer, now| peer.handle_fetched(entries, now));
        }
        self.run_peer(index)
    }
}

/// How long the store takes.
fn store_takes(rng: &mut Rng) -> Nanos {
    [SECOND / 5000, SECOND / 100, SECOND / 5][rng.usize(..3)]
}
