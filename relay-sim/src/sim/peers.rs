//! The host of the peers: the connector's end of every connection.

use relay_proto::connector::{EntryId, LinkId, Notice, Output, Peer, Refusal, Transmit, authenticate};
use relay_proto::time::Now;
use relay_proto::token::{Secret, TokenRefused};

use super::codec::{End, Heard};
use super::connector::Outage;
use super::coverage::Hard;
use super::ledger::{Kind, Stage};
use super::network::{Carried, Conn, Tail, Way};
use super::store::Job;
use super::world::{Ev, Read, World};
use super::{Check, SECOND, violated};

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

    pub(super) fn settle_peer(&mut self, index: usize) -> Check {
        loop {
            let mut moved = false;
            while let Some(output) = self.connector.peers[index].peer.as_mut().and_then(Peer::poll_output) {
                moved = true;
                self.peer_output(index, output)?;
            }
            while self.connector.reading
                && let Some(event) = self.connector.peers[index].peer.as_mut().and_then(Peer::poll_event)
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

    pub(super) fn send_to_gateway(&mut self, index: usize, conn: usize) -> Result<bool, super::Violation> {
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
    pub(super) fn read_peer(&mut self, index: usize) -> Result<bool, super::Violation> {
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
                    self.on_server(index, conn, |server| server.handle_bytes(&bytes))?;
                    if current {
                        self.conns[conn].read_while_current = self.conns[conn].up.read;
                    }
                }
                Read::Tail(Tail::Eof) => self.on_server(index, conn, End::handle_eof)?,
                Read::Tail(Tail::Reset) => self.on_server(index, conn, |server| server.handle_read_error("reset"))?,
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// A link that this side closes has answered everything that came while it spoke for the gateway.
    pub(super) fn check_answered(&self, conn: usize) -> Check {
        let link = &self.conns[conn];
        let read = link.asked.iter().filter(|(_, end)| *end <= link.read_while_current);
        match read.map(|(id, _)| id).find(|id| !link.results.contains_key(*id)) {
            Some(id) => violated("CONN-6", format!("request {id} was read and is not answered")),
            None => Ok(()),
        }
    }

    pub(super) fn on_server(&mut self, index: usize, conn: usize, input: impl FnOnce(&mut End)) -> Check {
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
                Heard::Pong(payload) => {
                    if let Some(link) = self.conns[conn].peer_link {
                        self.peer_command(index, |peer, now| peer.handle_pong(link, &payload, now));
                        self.drain_peer(index)?;
                    }
                }
                Heard::Opened => return violated("SIMULATION", "an opened link at the connector"),
            }
        }
        Ok(())
    }

    pub(super) fn drain_peer(&mut self, index: usize) -> Check {
        while let Some(output) = self.connector.peers[index].peer.as_mut().and_then(Peer::poll_output) {
            self.peer_output(index, output)?;
        }
        Ok(())
    }

    /// An upgrade: who is it, and may it come in?
    pub(super) fn upgrade(&mut self, index: usize, conn: usize, bearer: Option<&str>) -> Check {
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

    pub(super) fn peer_output(&mut self, index: usize, output: Output) -> Check {
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
                self.connector.store.shelves[index].fetch = Some(fetch);
                self.wake_reader(index);
            }
            Output::Notice(notice) => {
                self.note("server notice", index, 0, || notice.to_string());
                match notice {
                    Notice::StrayAck => self.coverage.hit(Hard::StrayAck),
                    Notice::ForwardAssumedAcked(entry) => {
                        self.coverage.hit(Hard::AssumedAcked);
                        self.has_arrived(index, entry)?;
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
    pub(super) fn gone(&mut self, index: usize, entry: EntryId, durably: bool) -> Check {
        let Some(number) = self.ledgers[index].find(entry) else {
            return violated("SIMULATION", format!("an entry that nobody delivered: {entry}"));
        };
        let known = &self.ledgers[index].entries[number];
        let unasked = known.kind == Kind::Forward && !known.ack_sent;
        if !matches!(known.stage, Stage::Gone { .. }) {
            // A forward may leave without an acknowledgement; that this one did is told right after.
            self.ledgers[index].go(number, !unasked, durably)?;
        }
        Ok(())
    }

    /// A forward left the buffer without an acknowledgement.
    pub(super) fn leave(&mut self, index: usize, entry: EntryId) -> Check {
        let Some(number) = self.ledgers[index].find(entry) else { return Ok(()) };
        if self.ledgers[index].entries[number].kind != Kind::Forward || self.connector.peers[index].acks_forwards {
            return violated("CONN-3", format!("event {number} left without an acknowledgement"));
        }
        let durably = !self.script.shape.durable;
        self.ledgers[index].entries[number].assumed_acked = true;
        self.ledgers[index].go(number, false, durably)
    }

    /// A forward is presumed taken: a gateway has read it, on a link that is still there.
    fn has_arrived(&self, index: usize, entry: EntryId) -> Check {
        let Some(number) = self.ledgers[index].find(entry) else { return Ok(()) };
        let mut conns = self.connector.peers[index].conns.iter().map(|conn| &self.conns[*conn]);
        let read = |conn: &Conn| conn.carried.iter().any(|one| one.event == number && one.end <= conn.down.read);
        if !conns.any(read) {
            return violated("CONN-3", format!("event {number} is presumed taken, and was not read"));
        }
        Ok(())
    }

    pub(super) fn peer_transmit(&mut self, index: usize, conn: usize, transmit: Transmit) -> Check {
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
            Transmit::Probe(payload) => {
                self.coverage.hit(Hard::Pinged);
                self.conns[conn].server.as_mut().into_iter().for_each(|server| server.probe(payload));
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

    pub(super) fn delivery_leaves(&mut self, index: usize, conn: usize, entry: EntryId, text: String) -> Check {
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

    pub(super) fn result_leaves(&mut self, conn: usize, text: &str) -> Check {
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

    pub(super) fn check_peer(&mut self, index: usize) -> Check {
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
        let shelf = &self.connector.store.shelves[index];
        if peer.buffered() != 0 || !shelf.is_empty() {
            return violated("CONN-7", format!("{} entries are left, and durable {shelf:?}", peer.buffered()));
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

fn peer_is_current(world: &World, index: usize, link: Option<LinkId>) -> bool {
    world.connector.peers[index].peer.as_ref().is_some_and(|peer| peer.current_link() == link)
}
