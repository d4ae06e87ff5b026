//! The connector's application, and the work of its store.

use fastrand::Rng;
use relay_proto::connector::{Ended, Event, HelloId, OutboundId};
use relay_proto::end::LinkEnd;
use relay_proto::frame::{Descriptor, RawJson};

use super::coverage::Hard;
use super::ledger::{Kind, Stage};
use super::plan::mix;
use super::store::Job;
use super::world::{Ev, World};
use super::{Check, SECOND, violated};

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
        self.connector.peers[index].store.jobs.push_back(job);
        if let Some(delay) = self.connector.crash_in_store.take() {
            let soon = self.connector.rng.u64(..SECOND / 4000);
            self.after(soon, Ev::CrashConnector(delay));
        }
        self.wake_store(index);
    }

    pub(super) fn wake_store(&mut self, index: usize) {
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

    pub(super) fn store_did(&mut self, index: usize, job: Job, full: bool) {
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
